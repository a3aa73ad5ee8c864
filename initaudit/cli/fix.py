"""``initaudit fix``: redraw what is faulty, and nothing else."""

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from initaudit.builders.naming import Builder
from initaudit.cli.options import (
    PATH,
    exclude_option,
    key_option,
    output_options,
    recursive_option,
    rule_options,
    settings_options,
    workers_option,
)
from initaudit.cli.outputs import Output, deliver, outputs_of
from initaudit.cli.settled import rules_of, settings_of
from initaudit.cli.sources import Source, code_options, files_of, source_of, sources_of, understood_sources
from initaudit.cli.status import FAILED, SIGNALLED
from initaudit.cli.terminal import complain, progress_bars, text_layout

if TYPE_CHECKING:
    from initaudit.remedies import Wish
    from initaudit.rule import Rule
    from initaudit.understanding import Reading

ENDING = ("SIGTERM", "SIGHUP", "SIGQUIT")
"""What asks a process to end: a scheduler, a connection that is lost, and a key of the terminal."""


@click.command()
@click.argument("path", metavar="PATH", type=PATH)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="Where to write: a file, or a folder for a folder."
)
@click.option("--in-place", is_flag=True, help="Rewrite the file itself, in one step.")
@click.option("--backup", is_flag=True, help="With --in-place: keep the original as NAME.orig.")
@click.option("--force", is_flag=True, help="Write over an output that is there.")
@click.option("--dry-run", is_flag=True, help="Show what would be redrawn; write nothing.")
@click.option("--emit-code", is_flag=True, help="Print the Python that mends the model, in torch's terms.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all streams of random numbers."
)
@click.option(
    "--scheme", "schemes", metavar="[GLOB=]SCHEME", multiple=True, help="A scheme, or a law, by hand; may be repeated."
)
@click.option(
    "--verify",
    "report",
    metavar="REPORT.json",
    type=click.Path(path_type=Path),
    help="Draw again what a JSON report of fix says, and compare PATH: 0 equal, 1 not, 2 not comparable.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@rule_options
@exclude_option
@key_option
@recursive_option
@settings_options
@workers_option
@code_options
@output_options(["text", "json"])
def fix(
    path: Path,
    output: Path | None,
    in_place: bool,
    backup: bool,
    force: bool,
    dry_run: bool,
    emit_code: bool,
    seed: int,
    schemes: tuple[str, ...],
    report: Path | None,
    device: str,
    select: Sequence[list[str]],
    extend_select: Sequence[list[str]],
    ignore: Sequence[list[str]],
    folders: tuple[Path, ...],
    exclude: tuple[str, ...],
    key: str | None,
    recursive: bool,
    config: Path | None,
    isolated: bool,
    workers: int | None,
    arguments: str | None,
    time_limit: float | None,
    output_format: str | None,
    output_file: Path | None,
    reports: tuple[Output, ...],
    no_color: bool,
) -> int:
    """Redraw what `check` reports at warning or above, and leave every other byte as it is.

    A weight is drawn as its siblings are, else as its model is, else by its fan-in. SCHEME is one of lecun_normal,
    xavier_normal, kaiming_normal (each also _uniform), normal:std=0.02, trunc_normal:std=0.02, uniform:bound=0.05,
    orthogonal:gain=1, sparse:connections=10, zeros, ones, constant:value=1; or a law, as 'normal(std = 0.02 / sqrt(2 *
    blocks))', in terms of fan_in, fan_out, block, blocks, width and config.KEY.

    Of code, as package.module:name or hf:FOLDER, --emit-code prints what to add to it.
    """
    outputs = outputs_of(output_format, output_file, reports)
    if report is not None:
        _require_alone(
            {
                "--output": output,
                "--in-place": in_place,
                "--backup": backup,
                "--force": force,
                "--dry-run": dry_run,
                "--scheme": schemes,
                "--seed": seed,
                "--exclude": exclude,
                "--select": select,
                "--extend-select": extend_select,
                "--ignore": ignore,
            }
        )
        return _verify(report, path, key, recursive, workers, device, outputs)
    if emit_code and (output or in_place or dry_run or output_format not in (None, "text")):
        raise click.UsageError("--emit-code prints Python and writes no checkpoint: leave the other outputs away")
    if not emit_code and isinstance(source_of(str(path)), Builder):
        raise click.UsageError(f"{path} is code: --emit-code prints what mends it")
    if not emit_code and not dry_run and bool(output) == in_place:
        raise click.UsageError(
            "say where to write: --output OUT or --in-place (or --dry-run to see what would be done)"
        )
    if backup and not in_place:
        raise click.UsageError("--backup goes with --in-place")
    from initaudit.remedies import wish_of
    from initaudit.repair import Destination, fix
    from initaudit.understanding import Reading
    from initaudit.workers import available_cores

    settings = settings_of(config, isolated=isolated, checkpoints=[path])
    rules = rules_of(settings, folders, select=select, extend_select=extend_select, ignore=ignore)
    globs = exclude or settings.exclude
    wishes = [wish_of(text) for text in schemes]
    if emit_code:
        sources = sources_of([source_of(str(path))], settings, arguments=arguments, seed=seed, time_limit=time_limit)
        reading = Reading(globs, key, recursive, workers or available_cores())
        return _emit(sources, rules, reading, wishes, outputs)
    destination = Destination() if dry_run else Destination(output, in_place, backup, force)
    _end_tidily()
    with progress_bars(hidden=False) as bars:
        reading = Reading(globs, key, recursive, workers or available_cores(), bars)
        repair = fix(path, rules, destination, reading, wishes=wishes, seed=seed, device=device, told=complain)
    from initaudit.report.repair import render_json, render_text

    def said(output: Output) -> str:
        if output.form == "json":
            return render_json(repair)
        layout = text_layout(no_color=no_color, to_file=output.file is not None)
        return render_text(repair, is_dry=dry_run, **layout)

    inputs = [path, *repair.files, *settings.files]
    if repair.output is not None:
        inputs += [repair.output, *repair.output.rglob("*")]
    unwritten = deliver(outputs, said, inputs=inputs)
    for complaint in [*map(str, repair.failures), *unwritten]:
        complain(complaint)
    return FAILED if unwritten else repair.exit_status


def _require_alone(others: Mapping[str, object]) -> None:
    """See that ``--verify`` goes with none of what says what to draw, or where to.

    Raises:
        click.UsageError: it does.

    """
    for name, given in others.items():
        if given:
            raise click.UsageError(f"{name} does not go with --verify, which draws what was drawn and writes nothing")


def _verify(
    report: Path,
    path: Path,
    key: str | None,
    recursive: bool,
    workers: int | None,
    device: str,
    outputs: Sequence[Output],
) -> int:
    """Draw again what a report tells of, and compare; the exit status."""
    from initaudit.repair import verify
    from initaudit.report.verification import render_json, render_text
    from initaudit.understanding import Reading
    from initaudit.workers import available_cores

    reading = Reading(key=key, recursive=recursive, workers=workers or available_cores())
    verified = verify(report, path, reading, device=device)

    def said(output: Output) -> str:
        return render_json(verified) if output.form == "json" else render_text(verified)

    unwritten = deliver(outputs, said, inputs=[report, path, *verified.files])
    for complaint in unwritten:
        complain(complaint)
    return FAILED if unwritten else verified.exit_status


def _emit(
    sources: Sequence[Source],
    rules: "Sequence[Rule]",
    reading: "Reading",
    wishes: "Sequence[Wish]",
    outputs: Sequence[Output],
) -> int:
    """Print what mends the models behind some sources, and return the exit status."""
    from initaudit.audit import judge_all
    from initaudit.repair.planning import plan_repair
    from initaudit.report.code import render

    report = judge_all(understood_sources(sources, reading), rules, reading)
    plans = [plan_repair(one, wishes) for one in report.audited]
    unwritten = []
    if plans:
        text = render(report.audited, plans)
        unwritten = deliver(outputs, lambda output: text, inputs=[*files_of(sources), *report.files])
    for complaint in [*map(str, report.failures), *unwritten]:
        complain(complaint)
    if unwritten or report.failures:
        return FAILED
    return int(any(plan.unrepaired for plan in plans))


def _end_tidily() -> None:
    """Leave at a signal as on an exception, so that copies are taken away; what nohup ignores stays ignored."""
    for name in ENDING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _ended)


def _ended(number: int, frame: FrameType | None) -> None:
    for name in ENDING:  # a second one would cut the tidying short
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    raise SystemExit(SIGNALLED + number)
