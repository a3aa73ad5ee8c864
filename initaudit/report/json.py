"""The report of `check` as JSON, schema ``initaudit/report/1``."""

import math
from dataclasses import asdict
from typing import Any

from initaudit.checkpoint.origins import Line, Origin
from initaudit.errors import LawError
from initaudit.faults import Expectation
from initaudit.findings import Finding
from initaudit.groups import Group
from initaudit.locations import in_repository
from initaudit.outcome import Audited, Outcome
from initaudit.reach import Reach
from initaudit.remedies import Remedy, laws_of
from initaudit.report.code import pasted
from initaudit.report.escaping import document
from initaudit.signal import growth_of, loss_of
from initaudit.version import __version__

SCHEMA = "initaudit/report/1"
DIGITS = 7
"""Significant digits of a number: beyond them sums differ between processors, and equal runs must print alike."""


def render(report: Outcome) -> str:
    """The whole report, with a newline at its end."""
    said = {
        "schema": SCHEMA,
        "tool": {"name": "initaudit", "version": __version__},
        "checkpoints": [_checkpoint(one) for one in report.audited],
        "summary": report.counts,
        "statistics": [asdict(row) for row in report.statistics],
        "findings": [_group(group, one) for one in report.audited for group in one.groups],
        "intended": [
            {"rule": row.rule, "checkpoint": row.checkpoint, "tensor": row.tensor, "convention": row.convention}
            for one in report.audited
            for row in one.intended
        ],
        "waived": [
            {
                "rule": row.rule,
                "checkpoint": row.checkpoint,
                "tensor": row.tensor,
                "reason": row.waiver.reason,
                "origin": row.waiver.origin,
            }
            for one in report.audited
            for row in one.waived
        ],
        "not_judged": [
            {"checkpoint": row.checkpoint, "tensor": row.tensor, "dtype": row.dtype, "reason": row.reason}
            for one in report.audited
            for row in one.not_judged
        ],
        "notes": report.notes,
        "errors": [{"path": failure.path, "message": failure.message} for failure in report.failures],
    }
    return document(plain(said))


def plain(value: Any) -> Any:
    """The same value with only what JSON has: finite numbers of `DIGITS` digits, null for the others."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    if hasattr(value, "item") and hasattr(value, "dtype"):  # a number of numpy's
        return plain(value.item())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def _checkpoint(one: Audited) -> dict[str, Any]:
    checkpoint = one.checkpoint
    return {
        "path": checkpoint.path,
        "format": checkpoint.format,
        "tensors": len(checkpoint.entries),
        "parameters": checkpoint.parameters,
        "bytes": checkpoint.bytes,
        "judged": one.judged,
        "skipped": one.skipped,
        "recipe": one.recipe,
        "notes": checkpoint.notes,
        "reach": _reach(one),
        "signal": _signal(one),
    }


def _reach(one: Audited) -> dict[str, Any] | None:
    """How many parameters a batch gives a gradient when, and which do not get one at once; None without a batch."""
    reached = one.model.reached
    if reached is None:
        return None
    later = {name: when.value for name, when in reached.items() if when is not Reach.AT_ONCE}
    return {"counts": {when.value: sum(said is when for said in reached.values()) for when in Reach}, "tensors": later}


def _signal(one: Audited) -> dict[str, Any]:
    """What the first forward pass gives: the loss, and the residual stream block after block; each None if unknown."""
    loss, growth = loss_of(one.model), growth_of(one.model)
    return {
        "loss": loss
        and {
            "nats": loss.nats,
            "least": loss.least,
            "vocabulary": loss.vocabulary,
            "logit_std": loss.std,
            "head": loss.head.name,
            "tied": loss.is_tied,
            "rescaled_by": loss.rescaled_by or None,
        },
        "growth": growth
        and {
            "factor": growth.factor,
            "start": growth.start,
            "blocks": growth.signal,
            "tokens": growth.tokens,
            "correlation": growth.correlation,
            "activation": growth.activation,
            "assumed": growth.is_assumed,
        },
    }


def _group(group: Group, one: Audited) -> dict[str, Any]:
    """One finding as a person counts them; what its tensors have of their own stands under ``per_tensor``."""
    return {
        "rule": group.rule,
        "name": group.name,
        "severity": group.severity.value,
        "checkpoint": group.checkpoint,
        "tensor": group.tensor,
        "tensors": group.tensors,
        "message": group.message,
        "advice": group.advice,
        "evidence": dict(group.example.evidence),
        "repair": group.repair and described(group.repair),
        **({"paste": pasted(group, one.model, one.checkpoint.origins)} if one.checkpoint.origins else {}),
        "per_tensor": [
            _finding(finding) | _code(one.checkpoint.origins.get(finding.tensor)) for finding in group.findings
        ],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "tensor": finding.tensor,
        "message": finding.message,
        "evidence": dict(finding.evidence),
        "expected": _expectation(finding.expectation),
        "copy_of": None if finding.original == finding.tensor else finding.original,
        "repair": finding.repair and described(finding.repair),
    }


def _code(origin: Origin | None) -> dict[str, Any]:
    """Where in code a tensor comes from; nothing of what was in a file."""
    if origin is None:
        return {}
    return {
        "code": {
            "type": origin.type,
            "path": origin.path,
            "defined": _line(origin.defined),
            "made": _line(origin.made),
            "filled": [_line(line) for line in origin.filled],
        }
    }


def _line(line: Line | None) -> dict[str, Any] | None:
    if line is None:
        return None
    return {"file": in_repository(line.file), "line": line.number, "within": line.within}


def _expectation(expected: Expectation | None) -> dict[str, Any] | None:
    if expected is None:
        return None
    return {"std": expected.std, "value": expected.value, "error": expected.error, "source": expected.source}


def described(remedy: Remedy) -> dict[str, Any]:
    """What a tensor is to be filled with: the scheme's name, its law, what it takes, and why.

    A packed tensor has ``laws``, one for each block. A number that is none, as `config.json` may state, makes no law.
    """
    try:
        laws: list[str | None] = [str(law) for law in laws_of(remedy)]
    except LawError:
        laws = [None]
    return {
        "scheme": remedy.scheme,
        **({"laws": laws} if remedy.law == "blocks" else {"law": laws[0]}),
        "parameters": dict(remedy.parameters),
        "reason": remedy.reason,
    }
