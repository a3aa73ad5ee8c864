"""Where output goes: the report to stdout or a file, complaints and progress to stderr."""

import os
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

    Raises:
        InitauditError: the file cannot be written.

    """
    if file is None:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return
    grows = str(file) == os.environ.get("GITHUB_STEP_SUMMARY")
    try:
        with file.open("a" if grows else "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
    except OSError as error:
        raise InitauditError(f"{file}: {errno_text(error)}") from error


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
