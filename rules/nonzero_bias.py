"""IA401: a bias does not start at zero."""

from collections.abc import Iterator

from initaudit.advice import is_small_positive
from initaudit.examples import bad, constant, good, normal, uniform
from initaudit.places import measured
from initaudit.rule import Fault, Severity, Tensor, rule
from initaudit.scale import HUGE


@rule(
    code="IA401",
    severity=Severity.WARNING,
    takes_for_granted=["garbage-value"],
    examples=[
        good("a zero bias", {"fc1.weight": normal(64, 32, std=0.18), "fc1.bias": constant(0, 64)}),
        good(
            "PyTorch's default, which goes with the fan of its weight",
            {"fc1.weight": uniform(64, 32, bound=0.177), "fc1.bias": uniform(64, bound=0.177)},
        ),
        good(
            "a detector's prior", {"cls_logits.weight": normal(91, 64, std=0.1), "cls_logits.bias": constant(-4.59, 91)}
        ),
        bad(
            "a bias drawn like a weight",
            {"fc1.weight": normal(64, 32, std=0.18), "fc1.bias": normal(64, std=1.0)},
            at="fc1.bias",
        ),
        bad(
            "a bias of one",
            {"fc1.weight": normal(64, 32, std=0.18), "fc1.bias": constant(1, 64)},
            at="fc1.bias",
        ),
    ],
)
def nonzero_bias(tensor: Tensor) -> Iterator[Fault]:
    """A bias starts at other values than zero.

    ## Why is this bad?

    Random weights tell units apart; a bias need not. At zero it leaves the signal centred and its variance as the
    weights were scaled for. A large one saturates the unit or keeps it dead whatever the input.

    ## How is it decided?

    Any value other than zero counts, unless a convention explains it: PyTorch's default U(±1/sqrt(fan_in)), held
    against the fan of its own layer's weight; values under 1e-4; a detector's prior; gates; state-space time steps.
    What is recognised is intended: `--show-intended` lists it. Small positive constants have a rule of their own.

    ## When is it right?

    Where a prior is known (the log-odds of a rare class) or a gate is to start open.

    ## What to do

    Set it to zero, or let the reason show in a `--exclude`.
    """
    values = tensor.statistics
    if not tensor.is_bias or values.zeros == values.count or is_small_positive(tensor):
        return
    if values.largest > HUGE:  # memory that nobody filled is another fault
        return
    yield tensor.fault(
        f"{measured(tensor)}; expected 0",
        advice="set it to zero",
        mean=values.mean,
        std=values.std,
        min=values.minimum,
        max=values.maximum,
    )
