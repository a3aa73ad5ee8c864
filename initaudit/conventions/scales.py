"""Conditions of the scale of weights and norms: what makes an unusual one part of a recipe."""

import math
import re

from initaudit.model import Model, Tensor
from initaudit.paths import ends_its_list, path, step
from initaudit.scale import judged_weights
from initaudit.significance import HARD_Z, log_std_error

MOST = 0.6
"""The share of a model's weights that must be drawn from N(0, 1) for it to scale them when they are used."""

LEAST_LAYERS, FLAT = 4, 64

ORDINARY_GAIN = 0.05
"""A matrix with such a gain passes a signal on."""

ALIKE = 1.15
"""The factor within which the deviations of one place agree."""

ROUNDED = 2e-3
"""What bfloat16 may change in a mean square."""

_EQUALISED = re.compile(
    r"modulat|to_?rgbs?\b|mapping|synthesis|emb_gain|out_gain|noise_strength|resample_filter|w_avg|equal(ised|ized)?_"
)


def is_equalised(tensor: Tensor, model: Model) -> bool:
    """Most weights are N(0, 1), and the names of its modules, or weights without a shape, say that it scales them.

    A flat vector of N(0, 1) that is called a weight has no fan: it is cut, shaped and scaled when it is used.
    """
    return model.remember(_equalises)


def _equalises(model: Model) -> bool:
    weights = judged_weights(model)
    ones = [tensor for tensor in weights if _is_standard(tensor)]
    flat = sum(
        _is_standard(tensor) and tensor.name.endswith("weight") and len(tensor.shape) == 1 and tensor.count >= FLAT
        for tensor in model.tensors
    )
    said = any(_EQUALISED.search(tensor.name[-200:]) for tensor in model.tensors)
    return (said and len(ones) >= max(LEAST_LAYERS, MOST * len(weights))) or (flat > 0 and len(ones) > 0)


def _is_standard(tensor: Tensor) -> bool:
    kurtosis = tensor.statistics.moments.kurtosis
    return tensor.std > 0 and abs(math.log(tensor.std)) < HARD_Z * log_std_error(tensor.count, kurtosis)


def ends_near_zero(tensor: Tensor, model: Model) -> bool:
    """It ends its branch, its siblings have the same deviation, and other matrices of the branch pass a signal on.

    They have larger gains than it: layers of a chain that are all too small do not end near zero.
    """
    peers, matrices = model.peers(tensor), path(tensor, model)
    if peers.count < 2 or peers.values[-1] > ALIKE * peers.values[0] or not _ends_its_branch(tensor, model):
        return False
    least = max(ORDINARY_GAIN, ALIKE * (tensor.gain or 0.0))
    ordinary = (other for other in model.weights if (other.gain or 0.0) > least)
    return any(step(other, model) in matrices.all for other in ordinary)


def _ends_its_branch(tensor: Tensor, model: Model) -> bool:
    """Whether it is the last of the matrices in its module whose names differ in their number alone."""
    seat = model.blocks.seat(tensor.name)
    if seat is None or not seat.number:
        return False
    if not seat.is_named:
        return ends_its_list(tensor, model)
    return model.remember(_last_of_names).get(seat.list) == seat.number


def _last_of_names(model: Model) -> dict[str, int]:
    last: dict[str, int] = {}
    for seat in (model.blocks.seat(tensor.name) for tensor in model.weights):
        if seat is not None and seat.is_named:
            last[seat.list] = max(last.get(seat.list, 0), seat.number)
    return last


def is_alike_in_scale(tensor: Tensor, model: Model) -> bool:
    """The siblings of several blocks have the same deviation."""
    peers = model.peers(tensor)
    return peers.count > 1 and peers.values[-1] < ALIKE * peers.values[0]


def is_sinusoidal(tensor: Tensor, model: Model) -> bool:
    """The largest value is exactly one and the mean square one half, as sin² + cos² = 1 makes it."""
    values = tensor.statistics
    return values.maximum == values.largest == 1 and abs(values.moments.rms**2 - 0.5) < ROUNDED


def repeats_neighbours(tensor: Tensor, model: Model) -> bool:
    """Every filter of a convolution stands there r² or r³ times in a row, as pixel shuffling places them."""
    units = tensor.units
    if units is None or units.equal != units.count or tensor.part.kind != "conv":
        return False
    if units.classes < 2 or units.count % units.classes:
        return False
    times = units.count // units.classes
    return times in (4, 8, 9, 16, 27, 64) and units.equal_at == tuple(range(len(units.equal_at)))
