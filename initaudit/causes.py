"""One cause gives one finding: what a rule takes for granted, others have judged before it."""

from collections.abc import Iterable, Mapping

from initaudit.errors import RuleError
from initaudit.faults import Fault
from initaudit.rule import RULES, Rule
from initaudit.suggestions import suggestion


def in_order(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules, each behind all that it takes for granted; else in the order of their codes.

    Raises:
        RuleError: two take each other for granted.

    """
    return tuple(sorted(rules, key=lambda rule: (len(granted(rule)), rule.code)))


def require_order(rules: Mapping[str, Rule]) -> None:
    """See that all that rules take for granted are rules, and that none takes itself for granted in the end.

    Raises:
        RuleError: it is not so; the message names the rule.

    """
    known = {rule.name: rule for rule in rules.values()}
    for rule in rules.values():
        for name in rule.takes_for_granted:
            if name not in known:
                hint = suggestion(name, known)
                raise RuleError(f"rule {rule.code} ({rule.name}) takes {name!r} for granted, which is no rule: {hint}")
        granted(rule, known)


def granted(rule: Rule, known: Mapping[str, Rule] | None = None) -> frozenset[str]:
    """The names of all rules that one takes for granted, those in turn that these do included.

    ``known`` are the rules that there are, by name: those that are not applied pass on what they take for granted.

    Raises:
        RuleError: it takes itself for granted in the end.

    """
    by_name = {other.name: other for other in RULES.values()} if known is None else known
    found: set[str] = set()
    waiting = list(rule.takes_for_granted)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += by_name[name].takes_for_granted if name in by_name else ()
    if rule.name in found:
        way = ", ".join(sorted(found - {rule.name}))
        raise RuleError(f"rule {rule.code} ({rule.name}) takes itself for granted, by way of {way}")
    return frozenset(found)


class Causes:
    """The tensors in which rules have found something so far, and how grave it is."""

    def __init__(self) -> None:
        self._ranks: dict[str, dict[str, int]] = {}

    def unexplained(self, rule: Rule, faults: Iterable[Fault]) -> list[Fault]:
        """The faults of the next rule that nothing which it takes for granted has explained.

        A fault is explained where something as grave was found in its tensor; one of several with a common cause where
        all of them are.
        """
        before, said = granted(rule), list(faults)
        ranked = [(fault, rule.severity_of(fault).rank) for fault in said]
        heard = {fault.cause for fault, rank in ranked if fault.cause and not self._is_explained(fault, rank, before)}
        kept = [
            fault
            for fault, rank in ranked
            if (fault.cause in heard if fault.cause else not self._is_explained(fault, rank, before))
        ]
        for fault in kept:
            rank, ranks = rule.severity_of(fault).rank, self._ranks.setdefault(fault.tensor, {})
            ranks[rule.name] = min(rank, ranks.get(rule.name, rank))
        return kept

    def _is_explained(self, fault: Fault, rank: int, before: frozenset[str]) -> bool:
        return any(other <= rank for name, other in self._ranks.get(fault.tensor, {}).items() if name in before)
