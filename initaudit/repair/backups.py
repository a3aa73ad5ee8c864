"""The original of a file that is rewritten in place, kept under a second name."""

import os
from contextlib import suppress
from pathlib import Path

from initaudit.checkpoint.values import Shard
from initaudit.errors import CheckpointError
from initaudit.repair.attributes import keep_attributes
from initaudit.repair.names import bring_to_disk, create, place, stamp_of, unused
from initaudit.repair.patching import copy_bytes, require_same


def backup_of(path: Path) -> Path:
    """Where the original of a file is kept."""
    return path.with_name(f"{path.name}.orig")


def is_kept(path: Path) -> bool:
    """Whether a file has its backup already: that of a run which was killed before its last step."""
    backup = backup_of(path)
    return not backup.is_symlink() and backup.exists() and backup.samefile(path)


def keep(shard: Shard) -> list[str]:
    """Keep a shard's file under the name of its backup as well, by a copy where there are no hard links; what it lacks.

    Raises:
        CheckpointError: another file has that name, or the shard was changed since it was audited.
        OSError: the system refuses.

    """
    path, backup, lost = shard.path, backup_of(shard.path), list[str]()
    if is_kept(path):
        return lost
    whole = unused(path.parent, backup.name)
    try:
        try:
            os.link(path, whole)
        except (OSError, NotImplementedError):
            lost = _copied(path, whole)
            require_same(shard)
        else:
            if stamp_of(whole) != shard.stamp:
                require_same(shard)
        place(whole, backup)
    except FileExistsError as error:
        raise CheckpointError(path, f"its backup {backup.name} appeared meanwhile: move it away") from error
    finally:
        whole.unlink(missing_ok=True)
    bring_to_disk(path.parent)
    return lost


def forget(path: Path) -> None:
    """Take a backup away again where the file itself still has its own name: nothing was repaired."""
    with suppress(OSError):
        if is_kept(path):
            backup_of(path).unlink()


def _copied(path: Path, whole: Path) -> list[str]:
    """Copy a file with its times and all else, on the disk; what the copy lacks."""
    status = path.stat()
    create(whole)
    copy_bytes(path, whole)
    with whole.open("rb") as file:
        os.fsync(file.fileno())
    lost = keep_attributes(path, whole)
    os.utime(whole, ns=(status.st_atime_ns, status.st_mtime_ns))
    return lost
