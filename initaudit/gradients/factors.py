"""What a signal is multiplied by on its way: matrices, scales and gates, and where each of them stands."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from initaudit.layers.axes import input_axis, unit_axis
from initaudit.model import Model, Tensor
from initaudit.names.segments import dotted

MOST_MODULES = 12
"""How far up modules are looked at; names may have any number of dots."""

LONGEST_NAME = 500
"""Characters of a name, from its end, that patterns are searched in: some are a megabyte long."""

ADDED_ROLES = frozenset(("bias", "rnn_bias", "norm_shift", "positional", "token", "running_stat", "buffer"))

_ADDED = re.compile(r"bias|beta|shift|token|pos_|position|offset|prior|table", re.IGNORECASE)
_MATRIX = re.compile(r"weight|proj|kernel|lora|hada|lokr", re.IGNORECASE)
_PLAIN = frozenset(("weight", "kernel", "w", "bias", "b", "weight_v", "default", "embedding"))


@dataclass(frozen=True, slots=True)
class Factor:
    """One tensor as a step on a path: its layer's name (``h.3.mlp.c_proj``), the features it reads and writes.

    It is a matrix, or else a scale or gate if it has one long axis at most; what is ``added`` is no factor.
    """

    tensor: Tensor
    layer: str
    is_matrix: bool
    is_added: bool
    reads: int
    writes: int

    @property
    def name(self) -> str:
        """The tensor's name."""
        return self.tensor.name

    @property
    def is_zero(self) -> bool:
        """Whether every element is zero."""
        return self.tensor.statistics.zeros == self.tensor.count

    @property
    def role(self) -> str:
        """What the tensor is within its layer."""
        return self.tensor.part.role

    @property
    def length(self) -> int:
        """The longest axis: the width of a vector."""
        return max(self.tensor.shape, default=1)

    @property
    def is_scale(self) -> bool:
        """Whether it multiplies features one by one, or a whole branch."""
        return not self.is_matrix and not self.is_added and sum(axis > 1 for axis in self.tensor.shape) <= 1


@dataclass(frozen=True)
class Factors:
    """The factors of a model, and which of them stand in which module."""

    all: tuple[Factor, ...]

    @cached_property
    def by_name(self) -> dict[str, Factor]:
        """The factors by the names of their tensors."""
        return {factor.name: factor for factor in self.all}

    @cached_property
    def matrices(self) -> tuple[Factor, ...]:
        """The matrices alone."""
        return tuple(factor for factor in self.all if factor.is_matrix)

    @cached_property
    def around(self) -> dict[str, list[Factor]]:
        """The matrices within each module, however deep."""
        found: dict[str, list[Factor]] = defaultdict(list)
        for factor in self.matrices:
            for module in modules_around(factor.layer):
                found[module].append(factor)
        return dict(found)

    @cached_property
    def norms(self) -> tuple[Factor, ...]:
        """The scales of norms."""
        return tuple(factor for factor in self.all if factor.role == "norm_scale")

    @cached_property
    def norms_beside(self) -> dict[str, list[Factor]]:
        """The scales of norms by the module whose direct part they are."""
        found: dict[str, list[Factor]] = defaultdict(list)
        for norm in self.norms:
            found[parent(norm.layer)].append(norm)
        return dict(found)

    @cached_property
    def norm_widths(self) -> dict[str, dict[int, int]]:
        """How many norms of each width stand within each module."""
        found: dict[str, dict[int, int]] = {}
        for norm in self.norms:
            for module in modules_around(norm.layer):
                counts = found.setdefault(module, {})
                counts[norm.length] = counts.get(norm.length, 0) + 1
        return found

    @cached_property
    def biases(self) -> dict[str, Factor]:
        """The bias of each layer that has one."""
        return {factor.layer: factor for factor in self.all if factor.role in ("bias", "rnn_bias")}

    @cached_property
    def gates(self) -> dict[str, list[Factor]]:
        """The scales that are no norm's within each numbered block, the innermost."""
        found: dict[str, list[Factor]] = defaultdict(list)
        for factor in self.all:
            block = block_of(factor.layer)
            if block and factor.role == "other_param" and factor.is_scale:
                found[block].append(factor)
        return dict(found)

    @cached_property
    def lengths(self) -> dict[str, int]:
        """How many items each list of blocks has: one alone is a wrapper."""
        found: dict[str, set[str]] = defaultdict(set)
        for factor in self.all:
            block = block_of(factor.layer)
            if block:
                found[parent(block)].add(block)
        return {at: len(items) for at, items in found.items()}


def factors_of(model: Model) -> Factors:
    """The tensors of a model as steps of its paths; buffers, which nothing trains, are none."""
    return model.remember(_factors)


def _factors(model: Model) -> Factors:
    return Factors(tuple(_factor(tensor) for tensor in model.tensors if tensor.part.role != "buffer"))


def _factor(tensor: Tensor) -> Factor:
    name = dotted(tensor.name)
    module, _, leaf = name.rpartition(".")
    role, tail = tensor.part.role, leaf[-LONGEST_NAME:]
    long = sum(axis > 1 for axis in tensor.shape) >= 2
    is_matrix = long and (
        tensor.is_weight
        or role == "embedding"
        or (role == "other_param" and bool(_MATRIX.search(name[-LONGEST_NAME:])))
    )
    unit, read = unit_axis(tensor.part, tensor.shape), input_axis(tensor.part, tensor.shape)
    if role == "embedding":
        unit, read = 1, 0
    return Factor(
        tensor,
        layer_of(module, leaf),
        is_matrix,
        role in ADDED_ROLES or (role != "embedding" and bool(_ADDED.search(tail))),
        tensor.shape[read] * tensor.part.groups if is_matrix and read >= 0 else 0,
        tensor.shape[unit] if is_matrix and unit >= 0 else 0,
    )


def layer_of(module: str, leaf: str) -> str:
    """The step that a tensor belongs to: its module, or itself where a module keeps bare parameters (``attn.w_q``)."""
    if leaf == "default" and module:  # the name that an adapter has unless it is given one
        return layer_of(*module.rpartition(".")[::2])
    return module if leaf in _PLAIN and module else f"{module}.{leaf}".lstrip(".")


def parent(layer: str) -> str:
    """The module around a layer, "" for the model."""
    return layer.rpartition(".")[0]


def modules_around(layer: str) -> Iterator[str]:
    """The modules around a layer, from the inside out, to the model or as far as is looked."""
    for _ in range(MOST_MODULES):
        layer = parent(layer)
        yield layer
        if not layer:
            return


def block_of(layer: str) -> str:
    """The innermost numbered module around a layer, "" where there is none."""
    for module in modules_around(layer):
        if module.rpartition(".")[2].isdecimal():
            return module
    return ""
