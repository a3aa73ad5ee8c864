"""What a plain chain of layers leaves of a signal: its variance from layer to layer, by gain, activation and bias."""

import math
from collections.abc import Sequence

from initaudit.model import Model, Tensor
from initaudit.signal.activations import activation_of, square

ASSUMED = "relu"
"""The activation of a chain whose configuration names none."""


def through(gains: Sequence[float], biases: Sequence[float], activation: str) -> tuple[float, ...]:
    """The root mean square of a signal of size one behind each layer of a chain and the activation behind it.

    ``biases`` are deviations. They put a floor under the signal that is the same for all inputs: what tells these apart
    may be less.
    """
    size, signal = 1.0, []
    for gain, bias in zip(gains, biases, strict=True):
        inner = math.hypot(gain * size, bias)
        size = math.sqrt(square(activation, inner)) if math.isfinite(inner) else math.inf
        signal.append(size)
    return tuple(signal)


def activation_in(model: Model) -> str:
    """The activation between the layers of a chain: as its configuration names it, else ReLU."""
    return activation_of(model.config) or ASSUMED


def bias_of(tensor: Tensor, model: Model) -> float:
    """The root mean square of the bias of a layer, 0 where it has none."""
    return math.hypot(*(other.statistics.moments.rms for other in model.partners(tensor) if other.is_bias), 0.0)
