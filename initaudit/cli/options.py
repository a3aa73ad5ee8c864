"""What several commands take: paths, globs, rules, and where the output goes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from initaudit.cli.outputs import OutputOption

# What cannot be read is said of it alone, by what tries to read it: a usage error would hide the other paths.
PATH = click.Path(path_type=Path, readable=False)


if TYPE_CHECKING:
    ListType = click.ParamType[list[str]]
else:  # before click 8.4 types of parameters said nothing of their values
    ListType = click.ParamType


class ListOption(ListType):
    """A comma separated list, as linters take it; the option may be repeated."""

    name = "code,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Split one occurrence of the option."""
        return [item.strip() for item in value.split(",") if item.strip()]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Codes and names for the last item of the list."""
        before, comma, last = incomplete.rpartition(",")
        return [
            CompletionItem(before + comma + item.value, help=item.help) for item in complete_rules(ctx, param, last)
        ]


def complete_rules(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The codes and the names of rules that begin so, each with the rule's summary; those of ``--rules`` too."""
    from initaudit.errors import InitauditError
    from initaudit.registry import load_rules

    try:
        rules = load_rules(*(ctx.params.get("folders") or ()))
    except InitauditError:  # the command itself will say so
        return []
    words = [(word, rule.summary) for rule in rules.values() for word in (rule.code, rule.name)]
    return [CompletionItem(word, help=summary) for word, summary in words if word.startswith(incomplete)]


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--select``, ``--extend-select``, ``--ignore`` and ``--rules``."""
    command = rules_option(command)
    for name, text in (
        ("--ignore", "Rules to leave out: codes, prefixes (IA4) or names."),
        ("--extend-select", "Rules to apply besides those of --select."),
        ("--select", "Rules to apply: codes, prefixes (IA1), names or ALL. Default: all."),
    ):
        command = click.option(name, type=ListOption(), multiple=True, help=text)(command)
    return command


def output_options(forms: Sequence[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--output-format``, ``--output-file``, ``--report`` and ``--no-color``, for what has these forms."""

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option("--no-color", is_flag=True, help="Plain text; so does the variable NO_COLOR."),
            click.option(
                "--report",
                "reports",
                type=OutputOption(forms),
                multiple=True,
                help="Write this too, from the same run; may be repeated. FILE may be - for stdout.",
            ),
            click.option("--output-file", type=click.Path(path_type=Path), help="Write there, not to stdout."),
            click.option("--output-format", type=click.Choice(forms), help="What to write.  [default: text]"),
        ):
            command = option(command)
        return command

    return decorated


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--config`` and ``--isolated``."""
    for option in (
        click.option("--isolated", is_flag=True, help="Read no configuration."),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            help="The configuration.  [default: the nearest initaudit.toml or pyproject.toml with [tool.initaudit]]",
        ),
    ):
        command = option(command)
    return command


rules_option = click.option(
    "--rules", "folders", metavar="DIR", type=click.Path(path_type=Path), multiple=True, help="A folder of your rules."
)
paths_argument = click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=PATH)
workers_option = click.option(
    "--workers", type=click.IntRange(min=1), help="Processes that read large checkpoints.  [default: one for each core]"
)
key_option = click.option(
    "--key", metavar="KEY", help="Of files that nest several state dicts: which one; its parts joined by dots."
)
recursive_option = click.option(
    "--no-recursive",
    "recursive",
    flag_value=False,
    default=True,
    help="Take a folder alone. Default: look through its subfolders, two levels deep.",
)
exclude_option = click.option("--exclude", metavar="GLOB", multiple=True, help="Tensors to leave out; may be repeated.")
