"""SARIF 2.1.0, which GitHub's code scanning and many viewers read."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from initaudit.checkpoint import Entry
from initaudit.checkpoint.origins import Line
from initaudit.groups import Group
from initaudit.locations import in_repository
from initaudit.outcome import Audited, Outcome
from initaudit.report.code import in_code, line_of
from initaudit.report.escaping import LONGEST_TEXT, document, printable
from initaudit.rule import Rule, Severity
from initaudit.version import __version__

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
MOST_RESULTS = 5000
"""GitHub shows so many results of a run, and refuses a file with more than five times as many."""
MOST_TENSORS = 100
"""Tensors of one finding that get a place of their own."""

Places = Mapping[str, tuple[Path, Entry, Line | None]]
"""Where the tensors of a checkpoint lie: the file and their bytes in it, or the line of code that they come from."""


def render(report: Outcome) -> str:
    """One run with all rules that were applied, and the findings, the worst first."""
    found = [(one, finding) for one in report.audited for finding in one.groups]
    found.sort(key=lambda pair: pair[1].severity.rank)
    places = {id(one): _places(one) for one in report.audited}
    numbers = {rule.code: number for number, rule in enumerate(report.rules)}
    shown = found[:MOST_RESULTS]
    run = {
        "tool": {
            "driver": {
                "name": "initaudit",
                "semanticVersion": __version__,
                "rules": [_rule(rule) for rule in report.rules],
            }
        },
        "invocations": [_invocation(report, left_out=len(found) - len(shown))],
        "results": [_result(one, places[id(one)], finding, numbers) for one, finding in shown],
        "columnKind": "utf16CodeUnits",
    }
    return document({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": _first_section(rule.page) or rule.summary},
        "help": {"text": rule.page, "markdown": rule.page},
        "defaultConfiguration": {"level": LEVELS[rule.imposed or rule.severity]},
    }


def _first_section(page: str) -> str:
    """What stands under the first heading of a rule's page: why it matters."""
    return page.partition("\n## ")[2].partition("\n")[2].partition("\n## ")[0].strip()


def _invocation(report: Outcome, *, left_out: int) -> dict[str, Any]:
    told = [
        {"level": "error", "message": {"text": printable(str(failure), longest=LONGEST_TEXT)}}
        for failure in report.failures
    ]
    if left_out:
        told.append({"level": "warning", "message": {"text": f"{left_out:,} more findings are not listed here"}})
    configured = [
        {"level": "note", "message": {"text": printable(note, longest=LONGEST_TEXT)}} for note in report.notes
    ]
    return {
        "executionSuccessful": not report.failures,
        "toolExecutionNotifications": told,
        "toolConfigurationNotifications": configured,
    }


def _result(one: Audited, places: Places, finding: Group, numbers: Mapping[str, int]) -> dict[str, Any]:
    path = in_repository(finding.checkpoint)
    identity = json.dumps([finding.rule, path, finding.tensor])
    advice = f" ({finding.advice})" if finding.advice else ""
    code = "".join(f"\n{printable(line, longest=LONGEST_TEXT)}" for line in in_code(finding, one))
    number = {"ruleIndex": numbers[finding.rule]} if finding.rule in numbers else {}
    text = printable(f"{printable(finding.tensor)}: {finding.message}{advice}", longest=LONGEST_TEXT)
    return {
        "ruleId": finding.rule,
        **number,
        "level": LEVELS[finding.severity],
        "message": {"text": text + code},
        "locations": [_location(places, finding, finding.tensor)],
        "relatedLocations": [
            {"id": at, **_location(places, finding, name)} for at, name in enumerate(finding.tensors[1:MOST_TENSORS], 1)
        ],
        "partialFingerprints": {"initaudit/v1": hashlib.sha256(identity.encode()).hexdigest()},
        "properties": {"name": finding.name, "tensors": len(finding.tensors)},
    }


def _places(one: Audited) -> Places:
    origins = one.checkpoint.origins
    return {
        entry.name: (
            shard.parts[entry.pieces[0].part].path if entry.pieces else shard.path,
            entry,
            line_of(origins.get(entry.name)),
        )
        for shard in one.checkpoint.shards
        for entry in shard.entries
    }


def _location(places: Places, finding: Group, tensor: str) -> dict[str, Any]:
    """The tensor's bytes in its file, or the file of the first of its pieces; of a live model the line of code.

    GitHub wants a line as well.
    """
    path, region = Path(finding.checkpoint), {"startLine": 1}
    if tensor in places:
        path, entry, line = places[tensor]
        if line is not None:
            path, region = Path(line.file), {"startLine": line.number}
        elif entry.begin < entry.end and not entry.pieces:  # what was never materialised has no bytes
            region |= {"byteOffset": entry.begin, "byteLength": entry.end - entry.begin}
    return {
        "physicalLocation": {"artifactLocation": {"uri": _uri(in_repository(path))}, "region": region},
        "logicalLocations": [{"fullyQualifiedName": printable(tensor), "kind": "variable"}],
    }


def _uri(path: str) -> str:
    return Path(path).as_uri() if Path(path).is_absolute() else quote(os.fsencode(path))
