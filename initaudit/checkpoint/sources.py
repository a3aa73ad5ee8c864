"""Where the tensors of a shard are read from: one file, or the parts that their pieces lie in."""

from contextlib import AbstractContextManager
from typing import Protocol

from initaudit.checkpoint.joining import Joiner
from initaudit.checkpoint.reading import Reader, Source
from initaudit.checkpoint.values import Entry, Shard


class Sources(Protocol):
    """An open shard."""

    def at(self, entry: Entry) -> Source:
        """Where to read a tensor in the order of its elements."""


def open_sources(shard: Shard, piece_bytes: int) -> AbstractContextManager[Sources]:
    """A shard whose tensors are read in pieces of up to so many bytes.

    Raises:
        CheckpointError: a file cannot be opened, or is not the one that was described; also at the end, if one was
            changed while it was read.

    """
    return Joiner.opened(shard, piece_bytes) if shard.parts else Reader.opened(shard, piece_bytes)
