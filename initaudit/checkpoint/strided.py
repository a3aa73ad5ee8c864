"""Tensors whose elements lie at strides: as entries, and whether these run into each other."""

import math
from collections.abc import Sequence

from initaudit.checkpoint.values import Entry


def strided_entry(name: str, code: str, width: int, shape: Sequence[int], strides: Sequence[int], begin: int) -> Entry:
    """A tensor of elements ``width`` bytes wide whose first is at byte ``begin``."""
    shape, strides = tuple(shape), tuple(strides)
    count = math.prod(shape)
    if is_in_order(shape, strides):
        return Entry(name, code, shape, begin, begin + count * width)
    spread = 1 + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    obstacle = f"is a view whose {count:,} elements overlap in memory" if _overlaps(shape, strides) else ""
    return Entry(name, code, shape, begin, begin + spread * width, strides, obstacle=obstacle)


def is_in_order(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether the elements lie one after the other, the last dimension running fastest."""
    if 0 in shape:
        return True
    expected = 1
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length != 1:
            if stride != expected:
                return False
            expected *= length
    return True


def _overlaps(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether elements may share their place, as those of an expanded tensor do."""
    reach = 0
    for stride, length in sorted((stride, length) for stride, length in zip(strides, shape, strict=True) if length > 1):
        if stride <= reach:
            return True
        reach += stride * (length - 1)
    return False
