"""The forms that a report of `check` is said in, by name; a form's module is imported when it is asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the names of the forms are asked for by `--help`, which is to import nothing
    from initaudit.outcome import Outcome

FOR_PEOPLE = ("text", "concise")
"""What is read on a terminal. Their ``render`` takes how much is to be seen, in which width and colour."""

FORMATS = (*FOR_PEOPLE, "json", "sarif", "junit", "github", "gitlab", "markdown", "html")
"""All forms. Each is a module of this package with ``render(report) -> str``; a new one is a module and its name."""


def render(report: "Outcome", form: str, **view: Any) -> str:
    """The report in one of `FORMATS`; ``view`` are options of those `FOR_PEOPLE`, which the others leave alone."""
    module = import_module(f"initaudit.report.{form}")
    text: str = module.render(report, **view) if form in FOR_PEOPLE else module.render(report)
    return text
