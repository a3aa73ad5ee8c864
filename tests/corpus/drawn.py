"""Statistics of tensors that nobody drew: scaled, measured from an array, or drawn themselves.

A tensor of a million values costs 10 ms to draw and to measure, its statistics drawn by their own law a tenth of one.
The `LARGEST` magnitudes are drawn as what they are, the largest order statistics; the others are then independent
values of the law cut at the least of these, so that their power sums are normal but for terms of 1/√N. The largest lie
in units by lot, the units' other squares add up to gamma variables with the right variance, and their values to normal
ones; both add up to the tensor's own.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from scipy import special

from initaudit.checkpoint.reading import Memory
from initaudit.checkpoint.values import Entry
from initaudit.statistics import Moments, Statistics, Units, measure
from initaudit.statistics.sample import SAMPLED, SIGNS, sample_of
from initaudit.statistics.units import PARTS
from initaudit.statistics.values import Sample

Values = NDArray[np.float64]
DTYPES = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16), "BF16": np.dtype(ml_dtypes.bfloat16)}

LARGEST = 32
"""How many of the largest magnitudes are drawn one by one: behind them fourth powers have a law without a long tail."""

GRID = 1 << 14
"""Points at which a law's partial moments are kept."""


@dataclass(frozen=True)
class Law:
    """A symmetric law of deviation 1: what magnitude is exceeded with a probability, and its partial moments."""

    exceeded: Callable[[Values], Values]
    shares: Values
    """P(|x| < t) at some points t, from 0 on."""
    moments: Mapping[int, Values]
    """E[|x|^k; |x| < t] at the same points, for even k."""


