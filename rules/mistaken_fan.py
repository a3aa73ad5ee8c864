"""IA207: the scale of a weight follows a law that only a mistake gives."""

from collections.abc import Iterator

from initaudit.examples import bad, good, normal, uniform
from initaudit.recipes import mistakes
from initaudit.rule import Fault, Model, Severity, rule

_FANS = ((64, 32), (48, 64), (96, 48), (40, 96))


@rule(
    code="IA207",
    severity=Severity.WARNING,
    takes_for_granted=["uneven-units"],
    examples=[
        good(
            "PyTorch's default, weight and bias by the same fan",
            {f"fc{i}.weight": uniform(*shape, bound=shape[1] ** -0.5) for i, shape in enumerate(_FANS)}
            | {f"fc{i}.bias": uniform(shape[0], bound=shape[1] ** -0.5) for i, shape in enumerate(_FANS)},
        ),
        good(
            "depthwise and pointwise convolutions by their own fan-in",
            {f"block.{i}.dw.weight": normal(32 << i, 1, 3, 3, std=1 / 3) for i in range(3)}
            | {f"block.{i}.pw.weight": normal(64 << i, 32 << i, 1, 1, std=(32 << i) ** -0.5) for i in range(3)},
        ),
        bad(
            "weights by fan_out beside their own biases by fan_in",
            {f"fc{i}.weight": uniform(*shape, bound=shape[0] ** -0.5) for i, shape in enumerate(_FANS)}
            | {f"fc{i}.bias": uniform(shape[0], bound=shape[1] ** -0.5) for i, shape in enumerate(_FANS)},
            at=("fc0.weight", "fc1.weight", "fc2.weight", "fc3.weight"),
        ),
        bad(
            "the fan of a depthwise convolution taken as if it had no groups",
            {f"block.{i}.dw.weight": normal(32 << i, 1, 3, 3, std=(9 * (32 << i)) ** -0.5) for i in range(4)}
            | {f"block.{i}.pw.weight": normal(64 << i, 32 << i, 1, 1, std=(32 << i) ** -0.5) for i in range(4)},
            at=tuple(f"block.{i}.dw.weight" for i in range(4)),
        ),
    ],
)
def mistaken_fan(model: Model) -> Iterator[Fault]:
    """The scale of a weight follows a law that only a mistake gives.

    ## Why is this bad?

    A formula for the standard deviation is as good as the fan that goes into it. Where the groups of a convolution are
    ignored, or the area of its kernel, or where fan_out stands in for fan_in, each layer is off by the root of that
    factor: depthwise convolutions start twenty times too small, and no norm makes up for steps that are too large for
    such weights.

    ## How is it decided?

    Three or more tensors, of which some tell the two laws apart, have one exact constant of a named scheme under the
    mistaken law, and no right law explains them as well (at `--alpha`); or weights are uniform by 1/sqrt(fan_out) while
    the biases of the same layers are uniform by 1/sqrt(fan_in), in three or more.

    ## When is it right?

    A scheme of its own that happens to be one of these laws; ignore the rule for these tensors, with the reason.

    ## What to do

    Pass the fan of the layer as it multiplies: in/groups times the kernel's area.
    """
    for mistake in mistakes(model):
        tensor, expected = mistake.tensor, mistake.expected
        std = expected.std or 0.0
        yield tensor.fault(
            f"std {tensor.std:.3g}, as if {mistake.what}: {mistake.shown}; expected std {std:.3g} {expected.source}",
            advice=f"draw it with std {std:.3g}",
            expectation=expected,
            std=tensor.std,
            expected_std=expected.std,
        )
