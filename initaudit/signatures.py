"""What a wrong scale looks like: the ratio to the right one names the mistake that gives it."""

import math
from collections.abc import Iterator

from initaudit.model import Model, Tensor
from initaudit.significance import log_std_error

STANDARD_ERRORS, ROUNDING = 3.0, 0.01
"""How near a deviation must come to a mistake's, in its logarithm: standard errors, and at least a hundredth."""

FIXED = ("normal", "uniform", "trunc_normal")
"""Schemes of one deviation for all fans."""

DISTINCT = 0.05
"""A mistake that changes the scale by less explains nothing."""


def likely_cause(tensor: Tensor, expected: float, model: Model) -> str:
    """The mistake that turns the expected deviation into the one measured, in words after "as if"; empty if none does.

    The first of a list from the more to the less common is named; ratios that coincide cannot be told apart.
    """
    within = max(STANDARD_ERRORS * log_std_error(tensor.count, tensor.statistics.moments.kurtosis), ROUNDING)
    for std, words in _mistakes(tensor, expected, model):
        is_distinct = std > 0 and abs(math.log(std / expected)) > DISTINCT
        if is_distinct and abs(math.log(tensor.std / std)) < within:
            return words
    return ""


def _mistakes(tensor: Tensor, expected: float, model: Model) -> Iterator[tuple[float, str]]:
    """Deviations that mistakes give, with the words for each."""
    fan_in, fan_out = tensor.part.fan_in, tensor.part.fan_out
    by_fan = not _is_fixed(tensor, model)
    yield expected**2, "its variance had been passed for the deviation"
    yield expected**0.5, "its root had been passed, a deviation taken for a variance"
    if by_fan and fan_in and fan_out:
        yield expected * math.sqrt(fan_in / fan_out), "fan_out had been used for fan_in"
    blocks = len(model.kin(tensor)) + 1
    if blocks > 1:
        depth = math.sqrt(2 * blocks)
        yield expected * depth, f"the scaling by depth, 1/sqrt(2·{blocks}), were missing"
        yield expected / depth, f"a scaling by depth, 1/sqrt(2·{blocks}), had been applied to it"
    yield expected / math.sqrt(3), "the deviation had been taken for the bound of a uniform"
    yield expected * math.sqrt(3), "the bound of a uniform had been taken for the deviation"
    yield expected * math.sqrt(2), "the gain of ReLU, sqrt(2), had been applied once more"
    yield expected / math.sqrt(2), "the gain of ReLU, sqrt(2), were missing"
    if by_fan:
        yield from _wrong_fans(tensor, expected, model)
    for power in (10.0, 0.1, 100.0, 0.01):
        yield expected * power, f"a factor of {power:g} had slipped in"


def _is_fixed(tensor: Tensor, model: Model) -> bool:
    """Whether its siblings have one deviation whatever their fans: then no fan can have been mistaken for another."""
    schemes = [other.scheme for other in model.kin(tensor) if other.scheme is not None]
    return 2 * sum(scheme.is_named and scheme.name in FIXED for scheme in schemes) > len(schemes)


def _wrong_fans(tensor: Tensor, expected: float, model: Model) -> Iterator[tuple[float, str]]:
    """Deviations that another fan gives: of a kernel, a head, a stack, a shard."""
    area = math.prod(tensor.shape[2:])
    if tensor.part.kind == "conv" and area > 1:
        yield expected * math.sqrt(area), "the area of the kernel were missing in the fan"
    heads = next((model.config[key] for key in ("num_attention_heads", "n_head") if key in model.config), None)
    if isinstance(heads, int) and heads > 1:
        yield expected * math.sqrt(heads), f"the fan of one of {heads} heads had been used"
    if tensor.part.layout == "expert_3d":
        yield expected / math.sqrt(tensor.shape[-1]), "the fan of the whole stack of experts had been used"
    for shards in (4, 8, 16):
        yield expected * math.sqrt(shards), f"the fan of one of {shards} shards had been used"
