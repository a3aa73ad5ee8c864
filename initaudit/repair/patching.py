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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from initaudit.checkpoint.files import errno_text
from initaudit.checkpoint.values import Entry, Shard, Stamp
from initaudit.errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows has no reflinks through this call
    fcntl = None  # type: ignore[assignment]

SUFFIX = ".initaudit-tmp"
"""The end of the name of a copy that has not taken its name yet; what a killed run leaves is known by it."""

FICLONE = 0x40049409
"""The ioctl of Linux that shares a file's blocks with a new one (btrfs, XFS, bcachefs)."""

COPY_BYTES = 1 << 26
COMPARE_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a shard that is being patched, and the digests of what was overwritten, before and after, by name."""

    source: Shard
    path: Path
    digests: dict[str, tuple[str, str]]


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
        raise CheckpointError(
            copy.source.path, f"tensor {entry.name!r} has {entry.end - entry.begin:,} bytes, not {at:,}"
        )
    copy.digests[entry.name] = before.hexdigest(), after.hexdigest()


def settle(copy: Copy) -> None:
    """Bring a copy to the disk, once all that was not overwritten is known to be the original's.

    Raises:
        CheckpointError: other bytes differ, or the disk refuses.

    """
    _require_same(copy.source)
    _compare(copy)
    try:
        with copy.path.open("rb") as file:
            os.fsync(file.fileno())
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
    if status.st_nlink > 1:
        return f"has {status.st_nlink} names (hard links), all of which would change: write to --output instead"
    if {"blobs", "snapshots"} & set(path.absolute().parts[-4:-1]):
        return "lies in a cache that is shared by its digest: write to --output instead"
    return None


def require_room(folder: Path, size: int) -> None:
    """See that a copy of so many bytes fits.

    Raises:
        CheckpointError: it does not.

    """
    free = shutil.disk_usage(folder).free
    if free < size * 1.01:
        raise CheckpointError(folder, f"has {free:,} bytes free, a copy needs {int(size * 1.01):,}")


def _copy(source: Path, target: Path) -> None:
    """Copy a file's bytes: by sharing blocks where the file system can, else within the kernel, else by hand."""
    with source.open("rb") as read, target.open("r+b") as write:
        if fcntl is not None:
            with suppress(OSError):
                fcntl.ioctl(write.fileno(), FICLONE, read.fileno())
                return
        size = os.fstat(read.fileno()).st_size
        if hasattr(os, "posix_fallocate") and size:
            os.posix_fallocate(write.fileno(), 0, size)  # a full disk is found here, not half-way
        if not _copy_in_kernel(read.fileno(), write.fileno(), size):
            read.seek(0)
            write.seek(0)
            shutil.copyfileobj(read, write, COPY_BYTES)


def _copy_in_kernel(read: int, write: int, size: int) -> bool:
    """Whether the system could copy a file without its bytes passing through here."""
    if not hasattr(os, "copy_file_range"):
        return False
    done = 0
    try:
        while done < size:
            count = os.copy_file_range(read, write, size - done, done, done)
            if count == 0:
                return False
            done += count
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
            return False
        raise
    return True


def _require_same(source: Shard) -> None:
    if Stamp.of(source.path.stat()) != source.stamp:
        raise CheckpointError(source.path, "was changed since it was audited: run it again once it is written")


def _compare(copy: Copy) -> None:
    """Hold all bytes that were not overwritten against the original's."""
    written = sorted((e.begin, e.end) for e in copy.source.entries if e.name in copy.digests)
    edges = [0, *(edge for span in written for edge in span), copy.source.stamp.size]
    with copy.source.path.open("rb", buffering=0) as old, copy.path.open("rb", buffering=0) as new:
        if os.fstat(new.fileno()).st_size != copy.source.stamp.size:
            raise CheckpointError(copy.source.path, "its copy has another size: nothing was changed")
        left, right = np.empty(COMPARE_BYTES, np.uint8), np.empty(COMPARE_BYTES, np.uint8)
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            old.seek(begin)
            new.seek(begin)
            for at in range(begin, end, COMPARE_BYTES):
                count = min(COMPARE_BYTES, end - at)
                same = old.readinto(left[:count].data) == new.readinto(right[:count].data) == count
                if not same or not np.array_equal(left[:count], right[:count]):
                    raise CheckpointError(
                        copy.source.path, "its copy differs where nothing was drawn: nothing was changed"
                    )
