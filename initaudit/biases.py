"""Biases: what explains one that is not zero, and which of a model are scattered too wide.

Heads, gates and priors are choices, and so is what all blocks have in common. What is no choice is one that is of
another kind than its kin, a draw that dwarfs what the weights give, and a default that goes by another layer's fan.
"""

import math

from initaudit.gradients import kinds_of_kin
from initaudit.model import Model, Tensor
from initaudit.schemes import UNIFORM, fits
from initaudit.significance import HARD_Z, SMALL_P, collision, variance_z

FEW_VALUES = 16
"""Fewer values are consistent with nearly any bound."""

MOST_TOGETHER = 64
"""Biases of one place that are looked at together: enough to tell, whatever the number of blocks."""

AT_THE_EDGE = 20.0
"""Times 1/N: how far the largest of N uniform values may be under their bound (2e-9 beyond)."""

LEAST_SPREAD, LEAST_SHARE_OF_SIGNAL = 0.3, 1.5
"""A bias drawn wider than this, and wider than 1.5 times what PyTorch's default would be scaled by (1/√fan_in), is as
large as the signal of a weight that keeps the scale of its inputs."""

A_HAIR = 1e-3
"""Up to here a bias is zero for all practical purposes: in use is N(0, 1e-6)."""

LEAST_ZERO = 2
"""So many zero biases at least are a recipe."""

WIDE_WEIGHT = 0.5
"""Beside a weight of such a deviation a bias N(0, 1) is by the same law: the layer scales both when it uses them."""


FARTHEST_FAN = 8.0
"""How far a bound by another layer's fan may lie from one's own: fans of one model differ by 64 at most; what is
further off, as N(0, 1e-6) is, was not drawn by a fan."""


def are_scattered(model: Model) -> frozenset[str]:
    """The biases that are drawn about zero as wide as the signal, if more than half of a model's biases are."""
    return model.remember(_scattered)


def _scattered(model: Model) -> frozenset[str]:
    biases = [tensor for tensor in model.tensors if tensor.is_bias and tensor.count > 1]
    wide = [bias.name for bias in biases if _is_wide(bias, model)]
    return frozenset(wide if 2 * len(wide) > len(biases) else ())


def _is_wide(bias: Tensor, model: Model) -> bool:
    fans = [weight.part.fan_in for weight in model.partners(bias) if weight.is_weight and weight.part.fan_in]
    if bias.std <= LEAST_SPREAD or not fans or abs(bias.statistics.mean) > HARD_Z * bias.std / math.sqrt(bias.count):
        return False
    if 2 * bias.statistics.sample.distinct < bias.statistics.sample.sampled:  # written by hand
        return False
    weights = [weight.std for weight in model.partners(bias) if weight.is_weight]
    return bias.std * math.sqrt(min(fans)) > LEAST_SHARE_OF_SIGNAL and 0 < max(weights) < WIDE_WEIGHT


def breaks_a_recipe_of_zeros(bias: Tensor, model: Model) -> bool:
    """Whether a bias without kin is drawn wider than a hair where two thirds of the others, two at least, are zero."""
    zero, count = model.remember(_zero_biases)
    values = bias.statistics
    drawn = values.count >= FEW_VALUES and 2 * values.sample.distinct > values.sample.sampled
    alone = not kinds_of_kin(bias, model).total and bias.part.role == "bias" and values.largest > A_HAIR
    return alone and drawn and zero >= LEAST_ZERO and 3 * zero >= 2 * (count - 1) and not why_intended(bias, model)


def _zero_biases(model: Model) -> tuple[int, int]:
    """How many biases are zero, and how many there are."""
    biases = [tensor for tensor in model.tensors if tensor.is_bias]
    return sum(bias.statistics.zeros == bias.count for bias in biases), len(biases)


def ignores_its_fan(bias: Tensor, model: Model) -> float | None:
    """The bound of a uniform bias by some other fan than that by which its weight is PyTorch's default; else None.

    The weight of its layer is U(±1/√fan_in) with its own fan, ends included, so that one loop drew both.
    """
    values = bias.statistics
    if bias.part.role != "bias" or values.count < FEW_VALUES or values.is_constant or is_torch_default(bias, model):
        return None
    if not fits(values, bias.dtype, UNIFORM, values.largest / math.sqrt(3)) or is_drawn_as_its_weight(bias, model):
        return None
    weights = [w for w in model.partners(bias) if w.is_weight and w.part.fan_in and w.count > bias.count]
    default = all(_is_default_weight(weight) for weight in weights)
    near = all(
        1 / FARTHEST_FAN < values.largest * (weight.part.fan_in or 1) ** 0.5 < FARTHEST_FAN for weight in weights
    )
    return values.largest if weights and default and near else None


