"""What the names of a law stand for at a tensor of a model."""

import math
import re
from collections import Counter

from initaudit.laws import Setting
from initaudit.layers.segments import segments, separator_of
from initaudit.model import Model, Tensor

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
    parts = segments(tensor.name)
    others = [segments(other.name) for other in model.kin(tensor)]
    differing = [at for at, part in enumerate(parts) if any(other[at] != part for other in others)]
    if not differing:
        return None
    separator, at = separator_of(tensor.name), differing[-1]
    numbers = list(_NUMBER.finditer(parts[at]))
    if not numbers:
        return None
    own = numbers[-1]
    prefix = separator.join((*parts[:at], parts[at][: own.start()]))
    items = model.remember(_lists)
    if prefix not in items:
        items[prefix] = _items(prefix, model)
    first, last = items[prefix]
    first = 0 if parts[at].isdigit() else first
    return int(own[0]) - first, last - first + 1


def _lists(model: Model) -> dict[str, tuple[int, int]]:
    """The lowest and highest number of each list that was asked about, by what stands before the number."""
    return {}


def _items(prefix: str, model: Model) -> tuple[int, int]:
    following = (_NUMBER.match(t.name, len(prefix)) for t in model.tensors if t.name.startswith(prefix))
    numbers = [int(match[0]) for match in following if match]
    return min(numbers), max(numbers)


def _width(model: Model) -> int | None:
    """The columns of the table of tokens, the largest that is looked up; else the most common last axis."""
    tables = [tensor for tensor in model.tensors if tensor.part.role == "embedding" and len(tensor.shape) == 2]
    if tables:
        return max(tables, key=lambda tensor: tensor.count).shape[1]
    last = Counter(tensor.shape[-1] for tensor in model.tensors if len(tensor.shape) > 1)
    return last.most_common(1)[0][0] if last else None
