"""Findings that are known: a file of places without numbers, which holds for the next seed as well."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from initaudit.errors import InitauditError, errno_text
from initaudit.locations import absolute
from initaudit.outcome import Outcome

SCHEMA = "initaudit/baseline/1"


@dataclass(frozen=True, slots=True)
class Baseline:
    """The known findings of a file: absolute path of the checkpoint, tensor, and code of the rule."""

    file: Path
    entries: frozenset[tuple[str, str, str]]

    def known(self, code: str) -> frozenset[tuple[str, str]]:
        """The places where one rule's findings are known."""
        return frozenset((checkpoint, tensor) for checkpoint, tensor, rule in self.entries if rule == code)

    def looked_at(self, report: Outcome) -> frozenset[tuple[str, str, str]]:
        """The entries of checkpoints that were audited whole, for rules that were applied."""
        failed = {_key(failure.path) for failure in report.failures}
        audited = {_key(one.checkpoint.path) for one in report.audited} - failed
        applied = {rule.code for rule in report.rules}
        return frozenset(row for row in self.entries if row[0] in audited and row[2] in applied)

    def unneeded(self, report: Outcome) -> tuple[tuple[str, str, str], ...]:
        """The entries that were looked at and not needed: nothing was found there any more."""
        needed = {(_key(row.checkpoint), row.tensor, row.rule) for one in report.audited for row in one.waived}
        return tuple(sorted(self.looked_at(report) - needed))


def read_baseline(file: Path) -> Baseline:
    """The baseline that `render_baseline` wrote; its checkpoints are named from the folder it is in.

    Raises:
        InitauditError: it cannot be read, or is no baseline.

    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            raise InitauditError(f"{file}: its schema is {document['schema']!r}, not {SCHEMA}")
        entries = frozenset(
            (_key(file.parent / row["checkpoint"]), str(row["tensor"]), str(row["rule"]))
            for row in document["findings"]
        )
    except FileNotFoundError as error:
        raise InitauditError(f"{file}: no such baseline: --write-baseline {file} makes one") from error
    except OSError as error:
        raise InitauditError(f"{file}: {errno_text(error)}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InitauditError(f"{file}: is no baseline ({type(error).__name__}: {error})") from error
    return Baseline(file, entries)


def render_baseline(report: Outcome, file: Path, known: Baseline | None = None) -> str:
    """All findings of a report as the baseline ``file`` is to hold them.

    Of an earlier one stays what was found again, and what was not looked at.
    """
    found = [(finding.checkpoint, name, finding.rule) for finding in report.findings for name in finding.tensors]
    found += [(row.checkpoint, row.tensor, row.rule) for one in report.audited for row in one.waived if row.is_known]
    found += known.entries - known.looked_at(report) if known else []
    rows = sorted({(_from(file, checkpoint), tensor, rule) for checkpoint, tensor, rule in found})
    document = {
        "schema": SCHEMA,
        "findings": [{"checkpoint": checkpoint, "tensor": tensor, "rule": rule} for checkpoint, tensor, rule in rows],
    }
    return json.dumps(document, indent=1) + "\n"


def _from(file: Path, checkpoint: str) -> str:
    """The way from the folder of a baseline to a checkpoint, with slashes."""
    try:
        return Path(os.path.relpath(absolute(checkpoint), absolute(file.parent))).as_posix()
    except ValueError:  # another drive
        return _key(checkpoint)


def _key(checkpoint: str | Path) -> str:
    """What a checkpoint is called whatever the working directory is."""
    return absolute(checkpoint).as_posix()
