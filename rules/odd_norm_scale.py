"""IA403: the scale of a norm does not start at one."""

from collections import Counter
from collections.abc import Iterator

from initaudit.examples import bad, constant, good, normal
from initaudit.places import places_of, value_of
from initaudit.rule import Fault, Model, Severity, rule

LARGEST = 10.0
"""A scale above this, in however many blocks, saturates what reads it; norms set alike on purpose are 0, 1 or less."""

_BLOCKS = {f"blocks.{i}.norm.bias": constant(0, 64) for i in range(3)}


@rule(
    code="IA403",
    severity=Severity.WARNING,
    examples=[
        good("ones", {f"blocks.{i}.norm.weight": constant(1, 64) for i in range(3)} | _BLOCKS),
        good(
            "zeros in every block: the forward adds one",
            {f"blocks.{i}.norm.weight": constant(0, 64) for i in range(3)} | _BLOCKS,
        ),
        bad(
            "zeros in one block of three",
            {f"blocks.{i}.norm.weight": constant(0 if i == 1 else 1, 64) for i in range(3)} | _BLOCKS,
            at="blocks.1.norm.weight",
        ),
        bad(
            "drawn like a weight",
            {f"blocks.{i}.norm.weight": normal(64, std=0.02) for i in range(3)} | _BLOCKS,
            at=("blocks.0.norm.weight", "blocks.1.norm.weight", "blocks.2.norm.weight"),
        ),
    ],
)
def odd_norm_scale(model: Model) -> Iterator[Fault]:
    """The scale of a norm is not one, nor what it is in the other blocks.

    ## Why is this bad?

    A norm gives every feature the same size; its scale starts at one so that it stays so. Drawn around zero, as by an
    initialisation meant for matrices, each norm shrinks its features fiftyfold with a random sign, and the signal is
    gone after a few blocks. At zero, a branch passes nothing on; at a hundred, everything behind it saturates.

    ## How is it decided?

    All elements of a scale are to be one value: 1, or what the norms of the same place in the other blocks hold, up to
    10. A value that stands alone in the whole model needs to be one. Norms of one place are reported together; as an
    error where only some of them differ.

    ## When is it right?

    Zeros in every block: the forward multiplies by 1 + w, or the norm is the last of a residual branch (zero-gamma).

    ## What to do

    Set it to one; look for an initialisation that takes every tensor called `weight` for a matrix.
    """
    places = list(places_of(model, "norm_scale", usual=1.0))
    shared = Counter(at.common for at in places for _ in at.tensors)
    for at in places:
        expected = 1.0 if at.common is None else at.common
        odd = tuple(tensor for tensor in at.odd if value_of(tensor) != 1.0)
        if not odd and at.common != 1.0 and (shared[at.common] < 2 or expected > LARGEST):
            odd, expected = at.tensors, 1.0
        if odd:
            yield from at.faults(odd, expected, Severity.ERROR if len(odd) < len(at.tensors) else None)
