"""Units that are dead, equal or leaning: what one pass keeps of each row and column of a tensor.

While a tensor is read, each row and each column has a linear key (its product with a fixed random vector), a sum of
squares, a sum and a count of zeros. Equal units agree in the first three; unequal ones do with a probability under
1e-10 a pair, and only where some agree is the tensor read once more, for exact hashes. When the tensor ends, the
vectors are folded into one small `Units` an axis.
"""

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initaudit.statistics.dtypes import Floats
from initaudit.statistics.grid import PIECE_ELEMENTS, Grid, Piece, fixed_odds, fixed_ones, fixed_pairs
from initaudit.statistics.values import Units

MAX_UNITS = 1 << 21
"""More rows or columns than this are not told apart: their vectors would fill 50 MB."""

KEY_TOLERANCE = 2.0**-19
"""How far apart keys of equal units may be, as a part of the keys' root mean square.

A float32 product of up to 2^17 terms is exact to about 2^-22 of it, in whatever order it is summed.
"""

LENGTH_TOLERANCE = 1e-4
"""How far apart the sums of squares of two equal units may be, as a part of them: more than any order of sums makes."""

EXAMPLES = 8
"""How many indices of dead or equal units are kept to be shown."""

PARTS = (2, 3, 4, 6, 8)
"""Into how many parts the mean squares are kept: the blocks of packed weights, and the halves of these."""

MANY_ROWS = 16
"""From so many on one product with two vectors is faster than two, and as exact."""

NONE = np.empty(0, np.intp)
Vector = NDArray[np.float64]
RowSums = NDArray[np.float64]
"""Of each row of a piece: a linear key, the sum of squares, the sum."""
Mask = NDArray[np.bool_]
Hashes = NDArray[np.uint64]
Rehash = Callable[[], tuple[Hashes, Hashes]]
"""Reads the tensor again, for exact hashes of all rows and all columns."""


class UnitSums:
    """What is known so far of a tensor's rows and columns: `add` each piece, then `fold`."""

    def __init__(self, grid: Grid) -> None:
        rows, columns = grid.slices * grid.rows, grid.slices * grid.columns
        self._grid = grid
        self._kept = bool(grid.unit_axes) and min(rows, columns) > 0 and max(rows, columns) <= MAX_UNITS
        if self._kept:
            self._row_keys, self._row_zeros = np.zeros((rows, 3)), np.zeros(rows, np.int64)
            # In memory each of the three sums by itself: adding to one of three side by side takes twice as long.
            self._column_keys, self._column_zeros = np.zeros((3, columns)).T, np.zeros(columns, np.int64)

    def add(self, piece: Piece, rows: RowSums, matrix: Floats, squares: Floats, empty: Mask | None) -> None:
        """Take in a piece: the sums of its rows, its finite values and their squares, and which are zero, if any is.

        All but the sums are [rows, columns] of the piece.
        """
        if not self._kept:
            return
        at_rows, at_columns, down = _spans(self._grid, piece)
        self._row_keys[at_rows] += rows
        keys, lengths, totals = self._column_keys[at_columns].T
        pairs = fixed_pairs(matrix.dtype)[:, down]
        if piece.rows > 1:
            weighted, plain = pairs @ matrix
            squared = pairs[1] @ squares
        else:  # BLAS takes ten times as long for the product of a number and a row
            weighted, plain, squared = pairs[0, 0] * matrix[0], matrix[0], squares[0]
        keys += weighted
        lengths += squared
        totals += plain
        if empty is not None:
            self._row_zeros[at_rows] += np.count_nonzero(empty, axis=1)
            self._column_zeros[at_columns] += np.count_nonzero(empty, axis=0)

    @property
    def is_kept(self) -> bool:
        """Whether rows and columns are told apart at all."""
        return self._kept

    def take(
        self,
        row_keys: NDArray[np.float64],
        row_zeros: NDArray[np.int64],
        column_keys: NDArray[np.float64],
        column_zeros: NDArray[np.int64],
    ) -> None:
        """Take what another has added up over all pieces, where `is_kept` holds; keys are [units, 3]."""
        self._row_keys, self._row_zeros = row_keys, row_zeros
        self._column_keys, self._column_zeros = column_keys, column_zeros

    @property
    def column_spread(self) -> float | None:
        """Deviation over mean of the columns' sums of squares; None where they are not kept."""
        return _spread(self._column_keys[:, 1]) if self._kept else None

    @property
    def is_symmetric(self) -> bool:
        """Whether a square matrix equals its transpose: its rows and columns, of one weighting, have equal keys."""
        grid = self._grid
        if not self._kept or grid.slices > 1 or grid.rows != grid.columns or not 1 < grid.rows <= PIECE_ELEMENTS:
            return False
        if not math.isclose(self._row_keys[0, 1], self._column_keys[0, 1], rel_tol=LENGTH_TOLERANCE):
            return False  # as nearly always, and then the others need no look
        tolerance = KEY_TOLERANCE * np.sqrt(np.mean(self._row_keys**2, axis=0))
        return bool(np.all(np.abs(self._row_keys - self._column_keys) <= tolerance))

    def fold(self, rehash: Rehash) -> dict[int, Units]:
        """What the units along each axis look like; empty for vectors and where units are too many to be kept."""
        if not self._kept:
            return {}
        folded = {}
        hashes: tuple[Hashes, Hashes] | None = None
        for axis in self._grid.unit_axes:
            zeros = self._grid.gather(axis, self._row_zeros, self._column_zeros)
            size = math.prod(self._grid.shape) // len(zeros)
            alive = np.flatnonzero(zeros < size)
            keys = self._grid.gather(axis, self._row_keys, self._column_keys)
            classes: list[NDArray[np.intp]] = []
            if _some_agree(keys[alive]):
                hashes = hashes or rehash()
                classes = _equals(self._grid.gather(axis, *hashes)[alive], alive)
            folded[axis] = _summary(zeros, size, classes, keys[:, 1], keys[:, 2])
        return folded


