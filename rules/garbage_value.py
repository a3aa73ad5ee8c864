"""IA502: values that no initialisation gives."""

from collections.abc import Iterator

from initaudit.examples import bad, constant, good, normal
from initaudit.rule import Fault, Severity, Tensor, rule
from initaudit.scale import HUGE

HUGE_ANYWHERE = 1e5
"""The same for parameters that have a unit, as the band edges in hertz of a learned filter bank do."""

HUGE_UNKNOWN, MASK_VALUES = 1e10, 16
"""The same for a tensor that could not be understood. A mask may hold the most negative number, but few others, and
none that is as large and positive."""

DENORMAL = 1.2e-38
"""The least normal number of float32 and bfloat16."""

FREE = ("buffer", "running_stat")
"""Roles that may hold anything: positions, counts, masks."""


@rule(
    code="IA502",
    severity=Severity.ERROR,
    takes_for_granted=["non-finite"],
    examples=[
        good("of a usual size", {"fc1.weight": normal(64, 32, std=0.18), "fc1.bias": constant(0, 64)}),
        bad(
            "memory that held something else",
            {"fc1.weight": normal(64, 32, std=0.18), "fc1.bias": constant(0, 64).put("3", -3.8e16)},
            at="fc1.bias",
        ),
        bad(
            "denormal numbers, as small integers read as floats are",
            {"fc1.weight": normal(64, 32, std=1e-40)},
            at="fc1.weight",
        ),
    ],
)
def garbage_value(tensor: Tensor) -> Iterator[Fault]:
    """A value is larger, or all are smaller, than any initialisation gives.

    ## Why is this bad?

    Memory from `torch.empty` holds what was there before: pointers and integers read as floats are huge or denormal.
    The loss is infinite or does not move from the first step on, or, worse, only where the tensor is used.

    ## How is it decided?

    The largest magnitude is above 5,000 (100,000 in what is neither weight, bias, norm nor table, 1e10 in what could
    not be understood), or it is not zero and below 1.2e-38, the least normal number of float32. Buffers and running
    statistics are left out.

    ## When is it right?

    A mask that is trained does not exist; a buffer that was taken for a parameter does: `--exclude` it.

    ## What to do

    Find the parameter that is created with `torch.empty` and never filled.
    """
    values = tensor.statistics
    if tensor.part.role in FREE or values.moments.count == 0:
        return
    huge = {"other_param": HUGE_ANYWHERE, "unknown": HUGE_UNKNOWN}.get(tensor.part.role, HUGE)
    if tensor.part.role == "unknown" and values.sample.distinct <= MASK_VALUES and values.maximum <= huge:
        return
    is_huge = values.largest > huge
    if is_huge or 0 < values.largest < DENORMAL:
        kind = "no initialisation gives so large a value" if is_huge else "all values are denormal or zero"
        yield tensor.fault(
            f"the largest magnitude is {values.largest:.3g}: {kind}",
            advice="initialise it: this is what memory held before",
            largest=values.largest,
        )
