"""The one pass over a tensor, and the second look where the first was suspicious."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initaudit.checkpoint.reading import Reader
from initaudit.checkpoint.values import Entry
from initaudit.statistics.dtypes import Floats, decode, width
from initaudit.statistics.grid import PIECE_ELEMENTS, Grid, Piece
from initaudit.statistics.moments import merge, moments_of
from initaudit.statistics.sample import SAMPLED, sample_of
from initaudit.statistics.units import UnitSums
from initaudit.statistics.values import Moments, Statistics

PIECE_BYTES = PIECE_ELEMENTS * 8
"""The longest piece in bytes: one of float64."""

SMALL = 1 << 16
"""Tensors of up to this many elements are summed in float64: it costs nothing, and few values show small errors."""


def measure(reader: Reader, entry: Entry) -> Statistics:
    """The statistics of a tensor of a judged dtype, read in pieces from its open shard.

    Raises:
        CheckpointError: the file ends before the tensor does, or cannot be read.

    """
    # Values near the end of float64 overflow when squared: their moments are infinite, which is no reason to complain.
    with np.errstate(over="ignore", invalid="ignore"):
        return _measure(reader, entry)


def _measure(reader: Reader, entry: Entry) -> Statistics:
    grid = Grid.of(entry.shape)
    units = UnitSums(grid)
    moments = Moments()
    minimum, maximum = np.inf, -np.inf
    zeros = nan = positive_infinite = negative_infinite = 0
    sample = np.empty(0, np.uint8)
    for piece, raw in _read_pieces(reader, entry, grid):
        if not sample.size:
            sample = raw[: SAMPLED * width(entry.dtype)].copy()
        values = decode(raw, entry.dtype)
        if entry.count <= SMALL:
            values = values.astype(np.float64)
        finite = values
        if not _all_finite(values):
            nan += int(np.count_nonzero(np.isnan(values)))
            positive_infinite += int(np.count_nonzero(np.isposinf(values)))
            negative_infinite += int(np.count_nonzero(np.isneginf(values)))
            finite = values[np.isfinite(values)].astype(np.float64)
            # In the units a value that is none stands as a one: neither dead nor, as the exact look sees it, equal.
            values = np.where(np.isfinite(values), values, 1).astype(np.float64)
        squares, empty = values * values, values == 0
        if finite.size:
            low, high = float(finite.min()), float(finite.max())
            minimum, maximum = min(minimum, low), max(maximum, high)
            whole = finite is values
            here = Moments(finite.size, low) if low == high else moments_of(finite, squares if whole else None)
            moments = merge(moments, here)
        empties = int(np.count_nonzero(empty))
        zeros += empties
        units.add(piece, values, squares, empty if empties else None)
    constant = minimum == maximum
    return Statistics(
        count=entry.count,
        moments=moments,
        minimum=minimum if moments.count else 0.0,
        maximum=maximum if moments.count else 0.0,
        zeros=zeros,
        nan=nan,
        positive_infinite=positive_infinite,
        negative_infinite=negative_infinite,
        # That the units of a constant are equal needs no second look.
        units={} if constant else units.fold(lambda: _read_words(reader, entry, grid)),
        sample=sample_of(sample, entry.dtype, constant=float(minimum) if constant and not nan else None),
        column_spread=units.column_spread,
        is_symmetric=not constant and units.is_symmetric,
    )


def _read_pieces(reader: Reader, entry: Entry, grid: Grid) -> Iterator[tuple[Piece, NDArray[np.uint8]]]:
    size, begin = width(entry.dtype), entry.begin
    for piece in grid.pieces():
        end = begin + piece.rows * piece.columns * size
        yield piece, reader.read(begin, end)
        begin = end


def _read_words(reader: Reader, entry: Entry, grid: Grid) -> Iterator[tuple[Piece, NDArray[Any]]]:
    word = f"<u{width(entry.dtype)}"
    for piece, raw in _read_pieces(reader, entry, grid):
        yield piece, raw.view(word)


def _all_finite(values: Floats) -> bool:
    """Whether a piece holds neither NaN nor infinity: their product with themselves shows them at the cost of a read.

    Finite values whose squares overflow are taken for suspects and cost one closer look.
    """
    return bool(np.isfinite(np.dot(values, values)))
