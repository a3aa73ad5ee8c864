"""The commands: parse, call, print, exit status. No judgement lives here."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from initaudit import __version__
from initaudit.errors import InitauditError

FAILED = 2
INTERRUPTED = 130  # what shells report for SIGINT
LONG_WORK_BYTES = 500_000_000
"""Less than this is read before a progress bar would have been looked at."""


class _ListOption(click.ParamType[list[str]]):
    """A comma separated list, as linters take it; the option may be repeated."""

    name = "code,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        return [item.strip() for item in value.split(",") if item.strip()]


def _rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, text in (
        ("--ignore", "Rules to leave out: codes, prefixes (IA4) or names."),
        ("--extend-select", "Rules to apply besides those of --select."),
        ("--select", "Rules to apply: codes, prefixes (IA1), names or ALL. Default: all."),
    ):
        command = click.option(name, type=_ListOption(), multiple=True, help=text)(command)
    return command


def _output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--no-color", is_flag=True, help="Plain text; so does the variable NO_COLOR."),
        click.option("--output-file", type=click.Path(path_type=Path), help="Write the report there, not to stdout."),
        click.option("--output-format", type=click.Choice(["text", "json"]), default="text", show_default=True),
    ):
        command = option(command)
    return command


_paths = click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
_exclude = click.option("--exclude", metavar="GLOB", multiple=True, help="Tensors to leave out; may be repeated.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Lint freshly initialised checkpoints before the first training step.

    Exit status: 0 nothing found, 1 findings at or above --fail-on, 2 something could not be audited.
    """


@cli.command()
@_paths
@_rule_options
@_exclude
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "info", "never"]),
    default="error",
    show_default=True,
    help="The least severity that makes the exit status 1.",
)
@_output_options
@click.option("--show-intended", is_flag=True, help="List what deviates by a known convention, with its name.")
@click.option("--quiet", "-q", is_flag=True, help="Findings alone: no verdict, no progress.")
@click.option("--verbose", "-v", is_flag=True, help="Every finding, every tensor's name, and what was not judged.")
def check(
    paths: tuple[Path, ...],
    select: Sequence[list[str]],
    extend_select: Sequence[list[str]],
    ignore: Sequence[list[str]],
    exclude: tuple[str, ...],
    fail_on: str,
    output_format: str,
    output_file: Path | None,
    no_color: bool,
    show_intended: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Audit checkpoints and print what is wrong with them.

    PATH is a .safetensors file, an index of shards (*.index.json), or a folder with either.
    """
    from initaudit.audit import audit
    from initaudit.registry import load_rules, select_rules

    chosen = (_flat(select) or ("ALL",)) + _flat(extend_select)
    rules = select_rules(load_rules(), select=chosen, ignore=_flat(ignore))
    if not rules:
        raise InitauditError("no rule is left to apply: --ignore takes back what --select chose")
    with _progress(hidden=quiet) as progress:
        report = audit(paths, rules, exclude=exclude, progress=progress)
    if output_format == "json":
        text = report.to_json()
    else:
        from initaudit.report.text import render

        layout = _layout(no_color=no_color, to_file=output_file is not None)
        text = render(report, **layout, show_intended=show_intended, quiet=quiet, verbose=verbose)
    _write(text, output_file)
    for failure in report.failures:
        _complain(f"{failure.path}: {failure.message}")
    return report.exit_status(fail_on)


@cli.command()
@_paths
@_exclude
@_output_options
def inspect(
    paths: tuple[Path, ...],
    exclude: tuple[str, ...],
    output_format: str,
    output_file: Path | None,
    no_color: bool,
) -> int:
    """Show what each tensor is, its fans and its statistics; judge nothing."""
    from initaudit.audit import NOTHING_TO_JUDGE
    from initaudit.findings import Failure
    from initaudit.report.inspection import Inspection, inspection_of, render_json, render_text
    from initaudit.understanding import understood

    inspections: list[Inspection] = []
    complaints: list[str] = []
    with _progress(hidden=False) as progress:
        for one in understood(paths, exclude=exclude, progress=progress):
            if isinstance(one, Failure):
                complaints.append(f"{one.path}: {one.message}")
                continue
            inspections.append(inspection_of(one))
            if not one.statistics:
                complaints.append(f"{one.checkpoint.path}: {NOTHING_TO_JUDGE}")
    if output_format == "json":
        _write(render_json(inspections), output_file)
    elif inspections:
        # Lines are never broken: a table that is cut loses what it is read for.
        layout = _layout(no_color=no_color, to_file=output_file is not None) | {"width": None}
        _write(render_text(inspections, **layout), output_file)
    for complaint in complaints:
        _complain(complaint)
    return FAILED if complaints else 0


@cli.command()
@click.argument("codes", metavar="[CODE]...", nargs=-1)
@click.option("--no-color", is_flag=True, help="Plain text; so does the variable NO_COLOR.")
def rule(codes: tuple[str, ...], no_color: bool) -> int:
    """List the rules, or explain some of them in full."""
    from initaudit.registry import find_rules, load_rules
    from initaudit.report.pages import render_pages, render_table

    rules = load_rules()
    layout = _layout(no_color=no_color, to_file=False)
    if codes:
        named = {found.code: found for code in codes for found in find_rules(rules, code)}
        _write(render_pages(named.values(), **layout), None)
    else:
        _write(render_table(rules.values(), **layout), None)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; never raises.

    click on its own exits 1 where it could not open a file or was interrupted, which a gate would read as findings.
    """
    try:
        status: int = cli.main(arguments, prog_name="initaudit", standalone_mode=False) or 0
        sys.stdout.flush()
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "initaudit"
        _complain(f"{error.format_message()} (see {path} --help)")
        return FAILED
    except InitauditError as error:
        _complain(str(error))
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # The reader of the report has gone, for which click exits 1. Python would complain once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        _complain(f"internal error: {type(error).__name__}: {error} (please report it)")
        return FAILED
    return status


def _flat(lists: Sequence[list[str]]) -> tuple[str, ...]:
    return tuple(item for items in lists for item in items)


def _layout(*, no_color: bool, to_file: bool) -> dict[str, Any]:
    """Width and colour of text: those of the terminal, or neither where the text goes elsewhere."""
    terminal = sys.stdout.isatty() and not to_file
    color = terminal and not no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    if terminal:
        import shutil

        return {"width": max(40, shutil.get_terminal_size().columns), "color": color}
    return {"width": None, "color": bool(os.environ.get("FORCE_COLOR")) and not no_color and not to_file}


def _write(text: str, file: Path | None) -> None:
    if file is None:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InitauditError(f"{file}: {(error.strerror or str(error)).lower()}") from error


def _complain(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    from initaudit.report.escaping import printable

    click.echo(printable(f"initaudit: {message}", longest=1000), err=True)


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Callable[[Any], Callable[[int], None] | None]]:
    """A way to a progress bar for each checkpoint whose reading takes long, on stderr, if that is a terminal."""
    if hidden or not sys.stderr.isatty() or os.environ.get("CI"):
        yield lambda checkpoint: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from initaudit.report.escaping import printable

    columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)

    def follow(checkpoint: Any) -> Callable[[int], None] | None:
        if checkpoint.bytes < LONG_WORK_BYTES:
            return None
        progress.start()  # not before there is work to show: short runs leave no trace on the terminal
        task = progress.add_task(printable(Path(checkpoint.path).name), total=checkpoint.bytes)
        return lambda count: progress.advance(task, count)

    try:
        yield follow
    finally:
        progress.stop()
