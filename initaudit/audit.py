"""From understood checkpoints to findings: hold them to rules, and set aside what is intended."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from initaudit.causes import Causes, merge, precedence
from initaudit.checkpoint import Checkpoint
from initaudit.conventions import excuse
from initaudit.findings import Audited, Failure, Finding, Intended, NotJudged, Report, Waived, healthy
from initaudit.model import Fault, Model
from initaudit.recipe import describe
from initaudit.remedies import choose
from initaudit.rule import Rule
from initaudit.understanding import Progress, Understood, crashed, understood, why_left_out

PROVENANCE, OF_FRESH = "IA6", ("IA2", "IA3", "IA4")
"""The group of rules that says whether a checkpoint is fresh, and those that assume it."""

NOTHING_TO_JUDGE = "nothing to judge: no floating-point tensor with values that is not excluded"


def judge(one: Understood, rules: Sequence[Rule], *, exclude: Sequence[str] = ()) -> Audited:
    """Hold a checkpoint to rules; what a convention of the field explains is listed as intended."""
    checkpoint, model = one.checkpoint, one.model
    findings: list[Finding] = []
    intended: list[Intended] = []
    waived: list[Waived] = []
    failures: list[Failure] = []
    skipped: list[str] = []
    causes = Causes()
    for rule in sorted(rules, key=lambda rule: (rule.group != PROVENANCE, precedence(rule.name))):
        said = [finding.rule for finding in findings] + [row.rule for row in waived]
        if rule.group in OF_FRESH and any(code.startswith(PROVENANCE) for code in said):
            skipped.append(rule.code)
            continue  # a trained checkpoint breaks what these rules assume, as the finding says
        try:
            faults = []
            for fault in rule.judge(model):
                kept, excused = _without_intended(rule, fault, model)
                intended += [Intended(rule.code, checkpoint.path, *row) for row in excused]
                kept, unheard = _without_waived(rule, kept, checkpoint.path)
                waived += unheard
                faults += [kept] if kept.tensors else []
            faults = causes.unexplained(rule.name, [(fault, rule.severity_of(fault).rank) for fault in faults])
            findings += [Finding.of(rule, checkpoint.path, fault) for fault in merge(faults, model)]
        except Exception as error:  # a rule of anyone's must not hide what the others found
            failures.append(
                Failure(checkpoint.path, f"rule {rule.code} crashed: {type(error).__name__}: {error}", rule.code)
            )
    not_judged = []
    for entry in checkpoint.entries:
        reason = why_left_out(entry, exclude)
        if reason is not None:
            not_judged.append(NotJudged(checkpoint.path, entry.name, entry.dtype, reason))
    not_judged += [NotJudged(checkpoint.path, row.name, row.type, row.reason) for row in checkpoint.aside]
    failures += [Failure(checkpoint.path, why) for why in checkpoint.unread]
    if not one.can_be_judged and not checkpoint.unread:
        failures.append(Failure(checkpoint.path, NOTHING_TO_JUDGE))
    return Audited(
        checkpoint=checkpoint,
        recipe=describe(model, Counter(row.convention for row in intended)),
        judged=len(model.tensors),
        findings=tuple(sorted(_with_repairs(findings, waived, model), key=Finding.order)),
        intended=tuple(sorted(intended, key=lambda row: (row.rule, row.tensor))),
        not_judged=tuple(sorted(not_judged, key=lambda row: row.tensor)),
        failures=tuple(failures),
        waived=tuple(sorted(waived, key=lambda row: (row.rule, row.tensor))),
        skipped=tuple(skipped),
        model=model,
    )


def _with_repairs(findings: Sequence[Finding], waived: Sequence[Waived], model: Model) -> Iterator[Finding]:
    """The findings, each with what its tensor should be filled with, as far as the healthy ones tell."""
    others = healthy(model, findings, waived)
    for finding in findings:
        asked = finding.asks_for_repair and finding.faulty
        if asked and not finding.beyond_repair and finding.faulty[0] in model:
            yield replace(finding, repair=choose(model[finding.faulty[0]], others, finding.evidence))
        else:
            yield finding


def _without_intended(rule: Rule, fault: Fault, model: Model) -> tuple[Fault, list[tuple[str, str]]]:
    """A fault less the tensors that a convention explains, and these with its name.

    Where it explains all copies but one, that one is the original.
    """
    excused = {name: excuse(rule.name, model[name], model) if name in model else None for name in fault.tensors}
    kept = tuple(name for name, convention in excused.items() if convention is None)
    if len(kept) == 1 < len(fault.tensors):
        kept = ()
    return replace(fault, tensors=kept), [(name, why) for name, why in excused.items() if why is not None]


def _without_waived(rule: Rule, fault: Fault, path: str) -> tuple[Fault, list[Waived]]:
    """A fault less the tensors at which the user does not want to hear of it, and these.

    An original whose copies are all waived is no fault by itself.
    """
    waivers = {name: rule.waivers.over(path, name) for name in fault.tensors}
    unheard = [
        Waived(rule.code, path, name, waiver, is_known=waiver is rule.waivers.baseline)
        for name, waiver in waivers.items()
        if waiver is not None
    ]
    kept = tuple(name for name, waiver in waivers.items() if waiver is None)
    if unheard and kept == (fault.original,):
        kept = ()
    return replace(fault, tensors=kept), unheard


def audit(
    paths: Iterable[Path],
    rules: Sequence[Rule],
    *,
    exclude: Sequence[str] = (),
    workers: int = 1,
    progress: Callable[[Checkpoint], Progress | None] | None = None,
    key: str | None = None,
    histograms: bool = False,
) -> Report:
    """Audit every checkpoint behind some paths; ``key`` leads to the state dict in those that nest it.

    What cannot be read is among the report's failures and hides nothing else. ``histograms`` are what only a page
    shows of a tensor.
    """
    audited, failures = [], []
    for one in understood(paths, exclude=exclude, workers=workers, progress=progress, key=key, histograms=histograms):
        if isinstance(one, Failure):
            failures.append(one)
            continue
        try:
            audited.append(judge(one, rules, exclude=exclude))
        except Exception as error:  # one checkpoint, however odd, must not hide what the others hold
            failures.append(crashed(one.checkpoint.path, error))
    return Report(tuple(audited), tuple(failures), tuple(rules))
