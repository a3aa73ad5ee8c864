"""What scales say is wrong, on three levels: against kin, against something in the same file, and by effect alone.

Of 10,761 places of released models 94 % lie on a law that two other places share, and 6 % (in one model of four) have a
healthy scale of their own. So a scale of its own is no evidence of a fault at any significance. What is: differing from
one's kin, contradicting something in the same file, and having an effect.

``alpha`` bounds chance alone: the expected number of false verdicts in one checkpoint whose kin were all drawn alike.
Each tensor that is held to its kin counts one test, and is odd at alpha/tests.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from initaudit.faults import Expectation
from initaudit.model import Model, Tensor
from initaudit.recipes.cells import Cell
from initaudit.recipes.fits import Fit
from initaudit.recipes.kin import NOTE, kin_groups, odd_ones, threshold
from initaudit.recipes.observations import Ids, Numbers, Observation, placed
from initaudit.recipes.prescription import by_kin, by_law
from initaudit.recipes.recipe import MOST, Recipe, recipe_of
from initaudit.scale import UNSCALED, is_output

WARNING, ERROR = 1.05, 4.0
"""From what factor off its kin, either way, a scale is worth a warning, an error: a factor of 4 in one layer of many is
a change of gain that no activation makes."""

TWIN = 1.1
"""How far a widening matrix may be off its twin by design: what is drawn by one line differs by its errors alone."""

GAIN, LOUD, DEAFENING = 1.75, 3.0, 8.0
"""Gains that no named scheme has, tanh's 5/3 being the largest: of a place inside the network, of a head or stem (whose
input or loss may ask for more), and of a whole law that most weights follow."""

QUIET = 3.0, 30.0
"""How far below the model's law a place inside is too quiet; nearer to zero it is a branch meant to start so."""

TEXTBOOK = Expectation("scaled by its fan-in")
"""What is expected where nothing in the model says more."""

LARGE = 3.5
"""A gain that no weight has in use, where no law of the model says what was meant: 0.02·sqrt(12288) = 2.2 for the
widest fixed scale, tanh's 5/3 with orthogonal rows in wide convolutions 3."""

BROKEN = 10.0
"""From here on ten layers multiply a signal by 10^10, and one saturates whatever it feeds."""

WEAK, DEAD = 0.015, 0.002
"""The least gain of a healthy weight that is no head, with a margin (RWKV-7 keys have 0.029, SIREN layers 0.047), and
that under which a layer passes on less than 1/500 of its input, and as little of the gradient."""

FIXED_STD, LEAST_COMMON = 0.0014, 9e-4
"""Standard deviations from here on are fixed scales in use, whatever gain a small fan makes of them: 0.02/sqrt(2·100),
where the residual branches of a hundred blocks end, and 0.001 where the whole model has it."""

