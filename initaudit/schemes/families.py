"""Families of distributions, told apart by likelihood: normal, uniform, and normals cut at two or three deviations.

For a cut normal, ``sigma`` is the deviation of what was drawn, not of its parent.
"""

import math
from dataclasses import dataclass

from initaudit.significance import HARD_Z, SMALL_P, variance_z
from initaudit.statistics.values import Statistics


@dataclass(frozen=True, slots=True)
class Family:
    """A symmetric law of deviation 1: its kurtosis, its edge, and the standard error of a sample's kurtosis times √N.

    ``mass`` is the part of the parent within the cut and ``shrink`` the deviation that the cut leaves of 1.
    """

    name: str
    kurtosis: float
    kurtosis_error: float
    edge: float = math.inf
    mass: float = 1.0
    shrink: float = 1.0

    @property
    def log_std_error(self) -> float:
        """The standard error of ln(std), times √N: √((kurtosis - 1)/4)."""
        return math.sqrt((self.kurtosis - 1) / 4)


NORMAL = Family("normal", 3.0, 4.8990)
UNIFORM = Family("uniform", 1.8, 1.1474, edge=math.sqrt(3))
# Moments of a normal cut at c: m_k = (k - 1)·m_{k-2} - 2·c^(k-1)·φ(c)/Z with Z = 2Φ(c) - 1 (Johnson & Kotz 1970).
TRUNCATED = Family("trunc_normal", 2.365537, 1.9617, edge=2 / 0.8796256610, mass=0.9544997, shrink=0.8796256610)
TRUNCATED_3 = Family("trunc_normal_3", 2.828886, 3.2599, edge=3 / 0.9865783926, mass=0.9973002, shrink=0.9865783926)
FAMILIES = (NORMAL, UNIFORM, TRUNCATED, TRUNCATED_3)

LEAST_COUNT = 64
"""Fewer values do not tell a family: at 64 a normal is taken for another one time in two, and none decides."""

DECISIVE_GAP = 7.0
"""Nats of likelihood between the best family and the next for a verdict: wrong in fewer than 8 of 10,000 tensors."""

FIT_Z = 5.0
"""Standard errors within which a deviation fits: 6e-7 for a normal."""

SMALL_SAMPLE, FIT_Z_SMALL = 64, 7.0
"""Of fewer bounded values the variance has a heavier lower tail: 8.5e-5 beyond 5 at N = 8, none beyond 7 in 4e6."""

EDGE_SLACK = {"F64": 1e-9, "F32": 2.0**-22, "F16": 2.0**-10, "BF16": 2.0**-8}
"""How far rounding may carry a value over the edge; float8 has 2^-3."""


def family_of(values: Statistics) -> Family | None:
    """The family that a tensor with mean zero shows, or None where it shows none of these.

    A normal that might as well be one cut at three deviations is called a normal.
    """
    count, rms = values.moments.count, values.moments.rms
    if count < LEAST_COUNT or rms == 0:
        return None
    scores = {family: _log_likelihood(family, count, rms, values.largest) for family in FAMILIES}
    best = max(FAMILIES, key=lambda family: scores[family])
    if best is TRUNCATED_3 and scores[TRUNCATED_3] - scores[NORMAL] < DECISIVE_GAP:
        best = NORMAL
    others = [scores[family] for family in FAMILIES if family not in (best, TRUNCATED_3)]
    if scores[best] - max(others) < DECISIVE_GAP or not _has_kurtosis_of(best, values):
        return None
    return best


def fits(values: Statistics, dtype: str, family: Family, sigma: float) -> bool:
    """Whether a tensor is consistent with draws of deviation ``sigma`` and mean zero from a family.

    The second moment lies within five standard errors, and the largest value not over the edge, nor so far under it as
    that many draws come with a probability of 1e-9 only. float8 and bfloat16 round the moment by up to 2 % and 0.3 %.
    """
    count, rms = values.moments.count, values.moments.rms
    if rms == 0 or sigma == 0:
        return False
    floor = {"F64": 1e-6, "F32": 1e-4, "F16": 1e-3, "BF16": 3e-3}.get(dtype, 0.02)
    ratio = rms / sigma  # squares of the smallest numbers are zero
    off = variance_z(ratio * ratio, count, 1.0, family.kurtosis)
    bounded = math.isfinite(family.edge)
    lowest = -FIT_Z_SMALL if bounded and count < SMALL_SAMPLE else -FIT_Z
    if abs(math.log(rms) - math.log(sigma)) > floor and not lowest < off < FIT_Z:
        return False
    if not bounded:
        return True
    largest = values.largest / sigma / family.edge
    slack = EDGE_SLACK.get(dtype, 2.0**-3)
    return _nearest_edge(family, count) - slack <= largest <= 1 + slack


def _nearest_edge(family: Family, count: int) -> float:
    """What part of the way to the edge the largest of so many values comes, but for a probability of `SMALL_P`."""
    if family is UNIFORM:  # it lies under t with probability t^N
        return float(SMALL_P ** (1 / count))
    # Its distance to the edge is exponential, with the density at the edge times N as the rate.
    return 1 - math.log(1 / SMALL_P) / (_edge_rate(family) * count)


def _edge_rate(family: Family) -> float:
    cut = family.edge * family.shrink
    return 2 * cut * math.exp(-cut * cut / 2) / math.sqrt(2 * math.pi) / family.mass


def _log_likelihood(family: Family, count: int, rms: float, largest: float) -> float:
    """The largest log-likelihood of a family over its scale, the mean being zero."""
    if family is UNIFORM:
        return -count * math.log(2 * largest * (count + 1) / count)
    constant = 0.5 * math.log(2 * math.pi)
    if family is NORMAL:
        return -count * (math.log(rms) + 0.5 + constant)
    parent = max(rms, largest / (family.edge * family.shrink))
    return -count * (math.log(parent * family.mass) + constant) - count * (rms / parent) ** 2 / 2


def _has_kurtosis_of(family: Family, values: Statistics) -> bool:
    """Whether the kurtosis is the family's: a mixture may be likelier under one family than under the others."""
    kurtosis, count = values.moments.kurtosis, values.moments.count
    if kurtosis is None or count < 300:
        return True
    apart = abs(kurtosis - family.kurtosis)
    # Under 10,000 values the kurtosis of a normal sample is skewed: its upper tail is twice as long.
    patience = HARD_Z * (2.0 if count < 10_000 else 1.0)
    return apart < max(0.05, patience * family.kurtosis_error / math.sqrt(count))
