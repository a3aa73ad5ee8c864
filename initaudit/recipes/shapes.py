"""One tensor against the family of its kin: by its largest value, which tells bounded laws from unbounded ones.

The largest of N values of a bounded law lies under the bound, and of a normal above it, as soon as N is large: a
uniform is told from a normal at 130 values, a normal cut at two deviations at 500, where their kurtoses need thousands.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from initaudit.model import Model, Tensor
from initaudit.recipes.kin import KIN
from initaudit.schemes import Family, family_of
from initaudit.schemes.families import EDGE_SLACK

FEWEST = 64
"""Fewer values do not tell a family."""

PATIENCE = 5.0
"""Standard errors of its own deviation by which a value may lie over the bound of the kin's law."""

UNDECIDED = 0.05
"""The probability from which on kin that are called normal are: below, they may be cut where few values lie."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A tensor that was drawn from another family than its kin: which, and how many they are."""

    tensor: Tensor
    is_bounded: bool
    family: Family
    count: int


def odd_shapes(model: Model) -> dict[str, Shape]:
    """The weights whose largest value another family than that of all their kin has given, by name."""
    return model.remember(_odd_shapes)


def _odd_shapes(model: Model) -> dict[str, Shape]:
    groups: dict[tuple[str, tuple[int, ...]], list[Tensor]] = {}
    for tensor in model.weights:
        values = tensor.statistics
        drawn = tensor.pattern is None and values.zeros == 0 and not values.nonfinite and not values.is_constant
        if drawn and tensor.count >= FEWEST and values.moments.rms > 0 and _is_one_draw(tensor):
            groups.setdefault((model.place(tensor), tensor.shape), []).append(tensor)
    large = [tensors for tensors in groups.values() if len(tensors) > KIN]
    tests = sum(map(len, large))
    return {shape.tensor.name: shape for tensors in large for shape in _odd_of(tensors, model.alpha / max(tests, 1))}


def _is_one_draw(tensor: Tensor) -> bool:
    """Whether its values have one deviation: blocks, and units of other lengths, are no draw of one law."""
    scheme = tensor.scheme
    return scheme is None or scheme.name not in ("blocks", "orthogonal", "sparse")


def _odd_of(tensors: Sequence[Tensor], level: float) -> Iterator[Shape]:
    families = {tensor.name: family_of(tensor.statistics) for tensor in tensors}
    for tensor in tensors:
        others = [other for other in tensors if other is not tensor]
        known = {families[other.name] for other in others}
        family = known.pop() if len(known) == 1 else None
        if family is None or families[tensor.name] is family:
            continue
        if math.isinf(family.edge):
            pooled = _log_chance(max(map(_largest, others)), sum(other.count for other in others))
            odd = pooled > math.log(UNDECIDED) and _log_chance(_largest(tensor), tensor.count) < math.log(level)
        else:
            error = family.log_std_error / math.sqrt(tensor.count)
            odd = _largest(tensor) > family.edge * (1 + PATIENCE * error + 2 * EDGE_SLACK.get(tensor.dtype, 2.0**-3))
        if odd:
            yield Shape(tensor, math.isinf(family.edge), family, len(others))


def _largest(tensor: Tensor) -> float:
    """The largest value of a tensor, in deviations about zero."""
    return tensor.statistics.largest / tensor.statistics.moments.rms


def _log_chance(largest: float, count: int) -> float:
    """Ln of the probability that so many normal values all lie within the largest."""
    inside = 2 * NormalDist().cdf(largest) - 1
    return count * math.log(inside) if inside > 0 else -math.inf
