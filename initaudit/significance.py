"""How far a measurement may lie from what chance would give: tests whose error rates are known.

A verdict needs both: a deviation beyond `HARD_Z` standard errors, and an effect that matters. With `HARD_Z` = 6 the
chance of one false verdict in 10^5 tensors under a dozen tests each is 2e-9 · 1.2e6 = 0.2 %; the tests below were
measured not to exceed it (no alarm in 10^5 simulated tensors, n from 16 to 65,536).
"""

import math

HARD_Z = 6.0
"""Standard errors for a verdict: two-sided 2e-9 for a normal."""

SMALL_P = 1e-9
"""The tail probability that `HARD_Z` stands for, where a test has one of its own."""

LARGE_MEAN = 1000.0
"""From here on a Poisson law is normal to what `HARD_Z` asks."""

KURTOSIS_UNIFORM = 1.8
KURTOSIS_NORMAL = 3.0

# The probability that two independent values of a dtype are equal: Σ p², measured over normal draws, and for uniform
# ones in bfloat16 and float8, whichever is larger. float32 generators have 23 to 24 bits.
_COLLISION = {"F64": 2.0**-48, "F32": 2.0**-22, "F16": 1.1e-4, "BF16": 1.4e-3}
_COLLISION_FLOAT8 = 2.9e-2


def variance_z(squares: float, count: int, sigma: float, kurtosis: float) -> float:
    """How many standard errors the second moment ``squares`` = Σx²/N lies from ``sigma²``; the mean is 0 by assumption.

    The ratio is chi² with 2N/(kurtosis - 1) degrees of freedom (Satterthwaite 1946), made normal by its cube root
    (Wilson & Hilferty 1931): right in both tails from N = 8 on, where a plain z is not.
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


def chance_equal_pairs(units: int, size: int, dtype: str) -> float:
    """How many pairs among ``units`` of ``size`` independent values each are expected to be equal by chance."""
    log_p = size * math.log(_COLLISION.get(dtype, _COLLISION_FLOAT8))
    return math.exp(min(math.log(max(units * (units - 1) / 2, 1e-300)) + log_p, 700.0))


def chance_zeros(count: int, dtype: str, sigma: float) -> float:
    """How many of ``count`` normal values of deviation ``sigma`` are expected to be rounded to zero by their dtype.

    P(0) = 2·f(0)·tiny/2 for the smallest subnormal ``tiny``; nothing for the wide dtypes.
    """
    tiny = {"F16": 2.0**-24, "F8_E4M3": 2.0**-9, "F8_E4M3FNUZ": 2.0**-10, "F8_E5M2": 2.0**-16, "F8_E5M2FNUZ": 2.0**-17}
    return count * min(1.0, math.sqrt(2 / math.pi) * tiny.get(dtype, 0.0) / 2 / sigma) if sigma > 0 else 0.0


def exceeds_poisson(observed: int, expected: float) -> bool:
    """Whether a Poisson law of that mean gives so many or more with a probability below `SMALL_P`."""
    if observed <= expected:
        return False
    if expected > LARGE_MEAN:
        return observed > expected + HARD_Z * math.sqrt(expected)
    log_term = observed * math.log(expected) - expected - math.lgamma(observed + 1) if expected > 0 else -math.inf
    # The terms of the tail fall at least geometrically, as observed > expected.
    return log_term - math.log1p(-expected / (observed + 1)) < math.log(SMALL_P)
