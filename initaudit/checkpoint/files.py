"""Opening what may be a file: a pipe, a device or a folder in its place is refused, not waited for or read for ever."""

import os
import stat
from pathlib import Path

from initaudit.errors import CheckpointError, errno_text


def open_file(path: Path) -> tuple[int, os.stat_result]:
    """A descriptor of a regular file, for reading, and its status. The caller closes it.

    Raises:
        CheckpointError: there is none that can be read.

    """
    try:
        # O_NONBLOCK: opening a pipe must not wait for a writer that never comes.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise CheckpointError(path, errno_text(error)) from error
    except ValueError as error:  # a name with NUL, or that no file system can spell
        raise CheckpointError(path, f"no file can have this name ({error})") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise CheckpointError(path, "is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file")
    return descriptor, status


def read_text(path: Path, *, limit: int) -> str:
    """The text of a UTF-8 file of up to ``limit`` bytes.

    Raises:
        CheckpointError: there is none, it is longer, or it cannot be read.
        ValueError: it is not UTF-8.

    """
    descriptor, status = open_file(path)
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > limit:
            raise CheckpointError(path, f"is longer than {limit:,} bytes")
        try:
            return file.read(limit).decode("utf-8")
        except OSError as error:
            raise CheckpointError(path, errno_text(error)) from error
