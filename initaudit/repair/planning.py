"""From findings to a plan: which tensors are redrawn, from what, and which stay as they are."""

from collections.abc import Mapping, Sequence

from initaudit.errors import LawError
from initaudit.findings import Finding, healthy
from initaudit.gradients import is_adapter_output
from initaudit.model import Model, Tensor
from initaudit.outcome import Audited
from initaudit.remedies import AskedError, Healthy, Remedy, Wish, choose
from initaudit.repair.drawing import filling_of
from initaudit.repair.values import Plan, Redraw, Unrepaired

NO_SCHEME = "nothing says what it should hold: name a scheme for it with --scheme"

NOT_DRAWN = frozenset({"F8_E8M0"})
"""Of the dtypes that are judged those that can hold no draw: powers of two, with neither sign nor zero."""


def plan_repair(audited: Audited, wishes: Sequence[Wish] = ()) -> Plan:
    """What the findings at warning and above ask for; a wish of the user's goes before what the model says."""
    model, path = audited.model, audited.checkpoint.path
    found = [finding for finding in audited.findings if finding.asks_for_repair]
    by_tensor: dict[str, list[Finding]] = {}
    for finding in found:
        if not finding.beyond_repair:
            by_tensor.setdefault(finding.tensor, []).append(finding)
    redraws = []
    unrepaired = [Unrepaired(path, f.tensor, (f.rule,), f.beyond_repair) for f in found if f.beyond_repair]
    kept, others = _kept_zeros(by_tensor, model), healthy(model, audited.findings, audited.waived, audited.intended)
    for name, findings in by_tensor.items():
        rules = tuple(sorted({finding.rule for finding in findings}))
        wished = any(wish.covers(model[name]) for wish in wishes)
        if name in kept and not wished:
            continue
        drawn = model[name].dtype not in NOT_DRAWN
        remedy = _remedy(name, findings, others, wishes) if drawn else f"cannot be drawn in {model[name].dtype}"
        redraw = _redraw(model[name], rules, remedy) if isinstance(remedy, Remedy) else remedy
        if isinstance(redraw, Redraw):
            redraws.append(redraw)
        else:
            unrepaired.append(Unrepaired(path, name, rules, redraw))
    before = {redraw.tensor: model[redraw.tensor].statistics for redraw in redraws}
    order = sorted(redraws, key=lambda redraw: redraw.tensor)
    return Plan(audited.checkpoint, tuple(order), tuple(unrepaired), before)


def _redraw(tensor: Tensor, rules: tuple[str, ...], remedy: Remedy) -> Redraw | str:
    """A tensor as it is to be drawn, or why it cannot be."""
    try:
        return Redraw(tensor.name, rules, remedy, filling_of(tensor.dtype, tensor.shape, tensor.part, remedy))
    except LawError as error:
        return str(error)


def _remedy(name: str, findings: Sequence[Finding], others: Healthy, wishes: Sequence[Wish]) -> Remedy | str:
    """What a tensor is filled with, or why nothing is known; the last wish that covers it counts."""
    tensor = others.model[name]
    for wish in reversed(wishes):
        if wish.covers(tensor):
            try:
                return wish.remedy(tensor, others.model)
            except AskedError as error:
                return str(error)
    expected = next((finding.expectation for finding in findings if finding.expectation is not None), None)
    return choose(tensor, others, expected) or NO_SCHEME


def _kept_zeros(by_tensor: Mapping[str, Sequence[Finding]], model: Model) -> frozenset[str]:
    """The zero factors that are right once their partners are drawn: LoRA's B where A was zero as well."""
    zero = {name for name in by_tensor if model[name].statistics.zeros == model[name].count}
    second = {name for name in zero if is_adapter_output(name)}
    drawn = {model[name].parent for name in by_tensor.keys() - second}
    return frozenset(name for name in second if model[name].parent in drawn)
