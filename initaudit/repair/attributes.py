"""Owner, ACL, extended attributes and mode of a file, given to what takes its place.

They are given in an order, and narrowed where one cannot be kept, so that at no moment anybody may read or write what
the original did not let them.
"""

import errno
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from operator import and_
from pathlib import Path

from initaudit.errors import errno_text

ACL, DEFAULT_ACL = "system.posix_acl_access", "system.posix_acl_default"
OF_THE_BYTES = ("security.ima", "security.evm", "trusted.overlay.")
"""Attributes that say what the file's bytes are or where they lie, and would be wrong for others."""

ACL_ENTRY = struct.Struct("<HHI")
USER, OWNING_GROUP, GROUP, MASK = 0x02, 0x04, 0x08, 0x10
GROUP_LOST = "its group"
ACL_START = 4
"""Bytes of an ACL before its entries: the version."""


def keep_attributes(source: Path, target: Path) -> list[str]:
    """Give a file or folder, which until now only its owner may read, all that another one has; what was not kept.

    Raises:
        OSError: the mode cannot be set.

    """
    status = source.stat()
    mode, lost = stat.S_IMODE(status.st_mode), []
    given = target.stat()
    if hasattr(os, "chown") and (given.st_uid, given.st_gid) != (status.st_uid, status.st_gid):
        mode, said = _own(target, status, mode)
        lost += said
    if hasattr(os, "listxattr"):
        mode, said = _keep_extended(source, target, mode, may_have_acl=GROUP_LOST not in lost)
        lost += said
    target.chmod(mode)
    return lost


def _own(target: Path, status: os.stat_result, mode: int) -> tuple[int, list[str]]:
    """Give a file its owner and group, as far as the system lets us; the mode that is right then."""
    with suppress(OSError):
        os.chown(target, status.st_uid, status.st_gid)
        return mode, []
    mode &= 0o777
    with suppress(OSError):
        os.chown(target, -1, status.st_gid)
        return mode, [] if target.stat().st_uid == status.st_uid else ["its owner"]
    # The new group may read no more than those who are neither in the old one nor its owner.
    return mode & ~0o070 | (mode & mode << 3 & 0o070), [GROUP_LOST]


def _keep_extended(source: Path, target: Path, mode: int, *, may_have_acl: bool) -> tuple[int, list[str]]:
    """Give a file the ACL and other extended attributes of another; the mode that is right then."""
    names, lost = _extended(source), []
    for name in (ACL, DEFAULT_ACL):  # of the folder that it was made in
        if name not in names and name in _extended(target):
            os.removexattr(target, name)
    for name in names:
        if name.startswith(OF_THE_BYTES):
            continue
        value = b""
        try:
            value = os.getxattr(source, name)
            if name == ACL and not may_have_acl:  # which would speak of another group
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
            os.setxattr(target, name, value)
        except OSError as error:
            if error.errno == errno.ENODATA:  # taken away meanwhile
                continue
            if name == ACL:
                mode = _narrowed(mode, value)
            elif name.startswith("system.") and "acl" in name:
                mode &= 0o700
            if not name.startswith(("security.", "trusted.")):  # these are the system's own to set
                lost.append(f"{'its ACL' if name == ACL else name} ({errno_text(error)})")
    return mode, lost


def _extended(path: Path) -> list[str]:
    """The names of a file's extended attributes; none where the file system has no such thing."""
    with suppress(OSError):
        return os.listxattr(path)
    return []


def _narrowed(mode: int, acl: bytes) -> int:
    """A mode without the ACL that goes with it: its group and all others may do what every entry lets do, no more."""
    entries = list(_entries(acl))
    of_the_group = [may for tag, may in entries if tag in (USER, OWNING_GROUP, GROUP, MASK)]
    common = reduce(and_, of_the_group, 0o7 if entries else 0)
    named = any(tag in (USER, GROUP) for tag, _ in entries)
    others = mode & 0o007 & (common if named else 0o7)
    return mode & ~0o077 | common << 3 | others


def _entries(acl: bytes) -> Iterator[tuple[int, int]]:
    for at in range(ACL_START, len(acl) - ACL_ENTRY.size + 1, ACL_ENTRY.size):
        tag, may, _ = ACL_ENTRY.unpack_from(acl, at)
        yield tag, may & 0o7
