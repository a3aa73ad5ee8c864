"""How far a measurement may lie from what chance would give: tests whose error rates are known.

A verdict needs both: a deviation beyond `HARD_Z` standard errors, and an effect that matters. With `HARD_Z` = 6 the
chance of one false verdict in 10^5 tensors under a dozen tests each is 2e-9 · 1.2e6 = 0.2 %.
"""

import math

HARD_Z = 6.0
"""Standard errors for a verdict: two-sided 2e-9 for a normal."""

SMALL_P = 1e-9
"""The tail probability that `HARD_Z` stands for, where a test has one of its own."""

LARGE_MEAN = 1000.0
"""From here on a Poisson law is normal to what `HARD_Z` asks."""

KURTOSIS_NORMAL = 3.0

# The probability that two independent values of a dtype are equal: Σ p², measured over a million normal and uniform
# draws, the larger of the two. float32 generators have 23 to 24 bits.
_COLLISION = {"F64": 2.0**-48, "F32": 2.0**-22, "F16": 2e-4, "BF16": 1.5e-3, "F8_E4M3": 2.9e-2, "F8_E4M3FNUZ": 2.9e-2}
_COLLISION_FLOAT8 = 4.2e-2

# The smallest number above zero of the dtypes that weights may come near to.
_TINY = {"F16": 2.0**-24, "F8_E4M3": 2.0**-9, "F8_E4M3FNUZ": 2.0**-10, "F8_E5M2": 2.0**-16, "F8_E5M2FNUZ": 2.0**-17}

FIXED_COUNTS = 10.0
"""Where each unit has the same number of nonzeros, they fall together up to seven times as often as thrown ones."""


def variance_z(squares: float, count: int, sigma: float, kurtosis: float) -> float:
    """How many standard errors the second moment ``squares`` = Σx²/N lies from ``sigma²``; the mean is 0 by assumption.

    The ratio is chi² with 2N/(kurtosis - 1) degrees of freedom (Satterthwaite 1946), made normal by its cube root
    (Wilson & Hilferty 1931): right in both tails from N = 8 on for normal values. The lower tail of
    bounded ones is heavier up to N = 64 (8.5e-5 beyond 5 at N = 8).
    """
    freedom = 2 * count / (kurtosis - 1)
    spread = 2 / (9 * freedom)
    return (math.cbrt(squares / sigma**2) - (1 - spread)) / math.sqrt(spread)


def dispersion_z(ratio: float, freedom: int) -> float:
    """How many standard errors a variance ratio lies from 1, with that many degrees of freedom (Wilson-Hilferty)."""
    spread = 2 / (9 * freedom)
    return (math.cbrt(ratio) - (1 - spread)) / math.sqrt(spread)


def log_std_error(count: int, kurtosis: float | None) -> float:
    """The standard error of ln(std) of ``count`` independent values: √((kurtosis - 1) / 4N)."""
    return math.sqrt(max((kurtosis or KURTOSIS_NORMAL) - 1, 0.1) / (4 * max(count, 1)))


def collision(dtype: str, sigma: float) -> float:
    """The probability that two independent values of deviation ``sigma`` are equal once rounded to their dtype.

    Near the smallest numbers of a dtype values are multiples of it: then it is 0.29·tiny/sigma (2/√(4π)/2).
    """
    rounded = 0.29 * _TINY.get(dtype, 0.0) / sigma if sigma > 0 else 0.0
    return min(1.0, max(_COLLISION.get(dtype, _COLLISION_FLOAT8), rounded))


def chance_equal_pairs(units: int, size: int, dtype: str, sigma: float, density: float = 1.0) -> float:
    """How many pairs among ``units`` of ``size`` independent values each are expected to be equal by chance.

    ``density`` is the part of the values that is not zero; units of zeros alone are no pair.
    """
    zero = 1 - density
    same = zero * zero + density * density * collision(dtype, sigma)
    log_p = size * math.log(same)
    if zero > 0:
        log_p += math.log(FIXED_COUNTS) + math.log(-math.expm1(2 * size * math.log(zero) - log_p))
    return math.exp(min(math.log(max(units * (units - 1) / 2, 1e-300)) + log_p, 700.0))


def chance_zeros(count: int, dtype: str, sigma: float) -> float:
    """How many of ``count`` normal values of deviation ``sigma`` are expected to be rounded to zero by their dtype.

    P(0) = 2·f(0)·tiny/2 for the smallest subnormal ``tiny``; nothing for the wide dtypes.
    """
    return count * min(1.0, math.sqrt(2 / math.pi) * _TINY.get(dtype, 0.0) / 2 / sigma) if sigma > 0 else 0.0


def exceeds_poisson(observed: int, expected: float) -> bool:
    """Whether a Poisson law of that mean gives so many or more with a probability below `SMALL_P`."""
    if observed <= expected:
        return False
    if expected > LARGE_MEAN:
        return observed > expected + HARD_Z * math.sqrt(expected)
    log_term = observed * math.log(expected) - expected - math.lgamma(observed + 1) if expected > 0 else -math.inf
    # The terms of the tail fall at least geometrically, as observed > expected.
    return log_term - math.log1p(-expected / (observed + 1)) < math.log(SMALL_P)
