"""Reading a shard's data in pieces, into one buffer that is used again and again.

A file that is mapped and then cut kills the process (SIGBUS); a read that comes back short is an error that can be
said. So nothing is mapped, and the file's stamp is compared when the reading ends.
"""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from initaudit.checkpoint.checksums import Checked
from initaudit.checkpoint.files import open_file
from initaudit.checkpoint.values import Entry, Shard, Stamp
from initaudit.errors import CheckpointError, errno_text

HUGE_PAGE = 1 << 21
"""Bytes of a huge page of x86-64 and most others. Elsewhere nothing is lost."""


def in_huge_page(size: int) -> NDArray[np.uint8]:
    """Uninitialised memory of up to `HUGE_PAGE` bytes that lies in one page where the system has such large ones.

    In small pages, which lie anywhere, buffers that fit the cache push each other out of it: a product then takes twice
    as long. numpy asks for huge pages from twice their size on.
    """
    block = np.empty(2 * HUGE_PAGE, np.uint8)
    begin = -block.ctypes.data % HUGE_PAGE
    return block[begin : begin + size]


class Source(Protocol):
    """Where a tensor's bytes come from."""

    def read(self, begin: int, end: int) -> NDArray[np.uint8]:
        """The bytes ``[begin, end)``; not to be written to, and overwritten by the next call."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The bytes of one tensor that is in memory, in order; the first counts as number ``begin``."""

    begin: int
    data: NDArray[np.uint8]

    def read(self, begin: int, end: int) -> NDArray[np.uint8]:
        """The bytes ``[begin, end)``, as they lie there."""
        return self.data[begin - self.begin : end - self.begin]


@dataclass(frozen=True, slots=True)
class Reader:
    """An open shard. What `read` returns is overwritten by the next call."""

    shard: Shard
    file: FileIO
    buffer: NDArray[np.uint8]

    @classmethod
    @contextmanager
    def opened(cls, shard: Shard, piece_bytes: int) -> Iterator[Self]:
        """A reader of pieces of up to ``piece_bytes``, closed at the end.

        Raises:
            CheckpointError: the file cannot be opened, or is not the one whose header was read; also at the end, if
                it was changed while it was read.

        """
        descriptor, _ = open_file(shard.path)
        with FileIO(descriptor) as file:
            require_unchanged(shard, descriptor)
            yield cls(shard, file, in_huge_page(piece_bytes))
            require_unchanged(shard, descriptor)

    def read(self, begin: int, end: int) -> NDArray[np.uint8]:
        """The bytes ``[begin, end)`` of the file.

        Raises:
            CheckpointError: the file ends before, or cannot be read.

        """
        piece = self.buffer[: end - begin]
        fill(piece, self.shard.path, self.file, begin)
        return piece

    def at(self, entry: Entry) -> Source:
        """Where to read a tensor in the order of its elements: here, if they lie as they are read.

        Raises:
            CheckpointError: the file ends before, cannot be read, or what is packed is damaged.

        """
        checksum = self.shard.sums.get(entry.name)
        if not entry.strides and entry.unpacked is None and entry.byte_order == "little":
            return self if checksum is None else Checked(self, checksum, entry.begin, entry.end, checksum.begun)
        whole = Reader(self.shard, self.file, np.empty(entry.size, np.uint8))
        raw = whole.read(entry.begin, entry.end)
        total = zlib.crc32(raw.data, checksum.begun) if checksum is not None and entry.unpacked is None else 0
        if entry.unpacked is not None:
            raw, total = self._inflated(entry, raw, *entry.unpacked)
        data = gathered(raw, entry) if entry.strides else raw
        memory = Memory(entry.begin, turned_around(data, entry) if entry.byte_order == "big" else data)
        return memory if checksum is None else Checked(memory, checksum, entry.end, entry.end, total)

    def _inflated(self, entry: Entry, raw: NDArray[np.uint8], begin: int, end: int) -> tuple[NDArray[np.uint8], int]:
        """The bytes ``[begin, end)`` of what is inflated, and the checksum of all of it."""
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = stream.decompress(raw.data, end + 1)
        except zlib.error as error:
            raise CheckpointError(
                self.shard.path, f"tensor {entry.name[:200]!r} cannot be inflated: {error}"
            ) from error
        if len(data) != end:
            raise CheckpointError(
                self.shard.path, f"tensor {entry.name[:200]!r} does not inflate to {end:,} bytes: damaged?"
            )
        return np.frombuffer(data, np.uint8)[begin:end], zlib.crc32(data)


def fill(piece: NDArray[np.uint8], path: Path, file: FileIO, begin: int) -> None:
    """Read as many bytes as there is room for, from byte ``begin`` of an open file on.

    Raises:
        CheckpointError: the file ends before, or cannot be read.

    """
    filled = 0
    try:
        file.seek(begin)
        while filled < len(piece):
            got = file.readinto(piece[filled:].data)
            if not got:
                raise CheckpointError(path, f"shrank while it was read: nothing at byte {begin + filled:,}")
            filled += got
    except OSError as error:
        raise CheckpointError(path, errno_text(error)) from error


def gathered(raw: NDArray[np.uint8], entry: Entry) -> NDArray[np.uint8]:
    """The bytes of a tensor with strides in the order of its elements, from those it is spread over."""
    return np.frombuffer(scattered(raw, entry).tobytes(), np.uint8)


def turned_around(data: NDArray[np.uint8], entry: Entry) -> NDArray[np.uint8]:
    """The bytes of a tensor with those of each of its elements in the other order."""
    return data.reshape(entry.count, -1)[:, ::-1].reshape(-1)


def scattered(raw: NDArray[np.uint8], entry: Entry) -> NDArray[np.void]:
    """A view, of a tensor's shape, of the bytes that it is spread over."""
    spread = 1 + sum((size - 1) * stride for size, stride in zip(entry.shape, entry.strides, strict=True))
    width = len(raw) // spread
    return np.ndarray(entry.shape, f"V{width}", raw.data, strides=tuple(stride * width for stride in entry.strides))


def require_unchanged(shard: Shard, descriptor: int | None = None) -> None:
    """See that a shard is the file whose header was read: the one that is open, or the one that has its name now.

    Of one in parts each of these is looked at, unless it is a file that is open.

    Raises:
        CheckpointError: it is another, was written to, or is gone.

    """
    require_stamp(shard.path, shard.stamp, descriptor)
    for part in shard.parts if descriptor is None else ():
        require_stamp(part.path, part.stamp)


def require_stamp(path: Path, stamp: Stamp, descriptor: int | None = None) -> None:
    """See that a file, open or by its name, is the one of a stamp.

    Raises:
        CheckpointError: it is another, was written to, or is gone.

    """
    try:
        status = os.stat(path if descriptor is None else descriptor)  # noqa: PTH116 (a path, or an open file)
    except OSError as error:
        raise CheckpointError(path, f"went away while it was audited: {errno_text(error)}") from error
    if Stamp.of(status) != stamp:
        raise CheckpointError(path, "was changed while it was audited: check it again once it is written")
