"""Markdown for a comment or a step's summary: the verdict, what was found by rule, and the findings folded away."""

from collections.abc import Iterator

from initaudit.findings import Audited, Finding, Report
from initaudit.report.escaping import printable
from initaudit.report.text import verdict
from initaudit.rule import Severity

SIGNS = {Severity.ERROR: "❌", Severity.WARNING: "⚠️", Severity.INFO: "ℹ️"}  # noqa: RUF001 (the sign is meant)
MOST_FINDINGS = 50
"""Findings that are listed: GitHub drops a summary of more than a megabyte, and nobody reads one of half of it."""
MOST_ROWS = 200
"""Checkpoints, failures and notes that are listed."""
MOST_TENSORS = 6
LONGEST_TEXT = 500


def render(report: Report) -> str:
    """The report as a section of its own; it stays well under the megabyte that a step's summary may have."""
    lines = ["## initaudit", "", f"**{_text(verdict(report, show_intended=True, verbose=True).plain)}**", ""]
    lines += _cut([f"- ❌ {_code(row.path)} was not audited: {_text(row.message)}" for row in report.failures])
    if report.findings:
        lines += ["| findings | tensors | rule | what is wrong |", "|---:|---:|---|---|"]
        summaries = {rule.code: rule.summary for rule in report.rules}
        worst = {finding.rule: finding.severity for finding in reversed(report.findings)}
        for row in report.statistics:
            rule = f"{SIGNS[worst[row.rule]]} {row.rule} {_code(row.name)}"
            lines.append(f"| {row.findings:,} | {row.tensors:,} | {rule} | {_text(summaries.get(row.rule, ''))} |")
        lines += ["", *_findings(report), ""]
    if report.audited:
        lines += ["<details><summary>Checkpoints</summary>", "", *_cut([_checkpoint(one) for one in report.audited])]
        lines += ["</details>", ""]
    lines += _cut([f"- {_text(note)}" for note in report.notes])
    return "\n".join(lines).rstrip("\n") + "\n"


def _findings(report: Report) -> Iterator[str]:
    found = sorted(report.findings, key=lambda finding: finding.severity.rank)
    yield f"<details><summary>{min(len(found), MOST_FINDINGS):,} of {len(found):,} findings</summary>"
    yield ""
    for finding in found[:MOST_FINDINGS]:
        yield f"- {SIGNS[finding.severity]} **{finding.rule}** {_places(finding)} in {_code(finding.checkpoint)}<br>"
        yield f"  {_text(finding.message)}" + (f"<br>→ {_text(finding.advice)}" if finding.advice else "")
    yield ""
    yield "</details>"


def _places(finding: Finding) -> str:
    more = f" and {len(finding.tensors) - MOST_TENSORS:,} more" if len(finding.tensors) > MOST_TENSORS else ""
    return ", ".join(map(_code, finding.tensors[:MOST_TENSORS])) + more


def _checkpoint(one: Audited) -> str:
    recipe = "".join(f"<br>{_text(line)}" for line in one.recipe)
    return f"- {_code(one.checkpoint.path)}: {one.judged:,} of {len(one.checkpoint.entries):,} tensors judged{recipe}"


def _cut(rows: list[str]) -> list[str]:
    """The first `MOST_ROWS` of a list, and how many more there are, with an empty line after them."""
    more = [f"- and {len(rows) - MOST_ROWS:,} more"] if len(rows) > MOST_ROWS else []
    return [*rows[:MOST_ROWS], *more, ""] if rows else []


def _text(text: str) -> str:
    """Words that are no markup, no mention and no link, whatever they hold."""
    return "".join(_ESCAPES.get(sign, sign) for sign in printable(text, longest=LONGEST_TEXT))


_ESCAPES = {sign: f"\\{sign}" for sign in "\\`*_[]|~$"} | {sign: f"&#{ord(sign)};" for sign in "&<>@#"}


def _code(text: str) -> str:
    """A name as code; in one that holds a character which would end it, every character is escaped that acts."""
    shown = printable(text)
    return f"<code>{_text(shown)}</code>" if set(shown) & set("`|") or not shown.strip() else f"`{shown}`"
