"""The layout of every weight: sibling shapes first, then agreement across the checkpoint, neighbours and names."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from . import convolutions, stacks
from .choices import Choice, plain, stack
from .grouping import Layer, Member
from .neighbours import Surroundings, Widths
from .shapes import Fans
from .values import Layout

Ballot = tuple[object, ...]
"""Who votes together: weights of one place in different blocks, or the matrices below one module."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What layouts are chosen by: what lies around a weight, and what the decided ones voted for."""

    surroundings: Surroundings
    widths: Widths
    votes: dict[Ballot, Counter[tuple[Layout, bool]]] = field(default_factory=dict)

    def choose(self, weights: Sequence[tuple[Layer, Member]]) -> dict[str, Choice]:
        """The layouts of a checkpoint's weights, by tensor name."""
        choices: dict[str, Choice] = {}
        undecided = []
        for layer, member in weights:
            choice = self._settle(layer, member)
            if choice is None:
                undecided.append((layer, member))
                continue
            choices[member.name] = choice
            for ballot in _ballots(layer, member):
                self.votes.setdefault(ballot, Counter())[choice.layout, choice.turned] += 1
        for layer, member in undecided:
            choices[member.name] = self._agree(layer, member) or self._guess(layer, member)
        return choices

    def _settle(self, layer: Layer, member: Member) -> Choice | None:
        """The layout that the shapes of siblings settle."""
        shape = member.shape
        bias = self._bias(layer, member)
        if member.leaf == "depthwise_kernel" and len(shape) > 2:
            return _depthwise(shape)
        if len(shape) == 3:
            heads = self._heads(layer, member, bias)
            if heads is not None:
                return heads
            if bias is not None and len(bias) == 2 and bias[0] == shape[0]:
                return stacks.settle(shape, bias)
        if bias is None:
            return convolutions.follow(layer, member, self.surroundings) if len(shape) > 2 else None
        length = math.prod(bias)
        if len(shape) == 2:
            if shape[0] == shape[1] or length not in shape:
                return None
            return plain(shape, "out_in" if length == shape[0] else "in_out", "bias length")
        if member.leaf.endswith("kernel"):
            settled = length == shape[-1] and not (_ends_in_field(shape) and length == shape[0])
            return plain(shape, "in_out", "bias length") if settled else None
        return convolutions.settle(layer, member, length, self.surroundings)

    def _bias(self, layer: Layer, member: Member) -> tuple[int, ...] | None:
        """The shape of the bias that belongs to a weight: its own, or the module's if that fits one of the sides."""
        own = layer.first("bias", "shift", "rnn_bias")
        shared = self.surroundings.parent(layer).bias if layer.stem and own is None else None
        return shared if shared is not None and math.prod(shared) in member.shape else own

    def _heads(self, layer: Layer, member: Member, bias: tuple[int, ...] | None) -> Choice | None:
        """Whether a kernel is split into heads: [in, heads, head], or [heads, head, out] where they come together."""
        first, second, third = shape = member.shape
        if member.leaf == "weight":
            return None
        parent = self.surroundings.parent(layer)
        if shape[1:] == bias or shape[1:] in parent.tables or (shape[1:] in parent.fore and first != second):
            return Choice("in_out", Fans(first, second * third), "shapes of the heads")
        if shape[:2] in parent.aft and second != third:
            return Choice("in_out", Fans(first * second, third), "shapes of the heads")
        return None

    def _agree(self, layer: Layer, member: Member) -> Choice | None:
        """The layout that most of a weight's kin have, the nearest first; all of them have a bias, so it must too."""
        if len(member.shape) == 2 and not layer.has("bias", "shift", "rnn_bias"):
            return None
        for ballot in _ballots(layer, member):
            tally = self.votes.get(ballot)
            if tally:
                (layout, turned), _ = tally.most_common(1)[0]
                if layout == "expert_3d":
                    return stack(member.shape, "agreement across the checkpoint", turned=turned)
                groups = convolutions.groups(layer, member, self.surroundings)
                return plain(member.shape, layout, "agreement across the checkpoint", groups)
        return None

    def _guess(self, layer: Layer, member: Member) -> Choice:
        """The layout that neighbours and the name propose."""
        shape, leaf = member.shape, member.leaf.rstrip("0123456789")
        if "einsum" in layer.words:
            return plain(shape, "none", "module name")  # which axes are summed stands in the code
        if leaf.endswith("kernel"):
            return plain(shape, "out_in" if _ends_in_field(shape) else "in_out", "leaf name")
        if len(shape) == 3 and stacks.is_stack(layer, member, self.widths):
            return stacks.guess(layer, member, self.surroundings, self.widths)
        if leaf == "w" or (len(shape) == 2 and member.meaning == "projection"):
            return plain(shape, "in_out", "leaf name")  # what no module owns is multiplied as it is, x @ w
        if len(shape) == 2:
            return plain(shape, "out_in", "leaf name")
        return convolutions.guess(layer, member, self.surroundings)


def _ends_in_field(shape: tuple[int, ...]) -> bool:
    """Whether what is called a kernel has its receptive field last, as torch's have, rather than first."""
    field = set(shape[2:])
    return len(shape) > 3 and len(field) == 1 and max(field) <= LARGEST_FIELD < min(shape[0], shape[1])


LARGEST_FIELD = 7
"""A kernel's side that is told from a width at sight."""


def _depthwise(shape: tuple[int, ...]) -> Choice:
    """A depthwise kernel of Keras, [k…, in, multiplier]: each input feeds ``multiplier`` outputs of its own."""
    field = math.prod(shape[:-2])
    return Choice("in_out", Fans(field, field * shape[-1]), "leaf name", groups=shape[-2])


def _ballots(layer: Layer, member: Member) -> Iterator[Ballot]:
    """With whom a weight votes: its siblings in other blocks, then matrices, the nearest first."""
    rank = len(member.shape)
    yield (rank, member.shape[2:], member.leaf, layer.place)
    if rank == 2:
        for depth in range(len(layer.path) - 1, -1, -1):
            yield layer.path[:depth]
