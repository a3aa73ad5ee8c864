"""The tensors that stand at the same place in other blocks, and of what kind their values are."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from initaudit.gradients.factors import MOST_MODULES
from initaudit.model import Model, Tensor
from initaudit.names.segments import segments, separator_of

Kind = Literal["zero", "constant", "identity", "drawn"]

FEWEST = 2
"""So many kin at least say what is usual: one that differs from one other may be either's fault."""

_NUMBER = re.compile(r"\d+")
_STAGE = re.compile(r"[A-Za-z_]+\d+")
_COUNTED = re.compile(r"[A-Za-z][A-Za-z_]*_\d{1,4}")
"""How Flax and Keras name the modules of a list: `encoderblock_3`."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """How many kin of a tensor are of each kind, itself aside."""

    counts: Counter[Kind]

    @property
    def total(self) -> int:
        """The number of its kin."""
        return self.counts.total()

    def most_are(self, kind: Kind) -> bool:
        """Whether there are enough kin, and most of them are of a kind."""
        return self.total >= FEWEST and 2 * self.counts[kind] > self.total

    @property
    def are_not_zero(self) -> bool:
        """Whether there are any kin, and most of them are not zero.

        One is enough: of 1,305 fresh released models none has two blocks of which one is zero where the other is drawn.
        """
        return self.total > 0 and 2 * self.counts["zero"] < self.total


def kind_of(tensor: Tensor) -> Kind:
    """Of what kind the values of a tensor are; constants that differ in value are of one kind."""
    if tensor.statistics.zeros == tensor.count:
        return "zero"
    if tensor.statistics.is_constant and tensor.count > 1:  # one number alone is a draw or a choice: nobody can tell
        return "constant"
    return "identity" if tensor.pattern is not None and tensor.pattern.name == "identity" else "drawn"


def kinds_of_kin(tensor: Tensor, model: Model) -> Kinds:
    """The kinds of the tensors at the same place in other blocks, of whatever shape.

    Their names differ in one number, that of a block: an item of a list whose items hold several layers. The items of a
    plain list of layers, and those of a `Sequential`, are no kin of each other, and a list of one is a wrapper.
    """
    groups, members = model.remember(_groups)
    own, counts = kind_of(tensor), Counter[Kind]()
    for key in members.get(tensor.name, ()):
        counts.update(groups[key])
        counts[own] -= 1
    return Kinds(+counts)


Key = tuple[str, str, str, int, str, str]


def _groups(model: Model) -> tuple[dict[Key, Counter[Kind]], dict[str, list[Key]]]:
    """The kinds of each group of kin, and the groups that each tensor is in."""
    flat = _flat_items(model)
    groups: dict[Key, Counter[Kind]] = defaultdict(Counter)
    members: dict[str, list[Key]] = defaultdict(list)
    for tensor in model.tensors:
        separator, parts = separator_of(tensor.name), segments(tensor.name)
        for at in _numbered(parts, separator):
            head = separator.join(parts[: at + 1])
            is_stage = not parts[at].isdecimal() and at + 1 < len(parts) and parts[at + 1].isdecimal()
            if is_stage or head not in flat:
                masked = _NUMBER.sub("#", parts[at])
                key = (
                    separator.join(parts[:at]),
                    masked,
                    separator.join(parts[at + 1 :]),
                    len(tensor.shape),
                    tensor.part.role,
                    tensor.part.kind,
                )
                groups[key][kind_of(tensor)] += 1
                members[tensor.name].append(key)
    return groups, members


def _numbered(parts: list[str], separator: str) -> Iterator[int]:
    """Where a name has numbers that may count blocks, the innermost first."""
    counts = separator == "/" or parts[0] == "params"
    for at in range(len(parts) - 2, max(-1, len(parts) - 2 - MOST_MODULES), -1):
        part = parts[at]
        is_stage = at + 2 < len(parts) and parts[at + 1].isdecimal() and _STAGE.fullmatch(part[:100])
        if part.isdecimal() or is_stage or (counts and _COUNTED.fullmatch(part[:100])):
            yield at


def _flat_items(model: Model) -> frozenset[str]:
    """The items of plain lists, each of which is a layer of its own."""
    inside: dict[str, set[str]] = defaultdict(set)
    for tensor in model.tensors:
        separator, parts = separator_of(tensor.name), segments(tensor.name)
        for at in _numbered(parts, separator):
            within = inside[separator.join(parts[: at + 1])]
            if len(within) < FEWEST:
                within.add(separator.join(parts[at + 1 : -1]))
    return frozenset(item for item, layers in inside.items() if layers == {""})
