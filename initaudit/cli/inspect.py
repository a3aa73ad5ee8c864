"""``initaudit inspect``: say what each tensor is."""

from pathlib import Path

import click

from initaudit.cli.options import (
    exclude_option,
    key_option,
    output_options,
    paths_argument,
    recursive_option,
    settings_options,
    workers_option,
)
from initaudit.cli.outputs import Output, deliver, outputs_of
from initaudit.cli.settled import settings_of
from initaudit.cli.status import FAILED
from initaudit.cli.terminal import complain, progress_bars, text_layout


@click.command()
@paths_argument
@exclude_option
@key_option
@recursive_option
@settings_options
@workers_option
@output_options(["text", "json"])
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def inspect(
    paths: tuple[Path, ...],
    exclude: tuple[str, ...],
    key: str | None,
    recursive: bool,
    config: Path | None,
    isolated: bool,
    workers: int | None,
    output_format: str | None,
    output_file: Path | None,
    reports: tuple[Output, ...],
    no_color: bool,
    quiet: bool,
) -> int:
    """Show what each tensor is, its fans and its statistics; judge nothing."""
    from initaudit.audit import NOTHING_TO_JUDGE
    from initaudit.findings import Failure
    from initaudit.report.inspection import Inspection, inspection_of, render_json, render_text
    from initaudit.understanding import Reading, crashed, understood
    from initaudit.workers import available_cores

    settings = settings_of(config, isolated=isolated, checkpoints=paths)
    outputs = outputs_of(output_format, output_file, reports)
    inspections: list[Inspection] = []
    complaints: list[str] = []
    read: list[Path] = []
    with progress_bars(hidden=quiet) as bars:
        globs, cores = exclude or settings.exclude, workers or available_cores()
        found = understood(paths, Reading(globs, key, recursive, cores, bars))
        for one in found:
            if isinstance(one, Failure):
                complaints.append(str(one))
                read.append(Path(one.path))
                continue
            read += one.checkpoint.files
            try:
                inspections.append(inspection_of(one))
            except Exception as error:  # one checkpoint, however odd, must not hide what the others hold
                complaints.append(str(crashed(one.checkpoint.path, error)))
                continue
            complaints += [f"{one.checkpoint.path}: {why}" for why in one.checkpoint.unread]
            if not one.can_be_judged and not one.checkpoint.unread:
                complaints.append(f"{one.checkpoint.path}: {NOTHING_TO_JUDGE}")

    def said(output: Output) -> str:
        if output.form == "json":
            return render_json(inspections)
        # Lines are never broken: a table that is cut loses what it is read for.
        layout = text_layout(no_color=no_color, to_file=output.file is not None) | {"width": None}
        return render_text(inspections, **layout) if inspections else ""

    complaints += deliver(outputs, said, inputs=[*paths, *read, *settings.files])
    for complaint in complaints:
        complain(complaint)
    return FAILED if complaints else 0
