"""Names of files: swapped in one step, or taken only where nobody has them yet.

Plain renaming puts one file in the place of another, whatever that is by then. Where the system can swap two names,
nothing loses its name, so that what was there can still be looked at and put back.
"""

import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from initaudit.checkpoint.values import Stamp

SUFFIX = ".initaudit-tmp"
"""The end of the name of what has not taken its name yet; what a killed run leaves is known by it."""

MOST_OF_A_NAME = 40
"""Characters of a file's name that its copy's begins with: a name has 255 bytes, and a character up to four."""

EXCHANGE, NEW = "exchange", "new"
_LINUX = {NEW: 1, EXCHANGE: 2}
_MACOS = {NEW: 4, EXCHANGE: 2}
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}
"""What the system answers where it, the file system or a sandbox knows no such renaming."""


def unused(folder: Path, name: str) -> Path:
    """A name, of nothing yet, for what is to be called ``name`` in the end."""
    return folder / f".{name[:MOST_OF_A_NAME]}.{secrets.token_hex(4)}{SUFFIX}"


def leftovers(folder: Path) -> list[Path]:
    """Copies that killed runs have left in a folder."""
    with suppress(OSError):
        return sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX))
    return []


def create(path: Path) -> None:
    """Make an empty file that nobody else may read.

    Raises:
        OSError: the system refuses.

    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o600))


def stamp_of(path: Path) -> Stamp | None:
    """Which file has a name now, a link as itself; None where there is none."""
    try:
        return Stamp.of(path.lstat())
    except FileNotFoundError:
        return None


def swap(copy: Path, target: Path) -> bool:
    """Put a copy in the place of what is there, which gets the copy's name; False where it has none any more.

    Raises:
        OSError: there is nothing at one of the names, or the system refuses.

    """
    if _renamed(copy, target, EXCHANGE):
        return True
    aside = unused(copy.parent, target.name)
    try:
        os.link(target, aside)
    except FileNotFoundError:
        raise
    except (OSError, NotImplementedError):  # no hard links either: then the name is simply taken
        copy.replace(target)
        return False
    try:
        copy.replace(target)
    except OSError:
        aside.unlink()
        raise
    aside.replace(copy)
    return True


def place(path: Path, target: Path) -> None:
    """Give a file or folder a name that nothing has.

    Raises:
        FileExistsError: something has it.
        OSError: the system refuses.

    """
    if _renamed(path, target, NEW):
        return
    if sys.platform == "win32":
        path.rename(target)
    elif stat.S_ISDIR(path.lstat().st_mode):
        target.mkdir(mode=0o700)  # which a folder may take the place of, and only as long as it is empty
        path.rename(target)
    else:
        try:
            os.link(path, target)
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):
            create(target)
            path.replace(target)
        else:
            path.unlink()


def bring_to_disk(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    with suppress(OSError):  # not every system opens folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _renamed(source: Path, target: Path, how: str) -> bool:
    """Whether the system could rename as asked for."""
    call = _system_call()
    if call is None:
        return False
    sys.audit("os.rename", source, target, -1, -1)
    code = call(os.fsencode(source), os.fsencode(target), how)
    if code == 0:
        return True
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(source), None, str(target))


@cache
def _system_call() -> Callable[[bytes, bytes, str], int] | None:
    """The call that renames in these ways, which returns the number of an error or 0; None where there is none."""
    import ctypes

    here = -100  # AT_FDCWD of Linux
    library = None if sys.platform == "win32" else ctypes.CDLL(None, use_errno=True)
    take = getattr(library, {"linux": "renameat2", "darwin": "renamex_np"}.get(sys.platform, ""), None)
    if sys.platform == "linux" and take is not None:
        take.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
        return lambda old, new, how: ctypes.get_errno() if take(here, old, here, new, _LINUX[how]) else 0
    if sys.platform == "darwin" and take is not None:
        take.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint]
        return lambda old, new, how: ctypes.get_errno() if take(old, new, _MACOS[how]) else 0
    return None
