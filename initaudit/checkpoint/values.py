"""What a checkpoint holds, as its headers say: names, types, shapes and where the bytes lie."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a safetensors file: ``dtype`` as the header spells it, bytes ``[begin, end)`` of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int = 0
    end: int = 0

    @property
    def count(self) -> int:
        """The number of elements: 1 for a scalar, 0 when any dimension is 0."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Stamp:
    """The identity of a file's content, as far as the file system tells: it differs once the file was touched."""

    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        """The stamp of an ``os.stat`` or ``os.fstat`` result."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a checkpoint; ``entries`` are sorted by offset, so that reading them is sequential."""

    path: Path
    stamp: Stamp
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One logical checkpoint: a file, or the shards of an index.

    ``path`` is what a report calls it. ``config`` is the model's ``config.json``, a hint that may be empty. ``notes``
    say what was left alone.
    """

    path: str
    format: str
    shards: tuple[Shard, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All tensors, shard after shard."""
        return tuple(entry for shard in self.shards for entry in shard.entries)

    @property
    def bytes(self) -> int:
        """The size of all tensors' data in bytes."""
        return sum(entry.end - entry.begin for entry in self.entries)

    @property
    def parameters(self) -> int:
        """The number of elements of all tensors."""
        return sum(entry.count for entry in self.entries)