def row_sums(matrix: Floats, squares: Floats) -> RowSums:
    """A linear key, the sum of squares and the sum of each row of a piece, [rows, 3], from values and their squares."""
    rows, columns = matrix.shape
    pairs, ones = fixed_pairs(matrix.dtype)[:, :columns], fixed_ones(matrix.dtype)[:columns]
    sums = np.empty((rows, 3))
    sums[:, 1] = squares @ ones
    if rows >= MANY_ROWS:
        sums[:, 0::2] = matrix @ pairs.T
    else:
        sums[:, 0], sums[:, 2] = matrix @ pairs[0], matrix @ ones
    return sums


def _spans(grid: Grid, piece: Piece) -> tuple[slice, slice, slice]:
    """A piece's place in the vectors of all rows and all columns, and the weights of its rows."""
    start = piece.row // grid.rows * grid.columns + piece.column
    down = piece.row % PIECE_ELEMENTS
    return (
        slice(piece.row, piece.row + piece.rows),
        slice(start, start + piece.columns),
        slice(down, down + piece.rows),
    )


def _some_agree(keys: NDArray[np.float64]) -> bool:
    """Whether any two units agree in all keys within rounding."""
    if len(keys) < 2:
        return False
    order = np.argsort(keys[:, 0], kind="stable")
    first = keys[order, 0]
    close = first[1:] - first[:-1] <= KEY_TOLERANCE * math.sqrt(float(np.dot(first, first)) / len(first))
    if not close.any():  # the other keys are of few units, or none
        return False
    tolerance = KEY_TOLERANCE * np.sqrt(np.mean(keys[:, 1:] ** 2, axis=0))
    at = np.flatnonzero(close)
    gaps = np.abs(keys[order[at + 1], 1:] - keys[order[at], 1:])
    return bool((gaps <= tolerance).all(axis=1).any())


