"""Reading a shard's data in pieces: `pread` into one buffer that is used again and again.

A file that is mapped and then cut kills the process (SIGBUS); a read that comes back short is an error that can be
said. So nothing is mapped, and the file's stamp is compared when the reading ends.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from initaudit.checkpoint.files import errno_text, open_file
from initaudit.checkpoint.values import Shard, Stamp
from initaudit.errors import CheckpointError

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


@dataclass(frozen=True, slots=True)
class Reader:
    """An open shard. What `read` returns is overwritten by the next call."""

    shard: Shard
    descriptor: int
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
        try:
            require_unchanged(shard, descriptor)
            yield cls(shard, descriptor, in_huge_page(piece_bytes))
            require_unchanged(shard, descriptor)
        finally:
            os.close(descriptor)

    def read(self, begin: int, end: int) -> NDArray[np.uint8]:
        """The bytes ``[begin, end)`` of the file.

        Raises:
            CheckpointError: the file ends before, or cannot be read.

        """
        piece = self.buffer[: end - begin]
        filled = 0
        while filled < len(piece):
            try:
                got = os.preadv(self.descriptor, [piece[filled:].data], begin + filled)
            except OSError as error:
                raise CheckpointError(self.shard.path, errno_text(error)) from error
            if got == 0:
                raise CheckpointError(self.shard.path, f"shrank while it was read: nothing at byte {begin + filled:,}")
            filled += got
        return piece


def require_unchanged(shard: Shard, descriptor: int | None = None) -> None:
    """See that a shard is the file whose header was read: the one that is open, or the one that has its name now.

    Raises:
        CheckpointError: it is another, was written to, or is gone.

    """
    try:
        status = os.stat(shard.path if descriptor is None else descriptor)  # noqa: PTH116 (a path, or an open file)
    except OSError as error:
        raise CheckpointError(shard.path, f"went away while it was audited: {errno_text(error)}") from error
    if Stamp.of(status) != shard.stamp:
        raise CheckpointError(shard.path, "was changed while it was audited: check it again once it is written")
