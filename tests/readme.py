"""The generated part of the README: ``python tests/readme.py`` brings it up to date."""

import re
from pathlib import Path

from initaudit.registry import load_rules
from initaudit.report.pages import render_markdown

README = Path(__file__).parents[1] / "README.md"
TABLE = re.compile(r"^\| code \| name \|.*\n(?:\|.*\n)*", re.MULTILINE)


def updated(text: str) -> str:
    """The README's text with the table of the rules as they are."""
    table = render_markdown(load_rules().values(), in_full=False)
    text, count = TABLE.subn(lambda old: table, text)
    assert count == 1, "the README has no table of rules, or several"
    return text


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
