"""Opening a weight file by its content, whatever its name: safetensors, PyTorch's archives and pickles, NumPy's."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from initaudit.checkpoint import header
from initaudit.checkpoint.archive import Record, read_records
from initaudit.checkpoint.checksums import with_checksums
from initaudit.checkpoint.files import open_file
from initaudit.checkpoint.foreign import DCP_SLICES, ZERO_PARTITION, foreign_file
from initaudit.checkpoint.values import Aside, Shard
from initaudit.errors import CheckpointError, errno_text

Format = Literal["safetensors", "torch", "npz"]

SUFFIXES: Mapping[str, Format] = {
    ".safetensors": "safetensors",
    ".pt": "torch",
    ".pth": "torch",
    ".bin": "torch",
    ".ckpt": "torch",
    ".npz": "npz",
}
"""The usual names of weight files, and what they hold."""

ZIP, PICKLES = (b"PK\x03\x04", b"PK\x05\x06"), tuple(b"\x80%c" % protocol for protocol in range(2, 6))


@dataclass(frozen=True, slots=True)
class Opened:
    """One weight file, described by what stands before and around its data."""

    format: Format
    shard: Shard
    aside: tuple[Aside, ...] = ()
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def open_weights(path: Path, key: str | None = None) -> Opened:
    """What a weight file holds; ``key`` leads to the state dict where one is nested.

    Raises:
        CheckpointError: it is no file that can be read, of no known format, or not whole.

    """
    descriptor, status = open_file(path)
    with os.fdopen(descriptor, "rb") as file:
        # These begin as files that are read, and are parts of something.
        if (said := foreign_file(path.name)) in (DCP_SLICES, ZERO_PARTITION):
            raise CheckpointError(path, str(said))
        try:
            start = file.read(header.START_BYTES)
            opened = None if header.is_plausible(start, status.st_size) else _by_mark(path, file, status, start, key)
        except OSError as error:
            raise CheckpointError(path, errno_text(error)) from error
    return opened or Opened("safetensors", header.read_shard(path))


def is_weights(path: Path) -> bool:
    """Whether a file begins as one of weights does.

    Raises:
        CheckpointError: it cannot be read.

    """
    descriptor, status = open_file(path)
    with os.fdopen(descriptor, "rb") as file:
        try:
            start = file.read(header.START_BYTES)
        except OSError as error:
            raise CheckpointError(path, errno_text(error)) from error
    return header.is_plausible(start, status.st_size) or start.startswith((*ZIP, *PICKLES))


def reopen(shard: Shard, path: Path) -> Shard:
    """The same shard as read from a copy of its file.

    Raises:
        CheckpointError: as for `open_weights`.

    """
    return open_weights(path, shard.key or None).shard


def suffix_note(path: Path, found: Format) -> tuple[str, ...]:
    """A note where a file's name says that it holds something else."""
    named = SUFFIXES.get(path.suffix)
    said = {"safetensors": "a safetensors file", "torch": "a file of torch.save", "npz": "NumPy's .npz"}
    return (f"is {said[found]}, whatever its suffix says",) if named not in (None, found) else ()


def _by_mark(path: Path, file: BinaryIO, status: os.stat_result, start: bytes, key: str | None) -> Opened | None:
    """A file that begins as an archive or a pickle does, None for any other."""
    if start.startswith(ZIP):
        records = read_records(path, file, status.st_size)
        if _is_numpy(records):
            from initaudit.checkpoint.arrays import read_arrays

            return Opened("npz", read_arrays(path, file, status, records))
        if not any(name.rpartition("/")[2] == "data.pkl" for name in records):
            what = foreign_file(path.name) or "is a zip archive, but neither PyTorch's nor NumPy's"
            raise CheckpointError(path, what)
        from initaudit.checkpoint.torch_file import read_archived

        saved = read_archived(path, file, status, records, key)
        return Opened("torch", with_checksums(saved.shard, records), saved.aside, saved.notes, saved.unread)
    if start.startswith(PICKLES):
        from initaudit.checkpoint.torch_legacy import read_legacy

        saved = read_legacy(path, file, status, key)
        return Opened("torch", saved.shard, saved.aside, saved.notes, saved.unread)
    return None


def _is_numpy(records: Mapping[str, Record]) -> bool:
    return bool(records) and all(name.endswith(".npy") for name in records)
