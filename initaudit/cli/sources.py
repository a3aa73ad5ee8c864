"""What a command is about: files, and code that is built. Nothing is imported that the user did not name."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from initaudit.builders.naming import TIME_LIMIT, Builder, builder_of
from initaudit.errors import CheckpointError

if TYPE_CHECKING:
    from initaudit.findings import Failure
    from initaudit.settings import Settings
    from initaudit.understanding import Reading, Understood

Source: TypeAlias = Path | Builder | CheckpointError
"""A file or folder, code, or why what was named can be neither."""

DEVICES = {
    "meta": "on the meta device nothing is drawn, so that there would be no values to audit",
    "cuda": "models are built on the CPU, where one seed gives the same values on every machine",
    "auto": "models are built on the CPU, where one seed gives the same values on every machine",
}
"""Why a model is not built on a device."""


def sources_of(
    named: Sequence[Source], settings: "Settings", *, arguments: str | None, seed: int | None, time_limit: float | None
) -> tuple[Source, ...]:
    """What the command line names, else what the configuration does; code with what it is given and how it is run.

    Raises:
        click.UsageError: nothing is named, or the arguments are no JSON, or are for no code.

    """
    sources = tuple(named) or tuple(settings.paths)
    if not sources:
        raise click.UsageError("Missing argument 'PATH...', and the configuration has no paths")
    given = None if arguments is None else _parsed(arguments)
    if given is not None and not any(isinstance(source, Builder) for source in sources):
        raise click.UsageError("--args are for code, as package.module:name, and none is named")
    return tuple(
        replace(
            source,
            arguments=given if given is not None else settings.args.get(source.text, ()),
            seed=next(one for one in (seed, settings.seed, 0) if one is not None),
            time_limit=time_limit or settings.time_limit or TIME_LIMIT,
        )
        if isinstance(source, Builder)
        else source
        for source in sources
    )


class SourceType(click.Path):
    """A path or code, as it was typed: what begins with ``./`` is a path, though `pathlib` drops that."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Take one argument for what it names."""
        return source_of(value) if isinstance(value, str) else value


named_argument = click.argument("sources", metavar="[PATH...]", nargs=-1, type=SourceType())
"""What is named, which may be left to the configuration."""


def source_of(text: str) -> Source:
    """What one argument names."""
    try:
        return builder_of(text) or Path(text)
    except CheckpointError as error:
        return error


def _parsed(text: str) -> Sequence[Any] | Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"--args is no JSON: {error}") from error
    if not isinstance(found, dict | list):
        raise click.UsageError('--args takes an object of named arguments, as {"width": 64}, or a list')
    return found


def understood_sources(sources: Iterable[Source], reading: "Reading") -> "Iterator[Understood | Failure]":
    """Each checkpoint and each model behind some sources, understood, or why it is not."""
    from initaudit.findings import Failure
    from initaudit.understanding import understood

    for source in sources:
        if isinstance(source, CheckpointError):
            yield Failure(source.path, source.reason)
        elif isinstance(source, Builder):
            from initaudit.builders.process import understood_built

            yield understood_built(source, exclude=reading.exclude)
        else:
            yield from understood([source], reading)


def files_of(sources: Iterable[Source]) -> list[Path]:
    """The files and folders among some sources."""
    return [source for source in sources if isinstance(source, Path)]


def code_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--args`` and ``--time-limit``: what a builder is given, and how long it may take."""
    for option in (
        click.option(
            "--time-limit",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help=f"Of code: how long a model may take to be built.  [default: {TIME_LIMIT:g}]",
        ),
        click.option(
            "--args", "arguments", metavar="JSON", help="Of code: what it is given, as '{\"width\": 64}' or a list."
        ),
    ):
        command = option(command)
    return command


def require_cpu(context: click.Context, parameter: click.Parameter, device: str | None) -> str | None:
    """Refuse to build elsewhere than on the CPU."""
    if device in DEVICES:
        raise click.UsageError(f"--device {device}: {DEVICES[device]}")
    return device
