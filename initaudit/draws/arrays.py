"""What the draw asks of a library of arrays: operations that every device rounds alike, and no others.

Those are integer words, ``+ - * /`` of float64 and its square root, comparisons, and moving values about. An array's
own operators serve for arithmetic; each is a call of its own, so that nothing contracts a product and a sum to one
rounding. No sine, exponential or logarithm of a library is among them: these differ between processors.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any
"""An array of the library in use."""


class Arrays(Protocol):
    """A library of arrays on one device."""

    def counters(self, begin: int, end: int) -> Array:
        """The integers from ``begin`` up, in words of 64 bits whose products wrap."""

    def interleaved(self, lanes: Sequence[Array]) -> Array:
        """Words below 2^32 of several arrays in turn, as float64."""

    def bits(self, values: Array) -> Array:
        """The bits of float64 values as int64."""

    def floats(self, bits: Array) -> Array:
        """The float64 values of some bits."""

    def to_integers(self, values: Array) -> Array:
        """Whole float64 values as int64."""

    def to_floats(self, values: Array) -> Array:
        """Integers as float64."""

    def floor(self, values: Array) -> Array:
        """The next whole number below."""

    def root(self, values: Array) -> Array:
        """The square root, rounded correctly."""

    def clipped(self, values: Array, low: float | None, high: float | None) -> Array:
        """Values within bounds."""

    def where(self, condition: Array, one: Array, other: Array) -> Array:
        """One value or the other."""

    def places(self, condition: Array) -> Array:
        """Where a condition holds, in a vector."""

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """Zeros in float64."""

    def largest(self, values: Array) -> float:
        """The largest of some values."""

    def sorted_rows(self, values: Array) -> Array:
        """The integers of each row in order."""

    def turned(self, matrix: Array) -> Array:
        """A matrix with rows for columns, in its own memory."""

    def product(self, one: Array, other: Array) -> Array:
        """The product of two matrices of whole numbers, whose sums all are below 2^53: no order rounds them."""

    def packed(self, values: Array, width: int) -> NDArray[np.uint8]:
        """The bytes of float64 values cast to 8 or 4 bytes each, or of non-negative integers of 2 or 1."""