Level = Literal["kin", "pair", "twin", "gain", "quiet", "dead"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A weight whose scale is wrong: off the expected by ``ratio``, at which level, how grave, and why in words."""

    tensor: Tensor
    level: Level
    ratio: float
    severity: str
    reason: str
    expected: Expectation


def scale_verdicts(model: Model) -> tuple[Verdict, ...]:
    """All verdicts about the scales of a model's weights, worked out once."""
    return model.remember(_verdicts)


def _verdicts(model: Model) -> tuple[Verdict, ...]:
    recipe = recipe_of(model)
    found = [*_odd_among_kin(recipe, model.alpha), *_odd_of_two(recipe, model.alpha)]
    odd = {verdict.tensor.name for verdict in found}
    found = [_as_prescribed(verdict, recipe, odd) for verdict in found]
    for cell in recipe.cells:
        members = set(cell.fit.members.tolist())
        alone = [[int(i)] for i in cell.ids if int(i) not in members]
        for some in (sorted(members), *alone):
            judged = [i for i in some if recipe.seen.rows[i].tensor.name not in odd and recipe.seen.is_weight[i]]
            if judged:
                ids = np.array(judged, np.int64)
                found += list(_unlike_twin(recipe, cell, ids)) or list(_by_effect(recipe, cell, ids, model))
    return tuple(found)


def _as_prescribed(verdict: Verdict, recipe: Recipe, odd: Collection[str]) -> Verdict:
    """A verdict that expects what a repair draws: the plainest constant that its healthy kin allow."""
    row = placed(verdict.tensor)
    found = by_kin(recipe, row, odd) if row is not None else None
    if found is None:
        return verdict
    return replace(verdict, expected=Expectation(verdict.expected.source, found.std, error=found.error))


def _odd_among_kin(recipe: Recipe, alpha: float) -> Iterator[Verdict]:
    """A tensor against two or more others of its place with the same fans, which agree."""
    groups = tuple(kin_groups(recipe))
    bar = threshold(alpha, sum(len(kin.ids) for kin in groups))
    for kin in groups:
        for number, apart, pooled in odd_ones(kin, bar):
            row = recipe.seen.rows[number]
            reason = f"its {pooled.count:,} siblings"
            yield _verdict(row, "kin", apart, reason, f"as {reason} have", pooled.error, _gravity(apart))


def _odd_of_two(recipe: Recipe, alpha: float) -> Iterator[Verdict]:
    """Of two kin that differ the one that no law of the model explains, where the other is as two other places are."""
    seen = recipe.seen
    pairs = [ids for ids in seen.places.values() if len(ids) == 2 and seen.is_weight[ids[0]]]
    bar = threshold(alpha, len(pairs))
    for ids in pairs:
        one, other = (seen.rows[i] for i in ids)
        if one.shape != other.shape:
            continue
        laws = recipe.shared(one.place)
        met = [any(recipe.meets(fit, np.array([i])) for fit in laws) for i in ids]
        if met[0] == met[1]:
            continue
        odd, right = (one, other) if met[1] else (other, one)
        apart = odd.scale - right.scale
        if abs(apart) > max(bar * math.hypot(odd.error, right.error), math.log(NOTE)):
            reason = f"its sibling {right.tensor.name}, which is as other places are"
            yield _verdict(odd, "pair", apart, reason, f"as {right.tensor.name} has", right.error, _gravity(apart))


def _unlike_twin(recipe: Recipe, cell: Cell, ids: Ids) -> Iterator[Verdict]:
    """A widening matrix that is unlike the one beside it of the same fans, which is as other places are.

    A widening matrix ends no residual branch, so no scaling by depth is meant for it; where the narrowing one behind it
    has its scale too, it is a recipe (torchtitan scales all of a feed-forward block but its first matrix).
    """
    seen = recipe.seen
    first = seen.rows[ids[0]]
    widens = first.fan_out > first.fan_in and first.tensor.part.kind == "linear" and len(ids) > 1
    if not widens or any(recipe.meets(fit, ids) for fit in recipe.shared(cell.place)):
        return
    around = _module_of(cell.place)
    beside = [other for other in recipe.cells if other is not cell and _module_of(other.place) == around]
    heads = [(other, seen.rows[other.ids[0]]) for other in beside]
    if any(
        (q.fan_in, q.fan_out) == (first.fan_out, first.fan_in) and abs(q.scale - first.scale) < 0.01 for _, q in heads
    ):
        return
    for other, twin in heads:
        whole = len(other.ids) == len(ids) == len(other.fit.members)
        same = (twin.fan_in, twin.fan_out) == (first.fan_in, first.fan_out) and whole
        known = same and any(recipe.meets(fit, other.ids) for fit in recipe.shared(other.place))
        if known and abs(twin.scale - first.scale) > math.log(TWIN):
            for row in (seen.rows[i] for i in ids):
                apart = row.scale - twin.scale
                yield _verdict(
                    row,
                    "twin",
                    apart,
                    f"its twin {twin.tensor.name}",
                    f"as {twin.tensor.name} has",
                    twin.error,
                    "warning",
                )
            return


def _by_effect(recipe: Recipe, cell: Cell, ids: Ids, model: Model) -> Iterator[Verdict]:
    """A place on a scale of its own: nothing by itself, a warning where its effect is one that no design has."""
    seen, laws = recipe.seen, recipe.shared(cell.place)
    if _is_neutral(seen.rows[ids[0]].tensor, model):
        return
    own = next((fit for fit in laws if recipe.meets(fit, ids)), None)
    gains = np.exp(seen.scale) * np.sqrt([_least_fan(row) for row in seen.rows])
    dead = list(_dead(recipe, ids, own, model))
    if dead:
        yield from dead
        return
    named = bool(np.isin(ids[0], cell.fit.members)) and _is_named(recipe, cell.fit, ids)
    is_most = len(cell.fit.members) > MOST * recipe.weights and not named
    whole = own or (cell.fit if is_most else None)
    if whole is not None and float(np.mean(gains[whole.members] > DEAFENING)) > MOST:
        yield from _deafening(recipe, ids, whole, gains)
        return
    inside = recipe.is_inside(cell.place)
    if own is not None:
        if not inside or _is_named(recipe, own, ids) or len(own.members) > MOST * recipe.weights:
            return  # as other places are, which are most of the model, or drawn by what people know by name
        laws = [fit for fit in laws if fit is not own and len(fit.members) >= len(own.members)]
    if named:
        return
    odd = [int(i) for i in ids if not any(recipe.meets(fit, np.array([i])) for fit in laws)]
    if not odd:
        return
    loudest = max(odd, key=lambda i: float(gains[i]))
    row = seen.rows[loudest]
    predicted = [(float(recipe.fitter.predicted(fit, np.array([loudest]))[0]), fit) for fit in laws]
    nearest = min(predicted, key=lambda pair: abs(row.scale - pair[0]), default=None)
    apart = row.scale - (nearest[0] if nearest is not None else -0.5 * math.log(row.fan_in))
    if row.tensor.part.role == "embedding" or (apart < 0 and len(ids) > 1 and _is_by_depth(row, len(ids), predicted)):
        return
    is_loud = apart > 0 and gains[loudest] > (GAIN if inside and laws else LOUD if laws else LARGE)
    is_square = row.area > 1 and row.fan_in == row.fan_out  # a kernel; of matrices one may end a branch
    first_of_branch = row.fan_in < row.fan_out or len(cell.ids) == 1 or is_square
    is_quiet = inside and bool(laws) and own is None and first_of_branch and not _is_stack(row)
    is_quiet &= math.log(QUIET[0]) < -apart < math.log(QUIET[1])
    for number in odd if is_loud or is_quiet else ():
        law: Fit | None = nearest[1] if nearest else None
        level: Level = "gain" if is_loud else "quiet"
        is_head = is_output(recipe.seen.rows[number].tensor, model)
        yield _unlike_model(recipe, number, law, level, gains, is_head=is_head)


def _is_named(recipe: Recipe, fit: Fit, ids: Ids) -> bool:
    """Whether people know a law by name; by fan_out convolutions are drawn, of matrices of one shape it is chance."""
    seen = recipe.seen
    is_chance = fit.base.startswith("fan_out") and len(np.unique(seen.fan_out[fit.members])) == 1
    return fit.name != "" and not (is_chance and seen.rows[ids[0]].tensor.part.kind == "linear")


def _is_stack(row: Observation) -> bool:
    """Whether it may be a stack of matrices, or a form of two vectors: no shape shows what multiplies what."""
    return len(row.tensor.shape) > 2 and row.tensor.part.kind not in ("conv", "conv_transposed")


def _least_fan(row: Observation) -> int:
    """The fewest inputs that any reading of a shape has."""
    return min(row.fan_in, *row.tensor.shape[-2:]) if _is_stack(row) else row.fan_in


def _is_neutral(tensor: Tensor, model: Model) -> bool:
    """Whether it is one of two factors of low rank of which the other is zero: their product is zero at any scale."""
    rank, around = min(tensor.shape), tensor.part.layer.rpartition(".")[0]
    beside = (t for t in model.partners(tensor) if len(t.shape) == len(tensor.shape))
    others = [*beside, *(t for t in model.remember(_zero_matrices).get(around, ()) if t.name != tensor.name)]
    return any(t.statistics.zeros == t.count and rank == min(t.shape) < max(t.shape) for t in others)


def _zero_matrices(model: Model) -> dict[str, list[Tensor]]:
    """The matrices that are all zero, by the module around their layer."""
    found: dict[str, list[Tensor]] = {}
    for tensor in model.tensors:
        if len(tensor.shape) > 1 and tensor.statistics.zeros == tensor.count > 0:
            found.setdefault(tensor.part.layer.rpartition(".")[0], []).append(tensor)
    return found


def _unlike_model(
    recipe: Recipe, number: int, law: Fit | None, level: Level, gains: Numbers, *, is_head: bool
) -> Verdict:
    """A weight off the nearest law of its model, or with a gain that none has where there is no law.

    A head is worth a warning at most: the loss starts high, and comes down as fast as the head shrinks.
    """
    row, gain = recipe.seen.rows[number], float(gains[number])
    severity = "error" if gain > BROKEN and not is_head else "warning"
    if law is None:
        return Verdict(row.tensor, level, gain, severity, f"a signal grows {gain:.3g}-fold", TEXTBOOK)
    wanted = by_law(recipe, number, law, "by the scheme of the model")
    apart = row.scale - math.log(wanted.std)
    return _verdict(row, level, apart, "most weights of this model", wanted.source, wanted.error, severity)


def _deafening(recipe: Recipe, ids: Ids, law: Fit, gains: Numbers) -> Iterator[Verdict]:
    """Weights of a law that most of the model follows, and that makes most of them too large.

    One that is N(0, 1) throughout is scaled when it is used (the parametrisation of the neural tangent kernel, the
    equalised learning rates of Karras et al. 2018), or by its norms: it cannot be told, and is worth knowing.
    """
    unscaled = law.base == "fixed" and abs(law.log_constant) < UNSCALED
    scaled = ", unless it is scaled when it is used, as all weights drawn so must be" if unscaled else ""
    for number in (int(i) for i in ids if gains[i] > LARGE):
        gain = float(gains[number])
        severity = "error" if gain > BROKEN and not unscaled else "warning"
        reason = f"a signal grows {gain:.3g}-fold{scaled}"
        yield Verdict(recipe.seen.rows[number].tensor, "gain", gain, severity, reason, TEXTBOOK)


def _dead(recipe: Recipe, ids: Ids, own: Fit | None, model: Model) -> Iterator[Verdict]:
    """Weights that pass next to nothing on, whatever the others of their place do.

    A head may be small alone, and so may one matrix of a module beside others that are not: a branch that starts near
    zero, as long as it starts at all.
    """
    gains = _widest_gains(recipe)
    alive = any(gains[i] >= WEAK for i in recipe.beside(int(ids[0])))
    for number in (int(i) for i in ids):
        row, std, gain = recipe.seen.rows[number], math.exp(recipe.seen.scale[number]), float(gains[number])
        is_head = own is None and is_output(row.tensor, model)
        if not row.tensor.is_weight or std >= FIXED_STD or gain >= WEAK or is_head:
            continue
        laws = [(float(recipe.fitter.predicted(fit, np.array([number]))[0]), fit) for fit in recipe.shared(row.place)]
        meant = (own is not None and std > LEAST_COMMON) or _is_by_depth(row, len(ids), laws)
        if gain < (DEAD if meant or (alive and len(ids) > 1) else WEAK):
            severity = "error" if gain < DEAD else "warning"
            yield Verdict(row.tensor, "dead", gain, severity, "next to nothing passes", TEXTBOOK)


def _widest_gains(recipe: Recipe) -> Numbers:
    """The gain of each tensor by the most inputs that any reading of its shape has."""
    fans = [
        max(row.fan_in, row.tensor.count // row.tensor.shape[0] if _is_stack(row) else 0) for row in recipe.seen.rows
    ]
    return np.asarray(np.exp(recipe.seen.scale) * np.sqrt(fans))


def _is_by_depth(row: Observation, blocks: int, predicted: list[tuple[float, Fit]]) -> bool:
    """Whether it is a law of the model over √(kL): a residual output scaled by depth, the design that most have."""
    near = max(4 * row.error, 0.012)
    return any(abs(row.scale - at + 0.5 * math.log(k * blocks)) < near for at, _ in predicted for k in (1, 2, 3))


def _verdict(
    row: Observation, level: Level, apart: float, reason: str, source: str, error: float, severity: str
) -> Verdict:
    ratio = math.exp(apart)
    words = f"{max(ratio, 1 / ratio):.3g} times {'above' if ratio > 1 else 'below'} {reason}"
    expected = Expectation(source, math.exp(row.scale - apart), error=error)
    return Verdict(row.tensor, level, ratio, severity, words, expected)


def _gravity(apart: float) -> str:
    """How grave it is that one of several alike is off by so much: by its effect, since it is certain."""
    return "error" if abs(apart) >= math.log(ERROR) else "warning" if abs(apart) >= math.log(WARNING) else "info"


def _module_of(place: str) -> str:
    """The module around the layer of a place."""
    return place.rpartition(".")[0].rpartition(".")[0]
