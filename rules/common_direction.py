"""IA109: the units of a weight share a direction."""

from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, good, normal, uniform
from initaudit.rule import Fault, Model, Severity, Tensor, Units, rule
from initaudit.scale import FARTHEST, farthest
from initaudit.significance import HARD_Z, dispersion_z
from initaudit.zeros import MANY_ZEROS

LEAST_LEAN = 2.0
"""How many times the variance of the sums must exceed chance: at twice, what is shared carries as much of a sum as what
is not."""

LEAST_UNITS, LEAST_SIZE = 16, 16
"""Fewer sums, or of fewer elements, vary too much by chance for the normal law of the test."""


@rule(
    code="IA109",
    severity=Severity.WARNING,
    takes_for_granted=["off-centre-weight"],
    examples=[
        good("independent rows", {"fc1.weight": normal(64, 96, std=0.1)}),
        good("a uniform draw", {"fc1.weight": uniform(64, 96, bound=0.1)}),
        bad("one row added to all", {"fc1.weight": normal(64, 96, std=0.1).lean(0.5)}, at="fc1.weight"),
    ],
)
def common_direction(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """The units of a weight share a direction, or each has an offset of its own.

    ## Why is this bad?

    Units that lean the same way give outputs that go together: what they share grows with the number of units, while
    what tells them apart grows with its root, so that the layer starts with much less than its width. The usual causes
    are a bias or a template that was added to every row, a product of factors in the place of a draw, and rows that
    were drawn around means of their own.

    ## How is it decided?

    The sums over the units of each input (or over the inputs of each unit) vary more than twice as much as those of
    independent values, size·σ², at six standard errors. It sees a share of a few thousandths in large matrices. Weights
    of fewer than 16 units or inputs, with zeros, outliers or equal units are left to other rules.

    ## When is it right?

    A filter bank that is computed; `--exclude` it.

    ## What to do

    Draw every element on its own.
    """
    values = tensor.statistics
    if not tensor.is_weight or tensor.pattern is not None or values.zeros > MANY_ZEROS * values.count:
        return
    if farthest(tensor)[1] > FARTHEST or any(units.equal for units in (tensor.units, tensor.inputs) if units):
        return
    for units, words in ((tensor.inputs, "its units share a direction"), (tensor.units, "its units have offsets")):
        lean = _lean(units)
        if lean > LEAST_LEAN:
            yield tensor.fault(
                f"{words}: their sums vary {lean:.3g} times as much as those of independent values; expected once",
                advice=redraw_advice(tensor, model),
                lean=lean,
            )
            return


def _lean(units: Units | None) -> float:
    """How much more the sums vary than by chance, 0 where it may be chance."""
    if units is None or units.lean is None or units.count < LEAST_UNITS or units.size < LEAST_SIZE:
        return 0.0
    return units.lean if dispersion_z(units.lean, units.count - 1) > HARD_Z else 0.0
