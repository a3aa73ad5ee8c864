"""The arrays of torch, on one of its devices."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from initaudit.draws.arrays import Array

SPLIT = 134217729.0
"""2^27 + 1, by which a float64 is split in two halves whose products are exact (Dekker 1971)."""

HALF, WHOLE = 1 << 15, 1 << 16


class Torch:
    """torch's arrays on a device, such as ``cuda``."""

    def __init__(self, device: str) -> None:
        self.device = device

    def counters(self, begin: int, end: int) -> Array:
        """See `Arrays`."""
        return torch.arange(begin, end, dtype=torch.int64, device=self.device)

    def interleaved(self, lanes: Sequence[Array]) -> Array:
        """See `Arrays`."""
        return torch.stack(tuple(lanes), dim=1).reshape(-1).double()

    def bits(self, values: Array) -> Array:
        """See `Arrays`."""
        return values.view(torch.int64)

    def floats(self, bits: Array) -> Array:
        """See `Arrays`."""
        return bits.view(torch.float64)

    def to_integers(self, values: Array) -> Array:
        """See `Arrays`."""
        return values.long()

    def to_floats(self, values: Array) -> Array:
        """See `Arrays`."""
        return values.double()

    def floor(self, values: Array) -> Array:
        """See `Arrays`."""
        return torch.floor(values)

    def root(self, values: Array) -> Array:
        """See `Arrays`; torch's own on a CPU is off by up to 0.62 ulp: one step with an exact residual rounds it."""
        found = torch.sqrt(values)
        spread = found * SPLIT
        high = spread - (spread - found)
        low = found - high
        square = found * found
        error = (high * high - square) + 2 * (high * low)
        error = error + low * low
        step = ((values - square) - error) / (2 * found)
        return torch.where(found > 0, found + step, found)

    def clipped(self, values: Array, low: float | None, high: float | None) -> Array:
        """See `Arrays`."""
        return torch.clamp(values, low, high)

    def where(self, condition: Array, one: Array, other: Array) -> Array:
        """See `Arrays`."""
        return torch.where(condition, one, other)

    def places(self, condition: Array) -> Array:
        """See `Arrays`."""
        return condition.nonzero().reshape(-1)

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """See `Arrays`."""
        return torch.zeros(shape, dtype=torch.float64, device=self.device)

    def largest(self, values: Array) -> float:
        """See `Arrays`."""
        return float(values.max())

    def sorted_rows(self, values: Array) -> Array:
        """See `Arrays`."""
        return values.sort(dim=1).values

    def turned(self, matrix: Array) -> Array:
        """See `Arrays`."""
        return matrix.T.contiguous()

    def product(self, one: Array, other: Array) -> Array:
        """See `Arrays`."""
        return one @ other

    def packed(self, values: Array, width: int) -> NDArray[np.uint8]:
        """See `Arrays`."""
        if width == 2:
            cast = torch.where(values >= HALF, values - WHOLE, values).to(torch.int16)
        else:
            cast = values.to({8: torch.float64, 4: torch.float32, 1: torch.uint8}[width])
        packed: NDArray[np.uint8] = cast.contiguous().cpu().view(torch.uint8).numpy()
        return packed
