"""initaudit: the linter for freshly initialised checkpoints.

>>> import initaudit
>>> report = initaudit.check("model.safetensors")
>>> report.raise_for_findings()
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initaudit.errors import CheckpointError, InitauditError

if TYPE_CHECKING:
    from initaudit.findings import Finding, FindingsError, Report
    from initaudit.rule import Rule, Severity

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "Finding",
    "FindingsError",
    "InitauditError",
    "Report",
    "Rule",
    "Severity",
    "check",
]

# Imported when first asked for: `import initaudit` alone is to cost nothing.
_HOMES = {
    "Finding": "initaudit.findings",
    "FindingsError": "initaudit.findings",
    "Report": "initaudit.findings",
    "Rule": "initaudit.rule",
    "Severity": "initaudit.rule",
}


def check(
    source: str | PathLike[str],
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> "Report":
    """Audit the checkpoints behind a path, as ``initaudit check`` does.

    Args:
        source: a ``.safetensors`` file, an index of shards, or a folder with either.
        select: codes, prefixes or names of the rules to apply; all of them where it is empty.
        ignore: codes, prefixes or names of rules to leave out.
        exclude: globs of tensor names to leave out.

    Returns:
        The report. What could not be read is among its ``failures``, and it is not ``ok``.

    Raises:
        SelectionError: ``select`` or ``ignore`` names no rule.
        RuleError: a rule cannot be loaded.
        TypeError: a string was given where a list of names is taken.

    """
    if any(isinstance(names, str) for names in (select, ignore, exclude)):
        raise TypeError("select, ignore and exclude take a list of names, not one string")
    from initaudit.audit import audit
    from initaudit.registry import load_rules, select_rules

    return audit([Path(source)], select_rules(load_rules(), select=select, ignore=ignore), exclude=exclude)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
