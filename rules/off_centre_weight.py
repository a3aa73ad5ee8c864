"""IA302: the values of a weight do not lie around zero."""

import math
from collections.abc import Iterator

from initaudit.examples import bad, good, normal, uniform
from initaudit.rule import Fault, Severity, Tensor, rule
from initaudit.significance import HARD_Z

LEAST_OFFSET = 0.1
"""The mean in deviations from which on it matters: `uniform_` in bfloat16 is off by 0.007, and of 35,000 weights of
fresh released models only those drawn from [0, b) on purpose, at 1.7, lie beyond 0.1."""

LEAST_OFFSET_OF_TABLES = 0.5
"""The same for embeddings, whose rows may go together: a smooth table, summed up from a draw, is off by 0.2."""

FEWEST = 64
"""Fewer elements than this may be off by chance, or few-valued."""


@rule(
    code="IA302",
    severity=Severity.WARNING,
    takes_for_granted=["scattered-zeros"],
    examples=[
        good("around zero", {"fc1.weight": normal(64, 32, std=0.18)}),
        bad(
            "rand instead of randn: all positive",
            {"fc1.weight": uniform(64, 32, bound=0.3).shift(0.3)},
            at="fc1.weight",
        ),
    ],
)
def off_centre_weight(tensor: Tensor) -> Iterator[Fault]:
    """The mean of a weight is far from zero, as if one sign had been lost.

    ## Why is this bad?

    A common offset adds the sum of all inputs to every unit: all of them follow one direction, which grows with the
    number of inputs instead of its root, and drowns what tells the units apart. The usual causes are `rand` in the
    place of `randn`, and an absolute value.

    ## How is it decided?

    The mean lies more than 0.1 deviations (0.5 in an embedding) and more than six standard errors from zero, in a
    tensor of at least 64 elements that is not constant and of which no more than half are zero.

    ## When is it right?

    Mixing weights that are to be positive; `--exclude` them.

    ## What to do

    Draw from a law that is symmetric about zero.
    """
    values = tensor.statistics
    if not (tensor.is_weight or tensor.part.role == "embedding"):
        return
    if values.count < FEWEST or tensor.std == 0 or 2 * values.zeros > values.count:
        return
    offset = abs(values.mean) / tensor.std
    least = LEAST_OFFSET if tensor.is_weight else LEAST_OFFSET_OF_TABLES
    if offset > least and offset * math.sqrt(values.count) > HARD_Z:
        sign = "; all are positive" if values.minimum >= 0 else "; all are negative" if values.maximum <= 0 else ""
        yield tensor.fault(
            f"mean {values.mean:.3g} is {offset:.2f} deviations off zero (std {tensor.std:.3g}){sign}",
            advice="draw it from a law that is symmetric about zero",
            mean=values.mean,
            std=tensor.std,
            std_error=tensor.std / math.sqrt(values.count),
        )
