"""One line a finding, for logs, grep and editors: ``path:tensor: severity[code] name: message``."""

from rich.table import Table
from rich.text import Text

from initaudit.findings import Finding, Report
from initaudit.report.escaping import LONGEST_TEXT, printable
from initaudit.report.terminal import laid_out
from initaudit.report.text import STYLES, statistics_table, verdict


def render(
    report: Report,
    *,
    width: int | None = None,
    color: bool = False,
    show_intended: bool = False,
    statistics: bool = False,
    quiet: bool = False,
    verbose: bool = False,
) -> str:
    """Every finding, and the verdict unless ``quiet``; lines are whole, for what reads them goes line by line."""
    del width
    parts: list[Table | Text] = [statistics_table(report)] if statistics else [*map(_line, report.findings)]
    if not quiet:
        parts.append(verdict(report, show_intended=show_intended, verbose=verbose))
    text = laid_out(parts, width=None, color=color).strip("\n")
    return f"{text}\n" if text else ""


def _line(finding: Finding) -> Text:
    line = Text(f"{printable(finding.checkpoint)}:")
    line.append(printable(finding.tensor), style="cyan")
    line.append(": ")
    line.append(f"{finding.severity.value}[{finding.rule}]", style=STYLES[finding.severity])
    more = f" (and {len(finding.tensors) - 1:,} more)" if len(finding.tensors) > 1 else ""
    line.append(f" {finding.name}: {printable(finding.message, longest=LONGEST_TEXT)}{more}")
    return line