@cache
def law(name: str) -> Law:
    """The law of a name: normal, uniform, laplace, "cut at 2" (deviations), "t5" (of five degrees of freedom)."""
    exceeded = _exceeded(name)
    # Dense where magnitudes are large, so that no tail is lost.
    above = np.concatenate([np.linspace(1, 1e-3, GRID // 2, endpoint=False), np.logspace(-3, -12, GRID // 2)])
    points = exceeded(above)
    steps, middles = -np.diff(above), (points[1:] + points[:-1]) / 2
    moments = {k: np.concatenate([[0.0], np.cumsum(steps * middles**k)]) for k in (2, 4, 6, 8)}
    return Law(exceeded, 1 - above, moments)


def _exceeded(name: str) -> Callable[[Values], Values]:
    if name == "normal":
        return lambda above: -special.ndtri(above / 2)
    if name == "uniform":
        return lambda above: math.sqrt(3) * (1 - above)
    if name == "laplace":
        return lambda above: -np.log(above) / math.sqrt(2)
    if name.startswith("cut at "):
        cut = float(name.removeprefix("cut at "))
        outside = float(2 * special.ndtr(-cut))
        shrink = math.sqrt(1 - 2 * cut * math.exp(-cut * cut / 2) / math.sqrt(2 * math.pi) / (1 - outside))
        return lambda above: -special.ndtri((above * (1 - outside) + outside) / 2) / shrink
    freedom = float(name.removeprefix("t"))
    return lambda above: -special.stdtrit(freedom, above / 2) * math.sqrt(1 - 2 / freedom)


def draw(name: str, shape: tuple[int, ...], generator: np.random.Generator) -> Values:
    """Values of a law of deviation 1."""
    if name == "normal":
        return generator.standard_normal(shape)
    if name == "uniform":
        return generator.uniform(-math.sqrt(3), math.sqrt(3), shape)
    both = generator.uniform(-1, 1, shape)
    return np.copysign(law(name).exceeded(1 - np.abs(both)), both)


def measured(values: NDArray[np.floating], dtype: str = "F32") -> Statistics:
    """The statistics of an array, rounded to a dtype, as a file of it would have them."""
    data = np.ascontiguousarray(values, DTYPES[dtype])
    raw = np.frombuffer(data.tobytes(), np.uint8)
    return measure(Memory(0, raw), Entry("drawn", dtype, data.shape, 0, len(raw)))


def scaled(one: Statistics, factor: float) -> Statistics:
    """The statistics of the same values times a positive factor; exact but for the rounding to narrow dtypes."""
    moments = one.moments
    return replace(
        one,
        moments=Moments(
            moments.count,
            moments.mean * factor,
            moments.m2 * factor**2,
            moments.m3 * factor**3,
            moments.m4 * factor**4,
        ),
        minimum=one.minimum * factor,
        maximum=one.maximum * factor,
        sample=one.sample._replace(common_value=one.sample.common_value * factor),
        units={
            axis: replace(
                units, parts={count: tuple(part * factor**2 for part in parts) for count, parts in units.parts.items()}
            )
            for axis, units in one.units.items()
        },
    )


def drawn(
    name: str, shape: tuple[int, int], std: float, generator: np.random.Generator, dtype: str = "F32"
) -> Statistics:
    """Statistics with the law that those of a matrix of draws have: of a law's name, a shape, and a deviation."""
    rows, columns = shape
    count = rows * columns
    of = law(name)
    # The largest magnitudes: uniform order statistics are partial sums of exponentials over their total.
    waits = np.cumsum(generator.standard_exponential(LARGEST))
    above = waits / (waits[-1] + generator.gamma(count + 1 - LARGEST))
    top = of.exceeded(above)
    signs = np.where(generator.random(LARGEST) < 0.5, -1.0, 1.0)
    rest = count - LARGEST
    share = 1 - above[-1]
    m2, m4, m6, m8 = (float(np.interp(share, of.shares, of.moments[k])) / share for k in (2, 4, 6, 8))
    odd = _pair(m2, m4, m6, 0.0, 0.0, rest, generator)
    even = _pair(m4 - m2 * m2, m6 - m2 * m4, m8 - m4 * m4, m2, m4, rest, generator)
    s1, s3 = odd[0] + float((signs * top).sum()), odd[1] + float((signs * top**3).sum())
    s2, s4 = even[0] + float((top**2).sum()), even[1] + float((top**4).sum())
    mean = s1 / count
    moments = Moments(
        count,
        mean,
        s2 - count * mean**2,
        s3 - 3 * mean * s2 + 2 * count * mean**3,
        s4 - 4 * mean * s3 + 6 * mean**2 * s2 - 3 * count * mean**4,
    )
    # The largest of each sign: among the first LARGEST both signs occur, but for a chance of 2^-31.
    positive, negative = top[signs > 0], top[signs < 0]
    highest = float(positive[0]) if positive.size else float(top[-1])
    lowest = -float(negative[0]) if negative.size else -float(top[-1])
    units = {
        axis: _units(n, size, s1, even[0] / rest, even[1] / rest, top, generator)
        for axis, n, size in ((0, rows, columns), (1, columns, rows))
    }
    one = Statistics(
        count=count,
        moments=moments,
        minimum=lowest,
        maximum=highest,
        sample=_sample(name, count, std, dtype, generator),
        units=units,
        column_spread=units[1].length_spread,
    )
    result = scaled(one, std)
    if dtype != "F32":  # the largest lie on the dtype's grid, which is coarser than their distances
        low, high = np.array([result.minimum, result.maximum]).astype(DTYPES[dtype]).astype(np.float64).tolist()
        result = replace(result, minimum=low, maximum=high)
    return replace(result, sample=one.sample)


def _pair(
    first: float, both: float, second: float, mean: float, other: float, count: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Two sums of ``count`` values each, normal with these variances, covariance and means of one value."""
    a, b = generator.standard_normal(2)
    slope = both / first
    left = max(second - slope * both, 0.0)
    root = math.sqrt(count)
    one = math.sqrt(first) * a * root
    return count * mean + one, count * other + slope * one + math.sqrt(left) * b * root


def _units(
    count: int, size: int, total: float, m2: float, m4: float, top: Values, generator: np.random.Generator
) -> Units:
    """What the units along an axis look like: the largest values lie in some of them, the others have these moments."""
    where = generator.integers(count, size=len(top))
    others = size - np.bincount(where, minlength=count)
    lengths = generator.gamma(np.maximum(others, 0.5) * m2 * m2 / (m4 - m2 * m2))
    lengths *= m2 * others.sum() / lengths.sum()
    lengths += np.bincount(where, top**2, minlength=count)
    sums = generator.standard_normal(count) * math.sqrt(lengths.sum() / count)
    sums += (total - sums.sum()) / count
    middle = lengths.mean()
    up_to = np.concatenate([[0.0], np.cumsum(lengths)])
    parts = {}
    for number in PARTS:
        width, over = divmod(count, number)
        if not over and width >= 2:
            parts[number] = tuple((np.diff(up_to[::width]) / (width * size)).tolist())
    expected = middle - sums.mean() ** 2 / size
    return Units(
        count=count,
        size=size,
        fewest=size,
        most=size,
        length_spread=float(lengths.std() / middle),
        lean=float(sums.var() / expected),
        parts=parts,
    )


def _sample(name: str, count: int, std: float, dtype: str, generator: np.random.Generator) -> Sample:
    """What the first elements say: of float32 all differ, of narrower dtypes values are drawn and looked at."""
    if dtype == "F32":
        return Sample(min(count, SAMPLED), min(count, SAMPLED), std, 1, generator.bytes(min(count, SIGNS) // 8))
    values = (draw(name, (min(count, SAMPLED),), generator) * std).astype(DTYPES[dtype])
    return sample_of(np.frombuffer(values.tobytes(), np.uint8), dtype)
