"""GitLab's code quality report, which is shown in the merge request."""

import hashlib
import json
from collections import Counter
from typing import Any

from initaudit.findings import Failure, Finding
from initaudit.locations import in_repository
from initaudit.outcome import Outcome
from initaudit.report.escaping import document, printable
from initaudit.rule import Severity

SEVERITIES = {Severity.ERROR: "major", Severity.WARNING: "minor", Severity.INFO: "info"}
LONGEST_TEXT = 1000
"""Characters of a message, which GitLab shows in one line."""


def render(report: Outcome) -> str:
    """An entry for each finding, which is of one tensor; what could not be audited is a blocker."""
    entries = [_failure(failure) for failure in report.failures]
    entries += map(_finding, report.findings)
    # Of two entries with one fingerprint GitLab would drop the second: what a rule says twice of a tensor is no copy.
    distinct = {(entry["fingerprint"], entry["description"]): entry for entry in entries}
    seen: Counter[str] = Counter()
    for entry in distinct.values():
        seen[entry["fingerprint"]] += 1
        if seen[entry["fingerprint"]] > 1:
            entry["fingerprint"] = _digest([entry["fingerprint"], seen[entry["fingerprint"]]])
    return document(list(distinct.values()))


def _finding(finding: Finding) -> dict[str, Any]:
    message = printable(finding.message, longest=LONGEST_TEXT)
    return _entry(
        f"{finding.rule} {finding.name}: {printable(finding.tensor)}: {message}",
        f"{finding.rule} {finding.name}",
        SEVERITIES[finding.severity],
        finding.checkpoint,
        (finding.rule, finding.tensor, ""),
    )


def _failure(failure: Failure) -> dict[str, Any]:
    message = printable(failure.message, longest=LONGEST_TEXT)
    return _entry(f"not audited: {message}", "not-audited", "blocker", failure.path, ("", "", failure.message))


def _entry(description: str, name: str, severity: str, path: str, identity: tuple[str, ...]) -> dict[str, Any]:
    """The fingerprint says which entry of the target branch this is: no number is in it, which a new seed changes."""
    place = in_repository(path)
    return {
        "description": description,
        "check_name": name,
        "fingerprint": _digest([place, *identity]),
        "severity": severity,
        "location": {"path": printable(place), "lines": {"begin": 1}},
    }


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
