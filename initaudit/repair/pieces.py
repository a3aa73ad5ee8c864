"""Rewriting a tensor that is in pieces: each file of these by a copy of its own, as the one file of any other."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from initaudit.checkpoint.joining import boxes, cut_of, in_order
from initaudit.checkpoint.sources import open_sources
from initaudit.checkpoint.strided import strided_entry
from initaudit.checkpoint.values import Entry, Shard
from initaudit.errors import CheckpointError, errno_text
from initaudit.repair.patching import PIECE_BYTES, Copy


def files_of(shard: Shard, names: Collection[str]) -> Iterator[Shard]:
    """The files of a shard that hold something of the named tensors: the shard itself, unless it is in parts.

    Of a part the entries are the pieces of all tensors that lie in it, by the names of these.
    """
    if not shard.parts:
        if any(entry.name in names for entry in shard.entries):
            yield shard
        return
    pieces: list[list[Entry]] = [[] for _ in shard.parts]
    touched = set()
    for entry in shard.entries:
        width = entry.size // max(entry.count, 1)
        for piece in entry.pieces:
            strides = piece.strides or in_order(piece.sizes)
            pieces[piece.part].append(strided_entry(entry.name, entry.dtype, width, piece.sizes, strides, piece.begin))
            if entry.name in names:
                touched.add(piece.part)
    for number in sorted(touched):
        part = shard.parts[number]
        yield Shard(part.path, part.stamp, tuple(sorted(pieces[number], key=lambda entry: entry.begin)))


def archives_of(shard: Shard, path: Path) -> tuple[tuple[int, int], ...]:
    """Where in a file of a shard archives are, none where it is none of its parts."""
    return next((part.archives for part in shard.parts if part.path == path), ())


def overwrite_pieces(
    copies: Mapping[Path, Copy], shard: Shard, entry: Entry, drawn: Iterable[NDArray[np.uint8]]
) -> None:
    """Put new bytes, in the order of the whole, in the places of a tensor in pieces.

    Raises:
        CheckpointError: they cannot be written, or are not as many as the tensor has.

    """
    before, after = hashlib.sha256(), hashlib.sha256()
    width, at = entry.size // entry.count, 0
    with open_sources(shard, PIECE_BYTES) as sources:
        source = sources.at(entry)
        step = PIECE_BYTES // width * width
        for begin in range(entry.begin, entry.end, step):
            before.update(source.read(begin, min(begin + step, entry.end)).data)
    for piece in drawn:
        after.update(piece.data)
        if at + len(piece) > entry.size:
            break
        _write(copies, shard, entry, width, at // width, piece)
        at += len(piece)
    if at != entry.size:
        raise CheckpointError(shard.path, f"tensor {entry.name!r} has {entry.size:,} bytes, not {at:,}")
    for number in {piece.part for piece in entry.pieces}:
        copies[shard.parts[number].path].digests[entry.name] = before.hexdigest(), after.hexdigest()


def _write(
    copies: Mapping[Path, Copy], shard: Shard, entry: Entry, width: int, first: int, data: NDArray[np.uint8]
) -> None:
    """Write some elements, from the one of that number on."""
    at = 0
    for low, high in boxes(first, first + len(data) // width, entry.shape):
        lengths = [top - bottom for bottom, top in zip(low, high, strict=True)]
        size = int(np.prod(lengths, dtype=np.int64)) * width
        box = data[at : at + size].view(f"V{width}").reshape(lengths)
        at += size
        for piece in entry.pieces:
            cut = cut_of(piece.offsets, piece.sizes, piece.strides or in_order(piece.sizes), low, high)
            if cut is None:
                continue
            path = shard.parts[piece.part].path
            try:
                with copies[path].path.open("r+b", buffering=0) as file:
                    # Between the elements may lie others of this piece, so all over which they are spread is read.
                    spread = _read(file, piece.begin + cut.first * width, cut.spread * width)
                    cut.view(spread)[...] = box[cut.within]
                    file.seek(piece.begin + cut.first * width)
                    left = spread.data
                    while left:
                        left = left[file.write(left) :]
            except OSError as error:
                raise CheckpointError(path, f"cannot be rewritten: {errno_text(error)}") from error


def _read(file: FileIO, begin: int, size: int) -> NDArray[np.uint8]:
    spread = np.empty(size, np.uint8)
    file.seek(begin)
    filled = 0
    while filled < size:
        got = file.readinto(spread[filled:].data)
        if not got:
            raise OSError(5, "the file ended early")
        filled += got
    return spread
