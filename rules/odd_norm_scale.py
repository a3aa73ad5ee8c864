"""IA403: the scale of a norm does not start at one."""

from collections import Counter
from collections.abc import Iterator, Sequence

from initaudit.architectures import MULTIPLIED_NORMS, architecture_of
from initaudit.examples import bad, constant, good, normal
from initaudit.places import Place, places_of, value_of
from initaudit.rule import Fault, Model, Severity, Tensor, rule

LARGEST = 10.0
"""A scale above this, in however many blocks, saturates what reads it; norms set alike on purpose are 0, 1 or less."""

USUAL = "the scale of a norm starts at one"

_BLOCKS = {f"blocks.{i}.norm.bias": constant(0, 64) for i in range(3)}


@rule(
    code="IA403",
    severity=Severity.WARNING,
    takes_for_granted=["nonzero-bias"],
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
            "zeros in every batch norm: nothing passes",
            {f"blocks.{i}.bn.weight": constant(0, 64) for i in range(3)}
            | {f"blocks.{i}.bn.running_mean": constant(0, 64) for i in range(3)}
            | {f"blocks.{i}.bn.running_var": constant(1, 64) for i in range(3)},
            at=("blocks.0.bn.weight", "blocks.1.bn.weight", "blocks.2.bn.weight"),
        ),
        bad(
            "scale and shift swapped in every block",
            {f"blocks.{i}.norm.weight": constant(0, 64) for i in range(3)}
            | {f"blocks.{i}.norm.bias": constant(1, 64) for i in range(3)},
            at=("blocks.0.norm.weight", "blocks.1.norm.weight", "blocks.2.norm.weight"),
        ),
        bad(
            "zeros in every norm of an architecture that multiplies by them",
            {f"layers.{i}.input_layernorm.weight": constant(0, 64) for i in range(2)},
            config={"model_type": "llama"},
            at=("layers.0.input_layernorm.weight", "layers.1.input_layernorm.weight"),
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
    error where only some of them differ, or where every norm of the model is zero and multiplies as it stands: then
    nothing passes through it. So do batch norms, norms in architectures of a table (``config.json`` names them), and
    those whose shift is not zero, as where scale and shift were swapped.

    ## When is it right?

    Zeros in every block: the forward multiplies by 1 + w, or the norm is the last of a residual branch (zero-gamma).

    ## What to do

    Set it to one; look for an initialisation that takes every tensor called `weight` for a matrix.
    """
    places = list(places_of(model, "norm_scale", usual=1.0))
    shared = Counter(at.common for at in places for _ in at.tensors)
    if set(shared) == {0.0} and _multiply_as_they_stand(places, model):
        for at in places:
            yield from at.faults(at.tensors, 1.0, USUAL, Severity.ERROR)
        return
    for at in places:
        expected = 1.0 if at.common is None else at.common
        odd = tuple(tensor for tensor in at.odd if value_of(tensor) != 1.0)
        if not odd and at.common != 1.0 and (shared[at.common] < 2 or expected > LARGEST):
            odd, expected = at.tensors, 1.0
        if odd:
            yield from at.faults(odd, expected, USUAL, Severity.ERROR if len(odd) < len(at.tensors) else None)


def _multiply_as_they_stand(places: Sequence[Place], model: Model) -> bool:
    """Whether the norms of a model add no one to their scales.

    They keep running statistics, are of a known type or architecture, or have a shift as it is beside no zero scale.
    """
    if architecture_of(model.config) in MULTIPLIED_NORMS:
        return True
    running = {tensor.part.layer for tensor in model.tensors if tensor.part.role == "running_stat"}
    return all(
        tensor.part.layer in running or tensor.part.evidence.startswith("type ") or _is_shifted(tensor, model)
        for at in places
        for tensor in at.tensors
    )


def _is_shifted(tensor: Tensor, model: Model) -> bool:
    """Whether the shift of its norm holds anything but zeros: what adds one to a scale of zero starts it at zero."""
    shifts = (other for other in model.partners(tensor) if other.part.role == "norm_shift")
    return any(shift.statistics.zeros < shift.count for shift in shifts)
