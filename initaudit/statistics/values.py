"""The fixed-size summary that one pass over a tensor leaves behind."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from initaudit.statistics.histogram import Histogram


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean and central sums ``mN = Σ (x - mean)^N`` of finite values, in float64."""

    count: int = 0
    mean: float = 0.0
    m2: float = 0.0
    m3: float = 0.0
    m4: float = 0.0

    @property
    def std(self) -> float:
        """The population standard deviation, 0 without values."""
        return math.sqrt(max(self.m2, 0.0) / self.count) if self.count else 0.0

    @property
    def rms(self) -> float:
        """The root mean square, which is the standard deviation about zero."""
        return math.hypot(self.std, self.mean)

    @property
    def kurtosis(self) -> float | None:
        """The raw kurtosis N·m4/m2² (3 for a normal, 1.8 for a uniform); None where the variance is zero."""
        spread = self.m2 * self.m2
        return self.count * self.m4 / spread if spread > 0 and math.isfinite(spread) else None


@dataclass(frozen=True, slots=True)
class Units:
    """What symmetry and dead units look like along one axis of a tensor.

    A unit is everything at one index of the axis (a row, a filter, a column); in a stack of matrices it is one row or
    one column of one matrix.
    """

    count: int
    """The number of units."""
    size: int
    """The number of elements of one unit."""
    dead: int = 0
    """How many units are zero throughout."""
    dead_at: tuple[int, ...] = ()
    """The first few indices of dead units."""
    equal: int = 0
    """How many units share all their values, bit for bit, with another unit; dead ones are left out."""
    classes: int = 0
    """Into how many classes of equals those units fall."""
    equal_at: tuple[int, ...] = ()
    """The first few indices of the largest class of equals."""
    density: float = 1.0
    """The part of the living units' elements that is not zero."""
    length_spread: float | None = None
    """Deviation over mean of the units' sums of squares: √((kurtosis - 1)/size) for independent values, 0 if equal."""
    lean: float | None = None
    """Variance of the units' sums over that of independent values: 1 for these, far more where all units share a
    direction (sums of inputs) or each has an offset of its own (sums of units)."""
    parts: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    """The mean square of each half, third, quarter, sixth and eighth of the units, where these are whole."""
    fewest: int = 0
    """The smallest number of nonzero elements of a unit."""
    most: int = 0
    """The largest number of nonzero elements of a unit."""
    occupancy: float | None = None
    """Variance of the living units' nonzero counts over that of zeros thrown at random; None where none are zero."""

    @property
    def living(self) -> int:
        """How many units are not dead."""
        return self.count - self.dead


class Sample(NamedTuple):
    """What the first few thousand elements of a tensor say by themselves."""

    sampled: int = 0
    """How many elements were looked at."""
    distinct: int = 0
    """How many different values there are among them."""
    common_value: float = 0.0
    commonest: int = 0
    """The value that most of them share, zero apart, and how many do."""
    signs: bytes = b""
    """The signs of the first elements, a bit each: those of the random stream, however it was scaled and rounded."""


NO_SAMPLE = Sample()


@dataclass(frozen=True, slots=True)
class Statistics:
    """Everything that is kept of a tensor's values.

    ``moments``, ``minimum`` and ``maximum`` are those of the finite values; ``units`` maps an axis of the tensor's
    shape to what its units look like and is empty for scalars and vectors.
    """

    count: int
    moments: Moments
    minimum: float
    maximum: float
    zeros: int = 0
    nan: int = 0
    positive_infinite: int = 0
    negative_infinite: int = 0
    sample: Sample = NO_SAMPLE
    """What the first elements say by themselves."""
    units: Mapping[int, Units] = field(default_factory=dict)
    column_spread: float | None = None
    """The `length_spread` of the columns of the tensor as a matrix of dim 0 by all the others (of a stack: each)."""

    is_symmetric: bool = False
    """Whether it is a square matrix that equals its own transpose."""
    histogram: Histogram | None = None
    """The shape of its values, where it was asked for."""
    key: int | None = None
    """A sum of its words, each by its place, that equal tensors have in common; of those that look like another."""

    @property
    def identity(self) -> object:
        """What equal tensors of one shape and dtype have in common: the exact key or, without one, all moments.

        Columns in another order may have the same moments to the last bit: the signs of the first values tell them.
        """
        return (self.moments, self.minimum, self.maximum, self.sample.signs) if self.key is None else self.key

    @property
    def nonfinite(self) -> int:
        """The number of NaNs and infinities."""
        return self.nan + self.positive_infinite + self.negative_infinite

    @property
    def mean(self) -> float:
        """The mean of the finite values."""
        return self.moments.mean

    @property
    def std(self) -> float:
        """The population standard deviation of the finite values."""
        return self.moments.std

    @property
    def largest(self) -> float:
        """The largest magnitude of the finite values."""
        return max(-self.minimum, self.maximum)

    @property
    def is_constant(self) -> bool:
        """Whether all elements are one and the same finite value."""
        return self.count > 0 and self.nonfinite == 0 and self.minimum == self.maximum
