"""Places split by evidence: the tensors that one line of code has drawn, as far as their scales can tell.

A place is a name with its numbers masked. Where the scales say so it is split by one of its numbers (`fc1` and `fc2`, a
list whose items alternate), so that no reading of names has to know which number counts blocks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from initaudit.recipes.fits import CLAIM, Fit, Fitter
from initaudit.recipes.observations import Ids

MAJORITY = 0.6
"""The part of a place that must follow one law for it to be the place's: half would be a split."""

FEWEST = 4
"""Fewer tensors are not split: two against one, or against two, is no pattern."""

MINORITY = 0.25
"""Up to this part of the blocks of a place, off what all others follow, are the fault itself and no second law."""

DEEPEST = 2
"""How often a place is split again: by a block, by a layer in it, by a list in that."""


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """Some tensors of one place, and the law that most of them follow."""

    place: str
    ids: Ids
    fit: Fit

    @property
    def has_law(self) -> bool:
        """Whether so many follow its law that the others are odd."""
        return len(self.fit.members) >= MAJORITY * len(self.ids)


def cells_of(fitter: Fitter, place: str, ids: Ids, level: int = 0) -> Iterator[Cell]:
    """A place, or what it falls into by one of its numbers as long as the evidence asks for it."""
    whole = fitter.best(ids)
    if len(ids) < FEWEST or len(whole.members) == len(ids) or level > DEEPEST:
        yield Cell(place, ids, whole)
        return
    best, parts = whole.evidence, None
    for position in range(len(fitter.seen.rows[ids[0]].indices)):
        by_number: dict[int, list[int]] = {}
        for i in ids:
            by_number.setdefault(fitter.seen.rows[i].indices[position], []).append(i)
        if not 1 < len(by_number) < len(ids) or _is_fault(by_number, whole, len(ids)):
            continue
        split = {number: np.array(some, np.int64) for number, some in by_number.items()}
        evidence = sum(max(fitter.best(some).evidence, 0.0) for some in split.values() if len(some) > 1) - CLAIM
        if evidence > best:
            best, parts = evidence, split
    if parts is None:
        yield Cell(place, ids, whole)
        return
    for some in parts.values():
        yield from cells_of(fitter, place, some, level + 1)


def _is_fault(by_number: dict[int, list[int]], whole: Fit, count: int) -> bool:
    """Whether a few whole blocks are off the law of all others, and form no design: the list's ends, or every k-th."""
    members = set(whole.members.tolist())
    off = [number for number, some in by_number.items() if members.isdisjoint(some)]
    few = 0 < len(off) <= MINORITY * len(by_number) and len(by_number) >= FEWEST
    return few and len(whole.members) >= MAJORITY * count and not _is_design(sorted(off), sorted(by_number))


def _is_design(odd: list[int], of: list[int]) -> bool:
    """Whether some numbers of a list are its first, its last, or evenly spaced ones."""
    steps = {after - before for before, after in pairwise(odd)}
    return odd in (of[: len(odd)], of[-len(odd) :]) or (len(odd) >= 3 and len(steps) == 1)
