"""The page: a template filled with what is said of each checkpoint, with its style and script inside."""

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from initaudit.outcome import Outcome
from initaudit.report.escaping import LONGEST_TEXT, printable
from initaudit.report.html.sections import section_of
from initaudit.report.text import counted, found
from initaudit.rule import Rule, Severity
from initaudit.version import __version__

_HERE = Path(__file__).parent

_WORST = {
    Severity.ERROR: "Do not train from this: {found}.",
    Severity.WARNING: "Look before you train: {found}.",
    Severity.INFO: "Nothing is wrong; {found} worth knowing.",
}


def render(report: Outcome) -> str:
    """The whole page. Names and messages are data to the template, which escapes them."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["rule_page"] = rule_page
    environment.filters["printable"] = printable
    environment.globals["counted"] = counted
    rules = {rule.code: rule for rule in report.rules}
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return environment.get_template("page.html").render(
        sections=[section_of(one, rules, number) for number, one in enumerate(report.audited, start=1)],
        failures=[(printable(f.path), printable(f.message, longest=LONGEST_TEXT)) for f in report.failures],
        notes=[printable(note, longest=LONGEST_TEXT) for note in report.notes],
        verdict=verdict(report),
        tone=_tone(report),
        judged=_judged(report),
        version=__version__,
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'",
    )


def verdict(report: Outcome) -> str:
    """The outcome in one sentence."""
    worst = report.worst
    if worst is not None and (worst is not Severity.INFO or not report.failures):
        return _WORST[worst].format(found=_listed(found(report)))
    if not report.judged:
        return "Nothing was judged."
    if report.failures:
        return "Not audited whole; where it could be judged, nothing was found."
    return "Nothing was found."


def rule_page(rule: Rule) -> Markup:
    """A rule's page as HTML: markup inside it stays text, and nothing in it is fetched."""
    markdown = MarkdownIt("commonmark", {"html": False}).disable(["image", "html_block", "html_inline"])
    _, _, rest = rule.page.partition("\n")
    return Markup(markdown.render(rest).replace("<h2>", "<h5>").replace("</h2>", "</h5>"))


def _judged(report: Outcome) -> str:
    """What was judged and what not, in one line."""
    if not report.audited:
        return ""
    several = f" in {counted(len(report.audited), 'checkpoint')}" if len(report.audited) > 1 else ""
    line = f"{counted(report.judged, 'tensor')}{several} judged by {counted(len(report.rules), 'rule')}"
    line += f"; {report.not_judged:,} not judged" if report.not_judged else ""
    intended = report.counts["intended"]
    line += f"; {intended:,} deviate by a known convention, as is intended" if intended else ""
    return line + (f"; {report.waived:,} waived." if report.waived else ".")


def _tone(report: Outcome) -> str:
    """The colour of the verdict: that of the worst finding, of an error where not all was audited."""
    if report.failures:
        return "error"
    return report.worst.value if report.worst else "good"


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _digest(text: str) -> str:
    """By which a browser knows our style and script, and takes no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
