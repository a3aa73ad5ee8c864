"""IA301: part of a weight was never filled."""

from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, good, normal, sparse
from initaudit.rule import Fault, Model, Severity, Tensor, rule
from initaudit.significance import HARD_Z
from initaudit.zeros import are_unexplained, unevenness


@rule(
    code="IA301",
    severity=Severity.ERROR,
    takes_for_granted=["dead-units"],
    examples=[
        good("drawn throughout", {"fc1.weight": normal(64, 32, std=0.18)}),
        good("sparse: zeros everywhere, in no block", {"fc1.weight": sparse(64, 100, connections=10)}),
        bad(
            "a quarter left as it was allocated",
            {"fc1.weight": normal(64, 32, std=0.18).put("32:, 16:", 0)},
            at="fc1.weight",
        ),
    ],
)
def unfilled_block(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """Zeros of a weight stand together in a block.

    ## Why is this bad?

    Somebody filled part of the tensor: one rank's share, one projection of a fused weight, one group. The units or
    inputs of the block have less signal than the others, in all layers behind it too.

    ## How is it decided?

    At least 0.5 % of the elements are zero, more than rounding explains, and they are spread over rows or over columns
    more unevenly than thrown zeros are (variance of the counts against the binomial, six standard errors). Zeros that
    are whole dead rows or columns are reported as `dead-units`.

    ## When is it right?

    Sparse initialisation, with the same small number of inputs for each unit at random places, is recognised and
    intended. A mask of blocks (block-diagonal, causal) is meant: `--exclude` the tensor.

    ## What to do

    Find what wrote the rest of the tensor, and let it write all of it.
    """
    values, units, inputs = tensor.statistics, tensor.units, tensor.inputs
    if not tensor.is_weight or units is None or inputs is None or values.zeros in (0, values.count):
        return
    # Zeros of whole rows and columns belong to `dead-units`.
    whole = units.dead * units.size + inputs.dead * inputs.size
    overlap = units.dead * inputs.dead * values.count // (units.count * inputs.count)
    zeros = values.zeros - whole + overlap
    uneven = unevenness(tensor)
    if are_unexplained(zeros, tensor) and uneven > HARD_Z:
        yield tensor.fault(
            f"{zeros:,} of {values.count:,} elements ({zeros / values.count:.1%}) are zero and stand together:"
            f" {units.fewest:,} to {units.most:,} of {units.size:,} are filled a unit",
            advice=redraw_advice(tensor, model),
            zeros=zeros,
            count=values.count,
            unevenness_z=uneven,
        )
