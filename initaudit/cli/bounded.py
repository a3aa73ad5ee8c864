"""Running where memory is bounded: what ends the process itself is exit status 2, as any other failure.

A library that gets no memory may not raise but end the process: OpenBLAS with status 1, which a gate would read as
findings, what is written in Rust or C++ by a signal. So where the system is told to refuse memory, the command runs in
a child process, and this one, which asks for no more, says what became of it.
"""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from initaudit.cli.status import FAILED
from initaudit.errors import is_want_of_memory

NO_MEMORY = "there is not enough memory, or it may not be used (see ulimit -v): nothing was audited to its end"

BY_REQUEST, BY_TERMINAL = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"), ("SIGINT", "SIGHUP", "SIGQUIT")
"""Signals that are passed on, and of which this process dies when the other has; and those that a terminal sends both.

One that came twice would interrupt what the other does on the first.
"""

PIECE = 64
"""Bytes of the pipe that are read at once: the answer is a number."""


SQUARE = 256
"""Rows and columns of a product that OpenBLAS does not do without room of its own."""


def run_apart(run: Callable[[], int]) -> int:
    """The exit status of a command, in a process of its own where memory is bounded and not all is loaded yet."""
    if not _is_bounded() or "numpy" in sys.modules:
        return run()
    answer, to_parent = os.pipe()
    try:
        child = os.fork()
    except OSError:
        os.close(answer)
        os.close(to_parent)
        return run()
    if child == 0:
        os.close(answer)
        _answer(run, to_parent)
    os.close(to_parent)
    return _status_of(child, answer)


def complain_of_memory() -> None:
    """Say that memory ran out, by what takes none."""
    with suppress(OSError):
        os.write(2, f"initaudit: {NO_MEMORY}\n".encode())


def _is_bounded() -> bool:
    """Whether the system refuses memory at some point, rather than to end a process that uses too much."""
    if not hasattr(os, "fork") or os.name != "posix":
        return False
    import resource

    for name in ("RLIMIT_AS", "RLIMIT_DATA"):
        limit = getattr(resource, name, None)
        if limit is not None and resource.getrlimit(limit)[0] != resource.RLIM_INFINITY:
            return True
    with suppress(OSError), open("/proc/sys/vm/overcommit_memory", "rb") as file:  # noqa: PTH123 (asks for less memory)
        return file.read(1) == b"2"
    return False


def _answer(run: Callable[[], int], to_parent: int) -> NoReturn:
    """Run the command, say how it ended, and end."""
    status = None
    try:
        if _has_room():
            status = run()
            with suppress(OSError, ValueError):  # a stream that is full or closed was given up, and that was said
                sys.stdout.flush()
                sys.stderr.flush()
    except BaseException:
        status = None
    if status is not None:
        os.write(to_parent, str(status).encode())
    os._exit(FAILED if status is None else status)


def _has_room() -> bool:
    """Whether numpy can be loaded: what its libraries say of want of memory is said in one line instead."""
    hidden = os.open(os.devnull, os.O_WRONLY)
    shown = os.dup(2)
    os.dup2(hidden, 2)
    try:
        import numpy as np

        square = np.ones((SQUARE, SQUARE), np.float32)
        np.matmul(square, square)  # at the first product OpenBLAS asks for all that it needs
    except MemoryError:
        return False
    except ImportError as error:  # it is not installed well, which is said where it is used
        return not is_want_of_memory(error)
    finally:
        os.dup2(shown, 2)
        os.close(shown)
        os.close(hidden)
    return True


def _status_of(child: int, answer: int) -> int:
    """The status that a child process answered; where it ended without one, it is said why, or died of as it did."""

    def forward(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    def wait(number: int, frame: FrameType | None) -> None:
        """Leave it to the other, which has got it as well."""

    sent_both = BY_TERMINAL if _is_in_foreground() else ()
    before = {}
    for name in BY_REQUEST:
        if hasattr(signal, name):
            number = getattr(signal, name)
            before[number] = signal.signal(number, wait if name in sent_both else forward)
    try:
        said = b""
        while piece := os.read(answer, PIECE):
            said += piece
        _, ended = os.waitpid(child, 0)
    finally:
        os.close(answer)
        for number, handler in before.items():
            signal.signal(number, handler)
    if said:
        return int(said)
    status = os.waitstatus_to_exitcode(ended)
    if -status in before:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    complain_of_memory()
    return FAILED


def _is_in_foreground() -> bool:
    """Whether what is typed at a terminal, or that it is gone, is told this process and its child alike."""
    with suppress(OSError):
        terminal = os.open("/dev/tty", os.O_RDONLY)
        try:
            return os.tcgetpgrp(terminal) == os.getpgrp()
        finally:
            os.close(terminal)
    return False
