"""IA303: a value lies far outside of what was drawn."""

from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, good, normal
from initaudit.rule import Fault, Model, Severity, Tensor, rule
from initaudit.scale import FARTHEST, farthest

FEWEST = 100
"""Among N values none can be more than √N deviations from the mean, so fewer say nothing."""


@rule(
    code="IA303",
    severity=Severity.WARNING,
    takes_for_granted=["few-valued-weight"],
    examples=[
        good("a normal draw", {"fc1.weight": normal(64, 32, std=0.18)}),
        bad(
            "one value at -2, where a truncation clamped",
            {"fc1.weight": normal(64, 32, std=0.02).put("3, 4", -2.0)},
            at="fc1.weight",
        ),
    ],
)
def outlying_value(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """A value lies further from the others than any draw comes.

    ## Why is this bad?

    One weight a hundred times the others makes one unit follow one input, and its square spoils every statistic of the
    tensor. Older `trunc_normal_` in float32 gives such a value (exactly a bound) once in eight million draws, in
    bfloat16 once in five hundred. Other causes are memory that was filled in part, and a bit that flipped.

    ## How is it decided?

    The largest magnitude is more than 8 deviations of a weight, embedding or table of at least 100 elements, of which
    no more than half are zero. Generators of normal numbers end between 5 and 7.

    ## When is it right?

    In a trained checkpoint. In a fresh one a heavy-tailed law would do it; none is in use.

    ## What to do

    Draw the tensor again, with a sampler that rejects instead of clamping.
    """
    values = tensor.statistics
    drawn = tensor.is_weight or tensor.part.role in ("embedding", "positional", "token")
    if not drawn or values.count < FEWEST or tensor.std == 0 or 2 * values.zeros > values.count:
        return
    value, far = farthest(tensor)
    if far > FARTHEST:
        yield tensor.fault(
            f"a value of {value:.4g} is {far:.0f} deviations off the mean (std {tensor.std:.3g}); draws end at 7",
            advice=redraw_advice(tensor, model),
            value=value,
            deviations=far,
        )