def hash_units(grid: Grid, pieces: Iterable[tuple[Piece, NDArray[Any]]]) -> tuple[Hashes, Hashes]:
    """Exact hashes of all rows and all columns: Σ word · odd random number, mod 2^64; these add up over pieces.

    ``pieces`` come with their raw words, as unsigned integers.
    """
    rows = np.zeros(grid.slices * grid.rows, np.uint64)
    columns = np.zeros(grid.slices * grid.columns, np.uint64)
    odds = fixed_odds()
    for piece, words in pieces:
        matrix = words.reshape(piece.rows, piece.columns).astype(np.uint64)
        row_span, column_span, down = _spans(grid, piece)
        # The multipliers repeat along a long row or column, so each round of them has a factor of its own.
        across, along = odds[piece.column // PIECE_ELEMENTS], _rounds(piece) * odds[down]
        rows[row_span] += (matrix * odds[: piece.columns]).sum(axis=1, dtype=np.uint64) * across
        columns[column_span] += (matrix.T * along).sum(axis=1, dtype=np.uint64)
    return rows, columns


def _rounds(piece: Piece) -> Hashes:
    """The factor of each row of a piece: that of the round of multipliers in which it lies."""
    return fixed_odds()[np.arange(piece.row, piece.row + piece.rows) // PIECE_ELEMENTS]


def _equals(hashes: Hashes, indices: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """The classes of two and more units that share a hash, largest first, as indices."""
    order = np.argsort(hashes, kind="stable")
    borders = np.flatnonzero(np.diff(hashes[order])) + 1
    classes = [indices[members] for members in np.split(order, borders) if len(members) > 1]
    return sorted(classes, key=lambda members: (-len(members), members[0]))


def _mean_and_variance(values: Vector) -> tuple[float, float]:
    """Of float64; the methods of that name take three times as long over a few values."""
    mean = float(values.sum()) / len(values)
    apart = values - mean
    return mean, float(np.dot(apart, apart)) / len(values)


def _spread(squares: Vector) -> float | None:
    mean, variance = _mean_and_variance(squares)
    return math.sqrt(variance) / mean if mean else None


def _lean(sums: Vector, squares: Vector, size: int) -> float | None:
    """The variance of the units' sums over that of independent values, size·σ²; None where there is no variance."""
    mean, variance = _mean_and_variance(sums)
    expected = float(squares.sum()) / len(squares) - mean * mean / size
    return variance / expected if expected > 0 else None


def _parts(squares: Vector, size: int) -> dict[int, tuple[float, ...]]:
    """The mean square of each part of the units, for all of `PARTS` into which they can be divided."""
    up_to = np.cumsum(squares)
    parts = {}
    for count in PARTS:
        width, rest = divmod(len(squares), count)
        if not rest and width >= 2:
            ends = up_to[width - 1 :: width].tolist()
            parts[count] = tuple((end - begin) / (width * size) for begin, end in pairwise([0.0, *ends]))
    return parts


def _summary(
    zeros: NDArray[np.int64], size: int, classes: list[NDArray[np.intp]], squares: Vector, sums: Vector
) -> Units:
    filled = size - zeros
    fewest, most = int(filled.min()), int(filled.max())
    dead = np.flatnonzero(filled == 0) if fewest == 0 else NONE
    density, occupancy = 1.0, None
    if fewest < size:
        living = filled[filled > 0].astype(np.float64)
        mean, variance = _mean_and_variance(living) if living.size else (0.0, 0.0)
        density = mean / size
        occupancy = variance / (size * density * (1 - density)) if 0 < density < 1 else None
    return Units(
        count=len(zeros),
        size=size,
        dead=len(dead),
        dead_at=tuple(dead[:EXAMPLES].tolist()),
        equal=sum(len(members) for members in classes),
        classes=len(classes),
        equal_at=tuple(classes[0][:EXAMPLES].tolist()) if classes else (),
        density=density,
        fewest=fewest,
        most=most,
        length_spread=_spread(squares),
        lean=_lean(sums, squares, size),
        parts=_parts(squares, size),
        occupancy=occupancy,
    )
