"""``initaudit check``: audit checkpoints."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from initaudit.cli.options import (
    exclude_option,
    key_option,
    output_options,
    recursive_option,
    rule_options,
    settings_options,
    workers_option,
)
from initaudit.cli.outputs import Output, deliver, is_same_file, outputs_of
from initaudit.cli.settled import baseline_of, reports_of, rules_of, settings_of
from initaudit.cli.sources import (
    DEVICES,
    Source,
    code_options,
    files_of,
    named_argument,
    require_cpu,
    sources_of,
    understood_sources,
)
from initaudit.cli.status import FAILED
from initaudit.cli.terminal import complain, progress_bars, text_layout
from initaudit.report.formats import FORMATS, render
from initaudit.settings import FAIL_ON

BASELINE = "baseline"
"""The form of the output that ``--write-baseline`` asks for."""


@click.command()
@named_argument
@rule_options
@exclude_option
@key_option
@recursive_option
@settings_options
@workers_option
@code_options
@click.option(
    "--seed", type=click.IntRange(min=0, max=2**63 - 1), help="Of code: what its model is drawn with.  [default: 0]"
)
@click.option(
    "--device",
    type=click.Choice(["cpu", *DEVICES]),
    expose_value=False,
    callback=require_cpu,
    help="Of code: where its model is built, which is the CPU.",
)
@click.option(
    "--fail-on",
    type=click.Choice(FAIL_ON),
    help="The least severity that makes the exit status 1.  [default: error]",
)
@click.option(
    "--alpha",
    type=float,
    default=1e-3,
    show_default=True,
    help="The number of false alarms that chance may give in a healthy checkpoint, on average.",
)
@click.option("--baseline", type=click.Path(path_type=Path), help="Report only what this file does not know.")
@click.option(
    "--write-baseline", type=click.Path(path_type=Path), help="Write what is found there, as known; the status is 0."
)
@output_options(FORMATS)
@click.option(
    "--statistics", is_flag=True, help="Count the findings by rule instead of listing them (text and concise)."
)
@click.option("--show-intended", is_flag=True, help="List what is intended by a convention, and what is waived by you.")
@click.option("--quiet", "-q", is_flag=True, help="Findings alone: no verdict, no progress.")
@click.option("--verbose", "-v", is_flag=True, help="Every finding, every tensor's name, and what was not judged.")
def check(
    sources: tuple[Source, ...],
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
    seed: int | None,
    fail_on: str | None,
    alpha: float,
    baseline: Path | None,
    write_baseline: Path | None,
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

    PATH is a weight file (.safetensors, PyTorch's .pt, .pth, .bin and .ckpt, NumPy's .npz, by content), an index of
    shards (*.index.json), or a folder with either; or code that gives a torch.nn.Module, as package.module:name (a
    function, a class or a model; what exists as a file is never taken for code), or hf:FOLDER with the config.json of a
    model of transformers. Code is run in another process. Without PATH the configuration's `paths` are audited.
    """
    from initaudit.audit import judge_all
    from initaudit.baseline import render_baseline
    from initaudit.policy import unneeded
    from initaudit.report.html import require_libraries
    from initaudit.understanding import Reading
    from initaudit.workers import available_cores

    if not 0 < alpha < 1:
        raise click.UsageError(f"--alpha lies between 0 and 1, and is not {alpha:g}")
    settings = settings_of(config, isolated=isolated, checkpoints=files_of(sources))
    sources = sources_of(sources, settings, arguments=arguments, seed=seed, time_limit=time_limit)
    further = [*reports_of(settings, reports), *([Output(BASELINE, write_baseline)] if write_baseline else [])]
    outputs = outputs_of(output_format, output_file, further, default=settings.output_format)
    known = baseline_of(settings, baseline, renewed=write_baseline)
    rules = rules_of(settings, folders, select=select, extend_select=extend_select, ignore=ignore, baseline=known)
    pages = any(output.form == "html" for output in outputs)
    if pages:
        require_libraries()
    with progress_bars(hidden=quiet) as bars:
        globs, cores = exclude or settings.exclude, workers or available_cores()
        reading = Reading(globs, key, recursive, cores, bars, histograms=pages, alpha=alpha)
        report = judge_all(understood_sources(sources, reading), rules, reading)
    report = replace(report, notes=unneeded(report, settings, known))
    complaints = [*map(str, report.failures)]
    if write_baseline and report.failures:
        complaints.append(f"{write_baseline}: not written: what could not be audited would be missing")
        outputs = tuple(output for output in outputs if output.form != BASELINE)

    def said(output: Output) -> str:
        if output.form == BASELINE and output.file:
            return render_baseline(report, output.file, known)
        layout = text_layout(no_color=no_color, to_file=output.file is not None)
        shown = {"statistics": statistics, "quiet": quiet, "verbose": verbose}
        return render(report, output.form, **layout, **shown, show_intended=show_intended or settings.show_intended)

    inputs = [*files_of(sources), *report.files, *settings.files]
    if known is not None and not (write_baseline and is_same_file(write_baseline, known.file)):
        inputs.append(known.file)
    unwritten = deliver(outputs, said, inputs=inputs)
    for complaint in complaints + unwritten:
        complain(complaint)
    if unwritten:
        return FAILED
    return report.exit_status("never" if write_baseline else fail_on or settings.fail_on or "error")
