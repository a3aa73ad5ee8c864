"""What rules judge: a tensor that is understood and measured, and the model around it."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, cast

from initaudit.faults import Expectation, Fact, Fault
from initaudit.layers.axes import input_axis, unit_axis
from initaudit.layers.values import Part
from initaudit.names import Blocks
from initaudit.names.segments import ending_of, leaf_of, leaf_within, parent_of, stem_of
from initaudit.reach import Reach
from initaudit.schemes import Pattern, Scheme, zero_pattern
from initaudit.statistics.values import Statistics, Units

__all__ = [
    "Expectation",
    "Fault",
    "Model",
    "Peers",
    "Tensor",
    "Units",
    "among_peers",
    "value_of",
]

T = TypeVar("T")

ALPHA = 1e-3
"""The expected number of false alarms in a healthy checkpoint: one in a thousand audits."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a checkpoint: what it is (`part`), what its values look like, and the scheme they show."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    part: Part
    statistics: Statistics
    scheme: Scheme | None = None

    @property
    def leaf(self) -> str:
        """The last segment of its name: ``weight``, ``A_log``."""
        return leaf_of(self.name)

    @property
    def parent(self) -> str:
        """The module around its layer: ``h.3`` for ``h.3.mlp.weight``; empty where that is the model."""
        return parent_of(self.part.layer)

    @property
    def is_weight(self) -> bool:
        """Whether it multiplies activations: a matrix or kernel of a feed-forward or a recurrent layer."""
        return self.part.role in ("weight", "rnn_weight")

    @property
    def is_bias(self) -> bool:
        """Whether it is added to the outputs of a layer; the shift of a norm is none."""
        return self.part.role in ("bias", "rnn_bias")

    @property
    def count(self) -> int:
        """The number of elements."""
        return self.statistics.count

    @property
    def std(self) -> float:
        """The population standard deviation of the finite values."""
        return self.statistics.std

    @property
    def gain(self) -> float | None:
        """std·√fan_in, the factor by which the layer scales a signal of independent inputs; None without a fan."""
        return None if self.part.fan_in is None else self.std * math.sqrt(self.part.fan_in)

    @property
    def units(self) -> Units | None:
        """The output units: the rows of an `out_in` weight, the columns of an `in_out` one; None where unknown."""
        return self.statistics.units.get(unit_axis(self.part, self.shape))

    @property
    def inputs(self) -> Units | None:
        """What each input feeds: the columns of an `out_in` weight; None where unknown."""
        return self.statistics.units.get(input_axis(self.part, self.shape))

    @property
    def width(self) -> int:
        """The number of output units, 0 where there are none."""
        axis = unit_axis(self.part, self.shape)
        return self.shape[axis] if axis >= 0 else 0

    @property
    def pattern(self) -> Pattern | None:
        """The scheme that placed its zeros, sparse or identity, if one did."""
        return zero_pattern(self.statistics, self.units, self.inputs)

    def fault(
        self,
        message: str,
        *,
        advice: str,
        severity: str | None = None,
        expectation: Expectation | None = None,
        beyond_repair: str = "",
        **evidence: Fact,
    ) -> Fault:
        """A fault of this tensor; ``evidence`` are the numbers behind the message, by name."""
        return Fault(self.name, message, advice, severity, evidence, expectation, beyond_repair=beyond_repair)

    def intended(self, why: str) -> Fault:
        """What would be a fault of this tensor, were it not for a reason; it is listed as intended with that."""
        return Fault(self.name, why, "", harmless=why)


