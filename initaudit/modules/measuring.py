"""The one pass over a tensor where it lies: in host memory by numpy without a copy, on a device by torch.

What leaves a device are sums, and the first few thousand elements. Sums there run in float64, so that they are those of
the host to more digits than any rule looks at.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from initaudit.checkpoint.reading import Memory
from initaudit.checkpoint.values import Entry
from initaudit.statistics import Moments, Scratch, Statistics, measure
from initaudit.statistics.grid import PIECE_ELEMENTS, Grid, fixed_odds, fixed_weights
from initaudit.statistics.moments import merge
from initaudit.statistics.sample import SAMPLED, sample_of
from initaudit.statistics.units import Hashes, UnitSums

BLOCK_ELEMENTS = 1 << 22
"""Elements that a device takes at a time: enough to keep it busy, and 32 MB as float64."""

WITHOUT_FLOAT64 = ("mps",)
"""Kinds of devices that have no float64; what lies there is fetched piece by piece."""

_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def measure_held(values: torch.Tensor, entry: Entry, scratch: Scratch | None = None) -> Statistics:
    """The statistics of a tensor of a judged dtype, taken where it lies; ``scratch`` is overwritten."""
    here = Entry(entry.name, entry.dtype, tuple(values.shape))
    if values.device.type == "cpu":
        return measure(Memory(0, bytes_of(values)), here, scratch)
    if values.device.type in WITHOUT_FLOAT64:
        return measure(Fetched(values.contiguous()), here, scratch)
    return measure_on_device(values, entry)


def bytes_of(values: torch.Tensor) -> NDArray[np.uint8]:
    """The bytes of a tensor in host memory, in the order of its elements; not to be written to.

    They are those of the tensor itself unless its elements lie in another order, as after ``channels_last``.
    """
    flat = values.detach().resolve_neg().contiguous().reshape(-1)
    if not flat.numel():
        return np.empty(0, np.uint8)
    raw: NDArray[np.uint8] = flat.view(torch.uint8).numpy()
    raw.flags.writeable = False
    return raw


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes of a contiguous tensor on a device, copied to the host as they are asked for."""

    values: torch.Tensor

    def read(self, begin: int, end: int) -> NDArray[np.uint8]:
        """The bytes ``[begin, end)`` of the tensor."""
        size = self.values.element_size()
        piece = self.values.reshape(-1)[begin // size : end // size]
        return bytes_of(piece.cpu())


class Block(NamedTuple):
    """Some slices of a grid whole, or some rows or a part of a row of one of them; each from, to."""

    slices: slice
    rows: slice
    columns: slice


def measure_on_device(values: torch.Tensor, entry: Entry) -> Statistics:
    """The statistics of a tensor by torch, on its own device."""
    values = values.detach().contiguous()
    grid = Grid.of(tuple(values.shape))
    stack = values.reshape(grid.slices, grid.rows, grid.columns)
    units = UnitSums(grid)
    sums = _DeviceSums(grid, values.device) if units.is_kept else None
    rows: list[torch.Tensor] = []
    for block in _blocks(grid):
        piece = stack[block].double()
        finite = torch.isfinite(piece)
        rows.append(_row(piece, finite))
        if sums is not None:
            sums.add(block, torch.where(finite, piece, 1.0))
    table = torch.stack(rows).tolist()
    moments = Moments()
    for count, mean, m2, m3, m4, low, high, *_ in table:
        if count:
            here = Moments(int(count), low) if low == high else Moments(int(count), mean, m2, m3, m4)
            moments = merge(moments, here)
    zeros, nan, positive, negative = (int(sum(row[column] for row in table)) for column in range(7, 11))
    minimum, maximum = min(row[5] for row in table), max(row[6] for row in table)
    constant = minimum == maximum
    if sums is not None:
        units.take(*sums.fetch())
    first = next(grid.pieces())  # a sample is one of the host's first piece, which a small slice of a stack ends
    is_short = first.rows * first.columns == values.numel()
    sample = bytes_of(values.reshape(-1)[: min(SAMPLED, first.rows * first.columns)].cpu())
    return Statistics(
        count=values.numel(),
        moments=moments,
        minimum=minimum if moments.count else 0.0,
        maximum=maximum if moments.count else 0.0,
        zeros=zeros,
        nan=nan,
        positive_infinite=positive,
        negative_infinite=negative,
        sample=sample_of(sample, entry.dtype, constant=minimum if constant and not nan else None),
        units={} if constant else units.fold(lambda: _hash(grid, stack)),
        column_spread=None if constant and not nan + positive + negative and is_short else units.column_spread,
        is_symmetric=not constant and units.is_symmetric,
    )


def _blocks(grid: Grid) -> Iterator[Block]:
    """The grid in blocks of up to `BLOCK_ELEMENTS`, but at least one element a block."""
    if 0 in (grid.slices, grid.rows, grid.columns):
        return
    everything = slice(None)
    if grid.rows * grid.columns <= BLOCK_ELEMENTS:
        step = max(1, BLOCK_ELEMENTS // (grid.rows * grid.columns))
        for first in range(0, grid.slices, step):
            yield Block(slice(first, min(first + step, grid.slices)), everything, everything)
        return
    step = max(1, BLOCK_ELEMENTS // grid.columns)
    width = min(grid.columns, BLOCK_ELEMENTS)
    for number in range(grid.slices):
        for row in range(0, grid.rows, step):
            for column in range(0, grid.columns, width):
                yield Block(
                    slice(number, number + 1),
                    slice(row, min(row + step, grid.rows)),
                    slice(column, min(column + width, grid.columns)),
                )


def _row(piece: torch.Tensor, finite: torch.Tensor) -> torch.Tensor:
    """Count, mean, central sums, extremes and counts of the odd values of a block, as one vector on its device."""
    count = finite.sum()
    kept = torch.where(finite, piece, 0.0)
    mean = kept.sum() / count.clamp(min=1)
    centred = torch.where(finite, piece - mean, 0.0)
    squares = centred * centred
    return torch.stack([
        count.double(), mean, squares.sum(), (squares * centred).sum(), (squares * squares).sum(),
        torch.where(finite, piece, torch.inf).min(), torch.where(finite, piece, -torch.inf).max(),
        (piece == 0).sum().double(), piece.isnan().sum().double(),
        piece.isposinf().sum().double(), piece.isneginf().sum().double(),
    ])  # fmt: skip


class _DeviceSums:
    """The sums over each row and each column of a grid, kept on the device until all is read."""

    def __init__(self, grid: Grid, device: torch.device) -> None:
        weights = torch.from_numpy(fixed_weights(np.dtype(np.float64))).to(device)
        row = torch.arange(grid.slices * grid.rows, device=device) % PIECE_ELEMENTS
        column = torch.arange(grid.columns, device=device) % PIECE_ELEMENTS
        self._down, self._across = weights[row].view(grid.slices, grid.rows, 1), weights[column]
        self._row_keys = torch.zeros(grid.slices, grid.rows, 3, dtype=torch.float64, device=device)
        self._column_keys = torch.zeros(grid.slices, grid.columns, 3, dtype=torch.float64, device=device)
        self._row_zeros = torch.zeros(grid.slices, grid.rows, dtype=torch.int64, device=device)
        self._column_zeros = torch.zeros(grid.slices, grid.columns, dtype=torch.int64, device=device)

    def add(self, block: Block, piece: torch.Tensor) -> None:
        """Take in a block of finite values, [slices, rows, columns]."""
        slices, rows, columns = block
        squares, empty = piece * piece, piece == 0
        across = piece @ self._across[columns]
        self._row_keys[slices, rows] += torch.stack([across, squares.sum(2), piece.sum(2)], dim=-1)
        down = (piece * self._down[slices, rows]).sum(1)
        self._column_keys[slices, columns] += torch.stack([down, squares.sum(1), piece.sum(1)], dim=-1)
        self._row_zeros[slices, rows] += empty.sum(2)
        self._column_zeros[slices, columns] += empty.sum(1)

    def fetch(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Keys and zeros of the rows, then of the columns, on the host."""
        return (
            self._row_keys.reshape(-1, 3).cpu().numpy(),
            self._row_zeros.reshape(-1).cpu().numpy(),
            self._column_keys.reshape(-1, 3).cpu().numpy(),
            self._column_zeros.reshape(-1).cpu().numpy(),
        )


def _hash(grid: Grid, stack: torch.Tensor) -> tuple[Hashes, Hashes]:
    """Exact hashes of all rows and all columns, as those of the host: sums that wrap around at 2^64."""
    odds = torch.from_numpy(fixed_odds().view(np.int64)).to(stack.device)

    def factors(count: int) -> torch.Tensor:
        at = torch.arange(count, device=stack.device)
        return odds[at % PIECE_ELEMENTS] * odds[at // PIECE_ELEMENTS]

    down, across = factors(grid.slices * grid.rows).view(grid.slices, grid.rows, 1), factors(grid.columns)
    rows = torch.zeros(grid.slices, grid.rows, dtype=torch.int64, device=stack.device)
    columns = torch.zeros(grid.slices, grid.columns, dtype=torch.int64, device=stack.device)
    for block in _blocks(grid):
        words = stack[block].view(_WORDS[stack.element_size()]).to(torch.int64)
        rows[block.slices, block.rows] += (words * across[block.columns]).sum(2)
        columns[block.slices, block.columns] += (words * down[block.slices, block.rows]).sum(1)
    return rows.reshape(-1).cpu().numpy().view(np.uint64), columns.reshape(-1).cpu().numpy().view(np.uint64)
