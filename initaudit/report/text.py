"""The report of `check` as text for a person: findings, the worst first, and one line of verdict at the end."""

import shlex
from collections import Counter
from collections.abc import Iterator

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from initaudit.checkpoint.values import CODE, LIVE
from initaudit.findings import Waived
from initaudit.groups import Group
from initaudit.outcome import Audited, Outcome
from initaudit.report.code import in_code
from initaudit.report.escaping import LONGEST_TEXT, printable
from initaudit.report.terminal import laid_out
from initaudit.rule import Severity

STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.INFO: "bold blue"}
MOST_TENSORS = 6
"""Tensors of one finding that are named; JSON has them all."""
MOST_OF_A_RULE = 20
"""Findings of one rule in one checkpoint that are shown unless asked for all."""


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
    """The report; ``quiet`` leaves only findings, ``verbose`` shows all of them and every tensor not judged.

    With ``statistics`` the findings are counted by rule instead of being listed.
    """
    parts: list[Text | Padding | Table] = []
    if statistics and report.groups:
        parts += [statistics_table(report), Text()]
    for one in report.audited if not statistics else ():
        body = list(_body(one, show_intended=show_intended, verbose=verbose))
        if body or not quiet:
            parts += [_head(one, with_recipe=not quiet), *body, Text()]
    if not quiet:
        parts += [_aside(f"note  {printable(note, longest=LONGEST_TEXT)}") for note in report.notes]
        parts.append(verdict(report, show_intended=show_intended, verbose=verbose))
    text = laid_out(parts, width=width, color=color).strip("\n")
    return f"{text}\n" if text else ""


def _head(one: Audited, *, with_recipe: bool) -> Text:
    checkpoint = one.checkpoint
    dtypes = Counter(entry.dtype for entry in checkpoint.entries)
    shards = f", {len(checkpoint.shards)} shards" if len(checkpoint.shards) > 1 else ""
    head = Text(printable(checkpoint.path), style="bold")
    head.append(
        f"  {counted(len(checkpoint.entries), 'tensor')}, {magnitude(checkpoint.parameters)} parameters,"
        f" {', '.join(dtype for dtype, _ in dtypes.most_common(3))}{shards}",
        style="not bold dim",
    )
    for line in one.recipe if with_recipe else ():
        head.append(f"\n  {printable(line, longest=LONGEST_TEXT)}", style="not bold dim")
    return head


def _body(one: Audited, *, show_intended: bool, verbose: bool) -> Iterator[Text | Padding]:
    shown: Counter[str] = Counter()
    for finding in one.groups:
        shown[finding.rule] += 1
        if verbose or shown[finding.rule] <= MOST_OF_A_RULE:
            yield from _finding(finding, one, verbose=verbose)
    for rule, count in shown.items():
        if not verbose and count > MOST_OF_A_RULE:
            yield Text(f"  {count - MOST_OF_A_RULE:,} more of {rule}: --verbose shows them")
    if show_intended:
        for row in one.intended:
            yield _aside(f"intended  {row.rule} {printable(row.tensor)}: {row.convention}")
        for waived in one.waived:
            yield _aside(f"waived  {waived.rule} {printable(waived.tensor)}: {printable(why_waived(waived))}")
    if verbose:
        for skipped in one.not_judged:
            yield _aside(f"not judged  {printable(skipped.tensor)}: {printable(skipped.reason)}")
    for note in one.checkpoint.notes:
        yield _aside(f"note  {printable(note, longest=LONGEST_TEXT)}")


