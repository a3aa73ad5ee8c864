"""The outputs of one run: which forms go where, and the writing of them."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from initaudit.cli.terminal import write
from initaudit.errors import InitauditError
from initaudit.locations import absolute
from initaudit.suggestions import suggestion

STDOUT = "-"


@dataclass(frozen=True, slots=True)
class Output:
    """One form of the report, and the file that it goes to; None is stdout."""

    form: str
    file: Path | None


if TYPE_CHECKING:
    OutputType = click.ParamType[Output]
else:  # before click 8.4 types of parameters said nothing of their values
    OutputType = click.ParamType


class OutputOption(OutputType):
    """``FORMAT=FILE``, with ``-`` for stdout."""

    name = "format=file"

    def __init__(self, forms: Sequence[str]) -> None:
        self.forms = forms

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Output:
        """Take an occurrence of the option apart."""
        if isinstance(value, Output):
            return value
        form, equals, file = value.partition("=")
        if form not in self.forms:
            self.fail(f"no form of the report is called {form!r}: {suggestion(form, self.forms)}", param, ctx)
        if not equals:
            self.fail(f"{value!r} names no file: write {form}=FILE, or {form}={STDOUT} for stdout", param, ctx)
        if not file:
            self.fail(f"{value!r} names no file (an empty variable?)", param, ctx)
        return Output(form, None if file == STDOUT else Path(file))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The forms, each ready for its file."""
        return [CompletionItem(f"{form}=") for form in self.forms if form.startswith(incomplete)]


def outputs_of(
    form: str | None, file: Path | None, reports: Sequence[Output], *, default: str | None = None
) -> tuple[Output, ...]:
    """What ``--output-format``, ``--output-file`` and ``--report`` ask for together.

    Without the first two, text (or what the configuration has as ``default``) goes to stdout, unless a report does.

    Raises:
        click.UsageError: two outputs would go to one place, or the folder of one is not there.

    """
    at_stdout = [report for report in reports if report.file is None]
    main = Output(form or default or "text", None if file is not None and str(file) == STDOUT else file)
    outputs = tuple(reports) if at_stdout and form is None and file is None else (main, *reports)
    places = [output.file and absolute(output.file) for output in outputs]
    for place in places:
        if places.count(place) > 1:
            raise click.UsageError(f"two outputs would go to {place or 'stdout'}")
    for output in outputs:
        if output.file is not None and not output.file.parent.is_dir():
            raise click.UsageError(f"{output.file}: cannot be written: there is no folder {output.file.parent}")
    return outputs


def deliver(outputs: Iterable[Output], said: Callable[[Output], str], *, inputs: Iterable[Path] = ()) -> list[str]:
    """Write all outputs, files before stdout, and return what to complain of: one that fails stops none of the others.

    None is written over one of the ``inputs``, or over any weights, which a slip of the pen would lose.
    """
    from initaudit.checkpoint.folder import is_named_as_weights

    complaints = []
    for output in sorted(outputs, key=lambda output: output.file is None):
        try:
            if output.file is not None and any(is_same_file(output.file, path) for path in inputs):
                raise InitauditError(f"{output.file}: is what was read; the report is not written over it")
            if output.file is not None and is_named_as_weights(output.file) and output.file.exists():
                raise InitauditError(f"{output.file}: holds weights; the report is not written over it")
            write(said(output), output.file)
        except InitauditError as error:
            complaints.append(str(error))
    return complaints


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two names lead to one file that is there."""
    with suppress(OSError):
        return one.samefile(other)
    return False
