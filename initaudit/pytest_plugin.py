"""A plugin of pytest: the fixture `assert_initialised`, for the tests of code that builds models.

pytest imports plugins in every run of everyone who has them installed, so this module imports nothing that costs.
"""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from torch.nn import Module

    from initaudit.report.face import Report


@pytest.fixture(scope="session")
def assert_initialised() -> "Callable[..., Report]":
    """A function that fails the test unless a model, a state dict or a file is well initialised.

    ``assert_initialised(model, select=(), ignore=(), exclude=(), fail_on="error", key=None, batch=None)`` takes what
    `initaudit.check` takes and returns its report; the report is also the message of the failure.
    """

    def audit(
        source: "str | PathLike[str] | Module | Mapping[str, Any]",
        *,
        select: Sequence[str] = (),
        ignore: Sequence[str] = (),
        exclude: Sequence[str] = (),
        fail_on: str = "error",
        key: str | None = None,
        batch: Any = None,
    ) -> "Report":
        __tracebackhide__ = True
        import initaudit

        report = initaudit.check(source, select=select, ignore=ignore, exclude=exclude, key=key, batch=batch)
        message = ""
        try:
            report.raise_for_findings(fail_on)
        except initaudit.FindingsError as error:
            message = str(error)
        if message:  # out here, so that no other exception stands before the report
            pytest.fail(message, pytrace=False)
        return report

    return audit