def _finding(finding: Group, one: Audited, *, verbose: bool) -> Iterator[Text | Padding]:
    line = Text("  ")
    line.append(f"{finding.severity.value:<8}", style=STYLES[finding.severity])
    line.append(f"{finding.rule} {finding.name}", style="bold")
    names = finding.tensors if verbose else finding.tensors[:MOST_TENSORS]
    line.append("  " + ", ".join(printable(name) for name in names), style="cyan")
    if len(finding.tensors) > len(names):
        line.append(f" and {len(finding.tensors) - len(names):,} more")
    yield line
    yield Padding(Text(printable(finding.message, longest=LONGEST_TEXT)), (0, 0, 0, 10))
    if finding.advice:
        yield Padding(Text(f"-> {printable(finding.advice, longest=LONGEST_TEXT)}", style="green"), (0, 0, 0, 10))
    for code in in_code(finding, one):
        yield Padding(Text(printable(code, longest=LONGEST_TEXT), style="dim"), (0, 0, 0, 10))


def statistics_table(report: Outcome) -> Table:
    """The findings of each rule, and the tensors they name; the rules with most findings first."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("findings", "tensors"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("rule", "name"):
        table.add_column(heading, no_wrap=True)
    for row in report.statistics:
        table.add_row(Text(f"{row.findings:,}"), Text(f"{row.tensors:,}"), Text(row.rule, "bold"), Text(row.name))
    return table


def verdict(report: Outcome, *, show_intended: bool, verbose: bool) -> Text:
    """One line: what was found, in what, and what was not looked at."""
    line = Text()
    if report.worst is not None:
        line.append("Found " + ", ".join(found(report)), style=STYLES[report.worst])
    elif not report.judged:
        line.append("Nothing was judged" if report.audited else "Nothing was audited", style="bold red")
    elif report.failures:
        line.append("No findings where it could be judged", style="bold yellow")
    else:
        line.append("No findings", style="bold green")
    if report.audited:
        line.append(f" in {counted(len(report.audited), 'checkpoint')}")
        line.append(f" ({counted(report.judged, 'tensor')} judged by")
        line.append(f" {counted(len(report.rules), 'rule')})")
    if report.not_judged:
        line.append(f"; {report.not_judged:,} not judged" + ("" if verbose else " (--verbose)"))
    if report.waived:
        line.append(f"; {report.waived:,} waived" + ("" if show_intended else " (--show-intended)"))
    if report.counts["intended"]:
        line.append(f"; {report.counts['intended']:,} intended" + ("" if show_intended else " (--show-intended)"))
    if report.failures:
        line.append(f"; {counted(len(report.failures), 'failure')}", style="bold red")
    if report.groups:
        line.append(f". Why: initaudit rule {next(iter(report.groups)).rule}")
        line.append(_how_to_redraw(report))
    return line


def _how_to_redraw(report: Outcome) -> str:
    """The command for the first checkpoint with something that `fix` would redraw, or mend in code; empty without."""
    for one in report.audited:
        path, form = one.checkpoint.path, one.checkpoint.format
        if not path.isprintable() or not any(finding.is_repairable for finding in one.findings):
            continue
        if form == CODE:
            return f". Mend: initaudit fix {shlex.quote(path)} --emit-code"
        if form not in LIVE:
            return f". Redraw: initaudit fix {shlex.quote(path)} --dry-run"
    return ""


def found(report: Outcome) -> list[str]:
    """``1 error``, ``2 warnings``: the findings of each severity that has any, the worst first."""
    counts = report.counts
    return [counted(counts[severity.value], severity.value) for severity in Severity if counts[severity.value]]


def _aside(text: str) -> Text:
    return Text(f"  {text}", style="dim")


def why_waived(row: Waived) -> str:
    """The reason that its user gave, if any, and where."""
    return f"{row.waiver.reason} ({row.waiver.origin})" if row.waiver.reason else row.waiver.origin


def counted(number: int, noun: str) -> str:
    """``1 tensor``, ``2 tensors``; an info has no plural."""
    return f"{number:,} {noun}" + ("" if number == 1 or noun == "info" else "s")


def byte_size(number: int) -> str:
    """``17.3 kB``, ``10.0 GB``; ``999 bytes``."""
    for size, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return counted(number, "byte")


def magnitude(number: int) -> str:
    """``124.4 M``, ``17.3 K``."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= size:
            return f"{number / size:.1f} {letter}"
    return str(number)
