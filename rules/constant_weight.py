"""IA102: a weight holds one value everywhere, and it is not zero."""

from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, constant, good, normal
from initaudit.rule import Fault, Model, Severity, Tensor, rule
from initaudit.significance import SMALL_P, collision


@rule(
    code="IA102",
    severity=Severity.ERROR,
    takes_for_granted=["garbage-value"],
    examples=[
        good("a matrix drawn at random", {"fc1.weight": normal(64, 32, std=0.18)}),
        good(
            "the scale of a norm, which starts at one", {"norm1.weight": constant(1, 64), "norm1.bias": constant(0, 64)}
        ),
        bad("a matrix filled with 0.5", {"fc1.weight": constant(0.5, 64, 32)}, at="fc1.weight"),
    ],
)
def constant_weight(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """Every element of a weight is the same number.

    ## Why is this bad?

    All units of the layer compute the same output. The gradient of a weight is ∂J/∂W_ij = a_j · δ_i: with equal
    outgoing weights all δ_i are equal, so all units receive the same gradient and stay equal for ever. Even where the
    layer behind it is drawn at random, the layer starts with rank one: it passes on one number instead of n.

    ## How is it decided?

    Minimum and maximum of a weight are the same finite number other than zero, and the weight has so many elements that
    chance gives that with a probability below 1e-9; in bfloat16 two values in 700 are equal. For an embedding it is a
    warning: under an untied head its rows are told apart by the data, if late.

    ## When is it right?

    A fixed filter, such as one that averages, holds one value on purpose. It is no weight then: `--exclude` it.

    ## What to do

    Draw it at random, scaled to its fan-in, as its siblings are.
    """
    values = tensor.statistics
    by_chance = collision(tensor.dtype, abs(values.minimum)) ** (tensor.count - 1)
    judged = tensor.is_weight or tensor.part.role == "embedding"
    if judged and values.is_constant and values.minimum != 0 and by_chance < SMALL_P:
        yield tensor.fault(
            f"all {tensor.count:,} elements are {values.minimum:.6g}; no two units differ",
            advice=redraw_advice(tensor, model),
            severity=None if tensor.is_weight else Severity.WARNING,
            value=values.minimum,
            count=tensor.count,
        )
