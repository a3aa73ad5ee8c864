"""IA106: two tensors were drawn from one random stream."""

from collections.abc import Iterator

from initaudit.examples import bad, good, normal
from initaudit.rule import Cause, Fault, Model, Severity, Tensor, rule

ROLES = ("weight", "rnn_weight", "embedding")

FEWEST = 64
"""Signs that are compared at least: two draws agree in so many with a probability of 5e-20."""

EITHER_SIGN = 12
"""Of these so many must be of either sign: a row of zeros, or a table that is computed, has no signs to speak of. Of 64
random signs fewer than 12 are of one kind with a probability of 2e-7, and then a fault is passed over, not invented."""


@rule(
    code="IA106",
    severity=Severity.WARNING,
    examples=[
        good("each its own stream", {"fc1.weight": normal(64, 32, std=0.18), "fc2.weight": normal(32, 64, std=0.125)}),
        bad(
            "one seed for two layers of different shape and scale",
            {
                "fc1.weight": normal(64, 32, std=0.18).of("seed 0"),
                "fc2.weight": normal(32, 64, std=0.125).of("seed 0"),
            },
            at=("fc1.weight", "fc2.weight"),
        ),
    ],
)
def shared_stream(model: Model) -> Iterator[Fault]:
    """Tensors of different shape or scale were drawn from one random stream.

    ## Why is this bad?

    A generator that is seeded anew before each layer gives every layer the same numbers, only scaled and wrapped
    differently. The layers look healthy one by one, and are as dependent as copies: units in one follow units in
    another, and the network starts with fewer random features than it pays for.

    ## How is it decided?

    The signs of the first 64 to 256 elements agree. Signs do not change with scale or dtype, nor with the shape, as
    values are drawn in the order of memory. Chance gives that with a probability of 5e-20 a pair. Tensors that are
    equal altogether are another fault, `equal-tensors`.

    ## When is it right?

    A moving average or target network that has moved a little; `--exclude` it.

    ## What to do

    Seed once, before the first layer; where each tensor has a generator of its own, derive its seed from the name.
    """
    streams: dict[bytes, list[Tensor]] = {}
    for tensor in model.tensors:
        signs = tensor.statistics.sample.signs
        first = signs[: FEWEST // 8]
        if tensor.part.role in ROLES and tensor.count >= FEWEST and tensor.std > 0:
            negative = sum(byte.bit_count() for byte in first)
            if EITHER_SIGN <= negative <= FEWEST - EITHER_SIGN:
                streams.setdefault(first, []).append(tensor)
    for tensors in streams.values():
        if len(tensors) > 1 and not _are_equal(tensors) and _agree(tensors):
            shapes = " and ".join(dict.fromkeys(str(list(tensor.shape)) for tensor in tensors[:4]))
            message = (
                f"{len(tensors):,} tensors ({shapes}) begin with the same random numbers, each at its own scale;"
                " expected a stream for each"
            )
            original = tensors[0].name
            yield from Cause(original, message).faults(
                (tensor.name for tensor in tensors),
                original=original,
                advice="draw each from a stream of its own; look for a seed that is set before each layer",
                evidence={"tensors": len(tensors), "signs": 8 * min(len(t.statistics.sample.signs) for t in tensors)},
            )


def _are_equal(tensors: list[Tensor]) -> bool:
    return len({(tensor.shape, tensor.dtype, tensor.statistics.identity) for tensor in tensors}) == 1


def _agree(tensors: list[Tensor]) -> bool:
    """Whether all signs agree that any two of them have."""
    longest = max((tensor.statistics.sample.signs for tensor in tensors), key=len)
    return all(longest.startswith(tensor.statistics.sample.signs[: tensor.count // 8]) for tensor in tensors)
