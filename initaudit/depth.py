"""Scale through depth: each weight's gain beside the one that the recipe predicts, and what a chain leaves of a signal.

Gain is std·√fan_in. A lane is what one place of a block holds, block after block; weights that stand at no such place
share one lane, in the order of their names.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from initaudit.model import Model, Tensor
from initaudit.names.segments import natural
from initaudit.recipes.verdicts import WARNING
from initaudit.remedies import Healthy, Remedy, by_recipe
from initaudit.scale import plain_chains
from initaudit.signal import activation_in, bias_of, through
from initaudit.significance import HARD_Z, log_std_error
from initaudit.statistics.grid import Grid

LEAST_CHAIN = 2
"""One layer alone is no chain."""


@dataclass(frozen=True, slots=True)
class Level:
    """One weight of a lane: where it stands, its gain, and the band in which the recipe predicts it, if it does."""

    tensor: Tensor
    depth: int
    gain: float
    predicted: float | None = None
    tolerance: float = 1.0

    @property
    def band(self) -> tuple[float, float] | None:
        """From where to where a gain is as predicted, its standard error allowed for."""
        if not self.predicted:
            return None
        return self.predicted / self.tolerance, self.predicted * self.tolerance


@dataclass(frozen=True, slots=True)
class Lane:
    """The weights of one place, by depth; ``place`` is empty for those that stand at no place of several blocks."""

    place: str
    levels: tuple[Level, ...]
    is_by_block: bool
    """Whether depth is the number of the block; else it counts the tensors of the lane."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Weights that follow each other without a norm or a residual between, and the signal behind each.

    A signal of size 1 comes in; ``signal`` is its root mean square behind each layer and its ``activation``, biases
    included, and ``predicted`` is the same for gains as the recipe predicts them, None where it does not.
    """

    tensors: tuple[Tensor, ...]
    activation: str
    signal: tuple[float, ...]
    predicted: tuple[float, ...] | None


def lanes(model: Model, healthy: Healthy) -> tuple[Lane, ...]:
    """The lanes of all weights whose gain can be told; those of one block after those of many."""
    grouped: dict[str, list[Tensor]] = {}
    for tensor in model.weights:
        if tensor.gain is not None and math.isfinite(tensor.gain):
            grouped.setdefault(model.place(tensor) if model.repeats(tensor) else "", []).append(tensor)
    single = grouped.pop("", [])
    found = [
        _lane(at, sorted(grouped[at], key=lambda tensor: model.blocks.numbers(tensor.name)), healthy)
        for at in sorted(grouped, key=natural)
    ]
    if single:
        found.append(_lane("", sorted(single, key=lambda tensor: natural(tensor.name)), healthy))
    return tuple(found)


def chains(model: Model, healthy: Healthy) -> Iterator[Chain]:
    """The plain chains of a model, and the signal behind each of their layers."""
    for tensors in plain_chains(model):
        if len(tensors) >= LEAST_CHAIN:
            foretold = [predicted_gain(tensor, healthy) for tensor in tensors]
            known = [gain for gain in foretold if gain is not None]
            biases, activation = [bias_of(tensor, model) for tensor in tensors], activation_in(model)
            signal = through([tensor.gain or 0.0 for tensor in tensors], biases, activation)
            predicted = through(known, biases, activation) if len(known) == len(foretold) else None
            yield Chain(tensors, activation, signal, predicted)


def predicted_gain(tensor: Tensor, healthy: Healthy) -> float | None:
    """The gain that a weight would have, were it drawn by the recipe; None where that says nothing of it."""
    remedy = by_recipe(tensor, healthy)
    std = None if remedy is None else std_of(remedy, tensor)
    return None if std is None or tensor.part.fan_in is None else std * math.sqrt(tensor.part.fan_in)


def std_of(remedy: Remedy, tensor: Tensor) -> float | None:
    """The deviation that a tensor has once it is filled so; None for formulas, which say nothing of it."""
    parameters = remedy.parameters
    match remedy.law:
        case "constant":
            return 0.0
        case "orthogonal":
            grid = Grid.of(tensor.shape)
            return float(parameters["gain"]) / math.sqrt(max(grid.rows, grid.columns))
        case "sparse":
            return float(parameters["std"]) * math.sqrt(parameters["connections"] / (tensor.part.fan_in or 1))
        case "blocks":
            return math.sqrt(math.fsum(std * std for std in parameters["stds"]) / len(parameters["stds"]))
        case "formula":
            return None
        case _:
            return float(parameters["std"])


def _lane(at: str, tensors: Sequence[Tensor], healthy: Healthy) -> Lane:
    numbers = [healthy.model.blocks.numbers(tensor.name) for tensor in tensors]
    by_block = bool(at) and all(len(several) == 1 for several in numbers)
    depths = [several[0] for several in numbers] if by_block else range(len(tensors))
    return Lane(at, tuple(map(_level, tensors, depths, [healthy] * len(tensors))), by_block)


def _level(tensor: Tensor, depth: int, healthy: Healthy) -> Level:
    error = log_std_error(tensor.count, tensor.statistics.moments.kurtosis)
    tolerance = max(WARNING, math.exp(min(HARD_Z * error, math.log(10))))
    return Level(tensor, depth, tensor.gain or 0.0, predicted_gain(tensor, healthy), tolerance)
