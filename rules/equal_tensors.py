"""IA105: a tensor is a copy of another."""

from collections.abc import Iterator

from initaudit.examples import bad, constant, good, normal
from initaudit.rule import Fault, Model, Severity, Tensor, rule

DRAWN = ("weight", "rnn_weight", "embedding", "bias", "rnn_bias")
"""Roles whose values are drawn at random; tables that are computed are equal by right."""

FEWEST = 16
"""Fewer values than this are equal too easily: biases of one unit, weights of two inputs."""


@rule(
    code="IA105",
    severity=Severity.WARNING,
    examples=[
        good(
            "each layer its own draw",
            {f"layers.{i}.fc.weight": normal(64, 32, std=0.18) for i in range(2)},
        ),
        good("biases are all zero, and equal by right", {f"fc{i}.bias": constant(0, 64) for i in range(2)}),
        bad(
            "a layer that was copied instead of drawn",
            {f"layers.{i}.fc.weight": normal(64, 32, std=0.18).of("layer") for i in range(3)},
            at=("layers.0.fc.weight", "layers.1.fc.weight", "layers.2.fc.weight"),
        ),
    ],
)
def equal_tensors(model: Model) -> Iterator[Fault]:
    """Two tensors hold the same random values.

    ## Why is this bad?

    Layers that start equal are told apart by their places in the network, but the network starts with fewer random
    features than it pays for. Experts, heads and other branches that run side by side are not told apart at all: equal
    inputs, equal weights and equal gradients keep them equal. The usual causes are a layer that was deep-copied, a seed
    that was set before each layer, and freed memory that still holds another tensor.

    ## How is it decided?

    Two tensors of one shape and dtype, drawn at random (not constant, not a table), agree in their extremes and in all
    of their first four moments to the last bit. For random values that has no probability to speak of.

    ## When is it right?

    A head that is tied to its embedding, a target or teacher network, a moving average: those are intended. Copied
    layers of `nn.TransformerEncoder` are documented, and a weakness all the same.

    ## What to do

    Draw each tensor on its own; look for `deepcopy` and for a seed that is set more than once.
    """
    groups: dict[object, list[Tensor]] = {}
    for tensor in model.tensors:
        values = tensor.statistics
        if tensor.part.role in DRAWN and values.count >= FEWEST and tensor.std > 0 and tensor.pattern is None:
            key = tensor.shape, tensor.dtype, values.moments, values.minimum, values.maximum
            groups.setdefault(key, []).append(tensor)
    for tensors in groups.values():
        if len(tensors) > 1:
            parallel = any(tensor.part.kind == "experts" or "expert" in tensor.name for tensor in tensors)
            yield Fault(
                tuple(tensor.name for tensor in tensors),
                f"{len(tensors):,} tensors hold the same {tensors[0].count:,} values; expected each its own draw",
                "draw each on its own; look for a copied layer or a seed that is set twice",
                Severity.ERROR if parallel else None,
                {"copies": len(tensors), "count": tensors[0].count},
                original=tensors[0].name,
            )
