"""The paths that a signal takes: which matrices stand one behind the other, and which of them are zero."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from initaudit.model import Model, Tensor
from initaudit.names.segments import enclosing, leaf_of, parent_of
from initaudit.scale import width_in

__all__ = ["Matrices", "ends_its_list", "is_gate", "path", "step"]

_GATE = re.compile(r"gat(e|es|ing)(\b|_)|_gate")

MOST_PARTS = 3
"""Queries, keys and values come from one matrix, or a gate and what it gates."""

NARROW = 32
"""The numbers that gates of heads give, or read, are fewer; the features of a gated feed-forward block are more."""


@dataclass(frozen=True)
class Matrices:
    """The matrices of one module: how many there are at each place, and how many of them are zero throughout."""

    all: Counter[str]
    zero: Counter[str]
    reads: dict[str, int]
    """The number of features that the weights at each place read, at the most."""

    @cached_property
    def count(self) -> int:
        """How many there are, counted once: every one of a hundred thousand asks."""
        return self.all.total()

    @cached_property
    def zero_count(self) -> int:
        """How many of them are zero."""
        return self.zero.total()

    def others(self, place: str) -> int:
        """How many stand at other places."""
        return self.count - self.all[place]

    def zero_others(self, place: str) -> int:
        """How many of the zero ones stand at other places."""
        return self.zero_count - self.zero[place]


def path(tensor: Tensor, model: Model) -> Matrices:
    """The matrices of the smallest module around a tensor that has several steps; itself among them.

    A signal meets them on its way through: those of ``h.3.mlp`` for ``h.3.mlp.c_proj.weight``.
    """
    modules = model.remember(_modules)
    for module in _modules_around(tensor):
        matrices = modules.get(module)
        if matrices is not None and len(matrices.all) > 1:
            return matrices
    return Matrices(Counter(), Counter(), {})


def ends_its_list(tensor: Tensor, model: Model) -> bool:
    """Whether no matrix stands in the same list of layers behind a tensor's; one in no list ends its own."""
    seat = model.blocks.seat(tensor.name)
    return seat is None or seat.is_named or seat.number >= model.remember(_last_numbers).get(seat.list, 0)


def is_gate(tensor: Tensor, model: Model) -> bool:
    """Whether a matrix makes a gate, so that what it multiplies is not lost where it is zero.

    Its bias is a constant other than zero, which opens or closes the gate; or it is called a gate and is so narrow that
    it gives a number for each head, not for each feature.
    """
    biases = (other.statistics for other in model.partners(tensor) if other.is_bias)
    if any(bias.is_constant and bias.minimum != 0 for bias in biases):
        return True
    return _GATE.search(tensor.name[-200:]) is not None and min(tensor.shape) < NARROW


def step(tensor: Tensor, model: Model) -> str:
    """The place of a tensor on a path: those of one list of parameters stand side by side, not one behind the other."""
    at = model.place(tensor)
    return parent_of(at) if leaf_of(at).isdecimal() else at


def _modules(model: Model) -> dict[str, Matrices]:
    modules: dict[str, Matrices] = {}
    for tensor in model.tensors:
        if len(tensor.shape) >= 2:
            at, zero = step(tensor, model), tensor.statistics.zeros == tensor.count and not is_gate(tensor, model)
            for module in _modules_around(tensor):
                matrices = modules.setdefault(module, Matrices(Counter(), Counter(), {}))
                matrices.all[at] += 1
                matrices.zero[at] += zero
                if tensor.is_weight:
                    matrices.reads[at] = max(matrices.reads.get(at, 0), width_in(tensor))
    return modules


def _last_numbers(model: Model) -> dict[str, int]:
    """The highest number in each list of layers that hold a matrix."""
    last: dict[str, int] = {}
    for tensor in model.tensors:
        if len(tensor.shape) >= 2:
            for name, number in model.blocks.lists(tensor.name):
                last[name] = max(last.get(name, 0), number)
    return last


_PLAIN = frozenset(("weight", "kernel", "bias", "w", "b"))


def _is_bare(tensor: Tensor) -> bool:
    """Whether a tensor is a parameter of its own beside others, as `c_fc` and `c_proj` in one module may be."""
    leaf = tensor.name[len(tensor.part.layer) + 1 :].partition(":")[0]
    return not leaf.isdecimal() and leaf not in _PLAIN


MOST_MODULES = 8
"""How far up modules are looked at; names may have any number of dots."""


def _modules_around(tensor: Tensor) -> Iterator[str]:
    """The modules around a tensor's layer, from the inside out."""
    if _is_bare(tensor):
        yield tensor.part.layer
    yield from enclosing(tensor.part.layer, MOST_MODULES)
