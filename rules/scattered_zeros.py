"""IA503: values were rounded to zero."""

from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, good, normal, sparse
from initaudit.rule import Fault, Model, Severity, Tensor, rule
from initaudit.schemes import FEW_UNITS
from initaudit.significance import HARD_Z
from initaudit.zeros import are_unexplained, unevenness


@rule(
    code="IA503",
    severity=Severity.WARNING,
    takes_for_granted=["outlying-value", "nonzero-norm-shift"],
    examples=[
        good("drawn throughout", {"fc1.weight": normal(64, 96, std=0.1)}),
        good("sparse: each unit has the same number of connections", {"fc1.weight": sparse(64, 96, connections=10)}),
        bad("small values lost", {"fc1.weight": normal(64, 96, std=0.1).cut(0.05)}, at="fc1.weight"),
    ],
)
def scattered_zeros(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """Zeros lie scattered among the values of a weight.

    ## Why is this bad?

    A continuous draw gives no zeros. Where they appear, small values were lost: underflow in float16 or float8, a
    quantiser's dead zone, or a mask from pruning that came along. What is left is coarser than what was meant, and a
    gradient that is scaled by these weights is lost as well.

    ## How is it decided?

    At least 0.5 % of the elements are zero, more than the dtype's rounding explains for this deviation (a Poisson law,
    1e-9), neither in whole units, nor in a block, nor in the same number for each unit as sparse initialisation does.
    Weights of fewer than eight units or inputs are left out: in them it cannot be told from sparse initialisation.

    ## When is it right?

    A random mask that is meant; `--exclude` the tensor.

    ## What to do

    Draw in float32 and cast once, with values scaled to what the dtype can hold.
    """
    values, units, inputs = tensor.statistics, tensor.units, tensor.inputs
    if not tensor.is_weight or units is None or inputs is None or tensor.pattern is not None:
        return
    if units.dead or inputs.dead or min(units.count, inputs.count) < FEW_UNITS:
        return
    if values.zeros < values.count and are_unexplained(values.zeros, tensor) and unevenness(tensor) < HARD_Z:
        part = values.zeros / values.count
        yield tensor.fault(
            f"{values.zeros:,} of {values.count:,} elements ({part:.1%}) are zero, here and there; expected none",
            advice=redraw_advice(tensor, model),
            zeros=values.zeros,
            count=values.count,
        )
