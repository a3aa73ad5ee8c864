"""Markdown for a comment or a step's summary: the verdict, what was found by rule, and the findings folded away."""

from collections.abc import Iterable, Iterator
from itertools import islice

from initaudit.groups import Group
from initaudit.outcome import Audited, Outcome
from initaudit.report.escaping import printable
from initaudit.report.text import verdict
from initaudit.rule import Severity

SIGNS = {Severity.ERROR: "❌", Severity.WARNING: "⚠️", Severity.INFO: "ℹ️"}  # noqa: RUF001 (the sign is meant)
MOST_FINDINGS = 50
MOST_ROWS = 100
"""Checkpoints, failures and notes that are listed."""
MOST_BYTES = 150_000
"""Of each list: GitHub drops a step's summary of more than a megabyte, and there are five of them."""
MOST_TENSORS = 6
"""Tensors of one finding that are named."""
LONGEST_TEXT = 500
"""Characters of a message or an advice."""


def render(report: Outcome) -> str:
    """The report as a section of its own; it stays well under the megabyte that a step's summary may have."""
    failures, audited, notes = report.failures, report.audited, report.notes
    lines = ["## initaudit", "", f"**{_text(verdict(report, show_intended=True, verbose=True).plain)}**", ""]
    lines += _cut((f"- ❌ {_code(row.path)} was not audited: {_text(row.message)}" for row in failures), len(failures))
    if report.groups:
        lines += ["| findings | tensors | rule | what is wrong |", "|---:|---:|---|---|"]
        lines += [*_cut(_counts(report), len(report.statistics)), *_findings(report), ""]
    if audited:
        lines += ["<details><summary>Checkpoints</summary>", "", *_cut(map(_checkpoint, audited), len(audited))]
        lines += ["</details>", ""]
    lines += _cut((f"- {_text(note)}" for note in notes), len(notes))
    return "\n".join(lines).rstrip("\n") + "\n"


def _counts(report: Outcome) -> Iterator[str]:
    summaries = {rule.code: rule.summary for rule in report.rules}
    worst = {finding.rule: finding.severity for finding in sorted(report.groups, key=lambda f: -f.severity.rank)}
    for row in report.statistics:
        rule = f"{SIGNS[worst[row.rule]]} {row.rule} {_code(row.name)}"
        yield f"| {row.findings:,} | {row.tensors:,} | {rule} | {_text(summaries.get(row.rule, ''))} |"


def _findings(report: Outcome) -> Iterator[str]:
    found = sorted(report.groups, key=lambda finding: finding.severity.rank)
    yield from ("<details><summary>Findings</summary>", "")
    yield from _cut(map(_finding, found), len(found), most=MOST_FINDINGS)
    yield "</details>"


def _finding(finding: Group) -> str:
    advice = f"<br>→ {_text(finding.advice)}" if finding.advice else ""
    head = f"- {SIGNS[finding.severity]} **{finding.rule}** {_places(finding)} in {_code(finding.checkpoint)}"
    return f"{head}<br>\n  {_text(finding.message)}{advice}"


def _places(finding: Group) -> str:
    more = f" and {len(finding.tensors) - MOST_TENSORS:,} more" if len(finding.tensors) > MOST_TENSORS else ""
    return ", ".join(map(_code, finding.tensors[:MOST_TENSORS])) + more


def _checkpoint(one: Audited) -> str:
    lines = [*one.recipe, *(f"note: {note}" for note in one.checkpoint.notes)]
    more = "".join(f"<br>{_text(line)}" for line in lines)
    return f"- {_code(one.checkpoint.path)}: {one.judged:,} of {len(one.checkpoint.entries):,} tensors judged{more}"


def _cut(rows: Iterable[str], count: int, *, most: int = MOST_ROWS) -> list[str]:
    """As many rows of a list as there is room for, and how many more there are, with an empty line after them."""
    kept: list[str] = []
    for row in islice(rows, most):
        if sum(len(line.encode()) for line in (*kept, row)) > MOST_BYTES:
            break
        kept.append(row)
    more = [f"- and {count - len(kept):,} more"] if count > len(kept) else []
    return [*kept, *more, ""] if count else []


def _text(text: str) -> str:
    """Words that are no markup, no mention and no link, whatever they hold."""
    return "".join(_ESCAPES.get(sign, sign) for sign in printable(text, longest=LONGEST_TEXT))


_ESCAPES = {sign: f"\\{sign}" for sign in "\\`*_[]|~$"} | {sign: f"&#{ord(sign)};" for sign in "&<>@#"}


def _code(text: str) -> str:
    """A name as code; in one that holds a character which would end it, every character is escaped that acts."""
    shown = printable(text)
    return f"<code>{_text(shown)}</code>" if set(shown) & set("`|") or not shown.strip() else f"`{shown}`"
