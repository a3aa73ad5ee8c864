"""IA403: the scale of a norm does not start at one."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from initaudit.examples import bad, constant, good, normal
from initaudit.gradients import closes_its_block, reach_of
from initaudit.places import Place, places_of, value_of
from initaudit.rule import Cause, Fault, Model, Severity, Tensor, rule
from initaudit.significance import HARD_Z, log_std_error

LARGEST = 10.0
"""A scale above this, in however many blocks, saturates what reads it; norms set alike on purpose are 0, 1 or less."""

FAR = 3.0
"""How far from one the scale of all norms of a model may be: in 1,305 fresh released models all are 0, 1 or drawn."""

FEWEST = 2
"""So many alike at least are no accident."""

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
            {f"blocks.{i}.norm.weight": constant(0, 64) for i in range(3)},
            config={"model_type": "gemma"},
        ),
        bad(
            "zeros in every block, and nothing says whether the forward adds one: an info",
            {f"blocks.{i}.norm.weight": constant(0, 64) for i in range(3)} | _BLOCKS,
            at=("blocks.0.norm.weight", "blocks.1.norm.weight", "blocks.2.norm.weight"),
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
    10; where all norms of a model hold one value, up to three times or a third of one. Norms of one place are reported
    together, as an error where only some of them differ.

    Every norm of the model at zero is an error where nothing passes: batch norms, norms in architectures of a table
    (``config.json`` names them), and those whose shift is not zero, as where scale and shift were swapped. Else it is
    an info, for the forward may add one; so is one norm at zero, and one that is zero in every block and ends none.

    ## When is it right?

    Zero in every block, where the forward adds one to it (Gemma), or where a batch norm closes a residual branch
    (zero-gamma). What all norms of a model are drawn from, about one, is a recipe (DCGAN), and so is a value that grows
    or falls with the depth (RWKV-7).

    ## What to do

    Set it to one; look for an initialisation that takes every tensor called `weight` for a matrix.
    """
    places = list(places_of(model, "norm_scale", usual=1.0))
    scales = [tensor for at in places for tensor in at.tensors]
    shared = Counter(at.common for at in places for _ in at.tensors)
    if set(shared) == {0.0} and len(scales) > 1:
        yield from _all_zero(places, model)
        return
    drawn = _drawn_alike(scales)
    everywhere = next(iter(shared)) if len(shared) == 1 and len(scales) > 1 else None
    for at in places:
        expected = 1.0 if at.common is None else at.common
        odd = tuple(tensor for tensor in at.odd if value_of(tensor) != 1.0)
        alone = shared[at.common] < FEWEST or expected > LARGEST or (everywhere and not 1 / FAR < everywhere < FAR)
        if not odd and at.common != 1.0 and alone:
            odd, expected = at.tensors, 1.0
        intended = {tensor.name: _why_intended(tensor, at, drawn, model) for tensor in odd}
        yield from (tensor.intended(why) for tensor in odd if (why := intended[tensor.name]))
        left = tuple(tensor for tensor in odd if not intended[tensor.name])
        whole = len(odd) == len(at.tensors)
        if whole and at.common == 0.0:
            yield from _one_place_at_zero(left)
        elif left:
            yield from at.faults(left, expected, USUAL, None if whole else Severity.ERROR)
        elif at.common == 0.0 and not any(closes_its_block(tensor, model) for tensor in at.tensors):
            yield from _one_place_at_zero(at.tensors)


def _all_zero(places: Sequence[Place], model: Model) -> Iterator[Fault]:
    """What is said where every norm of a model is zero: an error where it multiplies by that, else nobody can tell."""
    tensors = [tensor for at in places for tensor in at.tensors]
    if reach_of(tensors[0], model).state == "dead":
        for at in places:
            yield from at.faults(at.tensors, 1.0, USUAL, Severity.ERROR)
    elif reach_of(tensors[0], model).state == "cannot tell":
        message = f"all {len(tensors):,} scales of norms are zero: the forward adds one to them, or nothing passes"
        yield from Cause(tensors[0].name, message).faults(
            (tensor.name for tensor in tensors),
            advice="if the forward adds nothing, set them to 1",
            severity=Severity.INFO,
            evidence={"norms": len(tensors)},
        )


def _one_place_at_zero(tensors: Sequence[Tensor]) -> Iterator[Fault]:
    """What is said of norms of one place that are zero while others are not, and that end no block for certain."""
    for tensor in tensors:
        yield tensor.fault(
            f"all {tensor.count:,} values are 0, other norms are not: it passes nothing unless the forward adds one",
            advice="if the forward adds nothing and adds the input to what this norm ends, leave it; else set it to 1",
            severity=Severity.INFO,
            expected=1.0,
        )


def _why_intended(tensor: Tensor, at: Place, drawn: frozenset[str], model: Model) -> str:
    """By what a norm may deviate, in words; empty where nothing says so."""
    if closes_its_block(tensor, model):
        return "last norm of a residual block starts at zero"
    if tensor.name in drawn:
        return "norm scales drawn by one law"
    return "norm scale by depth" if _follows_the_depth(at.tensors) else ""


def _drawn_alike(scales: Sequence[Tensor]) -> frozenset[str]:
    """The scales that were drawn about one positive value, with one deviation, if most of a model's were.

    About zero, as a matrix is drawn, is no such law: half of the features change their sign.
    """
    drawn = [tensor for tensor in scales if not tensor.statistics.is_constant]
    if len(drawn) < FEWEST or 2 * len(drawn) <= len(scales):
        return frozenset()
    level, spread = median(t.statistics.mean for t in drawn), median(t.std for t in drawn)
    count = sum(tensor.count for tensor in drawn)
    if level < max(spread / 2, HARD_Z * spread / math.sqrt(count)):
        return frozenset()
    return frozenset(tensor.name for tensor in drawn if _is_of(tensor, level, spread))


def _is_of(tensor: Tensor, level: float, spread: float) -> bool:
    error = log_std_error(tensor.count, tensor.statistics.moments.kurtosis)
    off = abs(tensor.statistics.mean - level) * math.sqrt(tensor.count) / spread
    return off < HARD_Z and abs(math.log(tensor.std / spread)) < HARD_Z * error


def _follows_the_depth(tensors: Sequence[Tensor]) -> bool:
    """One value throughout each, at most two, that rises or falls from block to block: a law of the depth."""
    values = [value_of(tensor) for tensor in sorted(tensors, key=_depth)]
    known = [value for value in values if value is not None and 0 < value <= 2]
    if len(known) < len(values) or len(known) <= FEWEST:
        return False
    steps = [after - before for before, after in pairwise(known)]
    return all(step > 0 for step in steps) or all(step < 0 for step in steps)


def _depth(tensor: Tensor) -> list[int]:
    return [int(number) for number in re.findall(r"\d{1,9}", tensor.name)]
