"""Laws of scale and how much a set of tensors speaks for one: ln std = ln c + o(fans, depth), with c free.

The evidence for a law over a set is that of one common constant against a scale of its own for each:
Σ ln N(v_i; m, s_i) + |S|·ln R - ln(R/(√2π·se)) + ln prior, with v_i what is left of ln std once the law's dependence on
fans and depth is taken out, s_i its known error, m their weighted mean, se its error and R the range of scales in use.
Without an Occam factor a law with more freedom would always win (MacKay 2003, chapter 28).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from initaudit.recipes.observations import Ids, Numbers, Observations

RANGE = math.log(10 / 1e-6)
"""The scales anyone draws with, from 1e-6 to 10: the width of the uniform prior of ln c, and of a scale of its own."""

CLAIM = math.log(20)
"""The evidence from which on a law, a split or a dependence on depth is believed: 19 to 1."""

MEMBER = 5.0
"""Standard errors within which a tensor belongs to a law."""

SPAN = 3.0, 0.012
"""How far a cluster reaches from its first member: standard errors, and at least four floors of one tensor."""

STARTS = 3
"""The densest clusters of one base that are tried as the core of a law."""

ROUNDS = 3
"""Times that a law's members are asked anew once its constant has moved."""

NEAR_NAME = 4.0, 0.004
"""How near to a named constant a law's constant is the named one: standard errors, and two floors of one tensor."""

Offset = Callable[[Observations], Numbers]


def _half_log(column: Numbers) -> Numbers:
    return -0.5 * np.log(column)


RIGHT: Mapping[str, Offset] = {
    "fixed": lambda seen: np.zeros(len(seen.rows)),
    "fan_in": lambda seen: _half_log(seen.fan_in),
    "fan_out": lambda seen: _half_log(seen.fan_out),
    "fan_mean": lambda seen: _half_log((seen.fan_in + seen.fan_out) / 2),
    "fan_out_whole": lambda seen: _half_log(seen.fan_out * seen.groups),  # as torch takes it, which ignores groups
    "fan_mean_whole": lambda seen: _half_log((seen.fan_in + seen.fan_out * seen.groups) / 2),
}
"""What a standard deviation follows, in use."""

WRONG: Mapping[str, Offset] = {
    "groups ignored in fan_in": lambda seen: _half_log(seen.fan_in * seen.groups),
    "one axis of the kernel left out of fan_in": lambda seen: _half_log(seen.fan_in / seen.last_axis),
    "one axis of the kernel left out of fan_out": lambda seen: _half_log(seen.fan_out / seen.last_axis),
    "the kernel's area left out of fan_in": lambda seen: _half_log(seen.fan_in / seen.area),
    "the kernel's area left out of fan_out": lambda seen: _half_log(seen.fan_out / seen.area),
    "a variance of 1/fan_in passed for the std": lambda seen: -np.log(seen.fan_in),
    "a variance of 2/(fan_in + fan_out) passed for the std": lambda seen: -np.log((seen.fan_in + seen.fan_out) / 2),
}
"""What nobody means: a checkpoint that follows one of these where no right law fits shows a mistake by its name."""

PRIOR = {"fixed": 0.36, "fan_in": 0.36, "fan_out": 0.1, "fan_mean": 0.13, "fan_out_whole": 0.03, "fan_mean_whole": 0.02}
"""How often each is what a place of a released model follows: shares among 10,761 places, rounded."""

RARE = 0.002
"""The prior of a law that only a mistake draws by."""

NAMES: Mapping[tuple[str, float], str] = {
    ("fixed", 0.02): "N(0, 0.02)",
    ("fan_in", 1.0): "LeCun",
    ("fan_in", math.sqrt(2)): "He",
    ("fan_in", 1 / math.sqrt(3)): "PyTorch's default",
    ("fan_mean", 1.0): "Xavier",
    ("fan_out", math.sqrt(2)): "He by fan_out",
    ("fan_out_whole", math.sqrt(2)): "He by fan_out, groups ignored",
    ("fan_mean_whole", 1.0): "Xavier, groups ignored",
}
"""The constants that have a name: atoms in the prior of c, so that laws which cannot be told apart by their members are
told by what people call them."""

DEPTHS: Mapping[str, Callable[[Numbers], Numbers]] = {
    "sqrt(block + 1)": lambda block: -0.5 * np.log(block + 1),
    "block + 1": lambda block: -np.log(block + 1),
}
"""How a scale may fall from block to block, beside its dependence on the fans."""


