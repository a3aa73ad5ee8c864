"""Which rules there are, and which of them are asked for."""

import hashlib
import pkgutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import import_module, invalidate_caches
from pathlib import Path
from types import ModuleType

from initaudit.causes import require_order
from initaudit.errors import InitauditError, RuleError, SelectionError
from initaudit.locations import absolute
from initaudit.rule import RULES, Rule
from initaudit.suggestions import suggestion

GROUP = "initaudit.rules"
"""The entry points by which an installed distribution offers rules: each names a module, or a package of them."""

FOLDER = "initaudit_rules_"
"""What the package is called that a folder of rules becomes, followed by a digest of its path."""


def load_rules(*folders: Path) -> Mapping[str, Rule]:
    """Import the built-in rules, then each folder's, then those of installed packages, and return all by code.

    Raises:
        RuleError: a rule cannot be imported, is not well formed, takes a code or a name in use, or takes for granted
            what is no rule or is itself. A gate that checked less must not pass.

    """
    _forget_folders()
    for package in ("initaudit.rules", *map(_package_of, folders), *_plugins()):
        _import(package)
        for module in pkgutil.iter_modules(getattr(sys.modules[package], "__path__", ())):
            if not module.name.startswith("_"):
                _import(f"{package}.{module.name}")
    require_order(RULES)
    return dict(sorted(RULES.items()))


def _import(name: str) -> None:
    try:
        import_module(name)
    except InitauditError:
        raise
    except (Exception, SystemExit) as error:
        place = sys.modules.get(name.rpartition(".")[0])
        where = f"{name.rpartition('.')[2]} of {next(iter(place.__path__))}" if place else name
        raise RuleError(f"rule {where} cannot be imported: {type(error).__name__}: {error}") from error


def _plugins() -> list[str]:
    """The modules or packages that installed distributions name in the entry-point group `GROUP`."""
    from importlib.metadata import entry_points

    return sorted({point.module for point in entry_points(group=GROUP)})


def has_rules(folder: Path) -> bool:
    """Whether there are modules in a folder that may declare rules."""
    return any(not module.name.startswith("_") for module in pkgutil.iter_modules([str(absolute(folder))]))


def _package_of(folder: Path) -> str:
    """Make a folder a package of its own, whatever it is called, and return the package's name.

    Raises:
        RuleError: it is no folder, or has no rules.

    """
    path = str(absolute(folder))
    if not Path(path).is_dir():
        raise RuleError(f"{folder}: is no folder of rules")
    if not has_rules(folder):
        raise RuleError(f"{folder}: has no rules (modules of Python)")
    invalidate_caches()  # a file may be younger than the last look at its folder
    package = ModuleType(f"{FOLDER}{hashlib.sha256(path.encode()).hexdigest()[:12]}", f"The rules of {path}.")
    package.__path__ = [path]
    sys.modules[package.__name__] = package
    return package.__name__


def _forget_folders() -> None:
    """Take away what an earlier call has loaded from folders: their rules are those of that call alone."""
    for name in [name for name in sys.modules if name.startswith(FOLDER)]:
        del sys.modules[name]
    for code in [code for code, rule in RULES.items() if rule.check.__module__.startswith(FOLDER)]:
        del RULES[code]


def select_rules(
    rules: Mapping[str, Rule],
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    among: Collection[str] | None = None,
) -> tuple[Rule, ...]:
    """The rules that ``select`` names (all of them where it is empty) less those that ``ignore`` names.

    A selector is a code (``IA101``), a prefix of codes (``IA1``), a name (``zero-weight``) or ``ALL``. Where both lists
    speak of a rule the more exact selector wins, and ``ignore`` where they are equally exact. ``among``, if given, are
    the codes of rules that apply without being named.

    Raises:
        SelectionError: a selector fits no rule.

    """
    for selector in (*select, *ignore):
        find_rules(rules, selector)
    chosen = []
    for rule in rules.values():
        unasked = not select if among is None else rule.code in among
        wanted = max([0 if unasked else -1, *(_exactness(rule, selector) for selector in select)])
        unwanted = max((_exactness(rule, selector) for selector in ignore), default=-1)
        if wanted >= 0 and wanted > unwanted:
            chosen.append(rule)
    return tuple(chosen)


def find_rules(rules: Mapping[str, Rule], selector: str) -> tuple[Rule, ...]:
    """The rules that one selector names.

    Raises:
        SelectionError: there is none; the message offers the nearest.

    """
    found = tuple(rule for rule in rules.values() if _exactness(rule, selector) >= 0)
    if not found:
        hint = suggestion(selector, _selectors(rules.values()), otherwise="`initaudit rule` lists them")
        raise SelectionError(f"no rule is called {selector!r}: {hint}")
    return found


def _exactness(rule: Rule, selector: str) -> int:
    """How exactly a selector speaks of a rule, -1 if not at all: ALL 0, a prefix its length, code and name 100."""
    if selector == "ALL":
        return 0
    if selector in (rule.code, rule.name):
        return 100
    return len(selector) if selector and rule.code.startswith(selector.upper()) else -1


def _selectors(rules: Iterable[Rule]) -> list[str]:
    return [selector for rule in rules for selector in (rule.code, rule.name)]
