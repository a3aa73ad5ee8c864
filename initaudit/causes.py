"""One cause gives one finding: what one rule says of many tensors alike is said once, with the list."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from initaudit.model import Fault, Model, Tensor, place

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
