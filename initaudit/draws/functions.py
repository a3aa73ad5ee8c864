"""Logarithm, exponential and the normal quantile in ``+ - * /`` and the square root alone, each the same everywhere.

The errors that are stated were measured against 50 digits.
"""

import math
from collections.abc import Sequence

from initaudit.draws.arrays import Array, Arrays

LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""ln 2 in two parts, the first short enough that its products with exponents are exact (as in fdlibm)."""

FRACTION, EXPONENT_OF_ONE, MANTISSA_BITS = (1 << 52) - 1, 1023, 52
ROOT_HALF = 0.7071067811865476

LOG_TERMS = 11
"""Of 2·artanh z = 2z·Σ z²ᵏ/(2k + 1) with z² up to 0.0295: what is left out is below 1e-17 of it."""

EXP_TERMS = 14
"""Of eʳ with r up to ln(2)/2: what is left out is below 1e-17."""

SMALL_STEP = 0.25
"""Up to here 1 - e⁻ˢ is summed as a series, which keeps its digits."""

CENTRE, SPLIT, FAR = 0.425, 0.180625, 5.0
# Wichura (1988), algorithm AS 241, PPND16: for the middle, for tails, and for tails beyond r = 5.
_MIDDLE = (
    (3.3871328727963666080, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_TAIL = (
    (1.42343711074968357734, 4.63033784615654529590, 5.76949722146069140550, 3.64784832476320460504,
     1.27045825245236838258, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187, 1.67638483018380384940, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_FAR_TAIL = (
    (6.65790464350110377720, 5.46378491116411436990, 1.78482653991729133580, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip


def logarithm(arrays: Arrays, values: Array) -> Array:
    """The natural logarithm of positive, normal float64 values, to 2 ulp."""
    bits = arrays.bits(values)
    exponents = (bits >> MANTISSA_BITS) - EXPONENT_OF_ONE + 1
    fractions = arrays.floats((bits & FRACTION) | ((EXPONENT_OF_ONE - 1) << MANTISSA_BITS))  # from 1/2 to 1
    low = fractions < ROOT_HALF
    fractions = arrays.where(low, fractions + fractions, fractions)
    powers = arrays.to_floats(arrays.where(low, exponents - 1, exponents))
    z = (fractions - 1.0) / (fractions + 1.0)
    series = _polynomial([1 / (2 * k + 1) for k in range(LOG_TERMS)], z * z)
    series *= z
    series *= 2.0
    series += powers * LN2_LOW
    series += powers * LN2_HIGH
    return series


def exponential(arrays: Arrays, values: Array) -> Array:
    """The exponential of float64 values from -700 to 700, to 2 ulp; beyond it is that of the end."""
    values = arrays.clipped(values, -700.0, 700.0)
    powers = arrays.floor(values * (1 / math.log(2)) + 0.5)
    rest = values - powers * LN2_HIGH
    rest -= powers * LN2_LOW
    series = _polynomial([1 / math.factorial(k) for k in range(EXP_TERMS)], rest)
    series *= arrays.floats((arrays.to_integers(powers) + EXPONENT_OF_ONE) << MANTISSA_BITS)
    return series


def inverse_softplus(arrays: Arrays, values: Array) -> Array:
    """What softplus makes some positive values of: s + ln(1 - e⁻ˢ)."""
    small = arrays.clipped(values, None, SMALL_STEP)
    series = _polynomial([(-1) ** k / math.factorial(k + 1) for k in range(EXP_TERMS)], small)
    series *= small
    whole = 1.0 - exponential(arrays, -values)
    return values + logarithm(arrays, arrays.where(values > SMALL_STEP, whole, series))


def normal_quantile(arrays: Arrays, centred: Array) -> Array:
    """Where a standard normal has 1/2 + ``centred`` below it, for a vector of values between -1/2 and 1/2.

    To 2e-15 of the value in the middle and in the tails, down to a probability of 2^-53.
    """
    square = centred * centred
    found = _ratio(_MIDDLE, arrays.clipped(SPLIT - square, 0.0, None))
    found *= centred
    tails = arrays.places(square > CENTRE * CENTRE)
    if len(tails):
        ends = centred[tails]
        upper = ends > 0
        root = arrays.root(-logarithm(arrays, 0.5 - arrays.where(upper, ends, -ends)))
        size = _ratio(_TAIL, root - 1.6)
        far = arrays.places(root > FAR)
        if len(far):
            size[far] = _ratio(_FAR_TAIL, root[far] - FAR)
        found[tails] = arrays.where(upper, size, -size)
    return found


def normal_within(arrays: Arrays, cut: float) -> float:
    """How much of a standard normal lies within ±``cut``: erf(c/√2), by its series in powers of c², to 1e-15."""
    if cut > 8.3:
        return 1.0  # but for less than half an ulp
    term = total = cut
    number = 1
    while term > total * 1e-18:
        term *= cut * cut / (2 * number + 1)
        total += term
        number += 1
    density = arrays.zeros((1,)) - cut * cut / 2
    return min(1.0, float(exponential(arrays, density)[0]) * total * math.sqrt(2 / math.pi))


def _ratio(coefficients: tuple[Sequence[float], Sequence[float]], at: Array) -> Array:
    found = _polynomial(coefficients[0], at)
    found /= _polynomial(coefficients[1], at)
    return found


def _polynomial(coefficients: Sequence[float], at: Array) -> Array:
    """Horner's rule, each product and each sum rounded; the first coefficient is the constant one."""
    found = at * coefficients[-1]
    for coefficient in coefficients[-2:0:-1]:
        found += coefficient
        found *= at
    found += coefficients[0]
    return found
