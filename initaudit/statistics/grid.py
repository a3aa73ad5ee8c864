"""How a tensor is read: as a stack of matrices, in pieces that fit the cache."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PIECE_ELEMENTS = 1 << 17
"""Elements of one piece: 512 KB of float32, which with its squares stays in a level 2 cache."""

MOST_AXES = 16
"""Tensors of more dimensions are damaged or made to harm: their units are not looked for. numpy ends at 64."""

STACK_EDGE = 32
"""A tensor whose last two dimensions are both at least this long is a stack of matrices, not one bank of kernels.

Kernels are short (7 by 7, 1 by 9); the matrices of stacked experts are not. Where a long kernel is taken for a stack
nothing is lost: its filters are the slices of the stack, which are looked at as well.
"""


class Piece(NamedTuple):
    """The rows ``[row, row + rows)`` and columns ``[column, column + columns)`` of a grid, contiguous in memory."""

    row: int
    rows: int
    column: int
    columns: int


Vector = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Grid:
    """A tensor seen as ``slices`` matrices of ``rows`` by ``columns``; row r of slice s is row ``s * rows + r``."""

    shape: tuple[int, ...]
    slices: int
    rows: int
    columns: int

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> "Grid":
        """The grid of a shape: a vector is one row, a bank of kernels has a filter a row."""
        if len(shape) < 2:
            return cls(shape, 1, 1, math.prod(shape))
        if _is_stack(shape):
            return cls(shape, math.prod(shape[:-2]), shape[-2], shape[-1])
        return cls(shape, 1, shape[0], math.prod(shape[1:]))

    @property
    def row_axis(self) -> int:
        """The axis of the shape along which the rows of a slice lie."""
        return len(self.shape) - 2 if _is_stack(self.shape) else 0

    @property
    def unit_axes(self) -> tuple[int, ...]:
        """The axes of the shape along which units may lie: none in a vector, else the first, second and last.

        In a stack they are the first (its slices), and the last two (the rows and columns of each slice).
        """
        rank = len(self.shape)
        if rank < 2 or rank > MOST_AXES:
            return ()
        return (0, rank - 2, rank - 1) if _is_stack(self.shape) else tuple(sorted({0, 1, rank - 1}))

    def gather(self, axis: int, rows: Vector, columns: Vector) -> Vector:
        """A vector over the units along an axis from those over all rows and all columns.

        ``rows`` is [slices · rows, …] and ``columns`` [slices · columns, …]. Counts (int64) are added up over what a
        unit spans, hashes (uint64) with weights, so that order matters; of triples of a key, a sum of squares and
        a sum (float64, [units, 3]) the keys are.
        """
        rank = len(self.shape)
        if _is_stack(self.shape):
            if axis == rank - 1:
                return columns
            return rows if axis == rank - 2 else _add_up(rows.reshape(self.slices, self.rows, *rows.shape[1:]), 0, 2)
        return rows if axis == 0 else _add_up(columns.reshape(*self.shape[1:], *columns.shape[1:]), axis - 1, rank - 1)

    def pieces(self) -> Iterator[Piece]:
        """The grid in the order of memory, in pieces of up to `PIECE_ELEMENTS` that stay within one slice.

        A piece is some whole rows or, where a row is longer than a piece, part of one.
        """
        if 0 in (self.slices, self.rows, self.columns):
            return
        if self.columns > PIECE_ELEMENTS:
            for row in range(self.slices * self.rows):
                for column in range(0, self.columns, PIECE_ELEMENTS):
                    yield Piece(row, 1, column, min(PIECE_ELEMENTS, self.columns - column))
            return
        step = max(1, PIECE_ELEMENTS // self.columns)
        for top in range(0, self.slices * self.rows, self.rows):
            for row in range(top, top + self.rows, step):
                yield Piece(row, min(step, top + self.rows - row), 0, self.columns)


def _is_stack(shape: tuple[int, ...]) -> bool:
    return len(shape) > 2 and min(shape[-2:]) >= STACK_EDGE


def _add_up(vector: Vector, axis: int, rank: int) -> Vector:
    """Sums over all of the first ``rank`` axes but one; keys and hashes are weighted, counts and squares are not."""
    if rank == 1:
        return vector
    units = np.moveaxis(vector, axis, 0)
    units = units.reshape(units.shape[0], math.prod(units.shape[1:rank]), *vector.shape[rank:])
    if vector.dtype == np.int64:
        return np.asarray(units.sum(axis=1))
    if vector.dtype == np.uint64:
        return np.asarray((units * _long_odds(units.shape[1])).sum(axis=1))
    weights = fixed_weights(vector.dtype)[: units.shape[1]]
    if len(weights) < units.shape[1]:
        weights = np.resize(weights, units.shape[1])
    return np.column_stack([units[..., 0] @ weights, units[..., 1:].sum(axis=1)])


@cache
def fixed_weights(dtype: np.dtype[np.floating[Any]]) -> NDArray[Any]:
    """Fixed random weights in [-1, 1), twice `PIECE_ELEMENTS` of them; the second half repeats the first.

    A slice of up to `PIECE_ELEMENTS` may thus begin anywhere in the first half.
    """
    half = _fixed_words(PIECE_ELEMENTS).view(np.int64) * 2.0**-63
    return np.concatenate([half, half]).astype(dtype)


@cache
def fixed_ones(dtype: np.dtype[np.floating[Any]]) -> NDArray[Any]:
    """As many ones as a piece has elements: a product with them adds up three times as fast as `sum`."""
    return np.ones(PIECE_ELEMENTS, dtype)


@cache
def fixed_pairs(dtype: np.dtype[np.floating[Any]]) -> NDArray[Any]:
    """`fixed_weights` and ones as two rows: one product with both reads a piece once."""
    weights = fixed_weights(dtype)
    return np.stack([weights, np.ones_like(weights)])


def _long_odds(count: int) -> NDArray[np.uint64]:
    """So many odd numbers, of which those that repeat `fixed_odds` are told apart by a factor for each round."""
    places = np.arange(count)
    return fixed_odds()[places % PIECE_ELEMENTS] * fixed_odds()[places // PIECE_ELEMENTS]


@cache
def fixed_odds() -> NDArray[np.uint64]:
    """Fixed random odd 64-bit numbers, repeated like `fixed_weights`."""
    half = _fixed_words(PIECE_ELEMENTS) | np.uint64(1)
    return np.concatenate([half, half])


def _fixed_words(count: int) -> NDArray[np.uint64]:
    """Random 64-bit words that are the same everywhere: SplitMix64 (Steele, Lea & Flood 2014) from 1 on.

    `numpy.random` would do, but promises no fixed stream and costs a quarter of the start-up.
    """
    word = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
