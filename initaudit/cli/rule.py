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
@click.option("--new", metavar="NAME", help="Write the draft of a rule of this name into the folder of --rules.")
@click.option("--code", metavar="CODE", help="With --new: its code.  [default: the next free one of that folder]")
@click.option("--no-color", is_flag=True, help="Plain text; so does the variable NO_COLOR.")
def rule(
    codes: tuple[str, ...],
    folders: tuple[Path, ...],
    config: Path | None,
    isolated: bool,
    output_format: str,
    new: str | None,
    code: str | None,
    no_color: bool,
) -> int:
    """List the rules, explain some of them in full, or write the draft of a new one."""
    if new is not None and codes:
        raise click.UsageError("--new writes a rule, and explains none")
    if code is not None and new is None:
        raise click.UsageError("--code goes with --new")
    from initaudit.registry import find_rules, load_rules
    from initaudit.report.pages import render_json, render_markdown, render_pages, render_table

    theirs = tuple(folders) or settings_of(config, isolated=isolated).rules
    if new is not None:
        return _draft(new, theirs, code)
    rules = load_rules(*theirs)
    shown = {found.code: found for code in codes for found in find_rules(rules, code)} if codes else rules
    if output_format == "json":
        write(render_json(shown.values()), None)
    elif output_format == "markdown":
        write(render_markdown(shown.values(), in_full=bool(codes)), None)
    else:
        render = render_pages if codes else render_table
        write(render(shown.values(), **text_layout(no_color=no_color, to_file=False)), None)
    return 0


def _draft(name: str, folders: tuple[Path, ...], code: str | None) -> int:
    """Write the draft of a rule, and say where it is and how to go on."""
    from initaudit.drafts import draft_rule
    from initaudit.registry import has_rules, load_rules

    folder = folders[0] if folders else Path()
    rules = load_rules(*(one for one in folders if has_rules(one)))
    file, code = draft_rule(name, folder, rules, code=code)
    write(f"{file}: {code} {name}, a draft that works. Try it: initaudit check PATH --rules {folder}\n", None)
    return 0
