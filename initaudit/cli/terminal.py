"""Where output goes: the report to stdout or a file, complaints and progress to stderr."""

import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from initaudit.errors import InitauditError, errno_text

LONG_WORK_BYTES = 500_000_000
"""Less than this is read before a progress bar would have been looked at."""


def text_layout(*, no_color: bool, to_file: bool) -> dict[str, Any]:
    """Width and colour of text: those of the terminal, or neither where the text goes elsewhere."""
    terminal = sys.stdout.isatty() and not to_file
    color = terminal and not no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    if terminal:
        import shutil

        return {"width": max(40, shutil.get_terminal_size().columns), "color": color}
    return {"width": None, "color": bool(os.environ.get("FORCE_COLOR")) and not no_color and not to_file}


def write(text: str, file: Path | None) -> None:
    """Write a report to a file, or to stdout; a step's summary on GitHub may hold those of other commands, and grows.

    A file is replaced in one step, so that a full disk leaves the old one; a link is replaced, not followed, so that
    none which somebody has planted leads to another file. What is no file, such as a pipe, is written to.

    Raises:
        InitauditError: the file cannot be written.

    """
    if file is None:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return
    grows = str(file) == os.environ.get("GITHUB_STEP_SUMMARY")
    content = text.encode("utf-8", "backslashreplace")
    try:
        if grows or not _is_replaceable(file):
            with file.open("ab" if grows else "wb") as stream:
                stream.write(content)
        else:
            _replace(file, content)
    except OSError as error:
        raise InitauditError(f"{file}: {errno_text(error)}") from error


def _is_replaceable(file: Path) -> bool:
    """Whether another file may take a name: no device or pipe has it, and it is none of the system's for these."""
    if file.absolute().parts[1:2] in (("dev",), ("proc",)):
        return False
    return file.is_file() or not file.exists()  # a link to a pipe is as the pipe


def _replace(file: Path, content: bytes) -> None:
    """Give a file its content in one step, with the mode that it had, else with the one that new files get."""
    beside = file.with_name(f".{file.name[:100]}.{secrets.token_hex(6)}.initaudit-tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(beside, flags, 0o666)
    except PermissionError:  # the folder takes no other file, while this one may be written to
        if file.is_symlink() or not file.exists():
            raise
        file.write_bytes(content)
        return
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if file.exists() and not file.is_symlink():
            beside.chmod(stat.S_IMODE(file.stat().st_mode))
        beside.replace(file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def complain(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    from initaudit.report.escaping import printable

    try:
        click.echo(printable(f"initaudit: {message}", longest=1000), err=True)
    except OSError:  # a log that is full must not change the exit status
        give_up(sys.stderr)


def open_closed_streams() -> None:
    """Open streams that this process was started without, so that no file of ours takes the number of one.

    What any library wrote to stderr would else go into a checkpoint. stdout cannot be written to: that its report
    is lost is said as of a disk that is full.
    """
    for number, (name, flags) in enumerate((("stdin", os.O_RDONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY))):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flags)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            os.set_inheritable(number, True)
            mode = "w" if number else "r"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="backslashreplace"))


def give_up(stream: TextIO) -> None:
    """Write no more to a stream that nobody reads or that is full: at the end Python would fail over it once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def progress_bars(*, hidden: bool) -> Iterator[Callable[[Any], Callable[[int], None] | None]]:
    """A way to a progress bar for each checkpoint whose reading takes long, on stderr, if that is a terminal."""
    if hidden or not sys.stderr.isatty() or os.environ.get("CI"):
        yield lambda checkpoint: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from initaudit.report.escaping import printable

    columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)

    def follow(checkpoint: Any) -> Callable[[int], None] | None:
        if checkpoint.bytes < LONG_WORK_BYTES:
            return None
        bar.start()  # not before there is work to show: short runs leave no trace on the terminal
        task = bar.add_task(printable(Path(checkpoint.path).name), total=checkpoint.bytes)
        return lambda count: bar.advance(task, count)

    try:
        yield follow
    finally:
        bar.stop()
