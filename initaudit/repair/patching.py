"""Rewriting a file by its bytes: a copy beside it, some ranges overwritten, and then the name, in one step.

Header, metadata, order and all other tensors stay as they are. Until the last step the original is untouched, so that a
kill, a full disk or a fault of ours at any moment costs nothing.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Collection, Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from initaudit.checkpoint.reading import scattered
from initaudit.checkpoint.values import Entry, Shard, Stamp
from initaudit.errors import CheckpointError, errno_text
from initaudit.repair.attributes import keep_attributes
from initaudit.repair.names import create, leftovers, unused

try:
    import fcntl
except ImportError:  # Windows has no reflinks through this call
    fcntl = None  # type: ignore[assignment]  # a name for a module may not be None, says mypy

FICLONE = 0x40049409
"""The ioctl of Linux that shares a file's blocks with a new one (btrfs, XFS, bcachefs)."""

COARSEST_NS = 2_000_000_000
"""The steps in which a file system of old counts time."""

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


@contextmanager
def copied(source: Shard, folder: Path, kept: Container[Path] = ()) -> Iterator[Copy]:
    """A copy of a shard in a folder, taken away at the end unless it has another name by then, or is to be ``kept``.

    Raises:
        CheckpointError: there is no room, the folder cannot be written to, or the file was changed meanwhile.

    """
    path = unused(folder, source.path.name)
    try:
        try:
            create(path)
        except OSError as error:
            raise CheckpointError(folder, f"cannot be written to: {errno_text(error)}") from error
        copy_bytes(source.path, path)
        require_same(source)
        yield Copy(source, path, {})
    except OSError as error:
        raise CheckpointError(source.path, f"cannot be copied to {folder}: {errno_text(error)}") from error
    finally:
        if path not in kept:
            path.unlink(missing_ok=True)


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
        with copy.source.path.open("rb", buffering=0) as old, copy.path.open("r+b", buffering=0) as file:
            file.seek(at)  # of the copy nothing is read: it may hold what was drawn for one that shares these bytes
            for piece in pieces:
                for part in _pieces(old, (at, at + len(piece))):
                    before.update(part)
                _write(file, piece.data)
                after.update(piece.data)
                at += len(piece)
    except OSError as error:
        raise CheckpointError(copy.source.path, f"cannot be rewritten: {errno_text(error)}") from error
    if at != entry.end:
        raise CheckpointError(copy.source.path, f"tensor {entry.name!r} has {entry.size:,} bytes, not {at:,}")
    copy.digests[entry.name] = before.hexdigest(), after.hexdigest()


def digest_shared(copy: Copy) -> None:
    """Take the digests anew of what was overwritten and shares bytes with something that was drawn after it.

    Raises:
        OSError: the copy cannot be read.

    """
    end, previous = 0, ""
    shared: set[str] = set()
    written = [entry for entry in copy.source.entries if entry.name in copy.digests]
    for entry in sorted(written, key=lambda entry: entry.begin):
        if entry.begin < end:
            shared |= {previous, entry.name}
        if entry.end > end:
            end, previous = entry.end, entry.name
    with copy.path.open("rb", buffering=0) as file:
        for entry in (entry for entry in written if entry.name in shared):
            digest = hashlib.sha256()
            for span in _spans(entry.begin, entry.end):
                for piece in _pieces(file, span):
                    digest.update(piece)
            copy.digests[entry.name] = copy.digests[entry.name][0], digest.hexdigest()


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


def require_same_entries(source: Shard, again: Shard) -> None:
    """See that copies, read anew, hold the tensors of the original in their places.

    Raises:
        CheckpointError: they do not.

    """
    # That pieces are tied is not read from a file but seen by their values.
    before = [replace(e, shared_with="") if e.pieces else e for e in source.entries]
    if list(again.entries) != before:
        raise CheckpointError(source.path, "its copy does not hold the same tensors: nothing was changed")


def _spread(copy: Copy, entry: Entry, pieces: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The bytes over which a tensor with strides is spread, with new ones in its own places."""
    with copy.path.open("rb") as file:
        file.seek(entry.begin)
        spread = np.frombuffer(bytearray(file.read(entry.size)), np.uint8)
    places, values = scattered(spread, entry), np.concatenate(list(pieces))
    places[...] = values.view(places.dtype).reshape(entry.shape)
    return spread


def settle(copy: Copy) -> list[str]:
    """Bring a copy to the disk, once all that was not overwritten is known to be the original's; what it did not get.

    Raises:
        CheckpointError: other bytes differ, or the disk refuses.

    """
    require_same(copy.source)
    try:
        with copy.path.open("r+b") as file, ThreadPoolExecutor(1) as disk:
            written = disk.submit(os.fsync, file.fileno())  # the disk has its own time, in which the bytes are compared
            _compare(copy)
            written.result()
        lost = keep_attributes(copy.source.path, copy.path)
        _date(copy)
    except OSError as error:
        raise CheckpointError(copy.source.path, f"cannot be rewritten: {errno_text(error)}") from error
    return lost


def _date(copy: Copy) -> None:
    """See that a copy, which is as long as the original, can be told from it by its time, however coarse that is."""
    status, before = copy.path.stat(), copy.source.stamp.modified_ns
    if status.st_mtime_ns == before:
        os.utime(copy.path, ns=(status.st_atime_ns, before + COARSEST_NS))


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


def copy_bytes(source: Path, target: Path) -> None:
    """Copy a file's bytes to one that is there: by sharing blocks where the file system can, else by hand."""
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
                    _write(write, piece)

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


def _write(file: FileIO, data: memoryview) -> None:
    """Write all of some bytes: the system may take less of them at once."""
    while data:
        data = data[file.write(data) :]


def _spans(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """A range in spans of up to `SPAN_BYTES`."""
    for at in range(begin, end, SPAN_BYTES):
        yield at, min(at + SPAN_BYTES, end)


def require_same(source: Shard) -> None:
    """See that a shard's file is still the one that was audited.

    Raises:
        CheckpointError: it was changed or replaced.

    """
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
