"""One cause gives one finding: of what several rules say of a tensor, and of what one rule says of many tensors."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from initaudit.model import Fault, Model, Tensor, place

PRECEDENCE = (
    "non-finite",
    "garbage-value",
    "nonzero-bias",
    "odd-norm-scale",
    "nonzero-norm-shift",
    "zero-weight",
    "constant-weight",
    "equal-units",
    "dead-units",
    "unfilled-block",
    "repeated-value",
    "few-valued-weight",
    "outlying-value",
    "scattered-zeros",
    "off-centre-weight",
    "common-direction",
    "uneven-units",
    "unscaled-residual",
    "skipped-init",
    "vanishing-weight",
    "exploding-weight",
    "odd-distribution",
)
"""The rules that judge the values of a tensor by themselves, each before those that take for granted what it asks.

Half of a weight that is dead makes its deviation smaller, a sign that is lost its mean, its deviation and its kurtosis
odd: a tensor in which one of them has found something is not asked about by those behind it. All of them have one
remedy, another draw, after which every rule is asked anew.
"""


def precedence(rule: str) -> int:
    """The place of a rule in `PRECEDENCE`, -1 where it has none: what it finds has a cause of its own."""
    return PRECEDENCE.index(rule) if rule in PRECEDENCE else -1


class Causes:
    """The tensors in which rules of `PRECEDENCE` have found something so far, and how grave it is."""

    def __init__(self) -> None:
        self._ranks: dict[str, int] = {}

    def unexplained(self, rule: str, faults: Iterable[tuple[Fault, int]]) -> list[Fault]:
        """The faults of the next rule that nothing before has explained, given with their ranks, 0 for the gravest.

        A fault is explained where something as grave was found in all its tensors.
        """
        if precedence(rule) < 0:
            return [fault for fault, _ in faults]
        kept = []
        for fault, rank in faults:
            if any(self._ranks.get(name, rank + 1) > rank for name in fault.tensors):
                kept.append((fault, rank))
        for fault, rank in kept:
            for name in fault.tensors:
                self._ranks[name] = min(rank, self._ranks.get(name, rank))
        return [fault for fault, _ in kept]


FEW_PLACES = 2
"""At so many places of a block, and in half of all tensors of their roles, a fault is the whole model's."""


def merge(faults: Iterable[Fault], model: Model) -> tuple[Fault, ...]:
    """The faults that one rule found, those of one tensor each brought together.

    They are one where their severity is one and they stand at one place of several blocks; or at `FEW_PLACES` and
    more, if they are half of what the model has of their roles: then no block is to blame.
    """
    groups: dict[tuple[str | None, object], list[Fault]] = {}
    for number, fault in enumerate(faults):
        alone = len(fault.tensors) == 1 and fault.tensors[0] in model
        groups.setdefault((fault.severity, place(model[fault.tensors[0]]) if alone else number), []).append(fault)
    for severity in {severity for severity, _ in groups}:
        single = [key for key in groups if key[0] == severity and isinstance(key[1], str)]
        found = [model[fault.tensors[0]] for key in single for fault in groups[key]]
        if len(single) >= FEW_PLACES and _is_everywhere(found, model):
            groups[severity, "everywhere"] = [fault for key in single for fault in groups.pop(key)]
    return tuple(_as_one(group, model) for group in groups.values())


def _is_everywhere(found: list[Tensor], model: Model) -> bool:
    roles = {tensor.part.role for tensor in found}
    return 2 * len(found) >= sum(tensor.part.role in roles for tensor in model.tensors)


def _as_one(group: list[Fault], model: Model) -> Fault:
    first = group[0]
    if len(group) == 1:
        return first
    names = tuple(name for fault in group for name in fault.tensors)
    places = Counter(place(model[name]) for name in names)
    where = "of its place" if len(places) == 1 else f"at {len(places)} places"
    more = f"; {len(names) - 1:,} more {where} alike"
    return replace(first, tensors=names, message=first.message + more)
