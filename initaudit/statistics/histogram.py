"""The shape of a tensor's values, from a sample that touches every part of it.

Only a page asks for it. The sample is taken from the pieces of the one pass, and what is kept of it has a fixed size.
"""

import math
from dataclasses import dataclass
from itertools import count as count_from
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLED = 8192
"""Values of a tensor that are looked at, or somewhat fewer: a bin that holds 4 % of them is known to 5 %."""

FENCE = 3.0
"""Quartile distances beyond the quartiles up to which bins reach (Tukey 1977, "far out"): 4.7 deviations of a normal.
What lies beyond is counted, so that one outlying value does not squeeze all the others into one bin."""

SHORTEST = 1e-300
"""The shortest range that is divided into bins: float64 has denormal numbers below 1e-307."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of sampled finite values in equal bins over ``[low, high]``; one bin where all of these are equal.

    ``below`` and ``above`` count those beyond the bins.
    """

    low: float
    high: float
    counts: tuple[int, ...]
    below: int = 0
    above: int = 0

    @property
    def sampled(self) -> int:
        """How many values were counted."""
        return sum(self.counts) + self.below + self.above

    @property
    def edges(self) -> tuple[float, ...]:
        """The borders of the bins, one more than there are bins."""
        bins = len(self.counts)
        return tuple(self.low + (self.high - self.low) * at / bins for at in range(bins + 1))

    @property
    def bars(self) -> tuple[tuple[float, float, int], ...]:
        """Each bin: from, to, and how many values it holds."""
        return tuple((low, high, n) for (low, high), n in zip(pairwise(self.edges), self.counts, strict=True))


class Sampler:
    """Takes every n-th value of a tensor out of its pieces as they pass, from the first to the last."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._stride = stride_of(shape)
        self._seen = 0
        self._kept: list[NDArray[np.float64]] = []

    def add(self, values: NDArray[Any]) -> None:
        """Look at the next piece, one-dimensional, in the order of memory."""
        taken = values[-self._seen % self._stride :: self._stride].astype(np.float64)
        self._seen += values.size
        self._kept.append(taken[np.isfinite(taken)])

    def histogram(self) -> Histogram | None:
        """What was seen so far; None where no finite value was, or their range is none of float64."""
        return histogram_of(np.concatenate(self._kept)) if self._kept else None


def histogram_of(values: NDArray[np.float64]) -> Histogram | None:
    """The histogram of some finite values; None of no values, or of a range whose density would not be finite."""
    if not values.size:
        return None
    low, high = float(values.min()), float(values.max())
    filled = values[values != 0]  # a part that nobody filled is to narrow nothing
    quarter = filled.size // 4
    first, third = np.partition(filled, (quarter, -1 - quarter))[[quarter, -1 - quarter]] if filled.size else (0.0, 0.0)
    reach = FENCE * float(third - first)
    if reach > 0:
        low, high = max(low, float(first) - reach), min(high, float(third) + reach)
    if low == high:
        return Histogram(low, high, (values.size,))
    if not SHORTEST < high - low < math.inf:
        return None
    counts, _ = np.histogram((values - low) / (high - low), bins_of(values.size), (0.0, 1.0))
    below, above = int(np.count_nonzero(values < low)), int(np.count_nonzero(values > high))
    return Histogram(low, high, tuple(counts.tolist()), below, above)


def bins_of(count: int) -> int:
    """How many bins show the shape of so many values, and not their noise: Rice's rule, 2·∛N; 41 of a whole sample."""
    return math.ceil(2 * math.cbrt(count))


def stride_of(shape: tuple[int, ...]) -> int:
    """The step between sampled values: a prime that divides no dimension, so that no row, column or head is missed."""
    least = math.ceil(math.prod(shape) / SAMPLED)
    if least <= 1:
        return 1
    return next(step for step in count_from(least) if _is_prime(step) and all(size % step for size in shape))


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))
