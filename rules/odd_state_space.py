"""IA406: the parameters of a state-space layer lie outside of what its recurrence needs."""

import math
from collections.abc import Iterator

from initaudit.examples import bad, constant, good, normal, uniform
from initaudit.places import measured
from initaudit.rule import Fault, Severity, Tensor, rule

DECAY_RANGE = (-12.0, 8.0)
"""ln of a decay rate. In use are ln 1 to ln 256 (Mamba: ln of 1 to N; Mamba-2 and gated delta nets: ln of a uniform
draw up to 16, whose least of 10^5 is e^-9)."""

STEP_RANGE = (-12.0, 2.0)
"""The inverse softplus of a time step. In use are -6.9 to -2.25, for steps of 0.001 to 0.1, and a constant 1."""

FEWEST = 2


@rule(
    code="IA406",
    severity=Severity.WARNING,
    examples=[
        good(
            "as Mamba-2 draws them",
            {"mixer.A_log": uniform(32, bound=1.3).shift(1.4), "mixer.dt_bias": uniform(32, bound=2.2).shift(-4.6)},
        ),
        bad(
            "left at zero: every head forgets at one rate",
            {"mixer.A_log": constant(0, 32), "mixer.dt_bias": uniform(32, bound=2.2).shift(-4.6)},
            at="mixer.A_log",
        ),
        bad(
            "drawn like a weight of deviation ten",
            {"mixer.A_log": uniform(32, bound=1.3).shift(1.4), "mixer.dt_bias": normal(32, std=10)},
            at="mixer.dt_bias",
        ),
    ],
)
def odd_state_space(tensor: Tensor) -> Iterator[Fault]:
    """Decay rates or time steps of a state-space layer are zero throughout, or out of range.

    ## Why is this bad?

    A state-space layer remembers by exp(-exp(A_log)·softplus(dt)). Rates and steps are spread over decades, so that
    some heads forget at once and others late; all at zero, every head forgets at the same short rate, and long ranges
    are not learned. Far out of range the memory is gone after one step, or never fades and the state overflows.
    The usual causes are a table that was created on the meta device and filled with zeros, and a general
    initialisation that ran over it.

    ## How is it decided?

    `A_log` of several heads is zero throughout, or leaves [-12, 8]; `dt_bias` is zero throughout, or leaves [-12, 2].
    A constant other than zero is a choice.

    ## When is it right?

    A layer that is discretised otherwise; `--exclude` it.

    ## What to do

    Fill them by the layer's own formula: A_log = ln(1 … N) or ln U(1, 16); dt_bias the inverse softplus of a step drawn
    evenly in its logarithm from 0.001 to 0.1.
    """
    leaf = tensor.leaf
    ranges = {"A_log": DECAY_RANGE, "dt_bias": STEP_RANGE}
    values = tensor.statistics
    if leaf not in ranges or values.count < FEWEST or values.nonfinite:
        return
    low, high = ranges[leaf]
    formula = "ln(1 ... N), or ln U(1, 16)" if leaf == "A_log" else f"{math.log(math.expm1(1e-3)):.2f} to -2.25"
    if values.zeros == values.count or values.minimum < low or values.maximum > high:
        yield tensor.fault(
            f"{measured(tensor)}; expected {formula}",
            advice="fill it by the formula of its layer",
            min=values.minimum,
            max=values.maximum,
        )
