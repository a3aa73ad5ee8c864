"""Conditions of biases, and of the weights whose layer is described by its bias.

Like all conditions they take a tensor and its model, and keep a convention from covering a mistake.
"""

import math

from initaudit.model import Model, Tensor
from initaudit.significance import HARD_Z

NEAR_ZERO = 1e-3
"""Gains of matrices that start a hair off zero, behind a bias of one: gMLP draws U(±0.001/n), a gain of 0.001/√(3n)."""

SOFTPLUS_OF_ONE, NEAR_ONE = math.log(math.expm1(1)), 0.01
"""The inverse softplus of one, 0.5413, less what a least value that is added takes off it."""

LEAST_LOG_ODDS = -8.0
"""The log-odds of one object in three thousand places; detectors start at -4.6 to -6.9."""


SMALL = 0.15
"""The largest deviation of biases that are drawn about zero; in use is 0.1."""


def opens_a_gate(tensor: Tensor, model: Model) -> bool:
    """A zero or tiny weight beside a constant bias, or that bias, in most blocks alike: the gate starts at one value.

    What the gate multiplies gives each unit a gradient of its own, so that the zero leaves no symmetry.
    """
    layer = model.partners(tensor)
    weights = [other for other in layer if other.is_weight]
    biases = [other for other in layer if other.is_bias]
    if len(weights) != 1 or len(biases) != 1 or not model.is_alike(biases[0]) or biases[0].statistics.zeros:
        return False
    weight = weights[0]
    tiny = (weight.gain or 0.0) < NEAR_ZERO and model.repeats(weight)
    return tiny if weight.std > 0 else model.is_alike(weight) and model.repeats(weight)


def is_forget_gate(tensor: Tensor, model: Model) -> bool:
    """A recurrent bias that is zero but for one gate of three or four, or has the negative of that gate in another."""
    values = tensor.statistics
    if tensor.part.role != "rnn_bias" or not values.zeros:
        return False
    one_gate = values.minimum >= 0 and values.zeros in (3 * values.count // 4, 2 * values.count // 3)
    two_gates = 2 * values.zeros <= values.count + 2 and abs(values.mean) < 1e-3 * values.std
    return (one_gate and values.sample.distinct == 2) or (two_gates and 2 * values.zeros >= values.count)


def is_softplus_of_one(tensor: Tensor, model: Model) -> bool:
    """One value throughout of which the softplus is one, give or take the least value that is added to it."""
    values = tensor.statistics
    return values.is_constant and abs(values.minimum - SOFTPLUS_OF_ONE) < NEAR_ONE


def lies_at_log_odds(tensor: Tensor, model: Model) -> bool:
    """Offsets at the log-odds of rare classes, added to PyTorch's default bias, so that none lies above its bound."""
    values = tensor.statistics
    bounds = [weight.part.fan_in**-0.5 for weight in model.partners(tensor) if weight.is_weight and weight.part.fan_in]
    below = values.minimum > LEAST_LOG_ODDS and values.mean < -1
    return below and not values.is_constant and any(values.maximum <= bound for bound in bounds)


def is_small_and_random(tensor: Tensor, model: Model) -> bool:
    """A draw about zero with a deviation of at most 0.15."""
    values = tensor.statistics
    centred = abs(values.mean) < HARD_Z * SMALL / math.sqrt(values.count)
    return 0 < values.std < SMALL and values.largest < HARD_Z * SMALL and centred
