"""Workflow commands of GitHub Actions, which annotate the pull request.

A step shows ten errors and ten warnings: one annotation for each checkpoint and rule lets them last. Of code it is one
for each line and rule.
"""

from collections.abc import Iterable

from initaudit.groups import Group
from initaudit.locations import in_repository
from initaudit.outcome import Audited, Outcome
from initaudit.report.code import in_code, line_of
from initaudit.report.escaping import printable
from initaudit.rule import Severity

COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
MOST_FINDINGS = 20
"""Findings that one annotation lists: it is cut where it gets long."""
LONGEST_TEXT = 500
"""Characters of a message: an annotation holds up to twenty of them."""


def render(report: Outcome) -> str:
    """A line for each annotation, the worst first; nothing where there is nothing to say."""
    groups: dict[tuple[Severity, str, int, str], list[tuple[Audited, Group]]] = {}
    for one in report.audited:
        for finding in one.groups:
            line = line_of(one.checkpoint.origins.get(finding.tensor))
            file, number = (finding.checkpoint, 1) if line is None else (line.file, line.number)
            groups.setdefault((finding.severity, file, number, finding.rule), []).append((one, finding))
    lines = [
        _command("error", failure.path, 1, "not audited", [printable(failure.message, longest=LONGEST_TEXT)])
        for failure in report.failures
    ]
    for (severity, path, number, rule), found in sorted(groups.items(), key=lambda group: group[0][0].rank):
        lines.append(_command(COMMANDS[severity], path, number, f"{rule} {found[0][1].name}", _told(found)))
    lines += [f"::notice title=initaudit::{_escaped(printable(note, longest=LONGEST_TEXT))}" for note in report.notes]
    return "".join(f"{line}\n" for line in lines)


def _told(found: list[tuple[Audited, Group]]) -> list[str]:
    lines = []
    for one, finding in found[:MOST_FINDINGS]:
        more = f" and {len(finding.tensors) - 1:,} more" if len(finding.tensors) > 1 else ""
        lines.append(f"{printable(finding.tensor)}{more}: {printable(finding.message, longest=LONGEST_TEXT)}")
        lines += [printable(line, longest=LONGEST_TEXT) for line in in_code(finding, one)]
    if len(found) > MOST_FINDINGS:
        lines.append(f"and {len(found) - MOST_FINDINGS:,} more")
    return lines


def _command(command: str, path: str, number: int, title: str, lines: Iterable[str]) -> str:
    place = f"file={_property(printable(in_repository(path)))},line={number},title={_property(f'initaudit: {title}')}"
    return f"::{command} {place}::{_escaped(chr(10).join(lines))}"


def _escaped(text: str) -> str:
    """The data of a command: what would end it or start another is written by its number."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
