"""What a tensor should hold by the recipe of its model: the law of its kin, else the law of most weights.

The tensor itself has no say, nor have those that are found at fault: their deviations are what is in question.
"""

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from initaudit.laws import shrink
from initaudit.model import Model, Tensor
from initaudit.recipes.cells import Cell
from initaudit.recipes.fits import Fit, Fitter
from initaudit.recipes.observations import Ids, Observation, Observations, placed
from initaudit.recipes.recipe import MOST, Recipe, recipe_of
from initaudit.schemes import NORMAL, UNIFORM, Family
from initaudit.schemes.families import TRUNCATED, TRUNCATED_3

PLAIN = 3.0
"""Standard errors within which the plainest number is what was meant: 0.02 for a measured 0.01997."""

CUT = 1e-6
"""The probability under which no normal ends as early as some tensors do: they are cut."""

WIDEST_CUT = 6.0
"""Deviations beyond which a cut cannot be told: no more than one value in 10^9 lies there."""


SCHEMES = {"LeCun": "lecun_{}", "He": "kaiming_{}", "Xavier": "xavier_{}"}
"""What the schemes of named laws are called in code."""


@dataclass(frozen=True, slots=True)
class Prescription:
    """A draw: its scheme, standard deviation with the relative error, family, cut in deviations before it, and why."""

    scheme: str
    std: float
    error: float
    family: Family
    cut: float | None
    source: str


def prescribe(tensor: Tensor, model: Model, without: Collection[str]) -> Prescription | None:
    """What a tensor should be drawn from, by its healthy kin, else by most healthy weights; None where neither says."""
    row = placed(tensor)
    if row is None:
        return None
    recipe = recipe_of(model)
    found = by_kin(recipe, row, without)
    return found or (by_model(recipe, row, without) if tensor.is_weight else None)


def by_kin(recipe: Recipe, row: Observation, without: Collection[str]) -> Prescription | None:
    """The law of the tensors at the same place that most of them follow."""
    cell = _cell_of(recipe, row)
    if cell is None or not cell.has_law:
        return None
    at = recipe.blocks.place(row.tensor.name)
    kin = np.array([i for i in _healthy(recipe, cell.fit.members, row, without) if _at(recipe, i) == at], np.int64)
    if len(kin) == 0:
        return None
    count = sum(_at(recipe, i) == at for i in _healthy(recipe, cell.ids, row, without))
    return _drawn(recipe, row, cell.fit, kin, f"as {len(kin):,} of {count:,} siblings")


def by_model(recipe: Recipe, row: Observation, without: Collection[str]) -> Prescription | None:
    """The law that most of the model's weights follow."""
    weights = _healthy(recipe, np.flatnonzero(recipe.seen.is_weight), row, without)
    for law in recipe.laws:
        kin = _healthy(recipe, law.fit.members, row, without)
        if len(kin) > 1 and len(kin) > MOST * len(weights):
            return _drawn(recipe, row, law.fit, kin, f"as {len(kin):,} of {len(weights):,} weights of this model")
    return None


def by_law(recipe: Recipe, number: int, fit: Fit, source: str) -> Prescription:
    """What one law of a model gives an observation, by all others that follow it."""
    row = recipe.seen.rows[number]
    others = fit.members[fit.members != number]
    return _drawn(recipe, row, fit, others if len(others) else fit.members, source)


def _at(recipe: Recipe, number: int) -> str:
    """The place of an observation among the blocks: layers of one block that differ in a number are no kin."""
    return recipe.blocks.place(recipe.seen.rows[number].tensor.name)


def _healthy(recipe: Recipe, ids: Ids, row: Observation, without: Collection[str]) -> Ids:
    names = (recipe.seen.rows[i].tensor.name for i in ids)
    return ids[[name != row.tensor.name and name not in without for name in names]]


def _cell_of(recipe: Recipe, row: Observation) -> Cell | None:
    """The cell of a place that a tensor belongs to: where it was split, the one that its own numbers lead to."""
    cells = [cell for cell in recipe.cells if cell.place == row.place]
    alike = [cell for cell in cells if _leads_to(recipe, cell, row)]
    return max(alike or cells, key=lambda cell: len(cell.ids), default=None)


def _leads_to(recipe: Recipe, cell: Cell, row: Observation) -> bool:
    """Whether a tensor has each number that all of a cell share."""
    numbers = np.array([recipe.seen.rows[i].indices for i in cell.ids])
    shared = (numbers == numbers[0]).all(axis=0)
    return all(own == other for own, other, is_shared in zip(row.indices, numbers[0], shared, strict=True) if is_shared)


def _drawn(recipe: Recipe, row: Observation, fit: Fit, kin: Ids, source: str) -> Prescription:
    """The draw of one law at a tensor's own fans and depth, with the constant of some others together."""
    rows = [recipe.seen.rows[i] for i in kin]
    fitter = Fitter(Observations([*rows, row]))
    offsets = fitter.offset(fit, np.arange(len(rows) + 1))
    counts = np.array([other.tensor.count / other.blocks for other in rows], np.float64)
    squares = np.exp(2 * (recipe.seen.scale[kin] - offsets[:-1]))
    constant = math.sqrt(float(squares @ counts / counts.sum()))
    families = Counter(other.family for other in rows if other.family is not None)
    family = families.most_common(1)[0][0] if families else NORMAL
    error = family.log_std_error / math.sqrt(counts.sum())
    largest = max(other.tensor.statistics.largest / math.exp(other.scale) for other in rows)
    return Prescription(
        _scheme(fit, family),
        plain(constant, PLAIN * error) * math.exp(float(offsets[-1])),
        error,
        family,
        _cut(family, largest, float(counts.sum())),
        source,
    )


def _scheme(fit: Fit, family: Family) -> str:
    """The scheme's name where the law has one, else the family's."""
    named = "torch_default" if family is UNIFORM and fit.name == "PyTorch's default" else SCHEMES.get(fit.name, "")
    kind = "uniform" if family is UNIFORM else "normal"
    return named.format(kind) if named else "trunc_normal" if family in (TRUNCATED, TRUNCATED_3) else kind


def plain(value: float, near: float) -> float:
    """The number of fewest digits, or a root of a small one, that is as near to a value as its error allows."""
    for root in (math.sqrt(2), math.sqrt(3), 1 / math.sqrt(3), math.sqrt(6), 1 / math.sqrt(2)):
        if abs(math.log(value / root)) < near:
            return root
    return next(
        (rounded for digits in (1, 2, 3) if abs(math.log((rounded := float(f"{value:.{digits}g}")) / value)) < near),
        value,
    )


def _cut(family: Family, largest: float, count: float) -> float | None:
    """Where a normal was cut, in deviations before it: at what the largest of so many values show."""
    if family in (TRUNCATED, TRUNCATED_3):
        return float(round(family.edge * family.shrink))
    inside = 2 * NormalDist().cdf(largest) - 1
    if family is UNIFORM or count * math.log(max(inside, 1e-300)) > math.log(CUT):
        return None
    low, high = 0.1, WIDEST_CUT
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if middle / shrink(middle) < largest else (low, middle)
    return round(low, 2)