@dataclass(frozen=True, slots=True)
class Peers:
    """One positive measure (a deviation, a kurtosis) of the tensors of one place and shape, smallest first."""

    values: tuple[float, ...]

    @property
    def count(self) -> int:
        """Their number."""
        return len(self.values)

    @property
    def middle(self) -> float:
        """Their median."""
        return self.values[len(self.values) // 2] if self.values else 0.0

    def spread_of_others(self, value: float) -> tuple[float, float, float]:
        """Lowest, middle and highest without one member's; of many, those of the middle half of all."""
        count = len(self.values)
        if count > FEW_PEERS:
            return self.values[count // 4], self.middle, self.values[-1 - count // 4]
        at = self.values.index(value)
        others = self.values[:at] + self.values[at + 1 :]
        if not others:
            return value, value, value
        half = len(others) // 2
        median = others[half] if len(others) % 2 else math.sqrt(others[half - 1] * others[half])
        return others[0], median, others[-1]


FEW_PEERS = 8
"""Up to so many, one that is off shows in the quartiles, so it is left out by hand."""


@dataclass(frozen=True)
class Model:
    """All tensors of one checkpoint whose values were judged, and the hints of its ``config.json``."""

    tensors: tuple[Tensor, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    unfilled: tuple[str, ...] = ()
    """The names of tensors that were only planned: on the meta device, without values."""
    tree: Blocks | None = None
    """The tree of the names of its checkpoint, where it is known."""
    alpha: float = ALPHA
    """The number of false alarms that chance may give in a checkpoint like this, on average."""
    reached: Mapping[str, Reach] | None = None
    """When each trained parameter is given a gradient, where that was tried with a batch on the live model."""

    def __contains__(self, name: str) -> bool:
        """Whether the values of a tensor of this name were judged."""
        return name in self._by_name

    def __getitem__(self, name: str) -> Tensor:
        """The tensor of a name.

        Raises:
            KeyError: there is none.

        """
        return self._by_name[name]

    def get(self, name: str) -> Tensor | None:
        """The tensor of a name, None if there is none."""
        return self._by_name.get(name)

    @cached_property
    def blocks(self) -> Blocks:
        """Its lists of blocks, and where in them each tensor stands: the one tree of all names."""
        return self.tree or Blocks(tensor.name for tensor in self.tensors)

    def place(self, tensor: Tensor) -> str:
        """A tensor's name with the numbers masked that count blocks: the same in every block."""
        return self.blocks.place(tensor.name)

    def reach_of(self, tensor: Tensor) -> Reach | None:
        """When a tensor is given a gradient; None where that was not tried, or it is not trained."""
        return None if self.reached is None else self.reached.get(tensor.name)

    def kin(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """The tensors of the same place in other blocks, of whatever shape."""
        return tuple(other for other in self._kin[self.place(tensor)] if other.name != tensor.name)

    def peers(self, tensor: Tensor) -> Peers:
        """The deviations of a tensor and its siblings, all-zero ones left out."""
        return self.remember(_deviations).get((self.place(tensor), tensor.shape), Peers(()))

    def is_alike(self, tensor: Tensor) -> bool:
        """Whether a tensor holds the one value that most of its place in other blocks hold, of whatever width."""
        values = tensor.statistics
        return values.is_constant and values.minimum == self._one_values[self.place(tensor)]

    def repeats(self, tensor: Tensor) -> bool:
        """Whether there are tensors of the same place in other blocks."""
        return len(self._kin[self.place(tensor)]) > 1

    def has_one_sign(self, tensor: Tensor) -> bool:
        """Whether all values of a tensor have the one sign that those of most of its place have."""
        return _sign(tensor) != 0 and _sign(tensor) == self._signs[self.place(tensor)]

    def repeats_zero(self, tensor: Tensor) -> bool:
        """Whether a zero tensor is one of several: most of its place, or all whose names end alike, are zero."""
        if len(self._kin[self.place(tensor)]) > 1:
            return self._one_values[self.place(tensor)] == 0
        return ending_of(tensor.name) in self._zero_endings

    def partners(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """The tensors of the same layer whose leaves have the same stem: ``in_proj_weight`` and ``in_proj_bias``."""
        return tuple(self._partners[_partnership(tensor)])

    def remember(self, fact: Callable[["Model"], T]) -> T:
        """What a function says of this model, asked once."""
        if fact not in self._memory:
            self._memory[fact] = fact(self)
        return cast(T, self._memory[fact])

    @cached_property
    def _memory(self) -> dict[Callable[["Model"], Any], object]:
        return {}

    @cached_property
    def weights(self) -> tuple[Tensor, ...]:
        """The weights, recurrent ones included, in the order of the file."""
        return tuple(tensor for tensor in self.tensors if tensor.is_weight)

    @cached_property
    def has_norms(self) -> bool:
        """Whether any layer normalises: then the scale of most weights does not reach the layers after it.

        A norm shows by its scale or, where it has none, by its running statistics.
        """
        return any(tensor.part.role in ("norm_scale", "running_stat") for tensor in self.tensors)

    @cached_property
    def _by_name(self) -> dict[str, Tensor]:
        return {tensor.name: tensor for tensor in self.tensors}

    @cached_property
    def _kin(self) -> dict[str, list[Tensor]]:
        return self._grouped(self.place)

    @cached_property
    def _partners(self) -> dict[str, list[Tensor]]:
        return self._grouped(_partnership)

    @cached_property
    def _signs(self) -> dict[str, int | None]:
        """1 or -1 where all values of most tensors of a place have that sign, 0 where they have both."""
        return {at: _most(map(_sign, tensors)) for at, tensors in self._kin.items()}

    @cached_property
    def _one_values(self) -> dict[str, float | None]:
        """The one value that most tensors of a place hold, None where they hold several."""
        return {at: _most(map(value_of, tensors)) for at, tensors in self._kin.items()}

    @cached_property
    def _zero_endings(self) -> frozenset[str]:
        """The endings of names that several tensors share, all of them zero throughout."""
        return frozenset(
            ending
            for ending, tensors in self._grouped(lambda tensor: ending_of(tensor.name)).items()
            if len(tensors) > 1 and all(t.statistics.zeros == t.count for t in tensors)
        )

    def _grouped(self, key: Callable[[Tensor], str]) -> dict[str, list[Tensor]]:
        groups: dict[str, list[Tensor]] = {}
        for tensor in self.tensors:
            groups.setdefault(key(tensor), []).append(tensor)
        return groups


def among_peers(
    model: Model, tensors: Iterable[Tensor], measure: Callable[[Tensor], float | None]
) -> dict[tuple[str, tuple[int, ...]], Peers]:
    """A measure of some tensors of a model by place and shape; those that have none are left out."""
    found: dict[tuple[str, tuple[int, ...]], list[float]] = {}
    for tensor in tensors:
        value = measure(tensor)
        if value is not None:
            found.setdefault((model.place(tensor), tensor.shape), []).append(value)
    return {key: Peers(tuple(sorted(values))) for key, values in found.items()}


def _deviations(model: Model) -> dict[tuple[str, tuple[int, ...]], Peers]:
    return among_peers(model, model.tensors, lambda tensor: tensor.std if tensor.std > 0 else None)


def _sign(tensor: Tensor) -> int:
    """1 or -1 where all values are positive or negative, else 0."""
    return 1 if tensor.statistics.minimum > 0 else -1 if tensor.statistics.maximum < 0 else 0


def value_of(tensor: Tensor) -> float | None:
    """The one value that a tensor holds, None if it holds several."""
    return tensor.statistics.minimum if tensor.statistics.is_constant else None


def _most(values: Iterable[T]) -> T | None:
    """What more than half of some values are, None where there is none such."""
    counts = Counter(values)
    value, count = counts.most_common(1)[0]
    return value if 2 * count > counts.total() else None


def _partnership(tensor: Tensor) -> str:
    """The layer and the stem that its tensors share: ``rnn.ih_l0`` for ``rnn.weight_ih_l0``."""
    return f"{tensor.part.layer}.{stem_of(leaf_within(tensor.name))}"
