"""``initaudit inspect``: say what each tensor is."""

from pathlib import Path

import click

from initaudit.cli.options import exclude_option, output_options, paths_argument, workers_option
from initaudit.cli.terminal import complain, progress_bars, text_layout, write

FAILED = 2


@click.command()
@paths_argument
@exclude_option
@workers_option
@output_options
def inspect(
    paths: tuple[Path, ...],
    exclude: tuple[str, ...],
    workers: int | None,
    output_format: str,
    output_file: Path | None,
    no_color: bool,
) -> int:
    """Show what each tensor is, its fans and its statistics; judge nothing."""
    from initaudit.audit import NOTHING_TO_JUDGE
    from initaudit.findings import Failure
    from initaudit.report.inspection import Inspection, inspection_of, render_json, render_text
    from initaudit.understanding import understood
    from initaudit.workers import available_cores

    inspections: list[Inspection] = []
    complaints: list[str] = []
    with progress_bars(hidden=False) as bars:
        for one in understood(paths, exclude=exclude, workers=workers or available_cores(), progress=bars):
            if isinstance(one, Failure):
                complaints.append(f"{one.path}: {one.message}")
                continue
            inspections.append(inspection_of(one))
            if not one.statistics:
                complaints.append(f"{one.checkpoint.path}: {NOTHING_TO_JUDGE}")
    if output_format == "json":
        write(render_json(inspections), output_file)
    elif inspections:
        # Lines are never broken: a table that is cut loses what it is read for.
        layout = text_layout(no_color=no_color, to_file=output_file is not None) | {"width": None}
        write(render_text(inspections, **layout), output_file)
    for complaint in complaints:
        complain(complaint)
    return FAILED if complaints else 0
