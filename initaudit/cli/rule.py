"""``initaudit rule``: explain rules."""

from pathlib import Path

import click

from initaudit.cli.options import complete_rules, rules_option, settings_options
from initaudit.cli.settled import settings_of
from initaudit.cli.terminal import text_layout, write


@click.command()
@click.argument("codes", metavar="[CODE]...", nargs=-1, shell_complete=complete_rules)
@rules_option
@settings_options
@click.option("--output-format", type=click.Choice(["text", "markdown", "json"]), default="text", show_default=True)
@click.option("--no-color", is_flag=True, help="Plain text; so does the variable NO_COLOR.")
def rule(
    codes: tuple[str, ...],
    folders: tuple[Path, ...],
    config: Path | None,
    isolated: bool,
    output_format: str,
    no_color: bool,
) -> int:
    """List the rules, or explain some of them in full."""
    from initaudit.registry import find_rules, load_rules
    from initaudit.report.pages import render_json, render_markdown, render_pages, render_table

    rules = load_rules(*(folders or settings_of(config, isolated=isolated).rules))
    shown = {found.code: found for code in codes for found in find_rules(rules, code)} if codes else rules
    if output_format == "json":
        write(render_json(shown.values()), None)
    elif output_format == "markdown":
        write(render_markdown(shown.values(), in_full=bool(codes)), None)
    else:
        render = render_pages if codes else render_table
        write(render(shown.values(), **text_layout(no_color=no_color, to_file=False)), None)
    return 0