def _is_default_weight(weight: Tensor) -> bool:
    return weight.std > 0 and fits(weight.statistics, weight.dtype, UNIFORM, (3 * (weight.part.fan_in or 1)) ** -0.5)


def why_intended(bias: Tensor, model: Model) -> str:
    """What explains a bias that is not zero, in words; empty where nothing does."""
    if is_torch_default(bias, model):
        return "PyTorch's default bias, U(±1/sqrt(fan_in))"
    if is_drawn_as_its_weight(bias, model):
        return "bias drawn as its weight"
    return "as in the other blocks" if kinds_of_kin(bias, model).total else ""


def is_torch_default(tensor: Tensor, model: Model) -> bool:
    """A bias drawn from U(±1/√fan_in) with the fan of its own layer's weight, as that layer computes it.

    Few values fit by chance, so short biases of one place are held to it together, if their weights have the same fans.
    """
    fans = _default_fans(tensor, model)
    together = [tensor]
    if tensor.count < FEW_VALUES:
        kin = (other for other in model.kin(tensor)[:MOST_TOGETHER] if other.shape == tensor.shape)
        together += [other for other in kin if _default_fans(other, model) == fans]
    return any(_are_uniform(together, (3 * fan) ** -0.5) for fan in fans if fan)


def _are_uniform(tensors: list[Tensor], std: float) -> bool:
    """Whether each of several tensors, and all of them together, are consistent with a uniform draw."""
    for one in tensors:
        equal = one.statistics.is_constant and collision(one.dtype, std) ** (one.count - 1) < SMALL_P
        if equal or not fits(one.statistics, one.dtype, UNIFORM, std):
            return False
    count = sum(one.count for one in tensors)
    squares = sum(one.count * one.statistics.moments.rms**2 for one in tensors) / count
    return len(tensors) == 1 or abs(variance_z(squares, count, std, UNIFORM.kurtosis)) < HARD_Z


def _default_fans(tensor: Tensor, model: Model) -> set[int]:
    """The fans by which PyTorch's layers may have drawn a bias."""
    fans: set[int] = set()
    for weight in model.partners(tensor):
        if not weight.is_weight or weight.part.fan_in is None:
            continue
        fans.add(weight.part.fan_in)
        if weight.part.layout == "conv_transposed":  # torch takes the fan of these from the second dimension
            fans.add(weight.count // weight.shape[0])
        if weight.part.kind == "bilinear":  # and that of a bilinear form from its first input
            fans.add(weight.shape[1])
        if weight.part.role == "rnn_weight":  # a recurrent layer draws everything by its hidden size
            fans.update((tensor.count, tensor.count // 3, tensor.count // 4))
    return fans


def is_drawn_as_its_weight(tensor: Tensor, model: Model) -> bool:
    """A bias from the very uniform law, ends included, that the weight of its layer was drawn from.

    So do layers of one's own that draw all their parameters in one loop, by whatever fan. Where most biases of a model
    are drawn so, one whose weight is at fault is not to blame for it, as long as it is uniform and small itself.
    """
    if _shares_its_law(tensor, model):
        return True
    values, (sharing, others) = tensor.statistics, model.remember(_sharing)
    flat = values.largest < 1 and fits(values, tensor.dtype, UNIFORM, values.largest / math.sqrt(3))
    return sharing > others and not values.is_constant and flat


def _sharing(model: Model) -> tuple[int, int]:
    """How many biases that are not zero were drawn as their weights, and how many were not."""
    biases = [tensor for tensor in model.tensors if tensor.is_bias and tensor.std > 0]
    sharing = sum(_shares_its_law(tensor, model) for tensor in biases)
    return sharing, len(biases) - sharing


def _shares_its_law(tensor: Tensor, model: Model) -> bool:
    for weight in model.partners(tensor):
        if weight.is_weight and weight.count > tensor.count and weight.std > 0:
            ends = weight.statistics.largest, tensor.statistics.largest
            std = max(ends) / math.sqrt(3)
            same = all(fits(one.statistics, one.dtype, UNIFORM, std) for one in (weight, tensor))
            if same and ends[1] <= ends[0] * (1 + AT_THE_EDGE / weight.count):
                return True
    return False