@dataclass(frozen=True, slots=True)
class Depth:
    """A dependence on one of the numbers in a name: by which term, the position of the number, and the first."""

    term: str
    position: int
    first: int


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A law over some observations: its base and ln c, the error of that, the evidence, and who follows it."""

    base: str
    log_constant: float
    error: float
    evidence: float
    members: Ids
    depth: Depth | None = None

    @property
    def constant(self) -> float:
        """The c of c·o(fans, depth)."""
        return math.exp(self.log_constant)

    @property
    def near(self) -> float:
        """How far from ln c a constant may lie and still be the one that was meant."""
        return max(NEAR_NAME[0] * self.error, NEAR_NAME[1])

    @property
    def name(self) -> str:
        """What people call it, "" where it has no name."""
        return next(
            (
                name
                for (base, constant), name in NAMES.items()
                if base == self.base and self.depth is None and abs(self.log_constant - math.log(constant)) < self.near
            ),
            "",
        )


class Fitter:
    """The laws of one model: what each base takes out of every scale is computed once."""

    def __init__(self, seen: Observations) -> None:
        self.seen = seen
        self._left = {name: seen.scale - offset(seen) for name, offset in {**RIGHT, **WRONG}.items()}
        self._width = max((len(row.indices) for row in seen.rows), default=0)

    def offset(self, fit: Fit, ids: Ids) -> Numbers:
        """What a law predicts of some scales, but for its constant."""
        taken = self.seen.scale[ids] - self._left[fit.base][ids]
        return taken + self._by_depth(fit.depth, ids) if fit.depth is not None else taken

    def by_depth(self, fit: Fit, ids: Ids) -> Numbers:
        """What a law takes from some scales by their depth alone."""
        return self._by_depth(fit.depth, ids) if fit.depth is not None else np.zeros(len(ids))

    def predicted(self, fit: Fit, ids: Ids) -> Numbers:
        """The ln std that a law gives some observations."""
        return fit.log_constant + self.offset(fit, ids)

    def off(self, fit: Fit, ids: Ids) -> Numbers:
        """How many standard errors some observations lie from a law."""
        apart = self.seen.scale[ids] - self.predicted(fit, ids)
        return apart / np.hypot(self.seen.error[ids], fit.error)

    def best(self, ids: Ids, bases: Sequence[str] = tuple(RIGHT)) -> Fit:
        """The law of some observations with the most evidence, and the dependence on depth where that pays."""
        found = self._best(ids, bases)
        if len(ids) < 4 or len(found.members) == len(ids):
            return found
        for depth in self._depths(ids):
            other = self._best(ids, bases, depth)
            found = max(found, other, key=lambda fit: fit.evidence)
        return found

    def of_many(self, ids: Ids, bases: Sequence[str] = tuple(RIGHT)) -> Fit:
        """The law with the most evidence over observations of several places, which no depth can be common to."""
        return self._best(ids, bases)

    def _best(self, ids: Ids, bases: Sequence[str], depth: Depth | None = None) -> Fit:
        found: Fit | None = None
        alike = self._are_alike(ids)
        for base in bases:
            if alike and found is not None and base in RIGHT and not self._has_name(base, ids, depth):
                continue  # of equal fans all bases say the same: the likelier and the named ones decide
            fit = self._of_base(ids, base, depth)
            if found is None or fit.evidence > found.evidence:
                found = fit
        assert found is not None
        return found

    def _of_base(self, ids: Ids, base: str, depth: Depth | None) -> Fit:
        left = self._left[base][ids]
        if depth is not None:
            left = left - self._by_depth(depth, ids)
        errors = self.seen.error[ids]
        best: Fit | None = None
        for members in self._cores(left, errors):
            for _ in range(ROUNDS):
                middle, error = weighted(left[members], errors[members])
                inside = np.flatnonzero(np.abs(left - middle) < MEMBER * np.hypot(errors, error))
                if len(inside) == 0 or np.array_equal(inside, members):
                    break
                members = inside
            middle, error = weighted(left[members], errors[members])
            evidence = float(log_normal(left[members] - middle, errors[members]).sum()) + len(members) * math.log(RANGE)
            evidence += math.log(error) + 0.5 * math.log(2 * math.pi) - math.log(RANGE)
            evidence += math.log(PRIOR.get(base, RARE)) - (CLAIM if depth is not None else 0.0)
            fit = Fit(base, middle, error, evidence, ids[members], depth)
            if fit.name:
                fit = Fit(base, middle, error, evidence + CLAIM, ids[members], depth)
            if best is None or fit.evidence > best.evidence:
                best = fit
        assert best is not None
        return best

    def _cores(self, left: Numbers, errors: Numbers) -> list[Ids]:
        """The densest clusters of what is left of some scales: the cores that a law may grow from."""
        order = np.argsort(left, kind="stable")
        sorted_left = left[order]
        reach = sorted_left + np.maximum(SPAN[1], SPAN[0] * errors[order])
        ends = np.searchsorted(sorted_left, reach, side="left")
        counts = ends - np.arange(len(order))
        cores, taken = [], np.zeros(len(order), bool)
        for start in np.argsort(-counts, kind="stable"):
            if not taken[start]:
                cores.append(order[start : ends[start]])
                taken[start : ends[start]] = True
            if len(cores) == STARTS:
                break
        return cores

    def _are_alike(self, ids: Ids) -> bool:
        seen = self.seen
        return all(len(np.unique(column[ids])) == 1 for column in (seen.fan_in, seen.fan_out, seen.groups))

    def _has_name(self, base: str, ids: Ids, depth: Depth | None) -> bool:
        if depth is not None:
            return False
        middle = float(np.median(self._left[base][ids]))
        return any(base == named and abs(middle - math.log(constant)) < 0.05 for named, constant in NAMES)

    def _depths(self, ids: Ids) -> list[Depth]:
        """The dependences on depth that some observations can show: four numbers or more, most of a list."""
        found = []
        for position in range(len(self.seen.rows[ids[0]].indices)):
            seen = {self.seen.rows[i].indices[position] for i in ids}
            if len(seen) >= 4 and max(seen) - min(seen) < len(seen):
                found += [Depth(term, position, min(seen)) for term in DEPTHS]
        return found

    def _by_depth(self, depth: Depth, ids: Ids) -> Numbers:
        blocks = np.array([self.seen.rows[i].indices[depth.position] - depth.first for i in ids], np.float64)
        return DEPTHS[depth.term](np.maximum(blocks, 0))


def weighted(values: Numbers, errors: Numbers) -> tuple[float, float]:
    """The mean of values weighted by their errors, and its error."""
    weights = errors**-2.0
    total = float(weights.sum())
    return float(values @ weights) / total, total**-0.5


def log_normal(apart: Numbers, errors: Numbers) -> Numbers:
    """Ln of the normal density of errors, at some distances."""
    return -0.5 * (apart / errors) ** 2 - np.log(errors) - 0.5 * math.log(2 * math.pi)
