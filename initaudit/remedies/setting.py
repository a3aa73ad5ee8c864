"""What the names of a law stand for at a tensor of a model."""

import math
import re
from collections import Counter

from initaudit.laws import Setting
from initaudit.layers.segments import segments, separator_of
from initaudit.model import Model, Tensor, place

_NUMBER = re.compile(r"[0-9]{1,9}")


def setting_of(tensor: Tensor, model: Model) -> Setting:
    """The setting of a tensor, with None for what its shape, its kin and its model leave open."""
    part, shape = tensor.part, tensor.shape
    torchs = (math.prod(shape[1:]), shape[0] * math.prod(shape[2:])) if len(shape) > 1 else (None, None)
    block, blocks = _depth(tensor, model) or (None, None)
    return Setting(
        fan_in=part.fan_in or None,
        fan_out=part.fan_out or None,
        torch_fan_in=torchs[0] or None,
        torch_fan_out=torchs[1] or None,
        rows=shape[0] if shape else None,
        groups=part.groups,
        block=block,
        blocks=blocks,
        width=model.remember(_width),
        config=model.config,
        units=tensor.width or None,
    )


def _depth(tensor: Tensor, model: Model) -> tuple[int, int] | None:
    """Where a tensor stands in the innermost list in which it has kin, from 0, and how many items that list has.

    Flax and Keras may number from one: their lists begin where the lowest number is.
    """
    levels, lists = model.remember(_levels), model.remember(_lists)
    kind = place(tensor)
    if kind not in levels:
        levels[kind] = _level(tensor, model)
    at, parts = levels[kind], segments(tensor.name)
    numbers = [] if at is None else list(_NUMBER.finditer(parts[at]))
    if at is None or not numbers:
        return None
    own = numbers[-1]
    prefix = separator_of(tensor.name).join((*parts[:at], parts[at][: own.start()]))
    if prefix not in lists:
        lists[prefix] = _ends(prefix, model)
    first, last = lists[prefix]
    first = 0 if parts[at].isdigit() else first
    return int(own[0]) - first, last - first + 1


def _level(tensor: Tensor, model: Model) -> int | None:
    """Which segment, the last of them, tells a tensor from its kin; None where it has none."""
    parts = segments(tensor.name)
    others = [segments(other.name) for other in model.kin(tensor)]
    return max((at for at, part in enumerate(parts) if any(other[at] != part for other in others)), default=None)


def _ends(prefix: str, model: Model) -> tuple[int, int]:
    """The lowest and the highest number that follow what names begin with."""
    following = (_NUMBER.match(t.name, len(prefix)) for t in model.tensors if t.name.startswith(prefix))
    numbers = [int(match[0]) for match in following if match]
    return min(numbers), max(numbers)


def _levels(model: Model) -> dict[str, int | None]:
    """The levels of the places that were asked about: each may have thousands of tensors."""
    return {}


def _lists(model: Model) -> dict[str, tuple[int, int]]:
    """The ends of the lists that were asked about, by what stands before their numbers."""
    return {}


def _width(model: Model) -> int | None:
    """The columns of the table of tokens, the largest that is looked up; else the most common last axis."""
    tables = [tensor for tensor in model.tensors if tensor.part.role == "embedding" and len(tensor.shape) == 2]
    if tables:
        return max(tables, key=lambda tensor: tensor.count).shape[1]
    last = Counter(tensor.shape[-1] for tensor in model.tensors if len(tensor.shape) > 1)
    return last.most_common(1)[0][0] if last else None
