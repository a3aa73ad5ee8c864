"""initaudit: the linter for freshly initialised checkpoints.

>>> import initaudit
>>> report = initaudit.check("model.safetensors")  # or a torch.nn.Module, or a state dict
>>> report.raise_for_findings()
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initaudit.errors import CheckpointError, InitauditError, RuleError, SelectionError
from initaudit.version import __version__ as __version__

if TYPE_CHECKING:
    from torch.nn import Module

    from initaudit.findings import Finding
    from initaudit.repair import Repair
    from initaudit.report.face import FindingsError, Report
    from initaudit.rule import Rule, Severity

__all__ = [
    "CheckpointError",
    "Finding",
    "FindingsError",
    "InitauditError",
    "Repair",
    "Report",
    "Rule",
    "RuleError",
    "SelectionError",
    "Severity",
    "check",
    "fix",
]

# Imported when first asked for: `import initaudit` alone is to cost nothing.
_HOMES = {
    "Finding": "initaudit.findings",
    "FindingsError": "initaudit.report.face",
    "Repair": "initaudit.repair",
    "Report": "initaudit.report.face",
    "Rule": "initaudit.rule",
    "Severity": "initaudit.rule",
}


def check(
    source: "str | PathLike[str] | Module | Mapping[str, Any]",
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    exclude: Sequence[str] = (),
    key: str | None = None,
    recursive: bool = True,
    alpha: float = 1e-3,
    batch: Any = None,
) -> "Report":
    """Audit a live model, or the checkpoints behind a path, as ``initaudit check`` does.

    A model is audited where its tensors lie, on whatever device; nothing is changed or gathered.

    Args:
        source: a weight file, an index of shards or a folder with either; a `torch.nn.Module`; or a state dict.
        select: codes, prefixes or names of the rules to apply; all of them where it is empty.
        ignore: codes, prefixes or names of rules to leave out.
        exclude: globs of tensor names to leave out.
        key: leads to the state dict in what nests several, its parts joined by dots.
        recursive: look through the folders below one that is named, two levels deep.
        alpha: the number of false alarms that chance may give in a healthy checkpoint, on average; between 0 and 1.
        batch: for a module: a tensor, a tuple of positional inputs, a dict of keyword inputs, or a function that runs
            the model and returns its outputs. Backward passes then show which parameters ever get a gradient, instead
            of what their values let one suppose. The model, its gradients and all random states are left as they were.

    Returns:
        The report. What could not be read is among its ``failures``, and it is not ``ok``.

    Raises:
        SelectionError: ``select`` or ``ignore`` names no rule.
        RuleError: a rule cannot be loaded.
        TypeError: a string was given where a list of names is taken, the source is none of these, or the batch is none.
        ValueError: ``alpha`` does not lie between 0 and 1.

    """
    _require_lists(select=select, ignore=ignore, exclude=exclude)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha lies between 0 and 1, and is not {alpha!r}")
    from initaudit.audit import audit
    from initaudit.registry import load_rules, select_rules
    from initaudit.report.face import Report
    from initaudit.understanding import Reading

    rules = select_rules(load_rules(), select=select, ignore=ignore)
    if isinstance(source, str | PathLike):
        if batch is not None:
            raise TypeError("batch goes with a torch.nn.Module, not with a path")
        return Report.of(audit([Path(source)], rules, Reading(exclude, key, recursive, alpha=alpha)))
    try:
        from initaudit.modules import audit_live
    except ImportError as error:
        raise TypeError(f"without torch check takes a path, not {type(source).__name__} ({error})") from error
    return Report.of(audit_live(source, rules, exclude=exclude, key=key, batch=batch, alpha=alpha))


def fix(
    path: str | PathLike[str],
    *,
    output: str | PathLike[str] | None = None,
    in_place: bool = False,
    backup: bool = False,
    force: bool = False,
    seed: int = 0,
    schemes: Sequence[str] = (),
    device: str = "auto",
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    exclude: Sequence[str] = (),
    key: str | None = None,
    recursive: bool = True,
) -> "Repair":
    """Redraw what `check` reports at warning or above, as ``initaudit fix`` does; a dry run if nothing says where to.

    Args:
        path: as for `check`.
        output: a file for a file, a folder for a folder or an index; not there yet, unless ``force``.
        in_place: rewrite the file itself, in one step.
        backup: with ``in_place``, keep the original as ``NAME.orig``.
        force: write over an output that is there.
        seed: of all random streams, one for each tensor's name.
        schemes: ``[GLOB=]SCHEME``, as for ``--scheme``; the last that covers a tensor counts.
        device: ``auto``, ``cpu`` or ``cuda``.
        select: rules whose findings are repaired, as for `check`.
        ignore: rules whose findings are not.
        exclude: globs of tensor names to leave as they are.
        key: leads to the state dict, as for `check`.
        recursive: look through the folders below one that is named, as for `check`.

    Returns:
        What was redrawn, and what was not and why.

    Raises:
        InitauditError: a scheme, rule or device is not known, torch is missing, or something cannot be written.
        ValueError: both ``output`` and ``in_place`` were given, or ``backup`` without ``in_place``.
        TypeError: a string was given where a list is taken.

    """
    _require_lists(schemes=schemes, select=select, ignore=ignore, exclude=exclude)
    if output is not None and in_place:
        raise ValueError("output and in_place exclude each other")
    if backup and not in_place:
        raise ValueError("backup goes with in_place")
    from initaudit.registry import load_rules, select_rules
    from initaudit.remedies import wish_of
    from initaudit.repair import Destination
    from initaudit.repair import fix as repair
    from initaudit.understanding import Reading

    rules = select_rules(load_rules(), select=select, ignore=ignore)
    destination = Destination(Path(output) if output is not None else None, in_place, backup, force)
    wishes = [wish_of(text) for text in schemes]
    reading = Reading(exclude, key, recursive)
    return repair(Path(path), rules, destination, reading, wishes=wishes, seed=seed, device=device)


def _require_lists(**given: Sequence[str]) -> None:
    """Refuse a string, which is a sequence of its letters: a glob `*` among them would match everything."""
    for name, texts in given.items():
        if isinstance(texts, str):
            raise TypeError(f"{name} takes a list of strings, not one string")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
