"""From understood checkpoints to findings: hold them to rules, and set aside what is intended."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from initaudit.causes import Causes, in_order
from initaudit.conventions import caption, excuse
from initaudit.errors import crash_text, described, is_want_of_memory
from initaudit.faults import Fault
from initaudit.findings import Failure, Finding, Intended, NotJudged, Waived, healthy
from initaudit.model import Model
from initaudit.outcome import Audited, Outcome
from initaudit.recipe import describe
from initaudit.remedies import choose
from initaudit.rule import Rule
from initaudit.signal import told
from initaudit.understanding import WHOLE, Reading, Understood, crashed, understood, why_left_out

PROVENANCE, OF_FRESH = "IA6", ("IA2", "IA3", "IA4")
"""The group of rules that says whether a checkpoint is fresh, and those that assume it."""

NOTHING_TO_JUDGE = "nothing to judge: no floating-point tensor with values that is not excluded"


def judge(
    one: Understood, rules: Sequence[Rule], *, exclude: Sequence[str] = (), alpha: float = WHOLE.alpha
) -> Audited:
    """Hold a checkpoint to rules; what a convention of the field explains is listed as intended."""
    checkpoint, model = one.checkpoint, replace(one.model, alpha=alpha)
    findings: list[Finding] = []
    intended: list[Intended] = []
    waived: list[Waived] = []
    failures: list[Failure] = []
    skipped: list[str] = []
    causes = Causes()
    for rule in _in_order(rules):
        said = [finding.rule for finding in findings] + [row.rule for row in waived]
        if rule.group in OF_FRESH and any(code.startswith(PROVENANCE) for code in said):
            skipped.append(rule.code)
            continue  # a trained checkpoint breaks what these rules assume, as the finding says
        try:
            kept, excused = _without_intended(rule, list(rule.judge(model)), model)
            kept, unheard = _without_waived(rule, causes.unexplained(rule, kept), checkpoint.path)
        except Exception as error:  # a rule of anyone's must not hide what the others found
            why = crash_text(error) if is_want_of_memory(error) else f"rule {rule.code} crashed: {described(error)}"
            failures.append(Failure(checkpoint.path, why, rule.code))
            continue
        findings += [Finding.of(rule, checkpoint.path, fault) for fault in kept]
        intended += [Intended(rule.code, checkpoint.path, *row) for row in excused]
        waived += unheard
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
        recipe=(*describe(model, Counter(row.convention for row in intended)), *told(model)),
        judged=len(model.tensors),
        findings=tuple(sorted(_with_repairs(findings, waived, intended, model), key=Finding.order)),
        intended=tuple(sorted(intended, key=lambda row: (row.rule, row.tensor))),
        not_judged=tuple(sorted(not_judged, key=lambda row: row.tensor)),
        failures=tuple(failures),
        waived=tuple(sorted(waived, key=lambda row: (row.rule, row.tensor))),
        skipped=tuple(skipped),
        model=model,
    )


def _in_order(rules: Sequence[Rule]) -> list[Rule]:
    """What says whether a checkpoint is fresh before all else, then each rule behind what it takes for granted."""
    return sorted(in_order(rules), key=lambda rule: rule.group != PROVENANCE)


def _with_repairs(
    findings: Sequence[Finding], waived: Sequence[Waived], intended: Sequence[Intended], model: Model
) -> Iterator[Finding]:
    """The findings, each with what its own tensor should be filled with, as far as the healthy ones tell."""
    others = healthy(model, findings, waived, intended)
    for finding in findings:
        if finding.asks_for_repair and not finding.beyond_repair and finding.tensor in model:
            yield replace(finding, repair=choose(model[finding.tensor], others, finding.expectation))
        else:
            yield finding


def _without_intended(rule: Rule, faults: list[Fault], model: Model) -> tuple[list[Fault], list[tuple[str, str]]]:
    """The faults that are some, and the tensors of the others with the convention or the reason.

    Where it explains all copies but one, that one is the original.
    """
    excuses = [_why_intended(rule, fault, model) for fault in faults]
    kept = [fault for fault, convention in zip(faults, excuses, strict=True) if convention is None]
    excused = [(fault.tensor, why) for fault, why in zip(faults, excuses, strict=True) if why is not None]
    left = Counter(fault.original for fault in kept if fault.original is not None)
    lone = {original for original, count in left.items() if count == 1}
    return [fault for fault in kept if fault.original not in lone], excused


def _why_intended(rule: Rule, fault: Fault, model: Model) -> str | None:
    """By what a fault is none: what its rule says, under the name that the field has for it, or a convention."""
    if fault.tensor not in model:
        return None
    if fault.harmless:
        return caption(rule.name, model[fault.tensor], model) or fault.harmless
    return excuse(rule.name, model[fault.tensor], model)


def _without_waived(rule: Rule, faults: list[Fault], path: str) -> tuple[list[Fault], list[Waived]]:
    """The faults that the user wants to hear of, and those that he does not.

    An original whose copies are all waived is no fault by itself.
    """
    waivers = [rule.waivers.over(path, fault.tensor) for fault in faults]
    unheard = [
        Waived(rule.code, path, fault.tensor, waiver, is_known=waiver is rule.waivers.baseline)
        for fault, waiver in zip(faults, waivers, strict=True)
        if waiver is not None
    ]
    kept = [fault for fault, waiver in zip(faults, waivers, strict=True) if waiver is None]
    copied = {fault.original for fault in kept if not fault.is_original}
    return [fault for fault in kept if not fault.is_original or fault.tensor in copied], unheard


def audit(paths: Iterable[Path], rules: Sequence[Rule], reading: Reading = WHOLE) -> Outcome:
    """Audit every checkpoint behind some paths; what cannot be read is a failure, and hides nothing else."""
    return judge_all(understood(paths, reading), rules, reading)


def judge_all(found: Iterable[Understood | Failure], rules: Sequence[Rule], reading: Reading = WHOLE) -> Outcome:
    """Hold every checkpoint that was understood to rules; why others were not is among the failures."""
    audited, failures = [], []
    for one in found:
        if isinstance(one, Failure):
            failures.append(one)
            continue
        try:
            audited.append(judge(one, rules, exclude=reading.exclude, alpha=reading.alpha))
        except Exception as error:  # one checkpoint, however odd, must not hide what the others hold
            failures.append(crashed(one.checkpoint.path, error))
    return Outcome(tuple(audited), tuple(failures), tuple(rules))
