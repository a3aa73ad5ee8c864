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
    """Whether the living units' counts of nonzeros vary far less than thrown ones: then none is empty by chance."""
    living = units.count - units.dead
    if living == 0:
        return False
    mean = units.density * units.size
    square = (units.occupancy or 0.0) * mean * (1 - units.density) + mean**2
    share = units.count / living
    mean *= share
    return square * share - mean**2 < PATTERN_SPREAD * mean * (1 - mean / units.size)


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
        if min(along.count, across.count) < FEW_UNITS or along.occupancy is None or across.occupancy is None:
            continue
        # At random places: the counts across are no more uneven than if thrown, which a block left empty is.
        scattered = dispersion_z(across.occupancy, across.count - 1) < HARD_Z
        if along.occupancy < PATTERN_SPREAD and scattered:
            described = f"sparse initialisation, {along.most} of {along.size} {other} for each {name}"
            return Pattern("sparse", along.most, described)
    return None
