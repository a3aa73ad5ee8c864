"""The one pass over a tensor, and the second look where the first was suspicious."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from initaudit.checkpoint.reading import Source, in_huge_page
from initaudit.checkpoint.values import Entry
from initaudit.statistics.dtypes import Floats, decode, width
from initaudit.statistics.grid import PIECE_ELEMENTS, Grid, Piece, fixed_odds
from initaudit.statistics.histogram import Sampler
from initaudit.statistics.moments import merge, moments_of
from initaudit.statistics.sample import SAMPLED, sample_of
from initaudit.statistics.units import UnitSums, hash_units, row_sums
from initaudit.statistics.values import Moments, Statistics

PIECE_BYTES = PIECE_ELEMENTS * 8
"""The longest piece in bytes: one of float64."""

SMALL = 1 << 16
"""Tensors of up to this many elements are summed in float64: it costs nothing, and few values show small errors."""


@dataclass(frozen=True, slots=True)
class Scratch:
    """Room for one piece, used again and again: memory that is handed out anew costs as much as the sums."""

    widened: NDArray[np.float32]
    squares: NDArray[np.float32]
    empty: NDArray[np.bool_]

    @classmethod
    def new(cls) -> Self:
        """Room for a piece of float32."""
        room = in_huge_page(9 * PIECE_ELEMENTS)
        widened, squares = room[: 8 * PIECE_ELEMENTS].view(np.float32).reshape(2, PIECE_ELEMENTS)
        return cls(widened, squares, room[8 * PIECE_ELEMENTS :].view(np.bool_))


def measure(reader: Source, entry: Entry, scratch: Scratch | None = None, *, histogram: bool = False) -> Statistics:
    """The statistics of a tensor of a judged dtype, read in pieces from a shard or memory; ``scratch`` is overwritten.

    Its ``histogram`` is among them only if it is asked for.

    Raises:
        CheckpointError: the file ends before the tensor does, or cannot be read.

    """
    # Values near the end of float64 overflow when squared: their moments are infinite, which is no reason to complain.
    with np.errstate(over="ignore", invalid="ignore"):
        sampler = Sampler(entry.shape) if histogram else None
        measured = _measure(reader, entry, scratch or Scratch.new(), sampler)
        return replace(measured, histogram=sampler.histogram()) if sampler else measured


def _measure(reader: Source, entry: Entry, scratch: Scratch, sampler: Sampler | None) -> Statistics:
    grid = Grid.of(entry.shape)
    units = UnitSums(grid)
    moments = Moments()
    minimum, maximum, edge = np.inf, -np.inf, 0.0
    zeros = nan = positive_infinite = negative_infinite = 0
    sample = np.empty(0, np.uint8)
    for piece, raw in _read_pieces(reader, entry, grid):
        if not sample.size:
            sample = raw[: SAMPLED * width(entry.dtype)].copy()
        shape = piece.rows, piece.columns
        values = decode(raw, entry.dtype, scratch.widened)
        if sampler is not None:
            sampler.add(values)
        if values.size == entry.count and _is_constant(values):
            return _constant(entry, float(values[0]), sample)  # as most tensors of a fresh model are, by number
        if entry.count <= SMALL:
            values = values.astype(np.float64)
        finite, squares = values, _squared(values, scratch)
        rows = row_sums(values.reshape(shape), squares.reshape(shape))
        total, total_squares = float(rows[:, 2].sum()), float(rows[:, 1].sum())
        # It shows at no cost whether any value is none; finite ones whose squares overflow are looked at closely, too.
        if not math.isfinite(total_squares):
            nan += int(np.count_nonzero(np.isnan(values)))
            positive_infinite += int(np.count_nonzero(np.isposinf(values)))
            negative_infinite += int(np.count_nonzero(np.isneginf(values)))
            finite = values[np.isfinite(values)].astype(np.float64)
            # In the units a value that is none stands as a one: neither dead nor, as the exact look sees it, equal.
            values = np.where(np.isfinite(values), values, 1).astype(np.float64)
            squares = values * values
            rows = row_sums(values.reshape(shape), squares.reshape(shape))
        least, most = float(squares.min()), float(squares.max())
        low, high = -np.inf, np.inf
        if finite.size and (finite is not values or most >= edge or least == most):
            low, high = float(finite.min()), float(finite.max())
            minimum, maximum = min(minimum, low), max(maximum, high)
            # Squares of another precision say nothing of this piece's: the next is looked at, whatever they are.
            edge = _edge(minimum, maximum, squares.dtype) if finite is values else 0.0
        if low == high:
            moments = merge(moments, Moments(finite.size, low))
        elif finite is values:
            moments = merge(moments, moments_of(values, squares, (total, total_squares)))
        else:
            moments = merge(moments, moments_of(finite))
        empty = None
        if least == 0:  # else no value is zero, for no square is
            empty = np.equal(values, 0, out=scratch.empty[: values.size]).reshape(shape)
            zeros += int(np.count_nonzero(empty))
        units.add(piece, rows, values.reshape(shape), squares.reshape(shape), empty)
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
        units={} if constant else units.fold(lambda: hash_units(grid, _read_words(reader, entry, grid))),
        sample=sample_of(sample, entry.dtype, constant=float(minimum) if constant and not nan else None),
        column_spread=units.column_spread,
        is_symmetric=not constant and units.is_symmetric,
    )


def exact_key(reader: Source, entry: Entry) -> int:
    """A key of a tensor's values and their places: Σ word · odd random number, mod 2^64, over all elements.

    It is a sum of whole numbers, so that neither order nor pieces matter; of unequal tensors it agrees with a
    probability of 2^-63 or so.

    Raises:
        CheckpointError: the file ends before the tensor does, or cannot be read.

    """
    odds, at = fixed_odds(), 0
    total = np.uint64(0)
    with np.errstate(over="ignore"):
        for _, words in _read_words(reader, entry, Grid.of(entry.shape)):
            while words.size:
                turn, place = divmod(at, PIECE_ELEMENTS)
                part = words[: PIECE_ELEMENTS - place].astype(np.uint64)
                sums = (part * odds[place : place + part.size]).sum(dtype=np.uint64)
                total += sums * odds[turn % PIECE_ELEMENTS]  # they repeat, so each round has a factor of its own
                words, at = words[part.size :], at + part.size
    return int(total)


def _edge(minimum: float, maximum: float, dtype: np.dtype[Any]) -> float:
    """The square, as a piece has it, from which on a value may lie outside of two bounds; 0 where any may."""
    inner = dtype.type(min(-minimum, maximum))
    return float(inner * inner) if inner > 0 else 0.0


def _is_constant(values: Floats) -> bool:
    """Whether all values are one finite number; of a draw the first and the last say at once that they are not."""
    first = values[0]
    return bool(first == values[-1] and np.isfinite(first) and first == values.min() == values.max())


def _constant(entry: Entry, value: float, sample: NDArray[np.uint8]) -> Statistics:
    """The statistics of a tensor all of whose elements are one finite value."""
    return Statistics(
        count=entry.count,
        moments=Moments(entry.count, value),
        minimum=value,
        maximum=value,
        zeros=entry.count if value == 0 else 0,
        sample=sample_of(sample, entry.dtype, constant=value),
    )


def _squared(values: Floats, scratch: Scratch) -> Floats:
    """The square of each value; in the scratch room where it is float32."""
    if values.dtype == np.float32:
        return np.multiply(values, values, out=scratch.squares[: values.size])
    return values * values


def _read_pieces(reader: Source, entry: Entry, grid: Grid) -> Iterator[tuple[Piece, NDArray[np.uint8]]]:
    size, begin = width(entry.dtype), entry.begin
    for piece in grid.pieces():
        end = begin + piece.rows * piece.columns * size
        yield piece, reader.read(begin, end)
        begin = end


def _read_words(reader: Source, entry: Entry, grid: Grid) -> Iterator[tuple[Piece, NDArray[Any]]]:
    word = f"<u{width(entry.dtype)}"
    for piece, raw in _read_pieces(reader, entry, grid):
        yield piece, raw.view(word)
