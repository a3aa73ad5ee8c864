"""One tensor against its kin: an exact test of variances, from the middle outwards.

Of N values of a law with kurtosis k the mean square has about 2N/(k - 1) degrees of freedom, so that the ratio of a
tensor's to that of its kin together follows F. Paulson's cube root (1942) makes it normal. The kurtosis is that of the
family: a tensor's own is drawn with its scale, and where one is small the other is too, which multiplies the false
alarms of the lower tail. Those nearest the median are the reference, and others join it as long as they pass, so that
two that are off hide neither each other nor behind the rest.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from initaudit.recipes.observations import Ids, Numbers, Observation
from initaudit.recipes.recipe import Recipe

KIN = 2
"""Kin that must agree before one is odd: of two that differ nobody can say which is."""

NOTE = 1.03
"""From what factor off its kin, either way, a scale is worth a note. Of 1,083 released models none has a weight 3 % off
kin that agree: it is the room that designs need, where chance alone would need less."""

SURE_PAIR = 1024
"""Values from which on two kin may agree against a third. Of three scales that all are their own, two agree within
their errors in 61 % of cases at 64 values, 19 % at 1,024, 3 % at 65,536; 6 % of places have such scales."""

NO_FAMILY = 1024
"""Values that a tensor of no known family must have: the fourth moment of heavy tails says little in fewer."""

BOUNDED = 64
"""The same of a uniform or cut law, whose mean square has a heavier lower tail than F has; of a normal 32 will do."""

REMOVED = 0.4
"""The part of a group that may be taken out as odd: where half differ nobody can say which half."""

AGREE = 1e-3
"""The level at which the rest of a group no longer agrees, its differences of less than `SAME` set aside."""

SAME = 0.01

CLEAR = 3.0
"""Times the range that its kin have among themselves: how far one must be from kin that do not agree."""

NORMAL_KURTOSIS = 3.0

FARTHEST = 100.0
"""How far, in logarithms, one is from its kin at most, for the arithmetic's sake: 10^43 times."""


@dataclass(frozen=True, slots=True, eq=False)
class Kin:
    """Tensors of one cell with the same fans: mean squares under the cell's law by depth, and degrees of freedom."""

    ids: Ids
    squares: Numbers
    freedom: Numbers
    is_shared: bool


@dataclass(frozen=True, slots=True)
class Pooled:
    """What the others hold together: how many they are, and the relative error of their standard deviation."""

    count: int
    error: float


def threshold(alpha: float, tests: int) -> float:
    """The number of standard errors that one of so many two-sided tests must reach to keep a common ``alpha``."""
    return -NormalDist().inv_cdf(alpha / (2 * max(tests, 1)))


def kin_groups(recipe: Recipe) -> Iterator[Kin]:
    """The groups of a model in which one tensor can be held to two or more others."""
    seen = recipe.seen
    for cell in recipe.cells:
        groups: dict[tuple[int, ...], list[int]] = {}
        for number in cell.ids:
            row = seen.rows[number]
            if _kurtosis(row) is not None:
                groups.setdefault(row.shape, []).append(int(number))
        for some in groups.values():
            if len(some) > KIN:
                ids = np.array(some, np.int64)
                left = seen.scale[ids] - recipe.fitter.by_depth(cell.fit, ids)
                left = np.clip(left - np.median(left), -FARTHEST, FARTHEST)
                freedom = np.array([_freedom(seen.rows[i]) for i in some])
                members = ids[np.isin(ids, cell.fit.members)]
                is_shared = len(members) > 0 and any(recipe.meets(fit, members) for fit in recipe.shared(cell.place))
                yield Kin(ids, np.exp(2 * left), freedom, is_shared)


def odd_ones(kin: Kin, bar: float) -> Iterator[tuple[int, float, Pooled]]:
    """The tensors of a group that are not as the others: each with ln of its ratio to them."""
    logs = np.log(kin.squares)
    order = np.argsort(np.abs(logs - np.median(logs)), kind="stable")
    least = max(KIN, len(order) - math.floor(REMOVED * len(order)))
    count = least
    while count < len(order) and abs(_off(kin, int(order[count]), order[:count])) <= bar:
        count += 1
    left, removed = order[:count], [int(at) for at in order[count:]]
    if not removed or (len(left) == KIN and not _is_sure(kin, left)):
        return
    middle = float(kin.squares[left] @ kin.freedom[left] / kin.freedom[left].sum())
    among = 0.5 * np.log(kin.squares[left] / middle)
    agree = _agree(among, kin.freedom[left])
    pooled = Pooled(len(left), (2 * float(kin.freedom[left].sum())) ** -0.5)
    for at in removed:
        apart = 0.5 * math.log(float(kin.squares[at]) / middle)
        far = abs(_off(kin, at, left)) > bar
        if far and abs(apart) > math.log(NOTE) and (agree or abs(apart) > CLEAR * float(np.ptp(among))):
            yield int(kin.ids[at]), apart, pooled


def _off(kin: Kin, at: int, others: Ids) -> float:
    """How many standard errors a mean square lies off some others together (Paulson 1942)."""
    own, total = float(kin.freedom[at]), float(kin.freedom[others].sum())
    pooled = float(kin.squares[others] @ kin.freedom[others]) / total
    ratio = math.cbrt(float(kin.squares[at]) / pooled)
    by_own, by_others = 2 / (9 * own), 2 / (9 * total)
    return ((1 - by_others) * ratio - (1 - by_own)) / math.sqrt(by_others * ratio**2 + by_own)


def _agree(among: Numbers, freedom: Numbers) -> bool:
    """Whether some ln ratios are what one law gives: chi square of what is beyond `SAME`, by Wilson and Hilferty."""
    beyond = np.maximum(np.abs(among) - SAME, 0)
    degrees = len(among) - 1
    statistic = float(np.sum(2 * freedom * beyond**2))
    off = ((statistic / degrees) ** (1 / 3) - (1 - 2 / (9 * degrees))) / math.sqrt(2 / (9 * degrees))
    return bool(off < -NormalDist().inv_cdf(AGREE))


def _is_sure(kin: Kin, left: Ids) -> bool:
    """Whether two that agree are more than chance: by their size, or by a law that other places follow."""
    return kin.is_shared or float(kin.freedom[left].min()) >= SURE_PAIR


def _kurtosis(row: Observation) -> float | None:
    """The kurtosis that the law of a tensor has, None where its values are too few to say."""
    count = row.tensor.count
    if row.block >= 0:
        return NORMAL_KURTOSIS
    if row.family is None:
        kurtosis = row.tensor.statistics.moments.kurtosis or NORMAL_KURTOSIS
        return max(kurtosis, NORMAL_KURTOSIS) if count >= NO_FAMILY else None
    return row.family.kurtosis if count >= BOUNDED or row.family.kurtosis >= NORMAL_KURTOSIS else None


def _freedom(row: Observation) -> float:
    count = row.tensor.count / (1 if row.block < 0 else row.blocks)
    return 2 * count / ((_kurtosis(row) or NORMAL_KURTOSIS) - 1)
