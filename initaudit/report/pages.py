"""The rules as `initaudit rule` shows them: a table of all, or pages in full."""

from collections.abc import Iterable

from rich.markdown import Markdown
from rich.rule import Rule as Line
from rich.table import Table
from rich.text import Text

from initaudit.report.escaping import document
from initaudit.report.terminal import laid_out
from initaudit.report.text import STYLES
from initaudit.rule import Rule

SCHEMA = "initaudit/rules/1"


def render_table(rules: Iterable[Rule], *, width: int | None = None, color: bool = False) -> str:
    """One line a rule: code, name, severity and summary."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("code", "name", "severity"):
        table.add_column(heading, no_wrap=True)
    table.add_column("summary")
    for rule in rules:
        style = STYLES[rule.severity]
        table.add_row(Text(rule.code, "bold"), Text(rule.name), Text(rule.severity.value, style), Text(rule.summary))
    return laid_out([table], width=width, color=color)


def render_pages(rules: Iterable[Rule], *, width: int | None = None, color: bool = False) -> str:
    """The pages of some rules, one after the other, with their examples."""
    parts: list[Markdown | Line] = []
    for rule in rules:
        if parts:
            parts.append(Line(style="dim"))
        parts.append(Markdown(page(rule)))
    return laid_out(parts, width=width or 100, color=color)


def render_markdown(rules: Iterable[Rule], *, in_full: bool) -> str:
    """The same in Markdown: the table, or pages in full."""
    if in_full:
        return "\n\n".join(map(page, rules)) + "\n"
    rows = [f"| {rule.code} | `{rule.name}` | {rule.severity.value} | {rule.summary} |" for rule in rules]
    return "\n".join(["| code | name | severity | what is wrong |", "|---|---|---|---|", *rows]) + "\n"


def render_json(rules: Iterable[Rule]) -> str:
    """All there is to say of some rules, schema ``initaudit/rules/1``, for editors and sites."""
    rows = [
        {"code": r.code, "name": r.name, "severity": r.severity.value, "summary": r.summary, "page": page(r)}
        for r in rules
    ]
    return document({"schema": SCHEMA, "rules": rows})


def page(rule: Rule) -> str:
    """One rule's page in Markdown, its examples at the end."""
    lines = [f"# {rule.code} {rule.name} ({rule.severity.value})", "", rule.page, "", "## Examples", ""]
    for example in rule.examples:
        verdict = "silent" if example.is_good else f"found at {_some([f'`{name}`' for name in example.at], ', ')}"
        # What the rule is about stands first.
        ordered = sorted(example.tensors.items(), key=lambda item: item[0] not in example.at)
        stated = f"; config.json: `{dict(example.config)}`" if example.config else ""
        tensors = _some([f"`{name}` = `{recipe!r}`" for name, recipe in ordered], "; ")
        lines.append(f"- {example.caption} ({verdict}): {tensors}{stated}")
    return "\n".join(lines)


MOST_TENSORS = 4
"""Tensors of an example that are shown; blocks repeat themselves."""


def _some(items: list[str], separator: str) -> str:
    more = f"{separator}and {len(items) - MOST_TENSORS} more" if len(items) > MOST_TENSORS else ""
    return separator.join(items[:MOST_TENSORS]) + more
