"""``initaudit check``: audit checkpoints."""

from collections.abc import Sequence
from pathlib import Path

import click

from initaudit.cli.options import exclude_option, flat, output_options, paths_argument, rule_options, workers_option
from initaudit.cli.outputs import Output, deliver, outputs_of
from initaudit.cli.terminal import complain, progress_bars, text_layout
from initaudit.errors import InitauditError
from initaudit.report.formats import FORMATS, render

FAILED = 2


@click.command()
@paths_argument
@rule_options
@exclude_option
@workers_option
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "info", "never"]),
    default="error",
    show_default=True,
    help="The least severity that makes the exit status 1.",
)
@output_options(FORMATS)
@click.option("--statistics", is_flag=True, help="Count the findings by rule instead of listing them.")
@click.option("--show-intended", is_flag=True, help="List what deviates by a known convention, with its name.")
@click.option("--quiet", "-q", is_flag=True, help="Findings alone: no verdict, no progress.")
@click.option("--verbose", "-v", is_flag=True, help="Every finding, every tensor's name, and what was not judged.")
def check(
    paths: tuple[Path, ...],
    select: Sequence[list[str]],
    extend_select: Sequence[list[str]],
    ignore: Sequence[list[str]],
    exclude: tuple[str, ...],
    workers: int | None,
    fail_on: str,
    output_format: str | None,
    output_file: Path | None,
    reports: tuple[Output, ...],
    no_color: bool,
    statistics: bool,
    show_intended: bool,
    quiet: bool,
    verbose: bool,
) -> int:
    """Audit checkpoints and print what is wrong with them.

    PATH is a .safetensors file, an index of shards (*.index.json), or a folder with either.
    """
    from initaudit.audit import audit
    from initaudit.registry import load_rules, select_rules
    from initaudit.workers import available_cores

    outputs = outputs_of(output_format, output_file, reports)
    chosen = (flat(select) or ("ALL",)) + flat(extend_select)
    rules = select_rules(load_rules(), select=chosen, ignore=flat(ignore))
    if not rules:
        raise InitauditError("no rule is left to apply: --ignore takes back what --select chose")
    with progress_bars(hidden=quiet) as bars:
        report = audit(paths, rules, exclude=exclude, workers=workers or available_cores(), progress=bars)

    def said(output: Output) -> str:
        layout = text_layout(no_color=no_color, to_file=output.file is not None)
        shown = {"show_intended": show_intended, "statistics": statistics, "quiet": quiet, "verbose": verbose}
        return render(report, output.form, **layout, **shown)

    unwritten = deliver(outputs, said, inputs=[*paths, *report.files])
    for complaint in [*(f"{failure.path}: {failure.message}" for failure in report.failures), *unwritten]:
        complain(complaint)
    return FAILED if unwritten else report.exit_status(fail_on)
