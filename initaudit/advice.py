"""What to draw instead: the textbook deviations for a tensor's fans, in numbers and in words."""

import math

from initaudit.model import Model, Tensor

SMALL_BIAS = 0.1
"""Biases of 0.01 to 0.1 before ReLU are an old practice, called doubtful by CS231n; larger ones are none."""


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


def is_small_positive(tensor: Tensor) -> bool:
    """Whether all values are one small positive number, as some set biases before ReLU."""
    return tensor.statistics.is_constant and 0 < tensor.statistics.minimum <= SMALL_BIAS


def scales_text(tensor: Tensor) -> str:
    """What the textbook schemes would give for this tensor's fans, in words; empty without fans."""
    if not tensor.part.fan_in:
        return ""
    scales = expected_scales(tensor.part.fan_in, tensor.part.fan_out or None)
    return "std " + ", ".join(f"{std:.3g} ({name})" for name, std in scales.items())


def redraw_advice(tensor: Tensor, model: Model) -> str:
    """How a weight should be drawn: as its siblings are, if it has any, else by its fans."""
    peers = model.peers(tensor)
    siblings = peers.count - (tensor.std > 0)
    if siblings:
        noun = "siblings are" if siblings > 1 else "sibling is"
        return f"draw it as its {siblings:,} {noun} (std {peers.middle:.3g})"
    if tensor.part.role == "embedding":
        return "draw it at random (std 0.02 is usual)"
    scales = scales_text(tensor)
    return f"draw it at random, scaled to its fan-in: {scales}" if scales else "draw it at random"
