"""What the names of a law stand for at a tensor of a model."""

import math
from collections import Counter

from initaudit.laws import Setting
from initaudit.model import Model, Tensor


def setting_of(tensor: Tensor, model: Model) -> Setting:
    """The setting of a tensor, with None for what its shape, its kin and its model leave open."""
    part, shape = tensor.part, tensor.shape
    torchs = (math.prod(shape[1:]), shape[0] * math.prod(shape[2:])) if len(shape) > 1 else (None, None)
    depth = model.blocks.innermost(tensor.name)
    return Setting(
        fan_in=part.fan_in or None,
        fan_out=part.fan_out or None,
        torch_fan_in=torchs[0] or None,
        torch_fan_out=torchs[1] or None,
        rows=shape[0] if shape else None,
        groups=part.groups,
        block=depth.index if depth else None,
        blocks=depth.count if depth else None,
        width=model.remember(_width),
        config=model.config,
        units=tensor.width or None,
    )


def _width(model: Model) -> int | None:
    """The columns of the table of tokens, the largest that is looked up; else the most common last axis."""
    tables = [tensor for tensor in model.tensors if tensor.part.role == "embedding" and len(tensor.shape) == 2]
    if tables:
        return max(tables, key=lambda tensor: tensor.count).shape[1]
    last = Counter(tensor.shape[-1] for tensor in model.tensors if len(tensor.shape) > 1)
    return last.most_common(1)[0][0] if last else None
