"""Which rules there are, and which of them are asked for."""

import difflib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module

from initaudit.errors import InitauditError, RuleError, SelectionError
from initaudit.rule import RULES, Rule


def load_rules() -> Mapping[str, Rule]:
    """Import all rules and return them by code, in the order of their codes.

    Raises:
        RuleError: a rule cannot be imported or is not well formed. A gate that checked less must not pass.

    """
    package = "initaudit.rules"
    for module in pkgutil.iter_modules(import_module(package).__path__):
        try:
            import_module(f"{package}.{module.name}")
        except InitauditError:
            raise
        except Exception as error:
            raise RuleError(f"rule {module.name} cannot be imported: {type(error).__name__}: {error}") from error
    return dict(sorted(RULES.items()))


def select_rules(
    rules: Mapping[str, Rule], *, select: Sequence[str] = (), ignore: Sequence[str] = ()
) -> tuple[Rule, ...]:
    """The rules that ``select`` names (all of them where it is empty) less those that ``ignore`` names.

    A selector is a code (``IA101``), a prefix of codes (``IA1``), a name (``zero-weight``) or ``ALL``. Where both lists
    speak of a rule the more exact selector wins, and ``ignore`` where they are equally exact.

    Raises:
        SelectionError: a selector fits no rule.

    """
    for selector in (*select, *ignore):
        find_rules(rules, selector)
    chosen = []
    for rule in rules.values():
        wanted = max((_exactness(rule, selector) for selector in select), default=0)
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
        near = difflib.get_close_matches(selector, _selectors(rules.values()), n=1)
        near = near or [name for name in _selectors(rules.values()) if selector.lower() in name][:1]
        hint = f"did you mean {near[0]!r}?" if near else "`initaudit rule` lists them"
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
