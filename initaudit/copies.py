"""Copies that are no longer equal: the same draw in another order, with its signs turned, or at another scale.

What one pass keeps of a tensor and no order changes are its moments and its extremes. Divided by the deviation they are
the same for a copy that was transposed, permuted, reversed or scaled, and of opposite sign where it was negated. Times
√N, mean, skewness and kurtosis of independent draws each spread by about one, so that two of them agree within τ in all
three with a probability of about τ³. Part of a copy, and a stream that was shifted, have other moments: those do not
show.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from initaudit.model import Tensor
from initaudit.names.segments import natural

ROUNDING = {"F64": 2.0**-24, "F32": 2.0**-24, "F16": 2.0**-11, "BF16": 2.0**-9}
"""The relative error of one value that was scaled and rounded; narrower dtypes say too little."""

SUMMED = 4e-7
"""The error of a mean of values in single precision, as a part of their deviation, that an order of sums makes."""

ERRORS = 8.0
"""Errors of rounding that are allowed: two copies have one each, and the fourth power takes four times as much."""

MOST_BY_CHANCE = 1e-6
"""Expected pairs that agree by chance up to which an agreement is a verdict."""

TAILED, TAIL = 2.5, 60.0
"""From this kurtosis on extremes vary, as those of a normal do, by a third of the deviation; of values four and a half
deviations out that are rounded, two agree with a probability of 60 roundings. The ends of a uniform say nothing."""

SAME_SCALE = 1e-5
"""Deviations that differ by less are one: no copy is scaled by so little."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """What makes a tensor a copy of another: the factor between them, and whether their values are in one order."""

    tensor: Tensor
    factor: float
    in_order: bool

    @property
    def words(self) -> str:
        """How it differs from the other, in words that follow "the same values"."""
        scaled = abs(abs(self.factor) - 1) > SAME_SCALE
        said = [
            "" if self.in_order else "in another order",
            f"times {self.factor:.4g}" if scaled else "with their signs turned" if self.factor < 0 else "",
        ]
        return " and ".join(word for word in said if word)


def disguised(tensors: Sequence[Tensor]) -> Iterator[tuple[Tensor, list[Likeness]]]:
    """Tensors with those that are copies of each, order, sign and scale aside; none of them equals another."""
    by_count: dict[int, list[Tensor]] = {}
    for tensor in tensors:
        if tensor.dtype in ROUNDING and tensor.statistics.moments.kurtosis is not None:
            by_count.setdefault(tensor.count, []).append(tensor)
    for several in by_count.values():
        if len(several) > 1:
            yield from _among(several)


def _among(tensors: list[Tensor]) -> Iterator[tuple[Tensor, list[Likeness]]]:
    """The copies among some tensors of one count; only neighbours in kurtosis are compared."""
    pairs = len(tensors) * (len(tensors) - 1) / 2
    ranked = sorted(tensors, key=_fourth)
    order = [_fourth(tensor) for tensor in ranked]
    taken: set[str] = set()
    for at, tensor in enumerate(ranked):
        if tensor.name in taken:
            continue
        end = bisect_right(order, order[at] + ERRORS * max(ROUNDING.values()) + _summed(tensor))
        members = [other for other in ranked[at + 1 : end] if _likeness(tensor, other, pairs) is not None]
        if members:
            taken.update(other.name for other in members)
            first, *others = sorted([tensor, *members], key=lambda one: natural(one.name))
            alike = [_likeness(first, other, pairs) for other in others]
            yield first, [found for found in alike if found is not None]


def _likeness(one: Tensor, other: Tensor, pairs: float) -> Likeness | None:
    a, b = _standard(one), _standard(other)
    factor = other.std / one.std
    is_scaled = abs(factor - 1) > SAME_SCALE or one.dtype != other.dtype
    rounding = max(ROUNDING[one.dtype], ROUNDING[other.dtype]) if is_scaled else 0.0
    within = ERRORS * rounding + _summed(one)
    normal = min(one.statistics.moments.kurtosis or 0.0, other.statistics.moments.kurtosis or 0.0) > TAILED
    extremes = min(1.0, TAIL * max(rounding, 2.0**-24)) ** 2 if normal and is_scaled else 1.0
    scale = 1.0 if is_scaled else within
    if within >= 1 or pairs * 2 * within**3 * scale * extremes > MOST_BY_CHANCE:
        return None
    for sign in (1, -1):
        turned = b if sign > 0 else (-b[0], -b[1], b[2], -b[4], -b[3])
        ends = 4 * max(rounding, 1e-6)
        if all(abs(x - y) <= within for x, y in zip(a[:3], turned[:3], strict=True)) and all(
            math.isclose(x, y, rel_tol=ends) for x, y in zip(a[3:], turned[3:], strict=True)
        ):
            return Likeness(other, sign * factor, _in_order(one, other, sign))
    return None


def _standard(tensor: Tensor) -> tuple[float, float, float, float, float]:
    """Mean, skewness and kurtosis times √N, and the extremes, all in deviations."""
    moments, std = tensor.statistics.moments, tensor.std
    root = math.sqrt(moments.count)
    skewness = moments.m3 / moments.count / std**3
    ends = tensor.statistics.minimum / std, tensor.statistics.maximum / std
    return root * moments.mean / std, root * skewness, _fourth(tensor), *ends


def _fourth(tensor: Tensor) -> float:
    return math.sqrt(tensor.count) * (tensor.statistics.moments.kurtosis or 0.0)


def _summed(tensor: Tensor) -> float:
    """The error of a moment times √N that the order of its sums makes."""
    return SUMMED * math.sqrt(tensor.count)


def _in_order(one: Tensor, other: Tensor, sign: int) -> bool:
    """Whether the signs of the first values are the same, or all turned."""
    first, second = one.statistics.sample.signs, other.statistics.sample.signs
    return second == (first if sign > 0 else bytes(~byte & 0xFF for byte in first))
