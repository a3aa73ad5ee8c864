"""Reading tensors that are in pieces: the bytes of the whole in the order of its elements, from whatever files.

So what is measured of a tensor is the same, to the last bit, however it was cut.
"""

import math
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import FileIO
from itertools import accumulate
from typing import Self

import numpy as np
from numpy.typing import NDArray

from initaudit.checkpoint.files import open_file
from initaudit.checkpoint.reading import Source, fill, gathered, in_huge_page, require_stamp
from initaudit.checkpoint.strided import strided_entry
from initaudit.checkpoint.values import Entry, Piece, Shard

MOST_OPEN = 64
"""Files that are kept open: systems allow from 256 on, and there may be thousands."""

Corner = tuple[int, ...]


@dataclass(slots=True)
class Joiner:
    """The open parts of a shard. What is read is overwritten by the next call."""

    shard: Shard
    buffer: NDArray[np.uint8]
    files: "OrderedDict[int, FileIO]" = field(default_factory=OrderedDict)
    room: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))

    @classmethod
    @contextmanager
    def opened(cls, shard: Shard, piece_bytes: int) -> Iterator[Self]:
        """A reader of up to ``piece_bytes`` at a time; its files are closed at the end.

        Raises:
            CheckpointError: a file cannot be opened or is not the one that was described; also at the end, if one was
                changed while it was read.

        """
        joiner = cls(shard, in_huge_page(piece_bytes))
        with ExitStack() as stack:
            stack.callback(joiner.close)
            yield joiner
            for number, file in joiner.files.items():
                require_stamp(shard.parts[number].path, shard.parts[number].stamp, file.fileno())

    def close(self) -> None:
        """Close all files."""
        for file in self.files.values():
            file.close()
        self.files.clear()

    def at(self, entry: Entry) -> Source:
        """Where to read a tensor in the order of its elements.

        Raises:
            CheckpointError: what is not in order is read at once, and cannot be.

        """
        return Joined.of(self, entry)

    def fill(self, into: NDArray[np.uint8], part: int, begin: int) -> None:
        """Read from a part as many bytes as there is room for.

        Raises:
            CheckpointError: it cannot be opened, is not the one that was described, or ends before.

        """
        if part not in self.files:
            if len(self.files) >= MOST_OPEN:
                number, oldest = self.files.popitem(last=False)
                require_stamp(self.shard.parts[number].path, self.shard.parts[number].stamp, oldest.fileno())
                oldest.close()
            descriptor, _ = open_file(self.shard.parts[part].path)
            self.files[part] = FileIO(descriptor)
            require_stamp(self.shard.parts[part].path, self.shard.parts[part].stamp, descriptor)
        self.files.move_to_end(part)
        fill(into, self.shard.parts[part].path, self.files[part], begin)

    def span(self, part: int, begin: int, size: int) -> NDArray[np.uint8]:
        """So many bytes of a part, overwritten by the next call."""
        if len(self.room) < size:
            self.room = np.empty(size, np.uint8)
        self.fill(self.room[:size], part, begin)
        return self.room[:size]


