"""The arrays of numpy, on this machine: the reference for every other device."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from initaudit.draws.arrays import Array


class Host:
    """numpy's arrays."""

    def counters(self, begin: int, end: int) -> Array:
        """See `Arrays`."""
        return np.arange(begin, end, dtype=np.uint64)

    def interleaved(self, lanes: Sequence[Array]) -> Array:
        """See `Arrays`."""
        values = np.empty((len(lanes[0]), len(lanes)))
        for number, lane in enumerate(lanes):
            values[:, number] = lane.view(np.int64)  # signed ones convert in one instruction
        return values.reshape(-1)

    def bits(self, values: Array) -> Array:
        """See `Arrays`."""
        return values.view(np.int64)

    def floats(self, bits: Array) -> Array:
        """See `Arrays`."""
        return bits.view(np.float64)

    def to_integers(self, values: Array) -> Array:
        """See `Arrays`."""
        return values.astype(np.int64)

    def to_floats(self, values: Array) -> Array:
        """See `Arrays`."""
        return values.astype(np.float64)

    def floor(self, values: Array) -> Array:
        """See `Arrays`."""
        return np.floor(values)

    def root(self, values: Array) -> Array:
        """See `Arrays`."""
        return np.sqrt(values)

    def clipped(self, values: Array, low: float | None, high: float | None) -> Array:
        """See `Arrays`."""
        if low is not None:
            values = np.maximum(values, low)
        return values if high is None else np.minimum(values, high)

    def where(self, condition: Array, one: Array, other: Array) -> Array:
        """See `Arrays`."""
        return np.where(condition, one, other)

    def places(self, condition: Array) -> Array:
        """See `Arrays`."""
        return np.flatnonzero(condition)

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """See `Arrays`."""
        return np.zeros(shape)

    def largest(self, values: Array) -> float:
        """See `Arrays`."""
        return float(values.max())

    def sorted_rows(self, values: Array) -> Array:
        """See `Arrays`."""
        return np.sort(values, axis=1)

    def turned(self, matrix: Array) -> Array:
        """See `Arrays`."""
        return np.ascontiguousarray(matrix.T)

    def product(self, one: Array, other: Array) -> Array:
        """See `Arrays`."""
        return one @ other

    def packed(self, values: Array, width: int) -> NDArray[np.uint8]:
        """See `Arrays`."""
        with np.errstate(over="ignore"):  # what is too large for the dtype is an infinity, as in torch
            return np.ascontiguousarray(values.astype(f"<{'u' if width < 4 else 'f'}{width}")).view(np.uint8)


HOST = Host()
