"""IA305: the values of a weight are distributed unlike those of its siblings, or of any draw."""

import math
from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, good, normal, uniform
from initaudit.model import Peers, among_peers
from initaudit.rule import Fault, Model, Severity, Tensor, rule
from initaudit.scale import FARTHEST, farthest
from initaudit.significance import HARD_Z
from initaudit.zeros import MANY_ZEROS

FEWEST = 256
"""Fewer values do not tell a family."""

LEAST_SIBLINGS = 2

ODD_KURTOSIS = 0.25
"""The difference in kurtosis that counts: normal 3, cut at two deviations 2.4, uniform 1.8. Of 35,000 weights of fresh
released models none differs from its siblings by 0.1, outliers and what siblings of packed weights share apart."""

HEAVY_KURTOSIS = 4.0
"""No law in use has more than a normal's 3; the healthy maximum over the same weights is 3.6, for blocks of q, k, v."""

KURTOSIS_ERROR = math.sqrt(24)
"""Times 1/√N: the standard error of a normal's kurtosis, larger than those of the bounded laws."""


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

    By the kurtosis, with what units or inputs of different length add to it taken out. It differs by 0.25 and by six
    standard errors from that of two or more siblings of one shape, which agree; or it is above 4. Weights with zeros or
    outliers are left to the rules for these.

    ## When is it right?

    A layer that is meant to be drawn otherwise than the same layer of other blocks.

    ## What to do

    Draw it as its siblings are drawn.
    """
    kurtosis = _own_kurtosis(tensor)
    if kurtosis is None or not tensor.is_weight:
        return
    error = KURTOSIS_ERROR / math.sqrt(tensor.count)
    peers = model.remember(_kurtoses)[model.place(tensor), tensor.shape]
    if peers.count > LEAST_SIBLINGS:
        low, middle, high = peers.spread_of_others(kurtosis)
        if high - low < ODD_KURTOSIS and abs(kurtosis - middle) > max(ODD_KURTOSIS, HARD_Z * 2 * error):
            yield tensor.fault(
                f"kurtosis {kurtosis:.2f} ({_law(kurtosis, error)});"
                f" its {peers.count - 1:,} siblings have {middle:.2f} ({_law(middle, error)})",
                advice=redraw_advice(tensor, model),
                kurtosis=kurtosis,
                expected_kurtosis=middle,
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


def _kurtoses(model: Model) -> dict[tuple[str, tuple[int, ...]], Peers]:
    return among_peers(model, model.weights, _own_kurtosis)


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


def _law(kurtosis: float, error: float) -> str:
    """The law that has such a kurtosis, in a word; ``error`` is the standard error of the kurtosis."""
    laws = {1.8: "uniform", 2.37: "normal cut at 2 deviations", 3.0: "normal"}
    nearest = min(laws, key=lambda at: abs(at - kurtosis))
    return laws[nearest] if abs(nearest - kurtosis) < max(ODD_KURTOSIS, HARD_Z * error) else "none of the usual laws"
