"""IA304: a weight holds few different values."""

from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, good, normal
from initaudit.rule import Fault, Model, Severity, Tensor, rule
from initaudit.significance import collision

MOST_VALUES = 64
"""So many different values or fewer are no draw: among 500 normal values bfloat16, the coarsest wide dtype, has 350."""

FEWEST = 500
"""The number of elements that must have been looked at."""


@rule(
    code="IA304",
    severity=Severity.WARNING,
    takes_for_granted=["repeated-value"],
    examples=[
        good("a normal draw: all values differ", {"fc1.weight": normal(64, 96, std=0.1)}),
        bad(
            "rounded to a grid of half a deviation",
            {"fc1.weight": normal(64, 96, std=0.1).round(0.05)},
            at="fc1.weight",
        ),
    ],
)
def few_valued_weight(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """The values of a weight are few, as if rounded to a grid.

    ## Why is this bad?

    A draw gives every weight a value of its own. Values from a short list are what a quantiser, a codebook or integers
    leave: many units become nearly equal, and what was drawn was not what was meant.

    ## How is it decided?

    Among the first elements, 500 to 4096 of them, there are no more than 64 different values, and more than one. Left
    out are weights of which half is zero, and those where a draw rounded to the dtype has as few: float8, and float16
    next to its smallest numbers.

    ## When is it right?

    Weights that are binary or ternary by design, a mask, an identity (which is recognised).

    ## What to do

    Look for a quantisation that ran before training, or a draw of integers.
    """
    values = tensor.statistics
    if not tensor.is_weight or tensor.pattern is not None or values.is_constant:
        return
    if collision(tensor.dtype, tensor.std) * MOST_VALUES > 1:  # 1/collision is the number of values a draw is spread on
        return
    sample = values.sample
    if sample.sampled >= FEWEST and sample.distinct <= MOST_VALUES and 2 * values.zeros < values.count:
        yield tensor.fault(
            f"{sample.distinct} different values among {sample.sampled:,} elements; expected nearly as many",
            advice=redraw_advice(tensor, model),
            distinct=sample.distinct,
            sampled=sample.sampled,
        )
