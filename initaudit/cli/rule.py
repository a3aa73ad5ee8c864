"""``initaudit rule``: explain rules."""

from pathlib import Path

import click

from initaudit.cli.options import rules_option, settings_options
from initaudit.cli.settled import settings_of
from initaudit.cli.terminal import text_layout, write


@click.command()
@click.argument("codes", metavar="[CODE]...", nargs=-1)
@rules_option
@settings_options
@click.option("--no-color", is_flag=True, help="Plain text; so does the variable NO_COLOR.")
def rule(codes: tuple[str, ...], folders: tuple[Path, ...], config: Path | None, isolated: bool, no_color: bool) -> int:
    """List the rules, or explain some of them in full."""
    from initaudit.registry import find_rules, load_rules
    from initaudit.report.pages import render_pages, render_table

    rules = load_rules(*(folders or settings_of(config, isolated=isolated).rules))
    layout = text_layout(no_color=no_color, to_file=False)
    if codes:
        named = {found.code: found for code in codes for found in find_rules(rules, code)}
        write(render_pages(named.values(), **layout), None)
    else:
        write(render_table(rules.values(), **layout), None)
    return 0
