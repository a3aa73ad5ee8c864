"""From the bytes of a safetensors dtype to numbers: the one place where values are widened.

float16 and bfloat16 widen to float32 without loss, and so do the float8 kinds, through a table of their 256 codes.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32] | NDArray[np.float64]

_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}

# Exponent bits, mantissa bits and exponent bias of the float8 kinds, and what their special codes mean.
# Sources: "FP8 Formats for Deep Learning" (Micikevicius et al. 2022) for the fn and ieee kinds, "8-bit Numerical
# Formats for Deep Neural Networks" (Noune et al. 2022) for fnuz, the OCP Microscaling specification for E8M0.
_FLOAT8 = {
    "F8_E4M3": (4, 3, 7, "fn"),
    "F8_E5M2": (5, 2, 15, "ieee"),
    "F8_E4M3FNUZ": (4, 3, 8, "fnuz"),
    "F8_E5M2FNUZ": (5, 2, 16, "fnuz"),
    "F8_E8M0": (8, 0, 127, "power"),
}

JUDGED = frozenset(_WIDTHS) | frozenset(_FLOAT8)
"""The dtypes whose values are judged."""


def width(dtype: str) -> int:
    """The size of one element in bytes, for a judged dtype."""
    return _WIDTHS.get(dtype, 1)


def why_not_judged(dtype: str) -> str:
    """Why tensors of a dtype are listed as not judged."""
    if dtype == "BOOL" or dtype.startswith(("I", "U")):
        return f"{dtype} holds no weights: integers and masks are not initialised at random"
    if dtype == "C64":
        return "complex numbers are not judged"
    return f"dtype {dtype} is not judged: its values are packed or quantised"


def decode(raw: NDArray[np.uint8], dtype: str, into: NDArray[np.float32] | None = None) -> Floats:
    """The values of a piece of data, ``raw.size / width(dtype)`` of them, as float32 (F64: float64).

    F32 and F64 are views of ``raw``; the others are written to the begin of ``into``, where it is given.
    """
    if dtype == "F64":
        return raw.view("<f8")
    if dtype == "F32":
        return raw.view("<f4")
    count = raw.size // width(dtype)
    widened = np.empty(count, np.float32) if into is None else into[:count]
    if dtype == "F16":
        widened[:] = raw.view("<f2")
    elif dtype == "BF16":
        bits = widened.view(np.uint32)
        bits[:] = raw.view("<u2")
        bits <<= 16
    else:
        _float8_table(dtype).take(
            raw, out=widened, mode="clip"
        )  # no code is beyond the table; "raise" copies once more
    return widened


@cache
def _float8_table(dtype: str) -> NDArray[np.float32]:
    """The values of the 256 codes of a float8 kind."""
    exponent_bits, mantissa_bits, bias, flavour = _FLOAT8[dtype]
    code = np.arange(256)
    if flavour == "power":
        values: NDArray[np.float64] = np.exp2(code.astype(np.float64) - bias)
        values[255] = np.nan
        return values.astype(np.float32)
    sign = np.where(code & 0x80, -1.0, 1.0)
    exponent = (code >> mantissa_bits) & ((1 << exponent_bits) - 1)
    mantissa = (code & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    subnormal = exponent == 0
    values = sign * np.exp2(np.where(subnormal, 1, exponent) - bias) * np.where(subnormal, mantissa, 1.0 + mantissa)
    if flavour == "fnuz":  # one NaN in the place of minus zero, no infinities
        values[0x80] = np.nan
    elif flavour == "fn":  # no infinities; the all-ones codes are NaN
        values[[0x7F, 0xFF]] = np.nan
    else:  # as IEEE 754: the largest exponent is infinity, or NaN with a mantissa
        largest = exponent == (1 << exponent_bits) - 1
        values[largest] = np.where(mantissa[largest] == 0, sign[largest] * np.inf, np.nan)
    return values.astype(np.float32)
