"""Zeros that were placed on purpose: sparse and identity initialisation."""

import math
from dataclasses import dataclass

from initaudit.significance import HARD_Z, dispersion_z
from initaudit.statistics.values import Statistics, Units

PATTERN_SPREAD = 0.05
"""Counts of nonzeros that vary less than this part of a binomial were fixed, not thrown.

Sparse initialisation gives exactly 0; over 32 units a binomial falls under 0.05 with probability 1e-9.
"""

FEW_UNITS = 8
"""Fewer units than this say nothing about a pattern."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What placed the zeros (``sparse`` or ``identity``), and how many connections each unit or input has."""

    name: str
    connections: int
    description: str


def is_fixed(units: Units) -> bool:
    """Whether the living units' counts of nonzeros vary far less than thrown ones do: each has the same number."""
    enough = units.living >= FEW_UNITS and units.size > 1 and units.density * units.size > 1
    return enough and units.occupancy is not None and units.occupancy < PATTERN_SPREAD


def chance_dead(units: Units, others: Units | None, rounded: float) -> float:
    """How many units are expected to be dead by chance, given what the living ones show.

    ``others`` are the units of the other direction: where each of them has the same number of connections, so many of
    this direction's are missed. Else the zeros are thrown, with the density that the living units imply once it is
    taken into account that they are those with a connection at least. ``rounded`` is the probability that a value was
    rounded to zero.
    """
    filled = units.density * units.size
    if others is not None and is_fixed(others) and others.density < 1:
        return units.count * max(0.0, 1 - others.density * others.size / units.count) ** units.size
    empty = 1 - _untruncated(filled, units.size) if filled > 1 else 1.0
    return float(units.count * max(0.0 if is_fixed(units) else empty, rounded) ** units.size)


def _untruncated(mean: float, size: int) -> float:
    """The p of a binomial of ``size`` trials whose mean is ``mean`` once zeros are left out: size·p/(1-(1-p)^size)."""
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        kept = 1.0 if p == 1 else -math.expm1(size * math.log1p(-p))
        low, high = (p, high) if kept > 0 and size * p / kept < mean else (low, p)
    return (low + high) / 2


def zero_pattern(values: Statistics, units: Units | None, inputs: Units | None) -> Pattern | None:
    """The scheme that a partly zero weight's zeros show, if they show one.

    *sparse*: each unit joined to the same number of inputs (Martens 2010), or each input to the same number of units
    (`torch.nn.init.sparse_`), at random places, so that the counts the other way vary as thrown.
    *identity*: one value at min(units, inputs) places and zero elsewhere (`eye_`, `dirac_`).
    """
    if units is None or inputs is None or values.zeros in (0, values.count):
        return None
    filled = values.count - values.zeros
    one_value = values.minimum == 0 and math.isclose(values.mean * values.maximum, values.moments.rms**2, rel_tol=1e-6)
    if one_value and units.most == 1 and filled in (units.count, inputs.count):
        return Pattern("identity", 1, "identity initialisation")
    for along, across, name, other in ((units, inputs, "unit", "inputs"), (inputs, units, "input", "units")):
        if min(along.living, across.living) < FEW_UNITS or along.occupancy is None or across.occupancy is None:
            continue
        # At random places: the counts across are no more uneven than if thrown, which a block left empty is.
        scattered = dispersion_z(across.occupancy, across.living - 1) < HARD_Z
        if along.occupancy < PATTERN_SPREAD and scattered:
            described = f"sparse initialisation, {along.most} of {along.size} {other} for each {name}"
            return Pattern("sparse", along.most, described)
    return None
