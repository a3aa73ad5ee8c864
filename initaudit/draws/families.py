"""Values that are drawn one by one: each from its own words, whatever else is drawn."""

import math
from collections.abc import Mapping

from initaudit.draws.arrays import Array, Arrays
from initaudit.draws.functions import (
    exponential,
    inverse_softplus,
    logarithm,
    normal_quantile,
    normal_within,
)
from initaudit.draws.words import Stream, words

CELL = 2.0**-32
FINE_BITS = 20
"""Of the second word of a value in float64, so that one half more than all its 52 bits is exact."""


def centred(arrays: Arrays, stream: Stream, begin: int, end: int, *, fine: bool = False) -> Array:
    """Exact uniform values between -1/2 and 1/2, in the middle of 2^32 cells; of 2^52 where they are to be ``fine``."""
    if not fine:
        values = words(arrays, stream, begin, end)
        values += 0.5
        values *= CELL
        values -= 0.5
        return values
    pairs = words(arrays, stream, 2 * begin, 2 * end).reshape(-1, 2)
    values = pairs[:, 0] * 2.0**FINE_BITS
    values += arrays.floor(pairs[:, 1] * 2.0 ** (FINE_BITS - 32))
    values += 0.5
    values *= CELL * 2.0**-FINE_BITS
    values -= 0.5
    return values


def drawn_values(
    arrays: Arrays, family: str, given: Mapping[str, float], stream: Stream, begin: int, end: int, *, fine: bool
) -> Array:
    """The values ``[begin, end)`` of a law whose values are independent, in float64."""
    if family in ("zeros", "ones", "constant"):
        return arrays.zeros((end - begin,)) + given.get("value", float(family == "ones"))
    values = centred(arrays, stream, begin, end, fine=fine)
    match family:
        case "normal":
            return _moved(normal_quantile(arrays, values), given["std"], given["mean"])
        case "trunc_normal":
            cut = given["cut"]
            values *= normal_within(arrays, cut)
            values = arrays.clipped(normal_quantile(arrays, values), -cut, cut)
            return _moved(values, given["std"], given["mean"])
        case "uniform":
            low, high = given.get("low", -given.get("bound", 0.0)), given.get("high", given.get("bound", 0.0))
            return arrays.clipped(_moved(values, high - low, low / 2 + high / 2), low, high)
        case "log_uniform":
            low, high = given["low"], given["high"]
            return logarithm(arrays, _moved(values, high - low, low / 2 + high / 2))
        case "time_step":
            low, high = (_log_of(arrays, given[end]) for end in ("low", "high"))
            return inverse_softplus(arrays, exponential(arrays, _moved(values, high - low, low / 2 + high / 2)))
        case _:
            raise ValueError(f"values of {family} are not drawn one by one")


def table_values(
    arrays: Arrays, family: str, given: Mapping[str, float], shape: tuple[int, ...], begin: int, end: int
) -> Array:
    """The values ``[begin, end)`` of a table: rotary frequencies, or ln 1 ... ln N in each row."""
    if family == "rotary":
        powers = arrays.to_floats(arrays.counters(begin, end)) / -float(math.prod(shape))
        return exponential(arrays, powers * _log_of(arrays, given["base"]))
    columns = arrays.counters(begin, end) % shape[-1]
    return logarithm(arrays, arrays.to_floats(columns) + 1.0)


def _moved(values: Array, by: float, to: float) -> Array:
    values *= by
    values += to
    return values


def _log_of(arrays: Arrays, value: float) -> float:
    return float(logarithm(arrays, arrays.zeros((1,)) + value)[0])
