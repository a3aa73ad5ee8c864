"""Rewriting a file by its bytes: a copy beside it, some ranges overwritten, and then the name, in one step.

Header, metadata, order and all other tensors stay as they are. Until the last step the original is untouched, so that a
kill, a full disk or a fault of ours at any moment costs nothing.
"""

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from initaudit.checkpoint.reading import scattered
from initaudit.checkpoint.values import Entry, Shard, Stamp
from initaudit.errors import CheckpointError, errno_text

try:
    import fcntl
except ImportError:  # Windows has no reflinks through this call
    fcntl = None  # type: ignore[assignment]  # a name for a module may not be None, says mypy

SUFFIX = ".initaudit-tmp"
"""The end of the name of a copy that has not taken its name yet; what a killed run leaves is known by it."""

FICLONE = 0x40049409
"""The ioctl of Linux that shares a file's blocks with a new one (btrfs, XFS, bcachefs)."""

SPAN_BYTES, PIECE_BYTES, HANDS = 1 << 28, 1 << 18, 2
"""A large file is copied and compared in spans, two at a time, by pieces that fit the cache: up to 5 GB/s to the page
cache, where one hand, or the kernel's own `copy_file_range`, makes up to 4."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a shard that is being patched, and the digests of what was overwritten, before and after, by name."""

    source: Shard
    path: Path
    digests: dict[str, tuple[str, str]]
    mended: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of bytes that follow from what was overwritten, such as checksums."""


def leftovers(folder: Path) -> list[Path]:
    """Copies that killed runs have left in a folder."""
    with suppress(OSError):
        return sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX))
    return []


@contextmanager
def copied(source: Shard, folder: Path) -> Iterator[Copy]:
    """A copy of a shard in a folder, taken away at the end unless it has got another name by then.

    Raises:
        CheckpointError: there is no room, the folder cannot be written to, or the file was changed meanwhile.

    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{source.path.name}.", suffix=SUFFIX, dir=folder)
    except OSError as error:
        raise CheckpointError(folder, f"cannot be written to: {errno_text(error)}") from error
    os.close(descriptor)
    try:
        _copy(source.path, Path(name))
        _require_same(source)
        yield Copy(source, Path(name), {})
    except OSError as error:
        raise CheckpointError(source.path, f"cannot be copied to {folder}: {errno_text(error)}") from error
    finally:
        Path(name).unlink(missing_ok=True)


def overwrite(copy: Copy, entry: Entry, pieces: Iterable[NDArray[np.uint8]]) -> None:
    """Put new bytes in the place of a tensor.

    Raises:
        CheckpointError: they cannot be written, or are not as many as the tensor has.

    """
    if entry.strides:
        pieces = [_spread(copy, entry, pieces)]
    before, after = hashlib.sha256(), hashlib.sha256()
    at = entry.begin
    try:
        with copy.path.open("r+b", buffering=0) as file:
            for piece in pieces:
                file.seek(at)
                before.update(file.read(len(piece)))
                file.seek(at)
                file.write(piece.data)
                after.update(piece.data)
                at += len(piece)
    except OSError as error:
        raise CheckpointError(copy.source.path, f"cannot be rewritten: {errno_text(error)}") from error
    if at != entry.end:
        raise CheckpointError(copy.source.path, f"tensor {entry.name!r} has {entry.size:,} bytes, not {at:,}")
    copy.digests[entry.name] = before.hexdigest(), after.hexdigest()


def require_patchable(shards: Iterable[Shard], names: Collection[str]) -> None:
    """See that tensors lie in their files as they are, so that their bytes can be overwritten.

    Raises:
        CheckpointError: one is compressed, or in big-endian byte order.

    """
    for shard in shards:
        for entry in shard.entries:
            if entry.name in names and entry.unpacked is not None:
                why = f"tensor {entry.name!r} is compressed, so it is not rewritten: save it with numpy.savez"
                raise CheckpointError(shard.path, why)
            if entry.name in names and entry.byte_order == "big":
                why = f"tensor {entry.name!r} is in big-endian byte order, so it is not rewritten: save it again"
                raise CheckpointError(shard.path, why)


def require_same_entries(copy: Copy, again: Shard) -> None:
    """See that a copy, read anew, holds the tensors of the original in their places.

    Raises:
        CheckpointError: it does not.

    """
    if again.entries != copy.source.entries:
        raise CheckpointError(copy.source.path, "its copy does not hold the same tensors: nothing was changed")


