"""The commands: parse, call, print, exit status. No judgement lives here."""

import gc
import os
import sys
from collections.abc import Sequence

import click

from initaudit.cli.bounded import NO_MEMORY, run_apart
from initaudit.cli.check import check
from initaudit.cli.fix import fix
from initaudit.cli.inspect import inspect
from initaudit.cli.rule import rule
from initaudit.cli.status import FAILED, INTERRUPTED, SIGNALLED
from initaudit.cli.terminal import complain, give_up, open_closed_streams
from initaudit.cli.version import show_version
from initaudit.errors import InitauditError, described, errno_text, is_want_of_memory

YOUNG_OBJECTS = 200_000
"""What is read of a large checkpoint stays to the end: to look for garbage in it takes a tenth of the time."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=show_version,
    help="Versions, as bug reports need them.",
)
def cli() -> None:
    """Lint freshly initialised checkpoints before the first training step.

    Exit status: 0 nothing found, 1 findings at or above --fail-on, 2 something could not be audited.
    """


for command in (check, fix, inspect, rule):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; never raises.

    click on its own exits 1 where it could not open a file or was interrupted, which a gate would read as findings.
    """
    # Before numpy is imported: its matrix products are those of one piece that fits the cache, which threads only slow.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(YOUNG_OBJECTS)
    open_closed_streams()
    return run_apart(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    """The exit status of the command, once what went wrong is said."""
    try:
        status: int = cli.main(arguments, prog_name="initaudit", standalone_mode=False) or 0
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return FAILED
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "initaudit"
        complain(f"{error.format_message()} (see {path} --help)")
        return FAILED
    except InitauditError as error:
        complain(str(error))
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except SystemExit as left:
        if isinstance(left.code, int) and left.code > SIGNALLED:  # a repair was asked to end
            return left.code
        if left.code not in (None, 0):  # click exits 1 where the reader of its help has gone
            give_up(sys.stdout)
            return FAILED
        return 0  # the shell was told how to complete
    except BrokenPipeError:
        give_up(sys.stdout)
        return FAILED
    except OSError as error:
        give_up(sys.stdout)
        where = error.filename or "the report cannot be written to stdout"
        complain(f"{where}: {errno_text(error)}")
        return FAILED
    except Exception as error:
        if is_want_of_memory(error):
            complain(NO_MEMORY)
            return FAILED
        complain(f"internal error: {described(error)} (please report it)")
        return FAILED
    return status
