"""The report of `check` as JSON, schema ``initaudit/report/1``."""

import json
import math
from dataclasses import asdict
from typing import Any

from initaudit import __version__
from initaudit.findings import Audited, Finding, Report
from initaudit.remedies import Remedy

SCHEMA = "initaudit/report/1"
DIGITS = 7
"""Significant digits of a number: beyond them sums differ between processors, and equal runs must print alike."""


def render(report: Report) -> str:
    """The whole report, with a newline at its end."""
    document = {
        "schema": SCHEMA,
        "tool": {"name": "initaudit", "version": __version__},
        "checkpoints": [_checkpoint(one) for one in report.audited],
        "summary": report.counts,
        "statistics": [asdict(row) for row in report.statistics],
        "findings": [_finding(finding) for finding in report.findings],
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
    return json.dumps(plain(document), indent=1, allow_nan=False) + "\n"


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
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "name": finding.name,
        "severity": finding.severity.value,
        "checkpoint": finding.checkpoint,
        "tensor": finding.tensor,
        "tensors": finding.tensors,
        "message": finding.message,
        "advice": finding.advice,
        "evidence": dict(finding.evidence),
        "repair": _repair(finding.repair),
    }


def _repair(remedy: Remedy | None) -> dict[str, Any] | None:
    if remedy is None:
        return None
    return {"scheme": remedy.scheme, "parameters": dict(remedy.parameters), "reason": remedy.reason}
