"""What a shape says once the layout is known: the fans."""

import math
from dataclasses import dataclass

from .values import Layout


@dataclass(frozen=True, slots=True)
class Fans:
    """How many inputs feed one output unit, and how many outputs one input feeds; None where that has no meaning."""

    fan_in: int | None = None
    fan_out: int | None = None


def fans(shape: tuple[int, ...], layout: Layout, groups: int = 1) -> Fans:
    """The fans of a tensor of this shape, receptive field included.

    ``out_in`` is [out, in/groups, k…], ``in_out`` [k…, in, out], ``conv_transposed`` [in, out/groups, k…] and
    ``embedding`` [entries, width].
    """
    if len(shape) < 2:
        return Fans()
    groups = max(groups, 1)
    match layout:
        case "out_in":
            field = math.prod(shape[2:])
            return Fans(shape[1] * field, shape[0] // groups * field)
        case "conv_transposed":
            field = math.prod(shape[2:])
            return Fans(shape[0] // groups * field, shape[1] * field)
        case "in_out":
            field = math.prod(shape[:-2])
            return Fans(shape[-2] * field, shape[-1] * field)
        case "embedding":
            return Fans(None, shape[1])
        case _:
            return Fans()


def stack_fans(shape: tuple[int, ...], *, turned: bool) -> Fans:
    """The fans of one matrix of a stack, whose last two dimensions are (in, out), or (out, in) where it is turned."""
    return Fans(shape[-1], shape[-2]) if turned else Fans(shape[-2], shape[-1])
