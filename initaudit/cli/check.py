"""``initaudit check``: audit checkpoints."""

from collections.abc import Sequence
from pathlib import Path

import click

from initaudit.cli.options import exclude_option, flat, output_options, paths_argument, rule_options, workers_option
from initaudit.cli.terminal import complain, progress_bars, text_layout, write
from initaudit.errors import InitauditError


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
@output_options
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
    from initaudit.workers import available_cores

    chosen = (flat(select) or ("ALL",)) + flat(extend_select)
    rules = select_rules(load_rules(), select=chosen, ignore=flat(ignore))
    if not rules:
        raise InitauditError("no rule is left to apply: --ignore takes back what --select chose")
    with progress_bars(hidden=quiet) as bars:
        report = audit(paths, rules, exclude=exclude, workers=workers or available_cores(), progress=bars)
    if output_format == "json":
        text = report.to_json()
    else:
        from initaudit.report.text import render

        layout = text_layout(no_color=no_color, to_file=output_file is not None)
        text = render(report, **layout, show_intended=show_intended, quiet=quiet, verbose=verbose)
    write(text, output_file)
    for failure in report.failures:
        complain(f"{failure.path}: {failure.message}")
    return report.exit_status(fail_on)
