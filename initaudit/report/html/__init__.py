"""The report of `check` as one page for a browser: a file that needs no other, and no network."""

from importlib.util import find_spec

from initaudit.errors import InitauditError
from initaudit.outcome import Outcome

NEEDED = ("jinja2", "markdown_it", "vl_convert")
"""What the extra ``[report]`` installs."""


def require_libraries() -> None:
    """Do nothing where the page can be made; to be asked before an audit of minutes, not after it.

    Raises:
        InitauditError: a library is missing.

    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise InitauditError(f"a page needs {', '.join(missing)}: pip install 'initaudit[report]'")


def render(report: Outcome) -> str:
    """The whole page.

    Raises:
        InitauditError: a library is missing.

    """
    require_libraries()
    from initaudit.report.html.page import render as rendered

    return rendered(report)
