"""What a checkpoint holds, as its headers say: names, types, shapes and where the bytes lie."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from initaudit.checkpoint.archive import Record
from initaudit.checkpoint.origins import Origin
from initaudit.errors import CheckpointError

CONFIG_NAMES = ("config.json", "adapter_config.json")
"""What holds a model's configuration, beside its weights; the first that can be read counts."""


ByteOrder = Literal["little", "big"]

CODE = "code"
"""The format of a model that was built for the audit alone, from code that was named."""

LIVE = ("module", "state_dict", CODE)
"""The formats of what was never in a file."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A box of a tensor's elements that lies by itself: from byte ``begin`` on of the part of that number.

    It begins at ``offsets`` of the whole along each axis, and is ``sizes`` long.
    """

    part: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    begin: int
    strides: tuple[int, ...] = ()
    """How many elements apart neighbours along each axis lie; empty where they lie in order."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor: ``dtype`` as safetensors spells it, and where it lies, bytes ``[begin, end)`` of a file or memory.

    Of one that is in ``pieces`` these are bytes of the whole that they make up, one tensor behind the other.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int = 0
    end: int = 0
    strides: tuple[int, ...] = ()
    """How many elements apart neighbours along each axis lie; empty where they lie in order."""
    unpacked: tuple[int, int] | None = None
    """Which of the bytes are the tensor's once ``[begin, end)`` is inflated; None where nothing is compressed."""
    byte_order: ByteOrder = "little"
    is_meta: bool = False
    """Whether it was only planned and never given values."""
    shared_with: str = ""
    """The tensor within whose bytes its own lie, as those of a tied head or of a view do."""
    obstacle: str = ""
    """Why its values cannot be judged, whatever its dtype; empty where they can."""
    pieces: tuple[Piece, ...] = ()
    """The boxes that make it up, each element once, where it is not in one file as a whole."""

    @property
    def count(self) -> int:
        """The number of elements: 1 for a scalar, 0 when any dimension is 0."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """The number of bytes over which it lies."""
        return self.end - self.begin


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
class Aside:
    """Something that lies beside the weights, such as the state of an optimiser, and why it is not judged."""

    name: str
    type: str
    reason: str


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes of a record of an archive should add up to, by CRC-32."""

    record: str
    stated: int
    begun: int = 0
    """The sum of what stands in the record before the tensor's bytes."""
    is_binding: bool = False
    """Whether a wrong one is a reason to refuse the file, as it is for NumPy; PyTorch does not look."""

    def refusal(self, path: Path) -> CheckpointError:
        """What is said where the record does not add up and must."""
        said = f"record {self.record[:200]!r} is not what was saved: its checksum is wrong, fetch or save it again"
        return CheckpointError(path, said)


@dataclass(frozen=True, slots=True)
class Part:
    """A file in which pieces of tensors lie."""

    path: Path
    stamp: Stamp
    archives: tuple[tuple[int, int], ...] = ()
    """Where in it the archives are, one for each piece, as `torch.distributed.checkpoint` writes them."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a checkpoint; ``entries`` are sorted by offset, so that reading them is sequential.

    Where tensors are in pieces it is all of their files, the ``parts``, and ``path`` the one that says what is where.
    """

    path: Path
    stamp: Stamp
    entries: tuple[Entry, ...]
    key: str = ""
    """Where in the file its state dict is, of those formats that nest."""
    beside: tuple[Entry, ...] = ()
    """Tensors of the file that are none of its weights, and may share bytes with these."""
    records: tuple[Record, ...] = ()
    """The records of an archive that are held against their checksums; empty where it has none."""
    sums: Mapping[str, Checksum] = field(default_factory=dict)
    """The checksums of those records that are one tensor and no more, by its name."""
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One logical checkpoint: a file, or the shards of an index.

    ``path`` is what a report calls it. ``config`` is the model's ``config.json``, a hint that may be empty. ``notes``
    say what was left alone. ``aside`` is what a file holds beside its weights. ``unread`` says what of it could not be
    read, though it should be judged as the rest is. ``origins`` say of a live module's tensors where in code they come
    from.
    """

    path: str
    format: str
    shards: tuple[Shard, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    aside: tuple[Aside, ...] = ()
    unread: tuple[str, ...] = ()
    origins: Mapping[str, Origin] = field(default_factory=dict)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All tensors, shard after shard."""
        return tuple(entry for shard in self.shards for entry in shard.entries)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that it is read from, there or not: itself, shards, configurations; none of a live model."""
        if self.format in LIVE:
            return ()
        path = Path(self.path)
        folder = path if path.is_dir() else path.parent
        parts = (part.path for shard in self.shards for part in shard.parts)
        return (path, *(shard.path for shard in self.shards), *parts, *(folder / name for name in CONFIG_NAMES))

    @property
    def data_files(self) -> tuple[Path, ...]:
        """The files that hold its tensors, and those that say where."""
        return tuple(
            dict.fromkeys(path for shard in self.shards for path in (shard.path, *(p.path for p in shard.parts)))
        )

    @property
    def bytes(self) -> int:
        """The size of all tensors' data in bytes; what several share counts once."""
        return sum(entry.size for entry in self.entries if not entry.shared_with)

    @property
    def parameters(self) -> int:
        """The number of elements of all tensors; what several share counts once."""
        return sum(entry.count for entry in self.entries if not entry.shared_with)
