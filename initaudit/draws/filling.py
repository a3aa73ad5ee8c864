"""What is to stand in a tensor, and the drawing of it, whole or in part."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from initaudit.draws.arrays import Array, Arrays
from initaudit.draws.casting import WIDTHS, cast
from initaudit.draws.families import drawn_values, table_values
from initaudit.draws.matrices import identity, orthogonal, sparse
from initaudit.draws.words import Stream
from initaudit.laws import Law, LawError, Setting, evaluate, settle

STREAM = 1
"""The number of this way to draw: another one has another number, and a report says by which it was drawn."""

MATRICES = ("orthogonal", "sparse", "identity")
TABLES = ("rotary", "log_arange")
NOT_DRAWN = ("sinusoidal", "derived")
"""The families of laws that are drawn whole, computed, and neither; the others are drawn value by value."""

PIECE = 1 << 20
"""Values that are drawn for one write: 8 MB of float64."""

CHUNK = 1 << 15
"""Values that go through all operations on a host together: half a dozen arrays of 256 kB, which fit a core's cache."""


@dataclass(frozen=True, slots=True)
class Filling:
    """All that decides the bytes of a tensor, besides seed and name.

    ``laws`` hold numbers and no names; of several each is for one block of the values, which end at ``borders`` (in
    equal parts where there are none). ``units_last`` says that a matrix has its output units along its last axis, and
    ``stacked`` that all axes but the last two count matrices. ``groups`` are those of a kernel. The row ``padding`` of
    a table stays zero.

    Raises:
        LawError: a law names something, or cannot fill a tensor of this shape and dtype.

    """

    dtype: str
    shape: tuple[int, ...]
    laws: tuple[Law, ...]
    units_last: bool = False
    stacked: bool = False
    groups: int = 1
    padding: int | None = None
    borders: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.dtype not in WIDTHS:
            raise LawError(f"no draw can be held in {self.dtype}")
        if not self.laws or (self.borders and len(self.borders) != len(self.laws)):
            raise LawError("each block has one law")
        if self.borders and (list(self.borders) != sorted(self.borders) or self.borders[-1] != self.count):
            raise LawError(f"blocks do not end in order, and with the {self.count:,} values")
        for law in self.laws:
            _require_fitting(law, self)

    @property
    def count(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.count * WIDTHS[self.dtype]

    @property
    def is_whole(self) -> bool:
        """Whether it can only be drawn as a whole: its values hang on each other."""
        return any(law.family in MATRICES for law in self.laws)


def pieces_of(filling: Filling, most: int = PIECE) -> Iterator[tuple[int, int]]:
    """The ranges of values in which a tensor is drawn; any others give the same bytes."""
    step = max(filling.count, 1) if filling.is_whole else most
    for begin in range(0, filling.count, step):
        yield begin, min(begin + step, filling.count)


def drawn(
    arrays: Arrays, filling: Filling, seed: int, name: str, begin: int, end: int, chunk: int = CHUNK
) -> NDArray[np.uint8]:
    """The bytes of the values ``[begin, end)`` of a tensor, in the order of memory."""
    with np.errstate(over="ignore"):  # what is too large for float64 is an infinity, as in torch
        return _drawn(arrays, filling, seed, name, begin, end, chunk)


def _drawn(
    arrays: Arrays, filling: Filling, seed: int, name: str, begin: int, end: int, chunk: int
) -> NDArray[np.uint8]:
    if filling.is_whole:
        whole = cast(arrays, _whole(arrays, filling, seed, name), filling.dtype)
        width = WIDTHS[filling.dtype]
        return whole[begin * width : end * width]
    stream = Stream.of(STREAM, seed, name)
    spans = ((at, min(at + chunk, end)) for at in range(begin, end, chunk))
    parts = [cast(arrays, _values(arrays, filling, stream, *span), filling.dtype) for span in spans]
    return np.concatenate(parts) if parts else np.empty(0, np.uint8)


def _values(arrays: Arrays, filling: Filling, stream: Stream, begin: int, end: int) -> Array:
    """The values ``[begin, end)`` of laws that are drawn value by value."""
    law = filling.laws[0]
    if len(filling.laws) == 1:
        values = _of_law(arrays, filling, law, stream, begin, end)
    else:
        values = arrays.zeros((end - begin,))
        for low, high, law in _blocks(filling):
            first, last = max(low, begin), min(high, end)
            if first < last:
                values[first - begin : last - begin] = _of_law(arrays, filling, law, stream, first, last)
    if filling.padding is not None:
        width = math.prod(filling.shape[1:])
        row = filling.padding * width
        values[max(row - begin, 0) : max(row + width - begin, 0)] = 0.0
    return values


def _of_law(arrays: Arrays, filling: Filling, law: Law, stream: Stream, begin: int, end: int) -> Array:
    given = _numbers(law)
    if law.family in TABLES:
        return table_values(arrays, law.family, given, filling.shape, begin, end)
    return drawn_values(arrays, law.family, given, stream, begin, end, fine=filling.dtype == "F64")


def _whole(arrays: Arrays, filling: Filling, seed: int, name: str) -> Array:
    """All values of a tensor whose values hang on each other; of several blocks each is rows of its own."""
    values = arrays.zeros((filling.count,))
    row = math.prod(filling.shape[1:])
    for number, (low, high, law) in enumerate(_blocks(filling)):
        if law.family not in MATRICES:
            values[low:high] = _of_law(arrays, filling, law, Stream.of(STREAM, seed, name), low, high)
            continue
        shape = ((high - low) // row, *filling.shape[1:])
        part = replace(filling, shape=shape, laws=(law,), borders=(), padding=None)
        values[low:high] = _matrices(arrays, part, law, seed, name, number).reshape(-1)
    if filling.padding is not None:
        values[filling.padding * row : (filling.padding + 1) * row] = 0.0
    return values


def _matrices(arrays: Arrays, filling: Filling, law: Law, seed: int, name: str, block: int) -> Array:
    """A matrix, or each of a stack, with its units where they are."""
    shape, given = filling.shape, _numbers(law)
    if law.family == "identity":
        return identity(arrays, shape, filling.groups)
    stack = math.prod(shape[:-2]) if filling.stacked else 1
    own = shape[-2:] if filling.stacked else shape
    inputs = math.prod(own[:-1]) if filling.units_last else math.prod(own[1:])
    units = own[-1] if filling.units_last else own[0]
    found = arrays.zeros((stack, math.prod(own)))
    for number in range(stack):
        stream, order = (Stream.of(STREAM, seed, name, f"{kind} {block} {number}") for kind in ("matrix", "order"))
        if law.family == "orthogonal":
            matrix = orthogonal(arrays, (units, inputs), stream)
            matrix *= given["gain"]
        else:
            connections = min(int(given["connections"]), inputs)
            matrix = sparse(arrays, (units, inputs), connections, given["std"], stream, order)
        found[number] = (arrays.turned(matrix) if filling.units_last else matrix).reshape(-1)
    return found


def _blocks(filling: Filling) -> Iterator[tuple[int, int, Law]]:
    """The blocks of a tensor: where each begins and ends, and its law."""
    blocks, begin = len(filling.laws), 0
    ends = filling.borders or tuple(filling.count * (number + 1) // blocks for number in range(blocks))
    for end, law in zip(ends, filling.laws, strict=True):
        yield begin, end, law
        begin = end


def _numbers(law: Law) -> Mapping[str, float]:
    return {name: evaluate(expression, Setting()) for name, expression in law.parameters}


def _require_fitting(law: Law, filling: Filling) -> None:
    """See that a law can fill a tensor, or one of its blocks.

    Raises:
        LawError: it cannot.

    """
    rank, shape = len(filling.shape), filling.shape
    if law.names:
        raise LawError(f"{law} names {', '.join(sorted(law.names))}: a draw takes numbers")
    if law.family in NOT_DRAWN:
        raise LawError(f"{law} is not drawn")
    settle(law, Setting())
    if law.family in MATRICES:
        if rank < 2 or not filling.count:
            raise LawError(f"{law} fills matrices, and no tensor of shape {list(shape)}")
        row = filling.count // shape[0]
        if len(filling.laws) > 1 and any(low % row or high % row for low, high, _ in _blocks(filling)):
            raise LawError(f"{law} fills whole rows, and a block ends within one")
        if len(filling.laws) > 1 and filling.stacked:
            raise LawError(f"{law} does not fill blocks of a stack")
    if law.family == "identity" and (filling.groups < 1 or shape[0] % filling.groups):
        raise LawError(f"{law} has {filling.groups:,} groups, which {shape[0]:,} outputs do not fall into")
    if law.family == "rotary" and rank != 1:
        raise LawError(f"{law} fills a vector, and no tensor of shape {list(shape)}")
    if law.family == "log_arange" and not rank:
        raise LawError(f"{law} fills rows, and no single number")
    if law.family in ("rotary", "log_arange") and len(filling.laws) > 1:
        raise LawError(f"{law} fills a tensor, and no block of one")
    if filling.padding is not None and not (rank and 0 <= filling.padding < shape[0]):
        raise LawError(f"there is no row {filling.padding:,} to be zero")