def _spread(copy: Copy, entry: Entry, pieces: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The bytes over which a tensor with strides is spread, with new ones in its own places."""
    with copy.path.open("rb") as file:
        file.seek(entry.begin)
        spread = np.frombuffer(bytearray(file.read(entry.size)), np.uint8)
    places, values = scattered(spread, entry), np.concatenate(list(pieces))
    places[...] = values.view(places.dtype).reshape(entry.shape)
    return spread


def settle(copy: Copy) -> None:
    """Bring a copy to the disk, once all that was not overwritten is known to be the original's.

    Raises:
        CheckpointError: other bytes differ, or the disk refuses.

    """
    _require_same(copy.source)
    try:
        with copy.path.open("rb") as file, ThreadPoolExecutor(1) as disk:
            written = disk.submit(os.fsync, file.fileno())  # the disk has its own time, in which the bytes are compared
            _compare(copy)
            written.result()
        shutil.copymode(copy.source.path, copy.path)
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            status = copy.source.path.stat()
            os.chown(copy.path, status.st_uid, status.st_gid)
    except OSError as error:
        raise CheckpointError(copy.source.path, f"cannot be rewritten: {errno_text(error)}") from error


def take_name(copy: Path, target: Path) -> None:
    """Give a finished copy its name, in one step, and bring that to the disk."""
    copy.replace(target)
    with suppress(OSError):  # not every system opens folders
        descriptor = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def why_not_in_place(path: Path) -> str | None:
    """Why a file must not be rewritten where it stands, None if it may be."""
    if path.is_symlink():
        return f"is a link to {path.readlink()}, which others may read as well: write to --output instead"
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    backup = backup_of(path)
    kept = backup.exists() and backup.samefile(path)  # by a run that was killed before its last step
    if status.st_nlink > 1 + kept:
        return f"has {status.st_nlink} names (hard links), all of which would change: write to --output instead"
    if {"blobs", "snapshots"} & set(path.absolute().parts[-4:-1]):
        return "lies in a cache that is shared by its digest: write to --output instead"
    return None


def backup_of(path: Path) -> Path:
    """Where the original of a file is kept."""
    return path.with_name(f"{path.name}.orig")


def keep(path: Path) -> None:
    """Keep a file under the name of its backup as well, by a copy where the file system has no hard links."""
    backup = backup_of(path)
    if backup.exists() and backup.samefile(path):
        return
    try:
        os.link(path, backup)
    except FileExistsError:
        raise
    except OSError:
        whole = path.with_name(f".{backup.name}{SUFFIX}")
        try:
            shutil.copy2(path, whole)
            with whole.open("rb") as file:
                os.fsync(file.fileno())
            take_name(whole, backup)
        finally:
            whole.unlink(missing_ok=True)


def require_room(folder: Path, size: int) -> None:
    """See that a copy of so many bytes fits.

    Raises:
        CheckpointError: it does not.

    """
    free = shutil.disk_usage(folder).free
    if free < size * 1.01:
        left = leftovers(folder)
        way = f"remove {left[0].name}, left by a run that was killed" if left else "free some, or --output elsewhere"
        raise CheckpointError(folder, f"has {free:,} bytes free, a copy needs {int(size * 1.01):,}: {way}")


def _copy(source: Path, target: Path) -> None:
    """Copy a file's bytes: by sharing blocks where the file system can, else by hand."""
    with source.open("rb", buffering=0) as read, target.open("r+b", buffering=0) as write:
        if fcntl is not None:
            with suppress(OSError):
                fcntl.ioctl(write.fileno(), FICLONE, read.fileno())
                return
        size = os.fstat(read.fileno()).st_size
        if hasattr(os, "posix_fallocate") and size:
            os.posix_fallocate(write.fileno(), 0, size)  # a full disk is found here, not half-way

        def copy(span: tuple[int, int]) -> None:
            with source.open("rb", buffering=0) as read, target.open("r+b", buffering=0) as write:
                write.seek(span[0])
                for piece in _pieces(read, span):
                    write.write(piece)

        with ThreadPoolExecutor(HANDS) as hands:
            list(hands.map(copy, _spans(0, size)))


def _pieces(file: FileIO, span: tuple[int, int]) -> Iterator[memoryview]:
    """The bytes of a range, in pieces; each is overwritten by the next."""
    at, end = span
    buffer = memoryview(bytearray(PIECE_BYTES))
    file.seek(at)
    while at < end:
        count = file.readinto(buffer[: min(PIECE_BYTES, end - at)])
        if not count:
            raise OSError(errno.EIO, "the file ended early")
        yield buffer[:count]
        at += count


def _spans(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """A range in spans of up to `SPAN_BYTES`."""
    for at in range(begin, end, SPAN_BYTES):
        yield at, min(at + SPAN_BYTES, end)


def _require_same(source: Shard) -> None:
    if Stamp.of(source.path.stat()) != source.stamp:
        raise CheckpointError(source.path, "was changed since it was audited: run it again once it is written")


def _disjoint(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same ranges in order, those that overlap made one."""
    found: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if found and begin < found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return found


def _compare(copy: Copy) -> None:
    """Hold all bytes that were not overwritten against the original's."""
    written = [(e.begin, e.end) for e in copy.source.entries if e.name in copy.digests]
    written = _disjoint(written + copy.mended)
    edges = [0, *(edge for span in written for edge in span), copy.source.stamp.size]
    kept = (span for begin, end in zip(edges[::2], edges[1::2], strict=True) for span in _spans(begin, end))

    def same(span: tuple[int, int]) -> bool:
        with copy.source.path.open("rb", buffering=0) as old, copy.path.open("rb", buffering=0) as new:
            # As bytes: two memoryviews are compared element by element, six times slower.
            return all(bytes(a) == bytes(b) for a, b in zip(_pieces(old, span), _pieces(new, span), strict=True))

    with ThreadPoolExecutor(HANDS) as hands:
        if copy.path.stat().st_size != copy.source.stamp.size or not all(hands.map(same, kept)):
            raise CheckpointError(copy.source.path, "its copy differs where nothing was drawn: nothing was changed")
