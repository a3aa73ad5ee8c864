"""Tensors that share their bytes are redrawn together or not at all: what lies in two is nobody's to change alone."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from initaudit.checkpoint.sharing import sharing
from initaudit.checkpoint.values import Entry
from initaudit.layers.values import Part
from initaudit.repair.values import Plan, Redraw, Unrepaired

RIGHT_AS_CONSTANTS = frozenset({"bias", "norm_scale", "norm_shift", "running_stat", "rnn_bias", "buffer"})
"""What may be right where the weight that it is a part of is wrong as one constant."""


def without_shared(plan: Plan, parts: Mapping[str, Part]) -> Plan:
    """A plan less the tensors that have bytes of others which are not redrawn with them; these are unrepaired."""
    redraws = {redraw.tensor: redraw for redraw in plan.redraws}
    needs: dict[str, list[str]] = defaultdict(list)
    barred: list[tuple[str, str]] = []
    for shard in plan.checkpoint.shards:
        for entry, other in sharing((*shard.entries, *shard.beside), redraws.keys()):
            if _are_drawn_alike(entry, other, redraws):
                needs[other.name].append(entry.name)
            elif not _is_faulty_with(entry, other, plan, parts):
                barred.append((entry.name, other.name))
    reasons: dict[str, str] = {}
    while barred:
        name, other_name = barred.pop()
        if name not in reasons:
            reasons[name] = f"shares bytes with {other_name}, which is not redrawn with it: save them apart"
            barred += [(dependent, name) for dependent in needs[name]]
    kept = tuple(redraw for redraw in plan.redraws if redraw.tensor not in reasons)
    left = (
        Unrepaired(plan.checkpoint.path, name, redraws[name].rules, reason) for name, reason in sorted(reasons.items())
    )
    return replace(plan, redraws=kept, unrepaired=(*plan.unrepaired, *left))


def _are_drawn_alike(entry: Entry, other: Entry, redraws: Mapping[str, Redraw]) -> bool:
    """Whether both are redrawn, and so that it does not matter who draws the bytes that they share."""
    if other.name not in redraws or entry.dtype != other.dtype:
        return False
    one, another = redraws[entry.name].remedy, redraws[other.name].remedy
    return (one.scheme, one.parameters) == (another.scheme, another.parameters)


def _is_faulty_with(entry: Entry, part: Entry, plan: Plan, parts: Mapping[str, Part]) -> bool:
    """Whether a part of a tensor is known to be as wrong as the whole, which is one constant."""
    is_part = part.dtype == entry.dtype and entry.begin <= part.begin and part.end <= entry.end and not entry.strides
    is_constant = plan.before[entry.name].is_constant
    return is_part and is_constant and part.name in parts and parts[part.name].role not in RIGHT_AS_CONSTANTS
