"""IA306: many elements of a weight share one value."""

from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, good, normal, uniform
from initaudit.rule import Fault, Model, Severity, Tensor, rule
from initaudit.significance import exceeds_poisson

LEAST_SHARE = 0.01
"""The part of the elements from which on one value counts as many."""

COMMONEST = {"F64": 1e-6, "F32": 1e-5, "F16": 1e-3, "BF16": 5e-3}
"""The part of a draw that its commonest value has in a dtype: in the top octave of a uniform law bfloat16 has 128
values for half of the draws, float16 1024. float8, with up to 15 %, is not judged."""

FEWEST = 500


@rule(
    code="IA306",
    severity=Severity.WARNING,
    takes_for_granted=["unfilled-block"],
    examples=[
        good("a normal draw", {"fc1.weight": normal(64, 96, std=0.1)}),
        good("a uniform draw has an edge, not a pile", {"fc1.weight": uniform(64, 96, bound=0.1)}),
        bad("clamped at two deviations", {"fc1.weight": normal(64, 96, std=0.1).clamp(0.2)}, at="fc1.weight"),
    ],
)
def repeated_value(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """Many elements of a weight share one value other than zero.

    ## Why is this bad?

    A draw gives every element a value of its own. Where many are equal, something put them there: a clamp instead of a
    truncation that draws again piles its tails up at the bounds (`erfinv` in low precision), a fill overwrote a part, a
    sentinel stayed in memory. What is piled up moves together, and the deviation is not the one that was asked for.

    ## How is it decided?

    Among the first elements, 500 to 4096 of them, one value other than zero is held by more than 1 % and by more than a
    draw rounded to the dtype has (a Poisson law, 1e-9). Constants and short lists of values are other faults.

    ## When is it right?

    Weights that are binary or ternary by design.

    ## What to do

    Draw it again, with a sampler that rejects instead of clamping.
    """
    sample = tensor.statistics.sample
    if not tensor.is_weight or tensor.dtype not in COMMONEST or tensor.pattern is not None:
        return
    if sample.sampled < FEWEST or tensor.statistics.is_constant or sample.distinct < sample.sampled / 4:
        return
    expected = COMMONEST[tensor.dtype] * sample.sampled
    if sample.commonest > LEAST_SHARE * sample.sampled and exceeds_poisson(sample.commonest, expected):
        yield tensor.fault(
            f"{sample.commonest / sample.sampled:.1%} of the elements are {sample.common_value:.6g};"
            " expected hardly two alike",
            advice=redraw_advice(tensor, model),
            value=sample.common_value,
            share=sample.commonest / sample.sampled,
        )
