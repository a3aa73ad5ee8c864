"""Mistakes that a checkpoint shows by their name: laws that nobody means, and scales that the same file contradicts.

A ratio alone is never enough: √2, √3 and √fan ratios are what healthy models differ by. Each mistake here is held to
something in the file that shows what was meant: other tensors under one constant, the layer's own bias, the other
output of the block.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from initaudit.faults import Expectation
from initaudit.model import Model, Tensor
from initaudit.recipes.cells import Cell
from initaudit.recipes.fits import CLAIM, RANGE, RIGHT, WRONG, Fit, log_normal, weighted
from initaudit.recipes.observations import FEWEST, Ids, Numbers, Observation
from initaudit.recipes.prescription import by_law
from initaudit.recipes.recipe import Recipe, recipe_of
from initaudit.scale import is_called_output
from initaudit.schemes import UNIFORM, family_of

SEVERAL = 3
"""Tensors that must show a mistake: one or two may have their scale by chance or design."""

APART = 0.1
"""By how much, in logarithms, two laws must differ in a tensor for it to tell them apart."""

CONSTANTS = (1.0, math.sqrt(2), 1 / math.sqrt(3), 2.0, 1 / 3)
"""The constants of named schemes, and their squares where a variance was passed."""

WIDER = 2.0
"""Times the width of most weights that a fan must be for a wrong one to have an effect: a gain of √2."""

NEAR_BIAS = 4.0
"""Standard errors within which a bias has the scale of a law."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One tensor that was drawn by mistake: what the mistake is in words, and what it should be."""

    tensor: Tensor
    what: str
    shown: str
    expected: Expectation


def mistakes(model: Model) -> tuple[Mistake, ...]:
    """All mistakes of a model that its own tensors show, worked out once."""
    return model.remember(_mistakes)


def _mistakes(model: Model) -> tuple[Mistake, ...]:
    recipe = recipe_of(model)
    return (*_wrong_law(recipe, model.alpha), *_unlike_its_bias(recipe, model), *_one_width(recipe))


def _wrong_law(recipe: Recipe, alpha: float) -> Iterator[Mistake]:
    """Several tensors that follow a law which only a mistake draws by, where no right law fits as well."""
    seen, fitter = recipe.seen, recipe.fitter
    ids = np.flatnonzero(np.array([row.tensor.part.role == "weight" for row in seen.rows], bool))
    if len(ids) < SEVERAL:
        return
    best_right = fitter.of_many(ids).evidence
    for name, offset in WRONG.items():
        base = (
            "fan_out" if "fan_out" in name and "fan_in" not in name else "fan_mean" if "fan_out" in name else "fan_in"
        )
        differs = offset(seen) - RIGHT[base](seen)
        if len(np.unique(np.round(differs[ids], 1))) < 2:
            continue  # no tensor tells it from the right law with another constant
        law = fitter.of_many(ids, (name,))
        rival = max(best_right, fitter.of_many(law.members).evidence)
        wrong = [int(i) for i in law.members if abs(differs[i]) > APART]
        exact = next((c for c in CONSTANTS if abs(law.log_constant - math.log(c)) < law.near), None)
        told = len(np.unique(np.round(differs[law.members], 1))) >= 2
        if exact is not None and told and len(wrong) >= SEVERAL and law.evidence - rival > math.log(len(WRONG) / alpha):
            for number in wrong:
                std = exact * math.exp(float(RIGHT[base](seen)[number]))
                shown = f"{len(law.members):,} weights have one constant under that law, and under no other"
                yield Mistake(seen.rows[number].tensor, name, shown, Expectation(f"by {base}", std, error=law.error))
            return


def _unlike_its_bias(recipe: Recipe, model: Model) -> Iterator[Mistake]:
    """Weights U(±1/√fan_out) beside their own biases U(±1/√fan_in): the bias shows what the weight was meant by."""
    seen, found = recipe.seen, list[Mistake]()
    for cell in recipe.cells:
        pairs = [(int(i), bias) for i in cell.fit.members for bias in _biases(seen.rows[i], model)]
        pairs = [(i, bias) for i, bias in pairs if abs(math.log(seen.fan_in[i] / seen.fan_out[i])) > APART]
        if not pairs or not all(_is_by_fan_in(seen.rows[i], bias) for i, bias in pairs):
            continue
        numbers = np.array([i for i, _ in pairs])
        if _claim(recipe, numbers, -0.5 * np.log(3 * seen.fan_out[numbers])) > CLAIM:
            for i, bias in pairs:
                std = (3 * seen.fan_in[i]) ** -0.5
                shown = f"its bias {bias.name} is U(±1/sqrt(fan_in))"
                found.append(
                    Mistake(seen.rows[i].tensor, "fan_out used for fan_in", shown, Expectation("1/sqrt(3·fan_in)", std))
                )
    if len(found) >= SEVERAL:
        yield from found


def _one_width(recipe: Recipe) -> Iterator[Mistake]:
    """Weights of other fans that have 1/√fan_in of most weights: the model's width stands in for every fan.

    What reads fewer features than that is left alone: it starts quieter, and no louder than anyone else's.
    """
    seen = recipe.seen
    for law in recipe.laws[:1]:
        members = law.fit.members
        if law.fit.base != "fixed" or 2 * len(members) < recipe.weights:
            continue
        fans, counts = np.unique(seen.fan_in[members], return_counts=True)
        width = float(fans[np.argmax(counts)])
        if 2 * counts.max() < len(members) or abs(law.fit.log_constant + 0.5 * math.log(width)) > law.fit.near:
            continue
        wider = [
            int(i) for i in members if seen.fan_in[i] >= WIDER * width and seen.rows[i].tensor.part.role == "weight"
        ]
        for number in wider if len(wider) >= SEVERAL else ():
            expected = Expectation("1/sqrt(fan_in)", float(seen.fan_in[number]) ** -0.5, error=law.fit.error)
            shown = f"as {counts.max():,} weights of that fan_in have by their own"
            yield Mistake(seen.rows[number].tensor, f"fan_in were {width:,.0f}", shown, expected)


