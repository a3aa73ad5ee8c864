"""What the configuration and the command line say together: the latter has the last word."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from initaudit.cli.outputs import Output
from initaudit.cli.terminal import complain

if TYPE_CHECKING:
    from initaudit.baseline import Baseline
    from initaudit.rule import Rule
    from initaudit.settings import Settings


def settings_of(config: Path | None, *, isolated: bool, checkpoints: Iterable[Path] = ()) -> "Settings":
    """The settings that apply: those of ``--config``, none with ``--isolated``, else of the nearest file.

    What was found and not named is trusted with code and files only if it is the user's own; ``checkpoints`` are the
    paths that the run is about.

    Raises:
        click.UsageError: both were given.
        SettingsError: the file cannot be read, a setting has no meaning, or asks for more trust than its file has.

    """
    from initaudit.settings import Settings, find_settings, read_settings, require_trust

    if config is not None and isolated:
        raise click.UsageError("--config and --isolated exclude each other")
    if isolated:
        return Settings()
    if config is not None:
        return read_settings(config)
    settings = find_settings(Path())
    note = require_trust(settings, checkpoints)
    if note is not None:
        complain(note)
    return settings


def rules_of(
    settings: "Settings",
    folders: Sequence[Path],
    *,
    select: Sequence[list[str]] = (),
    extend_select: Sequence[list[str]] = (),
    ignore: Sequence[list[str]] = (),
    baseline: "Baseline | None" = None,
) -> "tuple[Rule, ...]":
    """The rules that are to be applied.

    Raises:
        RuleError: a rule cannot be loaded.
        SelectionError: something names no rule.
        InitauditError: no rule is left.

    """
    from initaudit.policy import Selection, applied_rules
    from initaudit.registry import load_rules

    selection = Selection(_flat(select), _flat(extend_select), _flat(ignore))
    return applied_rules(load_rules(*(folders or settings.rules)), settings, selection, baseline)


def baseline_of(settings: "Settings", given: Path | None, *, renewed: Path | None) -> "Baseline | None":
    """What is known: by ``--baseline``, else by the configuration; nothing yet where that file is to be written first.

    Raises:
        InitauditError: the file cannot be read, or is no baseline.

    """
    from initaudit.baseline import read_baseline
    from initaudit.locations import absolute

    file = given or settings.baseline
    if file is None or (renewed and absolute(renewed) == absolute(file) and not file.exists()):
        return None
    return read_baseline(file)


def reports_of(settings: "Settings", reports: Sequence[Output]) -> Sequence[Output]:
    """The further outputs: those of the command line, else of the configuration."""
    return reports or [Output(form, file) for form, file in settings.report.items()]


def _flat(lists: Sequence[list[str]]) -> tuple[str, ...]:
    """The items of an option that was given several times."""
    return tuple(item for items in lists for item in items)
