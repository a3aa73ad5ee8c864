"""Activations by the names that configurations give them, and what they leave of normal signals."""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Activation = Callable[[Values], Values]

NODES = 64
"""Points of a Gauss-Hermite rule along each axis: moments of smooth activations are exact to 1e-6, of ReLU to 1e-2."""

_ROOT = math.sqrt(2 / math.pi)


def _gelu(x: Values) -> Values:
    """The tanh form of GELU, which differs from the exact one by less than 5e-4."""
    return np.asarray(0.5 * x * (1 + np.tanh(_ROOT * (x + 0.044715 * x**3))))


def _sigmoid(x: Values) -> Values:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))


ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
    "relu": lambda x: np.maximum(x, 0.0),
    "relu2": lambda x: np.square(np.maximum(x, 0.0)),
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "none": lambda x: x,
}
_SAME = {
    "swish": "silu",
    "relu_squared": "relu2",
    "linear": "none",
    "identity": "none",
    "swiglu": "silu",
    "geglu": "gelu",
}
_KEYS = ("hidden_act", "activation_function", "hidden_activation", "activation", "act_fn", "feed_forward_proj")


def activation_of(config: Mapping[str, Any]) -> str | None:
    """The activation that a configuration names, in our words; None where it names none, or one that is not known."""
    said = next((config[key] for key in _KEYS if isinstance(config.get(key), str)), None)
    if said is None:
        return None
    name = str(said)[:64].lower().removeprefix("gated-")
    name = _SAME.get(name, name)
    if name in ACTIVATIONS:
        return name
    return "gelu" if name.startswith("gelu") else None


def square(name: str, std: float) -> float:
    """E[f(x)²] of a normal signal of a deviation."""
    return product(name, std, 1.0)


def product(name: str, std: float, correlation: float) -> float:
    """E[f(x)·f(y)] of two normal signals of one deviation that are correlated so."""
    points, weights = _rule()
    rest = math.sqrt(max(0.0, 1 - correlation * correlation))
    other = correlation * points[:, None] + rest * points[None, :]
    f = ACTIVATIONS[name]
    with np.errstate(over="ignore"):
        inner = f(std * other) @ weights if rest else f(std * points)
        return float((f(std * points) * inner) @ weights)


@cache
def _rule() -> tuple[Values, Values]:
    """Points and weights with which a sum is the mean over a standard normal."""
    points, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return points, weights / weights.sum()
