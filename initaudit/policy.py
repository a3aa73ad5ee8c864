"""What a project asks of the rules: which are applied, how grave they are, and where they are not to be heard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from initaudit.baseline import Baseline
from initaudit.errors import InitauditError, SelectionError
from initaudit.outcome import Outcome
from initaudit.registry import find_rules, select_rules
from initaudit.rule import Rule, Severity
from initaudit.settings import Settings
from initaudit.waivers import Waiver, Waivers

MOST_ENTRIES = 5
"""Entries of a baseline that one note names."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What the command line says of rules; it stands above the configuration."""

    select: Sequence[str] = ()
    extend_select: Sequence[str] = ()
    ignore: Sequence[str] = ()


def applied_rules(
    rules: Mapping[str, Rule],
    settings: Settings,
    selection: Selection | None = None,
    baseline: Baseline | None = None,
) -> tuple[Rule, ...]:
    """The rules that are to be applied, each with its severity and with the places where it is not to be heard.

    Raises:
        SelectionError: something names no rule.
        InitauditError: no rule is left.

    """
    try:
        settled = select_rules(
            rules, select=[*(settings.select or ["ALL"]), *settings.extend_select], ignore=settings.ignore
        )
        severities = _severities(rules, settings)
        ignored = _ignored(rules, settings)
    except SelectionError as error:
        raise SelectionError(f"{settings.source}: {error}") from error
    applied = _selected(rules, settled, selection or Selection())
    if not applied:
        raise InitauditError("no rule is left to apply: --ignore takes back what --select chose")
    known = Waiver("", "", f"known in {baseline.file}") if baseline else None
    return tuple(
        replace(
            rule,
            imposed=severities.get(rule.code),
            waivers=Waivers(ignored.get(rule.code, ()), baseline.known(rule.code) if baseline else frozenset(), known),
        )
        for rule in applied
    )


def unneeded(report: Outcome, settings: Settings, baseline: Baseline | None = None) -> tuple[str, ...]:
    """A note for each ignore that a report has not needed, and one for the entries of the baseline."""
    used = {row.waiver for one in report.audited for row in one.waived}
    tried = {waiver for rule in report.rules for waiver in rule.waivers.ignored} if not report.failures else set()
    notes = [
        f"{waiver.origin}: the ignore of {waiver.selector} matched nothing"
        for waiver in settings.waivers
        if waiver in tried - used
    ]
    entries = baseline.unneeded(report) if baseline else ()
    if baseline and entries:
        named = ", ".join(f"{rule} {tensor}" for _, tensor, rule in entries[:MOST_ENTRIES])
        more = f" and {len(entries) - MOST_ENTRIES:,} more" if len(entries) > MOST_ENTRIES else ""
        notes.append(f"{baseline.file}: no longer needed: {named}{more}; --write-baseline renews it")
    return tuple(notes)


def _selected(rules: Mapping[str, Rule], settled: Sequence[Rule], selection: Selection) -> tuple[Rule, ...]:
    """What the command line makes of the settled rules: its ``--select`` starts anew, the others add and take away."""
    if selection.select:
        return select_rules(rules, select=[*selection.select, *selection.extend_select], ignore=selection.ignore)
    among = {rule.code for rule in settled}
    return select_rules(rules, select=selection.extend_select, ignore=selection.ignore, among=among)


def _severities(rules: Mapping[str, Rule], settings: Settings) -> dict[str, Severity]:
    found: dict[str, Severity] = {}
    for selector, severity in sorted(settings.severity.items(), key=lambda item: (item[0] != "ALL", len(item[0]))):
        for rule in find_rules(rules, selector):  # a prefix first, so that a code or a name has the last word
            found[rule.code] = Severity(severity)
    return found


def _ignored(rules: Mapping[str, Rule], settings: Settings) -> dict[str, tuple[Waiver, ...]]:
    found: dict[str, tuple[Waiver, ...]] = {}
    for waiver in settings.waivers:
        for rule in find_rules(rules, waiver.selector):
            found[rule.code] = (*found.get(rule.code, ()), waiver)
    return found