@dataclass(frozen=True, slots=True)
class Joined:
    """The bytes of one tensor in the order of its elements."""

    joiner: Joiner
    entry: Entry
    width: int
    pieces: tuple[Piece, ...]
    """Sorted by where they begin; along the first axis they begin at ``begins`` and reach up to ``ends`` so far."""
    begins: list[int]
    ends: list[int]
    are_runs: bool
    """Whether each piece is a run of elements that follow each other; the axis is then that of all elements."""
    turned: dict[int, NDArray[np.uint8]]
    """The bytes of those pieces whose elements do not lie in order, once they do, by the number of the piece."""

    @classmethod
    def of(cls, joiner: Joiner, entry: Entry) -> Self:
        """The source of an entry in pieces."""
        shape, width = entry.shape, entry.size // max(entry.count, 1)
        are_runs = all(is_run(piece.sizes, shape) for piece in entry.pieces)
        if are_runs:
            first = {id(piece): place(piece.offsets, shape) for piece in entry.pieces}
            pieces = tuple(sorted(entry.pieces, key=lambda piece: first[id(piece)]))
            begins = [first[id(piece)] for piece in pieces]
            ends = [begin + math.prod(piece.sizes) for begin, piece in zip(begins, pieces, strict=True)]
        else:
            pieces = tuple(sorted(entry.pieces, key=lambda piece: piece.offsets))
            begins = [piece.offsets[0] for piece in pieces]
            ends = list(accumulate((piece.offsets[0] + piece.sizes[0] for piece in pieces), max))
        turned = {}
        for number, piece in enumerate(pieces):
            if piece.strides:
                lies = strided_entry(entry.name, entry.dtype, width, piece.sizes, piece.strides, piece.begin)
                raw = np.empty(lies.size, np.uint8)
                joiner.fill(raw, piece.part, lies.begin)
                turned[number] = gathered(raw, lies) if lies.strides else raw
        return cls(joiner, entry, width, pieces, begins, ends, are_runs, turned)

    def read(self, begin: int, end: int) -> NDArray[np.uint8]:
        """The bytes ``[begin, end)``; overwritten by the next call.

        Raises:
            CheckpointError: a file ends before, or cannot be read.

        """
        out = self.joiner.buffer[: end - begin]
        first, last = ((at - self.entry.begin) // self.width for at in (begin, end))
        if self.are_runs:
            self._read_runs(out, first, last)
            return out
        at = 0
        for low, high in boxes(first, last, self.entry.shape):
            lengths = [top - bottom for bottom, top in zip(low, high, strict=True)]
            size = math.prod(lengths) * self.width
            self._read_box(out[at : at + size].view(f"V{self.width}").reshape(lengths), low, high)
            at += size
        return out

    def _read_runs(self, out: NDArray[np.uint8], first: int, last: int) -> None:
        at = first
        number = bisect_right(self.begins, first) - 1
        while at < last:
            piece, stop = self.pieces[number], min(last, self.ends[number])
            into = out[(at - first) * self.width : (stop - first) * self.width]
            skipped = (at - self.begins[number]) * self.width
            if number in self.turned:
                into[:] = self.turned[number][skipped : skipped + len(into)]
            else:
                self.joiner.fill(into, piece.part, piece.begin + skipped)
            at, number = stop, number + 1

    def _read_box(self, out: NDArray[np.void], low: Corner, high: Corner) -> None:
        for number in range(bisect_right(self.ends, low[0]), bisect_left(self.begins, high[0])):
            piece = self.pieces[number]
            cut = cut_of(piece.offsets, piece.sizes, in_order(piece.sizes), low, high)
            if cut is None:
                continue
            begin, size = cut.first * self.width, cut.spread * self.width
            if number in self.turned:
                raw = self.turned[number][begin : begin + size]
            else:
                raw = self.joiner.span(piece.part, piece.begin + begin, size)
            out[cut.within] = cut.view(raw)


@dataclass(frozen=True, slots=True)
class Cut:
    """What a piece has of a box: elements ``within`` the box, spread over ``spread`` of the piece from ``first`` on."""

    first: int
    spread: int
    lengths: tuple[int, ...]
    strides: tuple[int, ...]
    within: tuple[slice, ...]

    def view(self, raw: NDArray[np.uint8]) -> NDArray[np.void]:
        """The elements, of the bytes over which they are spread."""
        width = len(raw) // self.spread
        return np.ndarray(self.lengths, f"V{width}", raw.data, strides=tuple(step * width for step in self.strides))


def cut_of(offsets: Corner, sizes: Corner, strides: Corner, low: Corner, high: Corner) -> Cut | None:
    """What a piece has of a box of the whole, None where they have nothing in common."""
    begin = tuple(map(max, low, offsets))
    end = tuple(map(min, high, (o + size for o, size in zip(offsets, sizes, strict=True))))
    if any(a >= b for a, b in zip(begin, end, strict=True)):
        return None
    first = sum((a - o) * step for a, o, step in zip(begin, offsets, strides, strict=True))
    last = sum((b - 1 - o) * step for b, o, step in zip(end, offsets, strides, strict=True))
    lengths = tuple(b - a for a, b in zip(begin, end, strict=True))
    within = tuple(slice(a - o, b - o) for a, b, o in zip(begin, end, low, strict=True))
    return Cut(first, last - first + 1, lengths, strides, within)


def is_run(sizes: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether the elements of a box follow each other in the whole: the axes behind the one that is cut are whole."""
    cut = next((axis for axis, size in enumerate(sizes) if size != 1), len(sizes))
    return sizes[cut + 1 :] == shape[cut + 1 :]


def in_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of elements that lie in order."""
    steps = [1]
    for length in reversed(shape[1:]):
        steps.append(steps[-1] * length)
    return tuple(reversed(steps[: len(shape)]))


def place(offsets: "Corner | list[int]", shape: tuple[int, ...]) -> int:
    """The number of an element in the order of all."""
    number = 0
    for offset, length in zip(offsets, shape, strict=True):
        number = number * length + offset
    return number


def boxes(begin: int, end: int, shape: tuple[int, ...]) -> Iterator[tuple[Corner, Corner]]:
    """A range of elements in their order as boxes, each from its lowest corner to beyond its highest.

    Nearly always it is one: whole rows, or a part of one.
    """
    if not shape:
        yield (), ()
        return
    inner = math.prod(shape[1:])
    at = begin
    while at < end:
        row, off = divmod(at, inner)
        rows = (end - at) // inner if off == 0 else 0
        if rows:
            yield (row, *[0] * (len(shape) - 1)), (row + rows, *shape[1:])
            at += rows * inner
        else:
            stop = min(end, (row + 1) * inner)
            for low, high in boxes(off, off + stop - at, shape[1:]):
                yield (row, *low), (row + 1, *high)
            at = stop
