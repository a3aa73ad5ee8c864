"""The original of a file that is rewritten in place, kept under a second name."""

import filecmp
import os
from contextlib import suppress
from pathlib import Path

from initaudit.checkpoint.values import Shard
from initaudit.errors import CheckpointError
from initaudit.repair.attributes import keep_attributes
from initaudit.repair.names import bring_to_disk, create, leftovers, place, unused
from initaudit.repair.patching import copy_bytes, require_same


def backup_of(path: Path) -> Path:
    """Where the original of a file is kept."""
    return path.with_name(f"{path.name}.orig")


def is_kept(path: Path) -> bool:
    """Whether a file has its backup already: that of a run which was killed before its last step."""
    backup = backup_of(path)
    if backup.is_symlink() or not backup.is_file():
        return False
    one, other = path.stat(), backup.stat()
    alike = (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)
    return backup.samefile(path) or (alike and filecmp.cmp(path, backup, shallow=False))


def own_links(path: Path) -> int:
    """How many further names of a file, which is one of them, are ours: its backup, and what killed runs left."""
    names = (backup_of(path), *leftovers(path.parent))
    return sum(not name.is_symlink() and name.exists() and name.samefile(path) for name in names)


def keep(shard: Shard) -> list[str]:
    """Keep a shard's file under the name of its backup as well, by a copy where there are no hard links; what it lacks.

    Raises:
        CheckpointError: another file has that name, or the shard was changed since it was audited.
        OSError: the system refuses.

    """
    path, backup, lost = shard.path, backup_of(shard.path), list[str]()
    if is_kept(path):
        return lost
    try:
        try:
            os.link(path, backup)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):
            lost = _copied(shard, backup)
        require_same(shard)
    except FileExistsError as error:
        raise CheckpointError(path, f"its backup {backup.name} appeared meanwhile: move it away") from error
    bring_to_disk(path.parent)
    return lost


def forget(path: Path) -> None:
    """Take a backup away again where the file itself still has its own name: nothing was repaired."""
    with suppress(OSError):
        if is_kept(path):
            backup_of(path).unlink()


def _copied(shard: Shard, backup: Path) -> list[str]:
    """Copy a shard's file with its times and all else, on the disk; what the copy lacks."""
    path, whole = shard.path, unused(backup.parent, backup.name)
    status = path.stat()
    try:
        create(whole)
        copy_bytes(path, whole)
        with whole.open("r+b") as file:
            os.fsync(file.fileno())
        lost = keep_attributes(path, whole)
        os.utime(whole, ns=(status.st_atime_ns, status.st_mtime_ns))
        require_same(shard)
        place(whole, backup)
    finally:
        whole.unlink(missing_ok=True)
    return lost
