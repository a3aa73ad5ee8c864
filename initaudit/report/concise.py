"""One line a finding, for logs, grep and editors: ``path:tensor: severity[code] name: message``."""

from rich.table import Table
from rich.text import Text

from initaudit.groups import Group
from initaudit.outcome import Outcome
from initaudit.report.escaping import LONGEST_TEXT, printable
from initaudit.report.terminal import laid_out
from initaudit.report.text import STYLES, statistics_table, verdict


def render(
    report: Outcome,
    *,
    width: int | None = None,
    color: bool = False,
    show_intended: bool = False,
    statistics: bool = False,
    quiet: bool = False,
    verbose: bool = False,
) -> str:
    """Every finding; unless ``quiet`` the notes and the verdict. Lines are whole: what reads them goes line by line."""
    del width
    parts: list[Table | Text] = [*map(_line, report.groups)] if not statistics else []
    if statistics and report.groups:
        parts.append(statistics_table(report))
    if not quiet:
        for checkpoint in (one.checkpoint for one in report.audited):
            parts += [_note(note, f"{printable(checkpoint.path)}: ") for note in checkpoint.notes]
        parts += map(_note, report.notes)
        parts.append(verdict(report, show_intended=show_intended, verbose=verbose))
    text = laid_out(parts, width=None, color=color).strip("\n")
    return f"{text}\n" if text else ""


def _note(note: str, where: str = "") -> Text:
    return Text(f"{where}note: {printable(note, longest=LONGEST_TEXT)}", style="dim")


def _line(finding: Group) -> Text:
    line = Text(f"{printable(finding.checkpoint)}:")
    line.append(printable(finding.tensor), style="cyan")
    line.append(": ")
    line.append(f"{finding.severity.value}[{finding.rule}]", style=STYLES[finding.severity])
    more = f" (and {len(finding.tensors) - 1:,} more)" if len(finding.tensors) > 1 else ""
    line.append(f" {finding.name}: {printable(finding.message, longest=LONGEST_TEXT)}{more}")
    return line
