"""IA305: the values of a weight are distributed unlike those of its siblings, or of any draw."""

import math
from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, good, normal, uniform
from initaudit.recipes import odd_shapes
from initaudit.rule import Fault, Model, Severity, Tensor, rule
from initaudit.scale import FARTHEST, farthest
from initaudit.significance import HARD_Z
from initaudit.zeros import MANY_ZEROS

FEWEST = 256
"""Fewer values do not tell a family."""

HEAVY_KURTOSIS = 4.0
"""No law in use has more than a normal's 3; the healthy maximum over the same weights is 3.6, for blocks of q, k, v."""

KURTOSIS_ERROR = math.sqrt(24)
"""Times 1/√N: the standard error of a normal's kurtosis, larger than those of the bounded laws."""

WORDS = {"trunc_normal": "normal, cut at 2 deviations", "trunc_normal_3": "normal, cut at 3 deviations"}
"""Families in words, where their name is none."""


@rule(
    code="IA305",
    severity=Severity.WARNING,
    takes_for_granted=["vanishing-weight", "exploding-weight"],
    examples=[
        good("five siblings of one law", {f"layers.{i}.fc.weight": normal(64, 64, std=0.1) for i in range(5)}),
        bad(
            "one of five is uniform, at the same scale",
            {
                f"layers.{i}.fc.weight": uniform(64, 64, bound=0.1732) if i == 3 else normal(64, 64, std=0.1)
                for i in range(5)
            },
            at="layers.3.fc.weight",
        ),
    ],
)
def odd_distribution(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """The values of a weight follow another law than its siblings', or one with heavier tails than any draw has.

    ## Why is this bad?

    By itself the law matters little as long as the scale is right. But layers of one kind are drawn by one line of
    code: one that differs was not reached by it, or was overwritten afterwards. Heavy tails are what training leaves,
    what products of draws have, and what memory holds that was never filled.

    ## How is it decided?

    By the largest value: two or more siblings of one shape all are of one family, and the weight ends where theirs is
    improbable to end, or goes beyond the bound of theirs (by more than chance gives, see `--alpha`). Or the kurtosis is
    above 4, with what units or inputs of different length add to it taken out. Weights with zeros or outliers are left
    to the rules for these.

    ## When is it right?

    A layer that is meant to be drawn otherwise than the same layer of other blocks.

    ## What to do

    Draw it as its siblings are drawn.
    """
    kurtosis = _own_kurtosis(tensor)
    if kurtosis is None or not tensor.is_weight:
        return
    error = KURTOSIS_ERROR / math.sqrt(tensor.count)
    shape = odd_shapes(model).get(tensor.name)
    if shape is not None:
        largest = tensor.statistics.largest / tensor.statistics.moments.rms
        bound = "" if math.isinf(shape.family.edge) else f", which ends at {shape.family.edge:.3g}"
        yield tensor.fault(
            f"its largest value is {largest:.3g} deviations off, as a {'bounded' if shape.is_bounded else 'wider'} law"
            f" gives; its {shape.count:,} siblings are {WORDS.get(shape.family.name, shape.family.name)}{bound}",
            advice=redraw_advice(tensor, model),
            largest=largest,
            expected_family=shape.family.name,
            kurtosis=kurtosis,
            std_error=error,
        )
        return
    if kurtosis > HEAVY_KURTOSIS + HARD_Z * error:
        yield tensor.fault(
            f"kurtosis {kurtosis:.2f}: its tails are heavier than those of any draw; a normal has 3, a uniform 1.8",
            advice=redraw_advice(tensor, model),
            kurtosis=kurtosis,
            expected_kurtosis=3.0,
            std_error=error,
        )


def _own_kurtosis(tensor: Tensor) -> float | None:
    """The kurtosis less what units and inputs of different length add; None where it says nothing.

    Of values s·z with independent scales s, it is that of z times E[s⁴]/E[s²]² = 1 + spread², with ``spread`` that of
    the sums of squares.
    """
    values = tensor.statistics
    if values.count < FEWEST or values.nonfinite or values.moments.kurtosis is None or tensor.pattern is not None:
        return None
    if values.zeros > MANY_ZEROS * values.count or farthest(tensor)[1] > FARTHEST:
        return None
    kurtosis = values.moments.kurtosis
    for spread in (tensor.units and tensor.units.length_spread, values.column_spread):
        kurtosis /= 1 + (spread or 0.0) ** 2
    return kurtosis
