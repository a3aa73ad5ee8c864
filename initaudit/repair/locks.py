"""One repair at a time in a folder: whoever comes second waits for a while, and is then told who is at work.

The system's own lock on the folder is let go by itself when its process ends. Where the file system has none, a file
does: it names host and process, and is void once that process is gone from this host.
"""

import json
import os
import platform
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

from initaudit.checkpoint.files import read_text
from initaudit.errors import CheckpointError, errno_text

try:
    import fcntl
except ImportError:  # Windows locks no folders
    fcntl = None  # type: ignore[assignment]  # a name for a module may not be None, says mypy

LOCK_FILE = ".initaudit-lock"
WAIT_SECONDS, STEP_SECONDS, SAY_SECONDS = 30.0, 0.1, 1.0
"""How long another repair is waited for, how often it is looked, and from when on it is said."""

MOST_BYTES = 10_000


class BusyError(Exception):
    """Another repair holds the lock; the text says who."""


class Locks:
    """The locks of one repair, held until it is left. ``notes`` say where none could be had."""

    def __init__(self, told: Callable[[str], None] | None = None) -> None:
        self.notes: list[str] = []
        self._told = told or (lambda message: None)
        self._held: set[tuple[int, int]] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()
        self._held.clear()

    def take(self, folder: Path) -> None:
        """Lock a folder, unless it is locked by this repair already.

        Raises:
            CheckpointError: another repair holds it for longer than is waited for.

        """
        status = folder.stat()
        if (status.st_dev, status.st_ino) in self._held:
            return
        start, said = time.monotonic(), False
        while True:
            try:
                self._lock(folder)
                break
            except BusyError as busy:
                waited = time.monotonic() - start
                if waited > WAIT_SECONDS:
                    raise CheckpointError(folder, f"is being repaired by {busy}: wait for it, or end it") from busy
                if waited > SAY_SECONDS and not said:
                    said = True
                    self._told(f"{folder}: waits for {busy}, which repairs it")
                time.sleep(STEP_SECONDS)
        self._held.add((status.st_dev, status.st_ino))

    def _lock(self, folder: Path) -> None:
        with ExitStack() as stack:
            if not _lock_folder(folder, stack):
                try:
                    _make_lock_file(folder, stack)
                except OSError as error:
                    self.notes.append(
                        f"{folder} could not be locked ({errno_text(error)}): let no other repair run there meanwhile"
                    )
            elif (holder := _holder_by_file(folder)) is not None:
                raise BusyError(holder)
            self._stack.push(stack.pop_all())


def _lock_folder(folder: Path, stack: ExitStack) -> bool:
    """Whether the folder itself could be locked.

    Raises:
        BusyError: another process has locked it.

    """
    if fcntl is None:
        return False
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # one may write to it, and not list it
        return False
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BusyError(_holder_by_system(os.fstat(descriptor).st_ino)) from error
    except OSError:  # NFS and others lock files alone, or nothing
        return False
    stack.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)  # processes that were forked have the descriptor as well
    return True


def _holder_by_system(inode: int) -> str:
    """Who has locked a folder, by Linux's list of all locks."""
    with suppress(OSError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()  # 1: FLOCK ADVISORY WRITE 1234 fe:00:5678 0 EOF
            if words[1:2] == ["FLOCK"] and words[5].rpartition(":")[2] == str(inode) and words[4] not in ("0", "-1"):
                return f"process {words[4]} on {platform.node()}"
    return "another process"


def _make_lock_file(folder: Path, stack: ExitStack) -> None:
    """Make the file that stands for a lock.

    Raises:
        BusyError: there is one of a process that is at work.
        OSError: none can be made.

    """
    path = folder / LOCK_FILE
    said = json.dumps({"host": platform.node(), "process": os.getpid(), "started": _started(os.getpid())})
    # Windows takes the file away itself when the process ends.
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_TEMPORARY", 0)
    for _ in range(2):
        try:
            descriptor = os.open(path, flags, 0o644)
        except FileExistsError:
            holder = _holder_by_file(folder)
            if holder is not None:
                raise BusyError(holder) from None
            _remove_void(path)
            continue
        stack.callback(path.unlink, missing_ok=True)
        stack.callback(os.close, descriptor)
        os.write(descriptor, said.encode())
        return
    raise BusyError("another process")


def _remove_void(path: Path) -> None:
    """Take away a lock whose process is gone: under a name of its own first, so that no fresh one is met."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if _holder(aside) is not None:  # another has taken the void one away, and this is its own
            os.link(aside, path)
        aside.unlink()


def _holder_by_file(folder: Path) -> str | None:
    """Who holds a folder by a file in it, None where there is none or its process is gone."""
    path = folder / LOCK_FILE
    return _holder(path) if os.path.lexists(path) else None


def _holder(path: Path) -> str | None:
    way = f"(if it is not, remove {path})"
    try:
        said: Any = json.loads(read_text(path, limit=MOST_BYTES))
        host, process, started = str(said["host"]), int(said["process"]), said["started"]
    except CheckpointError as error:
        return None if isinstance(error.__cause__, FileNotFoundError) else f"another process {way}"
    except (ValueError, TypeError, KeyError):
        # It is written right after it is made: what stays empty is of a process that was killed in between.
        with suppress(OSError):
            return None if time.time() - path.stat().st_mtime > WAIT_SECONDS / 3 else f"another process {way}"
        return None
    if host == platform.node() and _is_gone(process, started):
        return None
    return f"process {process} on {host[:100]} {way}"


def _is_gone(process: int, started: Any) -> bool:
    """Whether a process of this host has ended, as far as one can tell."""
    if sys.platform == "win32":  # where asking would end it; but its file is taken away when it ends
        return False
    if process <= 0:
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return started is not None and _started(process) not in (None, started)


def _started(process: int) -> str | None:
    """When a process was started, by Linux's own clock: numbers of processes are given again."""
    with suppress(OSError, IndexError):
        return (
            Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        )
    return None
