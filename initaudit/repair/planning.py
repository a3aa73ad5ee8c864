"""From findings to a plan: which tensors are redrawn, from what, and which stay as they are."""

from collections.abc import Mapping, Sequence

from initaudit.conventions import is_second_factor
from initaudit.findings import Audited, Finding
from initaudit.model import Model
from initaudit.remedies import AskedError, Healthy, Remedy, Wish, choose
from initaudit.repair.values import Plan, Redraw, Unrepaired
from initaudit.understanding import Understood

NO_SCHEME = "nothing says what it should hold: name a scheme for it with --scheme"


def plan_repair(one: Understood, audited: Audited, wishes: Sequence[Wish] = ()) -> Plan:
    """What the findings at warning and above ask for; a wish of the user's goes before what the model says."""
    model, path = one.model, one.checkpoint.path
    found = [finding for finding in audited.findings if finding.severity != "info"]
    by_tensor: dict[str, list[Finding]] = {}
    for finding in found:
        for name in () if finding.beyond_repair else finding.faulty:
            by_tensor.setdefault(name, []).append(finding)
    redraws = []
    unrepaired = [Unrepaired(path, f.tensor, (f.rule,), f.beyond_repair) for f in found if f.beyond_repair]
    kept, healthy = _kept_zeros(by_tensor, model), Healthy(model, by_tensor.keys())
    for name, findings in by_tensor.items():
        rules = tuple(sorted({finding.rule for finding in findings}))
        wished = any(wish.covers(model[name]) for wish in wishes)
        if name in kept and not wished:
            continue
        remedy = _remedy(name, findings, healthy, wishes)
        if isinstance(remedy, Remedy):
            redraws.append(Redraw(name, rules, remedy))
        else:
            unrepaired.append(Unrepaired(path, name, rules, remedy))
    before = {redraw.tensor: one.statistics[redraw.tensor] for redraw in redraws}
    order = sorted(redraws, key=lambda redraw: redraw.tensor)
    return Plan(one.checkpoint, tuple(order), tuple(unrepaired), before)


def _remedy(name: str, findings: Sequence[Finding], healthy: Healthy, wishes: Sequence[Wish]) -> Remedy | str:
    """What a tensor is filled with, or why nothing is known; the last wish that covers it counts."""
    tensor = healthy.model[name]
    for wish in reversed(wishes):
        if wish.covers(tensor):
            try:
                return wish.remedy(tensor)
            except AskedError as error:
                return str(error)
    evidence = next((finding.evidence for finding in findings if "expected_std" in finding.evidence), {})
    return choose(tensor, healthy, evidence) or NO_SCHEME


def _kept_zeros(by_tensor: Mapping[str, Sequence[Finding]], model: Model) -> frozenset[str]:
    """The zero factors that are right once their partners are drawn: LoRA's B where A was zero as well."""
    zero = {name for name in by_tensor if model[name].statistics.zeros == model[name].count}
    second = {name for name in zero if is_second_factor(model[name])}
    drawn = {model[name].parent for name in by_tensor.keys() - second}
    return frozenset(name for name in second if model[name].parent in drawn)
