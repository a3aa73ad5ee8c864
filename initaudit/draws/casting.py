"""From float64 to the bytes of a dtype, rounded once, to the nearest and of two to the even one.

Two roundings, as of a cast through float32, give another float16 or bfloat16 for one value in some thousands.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from initaudit.draws.arrays import Array, Arrays


class Narrow(NamedTuple):
    """A dtype of 16 or 8 bits: its width in bytes, the bits of its mantissa, its exponent's bias, and its last code.

    What is too large gets the code after the last, which is infinity where there is one, else NaN.
    """

    width: int
    mantissa: int
    bias: int
    last: int
    has_minus_zero: bool = True


WIDE = {"F64": 8, "F32": 4}
NARROW = {
    "BF16": Narrow(2, 7, 127, 0x7F7F),
    "F16": Narrow(2, 10, 15, 0x7BFF),
    "F8_E4M3": Narrow(1, 3, 7, 0x7E),
    "F8_E5M2": Narrow(1, 2, 15, 0x7B),
    "F8_E4M3FNUZ": Narrow(1, 3, 8, 0x7F, has_minus_zero=False),
    "F8_E5M2FNUZ": Narrow(1, 2, 16, 0x7F, has_minus_zero=False),
}
WIDTHS = {**WIDE, **{name: kind.width for name, kind in NARROW.items()}}
"""The bytes of an element, of the dtypes that can hold a draw."""

LARGEST = 1.7976931348623157e308
WHOLE = 4503599627370496.0
"""2^52: what is added to it loses its fraction, rounded to even."""


def cast(arrays: Arrays, values: Array, dtype: str) -> NDArray[np.uint8]:
    """The bytes of float64 values in a dtype of `WIDTHS`, little-endian."""
    if dtype in WIDE:
        return arrays.packed(values, WIDE[dtype])
    kind = NARROW[dtype]
    bits = arrays.bits(values)
    sizes = arrays.clipped(arrays.where(bits < 0, -values, values), None, LARGEST)
    lowest = 1 - kind.bias
    exponents = arrays.clipped((arrays.bits(sizes) >> 52) - 1023, lowest, None)
    steps = sizes * arrays.floats((kind.mantissa + 1023 - exponents) << 52)
    steps += WHOLE
    steps -= WHOLE
    codes = arrays.to_integers(steps)
    codes += (exponents - lowest) << kind.mantissa
    codes = arrays.clipped(codes, None, kind.last + 1)
    negative = (bits < 0) if kind.has_minus_zero else (bits < 0) & (codes > 0)
    codes = arrays.where(negative, codes + (1 << (8 * kind.width - 1)), codes)
    if not kind.has_minus_zero:  # beyond the last code there is one NaN, whatever the sign
        codes = arrays.where(codes > 2 * kind.last + 1, kind.last + 1, codes)
    return arrays.packed(codes, kind.width)