def _is_normalised(tensor: Tensor) -> bool:
    """Whether its rows, or its columns, were given one length: those of a draw differ by √(2/fan)."""
    spreads = (tensor.units.length_spread if tensor.units else None, tensor.statistics.column_spread)
    return any(spread is not None and spread < 0.1 * math.sqrt(2 / max(tensor.shape)) for spread in spreads)


def _biases(row: Observation, model: Model) -> list[Tensor]:
    """The drawn biases of a weight's layer that are long enough to show a scale."""
    if row.tensor.part.kind == "conv_transposed" or row.family is not UNIFORM or row.block >= 0:
        return []
    return [t for t in model.partners(row.tensor) if t.is_bias and t.count >= FEWEST and not t.statistics.is_constant]


def _is_by_fan_in(row: Observation, bias: Tensor) -> bool:
    """Whether a bias is U(±1/√fan_in), with the fan of its layer's weight."""
    error = math.sqrt((UNIFORM.kurtosis - 1) / (4 * bias.count))
    near = abs(math.log(bias.statistics.moments.rms * math.sqrt(3 * row.fan_in))) < NEAR_BIAS * error
    return near and family_of(bias.statistics) in (UNIFORM, None)


def _claim(recipe: Recipe, ids: Ids, wanted: Numbers) -> float:
    """The evidence that some scales are exactly what is wanted, against a constant of their own."""
    apart, errors = recipe.seen.scale[ids] - wanted, recipe.seen.error[ids]
    middle, error = weighted(apart, errors)
    if abs(middle) > 3 * error or np.any(np.abs(apart) > 5 * errors):
        return -math.inf
    return float(log_normal(np.array(middle), np.array(error))) + math.log(RANGE)


@dataclass(frozen=True, slots=True)
class Residual:
    """A weight that ends a residual branch, whose scaling by depth was left out or applied twice."""

    tensor: Tensor
    blocks: int
    is_twice: bool
    witness: Tensor
    expected: Expectation


def residuals(model: Model) -> tuple[Residual, ...]:
    """The residual outputs whose block's other output is scaled by √(2L), while they are not, or twice."""
    return model.remember(_residuals)


def _residuals(model: Model) -> tuple[Residual, ...]:
    recipe = recipe_of(model)
    return tuple(found for cell in recipe.cells for found in _of_cell(recipe, cell))


def _of_cell(recipe: Recipe, cell: Cell) -> Iterator[Residual]:
    seen, ids = recipe.seen, cell.fit.members
    first = seen.rows[ids[0]]
    if len(ids) < SEVERAL or first.fan_in < first.fan_out or not first.tensor.is_weight:
        return
    if first.fan_in == first.fan_out and (not is_called_output(first.tensor) or _is_scaled_within(recipe, cell)):
        return
    step = math.log(2 * len(cell.ids))
    for law in recipe.shared(cell.place, others=1):
        witness = _scaled_beside(recipe, cell, first, law, step)
        if witness is None:
            continue
        left_out = recipe.meets(law, ids)
        if left_out or _claim(recipe, ids, recipe.fitter.predicted(law, ids) - step) > CLAIM:
            for number in (int(i) for i in ids):
                std = by_law(recipe, number, law, "").std * math.exp(-step / 2)
                expected = Expectation(f"the law of most weights/sqrt(2·{len(cell.ids)})", std, error=law.error)
                yield Residual(seen.rows[number].tensor, len(cell.ids), not left_out, witness, expected)
            return


def _is_scaled_within(recipe: Recipe, cell: Cell) -> bool:
    """Whether another matrix of a branch is scaled by √(2L) in its last one's place, as CLIP scales q, k and v.

    A recipe that scales what a branch begins with makes its sum as small: nothing is left out.
    """
    around, own = cell.place.rpartition(".")[0].rpartition(".")[0], recipe.seen.rows[cell.ids[0]]
    step = 0.5 * math.log(2 * len(cell.ids))
    beside = [c for c in recipe.cells if c is not cell and c.place.rpartition(".")[0].rpartition(".")[0] == around]
    rows = [recipe.seen.rows[other.ids[0]] for other in beside]
    return any(
        row.shape == own.shape and abs(own.scale - row.scale - step) < 4 * math.hypot(row.error, own.error)
        for row in rows
    )


def _scaled_beside(recipe: Recipe, cell: Cell, first: Observation, law: Fit, step: float) -> Tensor | None:
    """The block's other output, scaled by √(2L) under a law: a cell of its stack as long, which writes as many."""
    stack = recipe.blocks.stack(first.tensor.name)
    for other in recipe.cells:
        row = recipe.seen.rows[other.ids[0]]
        if other.place == cell.place or len(other.ids) != len(cell.ids) or row.fan_out != first.fan_out:
            continue
        if recipe.blocks.stack(row.tensor.name) != stack:
            continue
        predicted = float(recipe.fitter.predicted(law, other.ids[:1])[0])
        if row.tensor.is_weight and abs(row.scale - predicted + step / 2) < 4 * row.error:
            witness: Tensor = row.tensor
            return witness
    return None
