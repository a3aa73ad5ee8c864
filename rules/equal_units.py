"""IA103: units of one weight are copies of each other."""

from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, constant, good, normal
from initaudit.rule import Fault, Model, Severity, Tensor, rule
from initaudit.significance import chance_equal_pairs

MOST_BY_CHANCE = 1e-6
"""Expected chance-equal pairs up to which copies are a verdict: over 10^5 tensors, 0.1 false ones at the very most."""


@rule(
    code="IA103",
    severity=Severity.ERROR,
    takes_for_granted=["zero-weight", "constant-weight"],
    examples=[
        good("every row its own draw", {"fc1.weight": normal(64, 32, std=0.18)}),
        good(
            "dead rows are equal too, but that is another fault", {"fc1.weight": normal(64, 32, std=0.18).put(":2", 0)}
        ),
        good(
            "the scale of a norm is not made of units", {"norm1.weight": constant(1, 64), "norm1.bias": constant(0, 64)}
        ),
        bad(
            "two ranks with one seed: the second half of the rows repeats the first",
            {"fc1.weight": normal(64, 32, std=0.18).put("32:", ":32")},
            at="fc1.weight",
        ),
        bad("one row copied", {"fc1.weight": normal(64, 32, std=0.18).put("7", "3")}, at="fc1.weight"),
        bad(
            "the columns of a weight that is stored as [in, out], as its bias shows",
            {"fc1.weight": normal(32, 64, std=0.18).put(":, 32:", ":, :32"), "fc1.bias": constant(0, 64)},
            at="fc1.weight",
        ),
    ],
)
def equal_units(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """Units of a weight are equal to each other, bit for bit.

    ## Why is this bad?

    Two units with the same incoming weights compute the same output. Their gradients are ∂J/∂W_ij = a_j · δ_i: as long
    as their outgoing weights are equal too, as they are when a seed was used twice, δ_i is the same for both, and
    training never tells them apart. The network is as wide as its distinct units. The usual causes: every
    tensor-parallel rank drew with one seed, a block was copied or tiled, rows were expanded instead of drawn.

    ## How is it decided?

    Rows (filters; columns of an [in, out] weight) are compared by exact hashes, all-zero ones left out. It is reported
    only if chance would give fewer than 1e-6 equal pairs, which depends on the dtype: bfloat16 has few values. Inputs
    that are read with equal weights (columns instead of rows) are found in the same way. For the rows of an embedding
    it is a warning: tokens that start equal are told apart by the data.

    ## When is it right?

    Subpixel convolutions may start with each filter repeated (ICNR), which is intended.

    ## What to do

    Draw the weight again; in distributed training, seed each rank on its own or draw before sharding.
    """
    if not tensor.is_weight and tensor.part.role != "embedding":
        return
    for units, noun in ((tensor.units, "units"), (tensor.inputs, "inputs")):
        if units is None or not units.equal:
            continue
        if chance_equal_pairs(units.count, units.size, tensor.dtype, tensor.std, units.density) > MOST_BY_CHANCE:
            continue
        at = " = ".join(map(str, units.equal_at))
        more = f", and {units.classes - 1:,} more such groups" if units.classes > 1 else ""
        yield tensor.fault(
            f"{units.equal:,} of {units.count:,} {noun} are copies of others ({at}{more}); expected none",
            advice=f"{redraw_advice(tensor, model)}; look for a seed that was used twice",
            severity=Severity.WARNING if tensor.part.role == "embedding" else None,
            equal=units.equal,
            distinct=units.classes,
            units=units.count,
            along=noun,
        )
        return
