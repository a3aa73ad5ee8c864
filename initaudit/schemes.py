"""What the field draws weights and biases with: deviations by fan, and the patterns that can be told by sight.

``gain`` is std·√fan_in throughout. Sources beside each formula.
"""

import math
from dataclasses import dataclass

from initaudit.model import Model, Tensor
from initaudit.significance import HARD_Z, KURTOSIS_UNIFORM, SMALL_P, dispersion_z, variance_z

PATTERN_SPREAD = 0.05
"""Counts of nonzeros that vary less than this part of a binomial were fixed, not thrown.

Sparse initialisation gives exactly 0; over 32 units a binomial falls under 0.05 with probability 1e-9.
"""

SMALL_BIAS = 0.1
"""Biases of 0.01 to 0.1 before ReLU are an old practice, called doubtful by CS231n; larger ones are none."""

IDENTITY = "identity initialisation"

FEW_UNITS = 8
"""Fewer units than this say nothing about a pattern."""


def lecun(fan_in: int) -> float:
    """1/√fan_in: keeps the variance of a linear layer (LeCun et al. 1998, "Efficient BackProp")."""
    return 1 / math.sqrt(fan_in)


def xavier(fan_in: int, fan_out: int) -> float:
    """√(2/(fan_in + fan_out)): between keeping the signal's variance and the gradient's (Glorot & Bengio 2010)."""
    return math.sqrt(2 / (fan_in + fan_out))


def he(fan_in: int) -> float:
    """√(2/fan_in): keeps the variance through ReLU (He et al. 2015)."""
    return math.sqrt(2 / fan_in)


def expected_scales(fan_in: int, fan_out: int | None) -> dict[str, float]:
    """What the three schemes of the textbooks would give for these fans, as standard deviations."""
    scales = {"1/sqrt(fan_in)": lecun(fan_in), "He": he(fan_in)}
    if fan_out is not None:
        scales["Xavier"] = xavier(fan_in, fan_out)
    return scales


def is_uniform(tensor: Tensor, bound: float) -> bool:
    """Whether the values are consistent with draws from U(-bound, bound).

    None lies outside, the largest lies as near the edge as that many draws come with probability 1 - `SMALL_P`, and
    the second moment is bound²/3 within `HARD_Z` standard errors. bfloat16 may round the edge up by 2^-8.
    """
    values = tensor.statistics
    if values.is_constant and values.count > 1:
        return False
    slack = {"F64": 1e-12, "F32": 1e-6, "F16": 2.0**-11, "BF16": 2.0**-8}.get(tensor.dtype, 2.0**-3)
    largest = max(-values.minimum, values.maximum)
    lowest = 1 - math.log(1 / SMALL_P) / values.count
    if not bound * (lowest - slack) <= largest <= bound * (1 + slack):
        return False
    return abs(variance_z(values.moments.rms**2, values.count, bound / math.sqrt(3), KURTOSIS_UNIFORM)) < HARD_Z


def is_small_positive(tensor: Tensor) -> bool:
    """Whether all values are one small positive number, as some set biases before ReLU."""
    return tensor.statistics.is_constant and 0 < tensor.statistics.minimum <= SMALL_BIAS


@dataclass(frozen=True, slots=True)
class Pattern:
    """Zeros that were placed on purpose: their name, and how many connections each unit or input has."""

    name: str
    connections: int


def zero_pattern(tensor: Tensor) -> Pattern | None:
    """The scheme that a partly zero weight's zeros show, if they show one.

    *sparse*: each unit joined to the same number of inputs (Martens 2010), or each input to the same number of units
    (`torch.nn.init.sparse_`), at random places, so that the counts the other way vary as thrown.
    *identity*: one value at min(units, inputs) places and zero elsewhere (`eye_`, `dirac_`).
    """
    units, inputs = tensor.units, tensor.inputs
    values = tensor.statistics
    if units is None or inputs is None or values.zeros in (0, values.count):
        return None
    filled = values.count - values.zeros
    one_value = values.minimum == 0 and math.isclose(values.mean * values.maximum, values.moments.rms**2, rel_tol=1e-6)
    if one_value and units.most == 1 and filled in (units.count, inputs.count):
        return Pattern(IDENTITY, 1)
    for along, across, name, other in ((units, inputs, "unit", "inputs"), (inputs, units, "input", "units")):
        if min(along.count, across.count) < FEW_UNITS or along.occupancy is None or across.occupancy is None:
            continue
        # At random places: the counts across are no more uneven than if thrown, which a block left empty is.
        scattered = dispersion_z(across.occupancy, across.count - 1) < HARD_Z
        if along.occupancy < PATTERN_SPREAD and scattered:
            return Pattern(f"sparse initialisation, {along.most} of {along.size} {other} for each {name}", along.most)
    return None


def scales_text(tensor: Tensor) -> str:
    """What the textbook schemes would give for this tensor's fans, in words; empty without fans."""
    if not tensor.part.fan_in:
        return ""
    scales = expected_scales(tensor.part.fan_in, tensor.part.fan_out or None)
    return "std " + ", ".join(f"{std:.3g} ({name})" for name, std in scales.items())


def redraw_advice(tensor: Tensor, model: Model) -> str:
    """How a weight should be drawn: as its siblings are, if it has any, else by its fans."""
    siblings = model.siblings(tensor)
    if siblings:
        stds = sorted(sibling.std for sibling in siblings)
        return f"draw it as its {len(siblings)} siblings are (std {stds[len(stds) // 2]:.3g})"
    if tensor.part.role == "embedding":
        return "draw it at random (std 0.02 is usual)"
    scales = scales_text(tensor)
    return f"draw it at random, scaled to its fan-in: {scales}" if scales else "draw it at random"
