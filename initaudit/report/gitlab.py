"""GitLab's code quality report, which is shown in the merge request."""

import hashlib
import json
from typing import Any

from initaudit.findings import Failure, Finding, Report
from initaudit.report.escaping import printable
from initaudit.report.places import in_repository
from initaudit.rule import Severity

SEVERITIES = {Severity.ERROR: "major", Severity.WARNING: "minor", Severity.INFO: "info"}
LONGEST_TEXT = 1000


def render(report: Report) -> str:
    """An entry for each tensor of each finding; what could not be audited is a blocker."""
    entries = [_failure(failure) for failure in report.failures]
    entries += [_finding(finding, tensor) for finding in report.findings for tensor in finding.tensors]
    return json.dumps(entries, indent=1) + "\n"


def _finding(finding: Finding, tensor: str) -> dict[str, Any]:
    message = printable(finding.message, longest=LONGEST_TEXT)
    return _entry(
        f"{finding.rule} {finding.name}: {printable(tensor)}: {message}",
        f"{finding.rule} {finding.name}",
        SEVERITIES[finding.severity],
        finding.checkpoint,
        (finding.rule, tensor, ""),
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
        "fingerprint": hashlib.sha256(json.dumps([place, *identity]).encode()).hexdigest(),
        "severity": severity,
        "location": {"path": printable(place), "lines": {"begin": 1}},
    }
