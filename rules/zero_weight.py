"""IA101: a weight is zero everywhere."""

from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, constant, good, normal
from initaudit.reach import Reach
from initaudit.rule import Fault, Model, Severity, Tensor, rule


@rule(
    code="IA101",
    severity=Severity.ERROR,
    takes_for_granted=["garbage-value"],
    examples=[
        good("a matrix drawn at random", {"fc1.weight": normal(64, 32, std=0.18)}),
        good("a zero bias, which is what a bias should be", {"fc1.bias": constant(0, 64)}),
        good(
            "the last matrix of every residual branch, so that each block starts as the identity",
            {
                "blocks.0.mlp.fc1.weight": normal(64, 16, std=0.25),
                "blocks.0.mlp.fc2.weight": constant(0, 16, 64),
                "blocks.1.mlp.fc1.weight": normal(64, 16, std=0.25),
                "blocks.1.mlp.fc2.weight": constant(0, 16, 64),
            },
        ),
        bad(
            "a matrix nobody initialised",
            {"fc1.weight": constant(0, 64, 32), "fc2.weight": normal(10, 64, std=0.13)},
            at="fc1.weight",
        ),
        bad(
            "one block of two, so it is no scheme",
            {
                "blocks.0.mlp.fc1.weight": normal(64, 16, std=0.25),
                "blocks.0.mlp.fc2.weight": constant(0, 16, 64),
                "blocks.1.mlp.fc1.weight": normal(64, 16, std=0.25),
                "blocks.1.mlp.fc2.weight": normal(16, 64, std=0.13),
            },
            at="blocks.0.mlp.fc2.weight",
        ),
    ],
)
def zero_weight(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """Every element of a weight is zero.

    ## Why is this bad?

    The gradient of a weight is the error of its unit times its input: ∂J/∂W_ij = a_j · δ_i. Where W is zero, all units
    of the layer compute the same output. Where the weights behind it are equal too, all δ_i are equal, every unit
    receives the same gradient, and no training step can ever tell two units apart: the layer stays as wide as one unit.
    And the error that is passed back through W is zero, so the layers before it do not learn until W has grown. Two
    zero matrices on one path get no gradient at all, ever; one whose output goes straight into ReLU is dead for good.

    ## How is it decided?

    All elements are exactly zero, and the tensor is a weight (it multiplies activations) or an embedding, for which it
    is a warning: under an untied head its rows are told apart by the data, if late.

    ## When is it right?

    A matrix that closes a residual branch may start at zero, so that the block starts as the identity; so may LoRA's
    B, an adaptive norm's modulation, a ControlNet's convolutions, an output layer. Where a batch was given, gradients
    decide: a zero that gets one is none of ours, unless its siblings are drawn, and one that never does is
    `no-gradient`. Such conventions are intended and
    not reported while their condition holds: every block is alike in it, and the other factor of the path is not zero.

    ## What to do

    Draw it as its siblings are drawn. If the zero is meant, `--exclude` the tensor or `--ignore` the rule.
    """
    if model.reach_of(tensor) is Reach.NEVER:
        return  # as `no-gradient` says, which names all that is dead with it
    if (tensor.is_weight or tensor.part.role == "embedding") and tensor.statistics.zeros == tensor.count:
        units = f"; its {tensor.width:,} units are all the same" if tensor.is_weight and tensor.width > 1 else ""
        yield tensor.fault(
            f"all {tensor.count:,} elements are zero{units}",
            advice=redraw_advice(tensor, model),
            severity=None if tensor.is_weight else Severity.WARNING,
            zeros=tensor.statistics.zeros,
            count=tensor.count,
        )
