"""The role of every tensor: its name proposes; siblings, rank and values decide."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from initaudit.names import Blocks, meanings
from initaudit.names.meanings import Meaning
from initaudit.statistics.values import Statistics

from .grouping import Layer, Member, Path
from .neighbours import Widths
from .values import Role

_TABLES = frozenset(("embed", "embedding", "emb", "token", "tokens"))
"""Words of what leads into a table's width, or is the table."""

_FROM_NAMES: Mapping[Meaning, Role] = {
    "running_stat": "running_stat",
    "rnn_weight": "rnn_weight",
    "rnn_bias": "rnn_bias",
    "position": "positional",
    "token": "token",
    "buffer": "buffer",
    "average": "buffer",
    "part": "other_param",
    "gate": "other_param",
    "state": "other_param",
    "adapter": "other_param",
}
"""What a leaf's name settles, since no shape could."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A role and what settled it."""

    role: Role
    evidence: str


@dataclass(frozen=True, slots=True)
class Judge:
    """What roles are judged by, besides the layer itself."""

    statistics: Mapping[str, Statistics]
    widths: Widths
    vocabularies: frozenset[int]
    branches: frozenset[Path]
    """The modules that hold others."""
    averaged: frozenset[str]
    """The modules whose table is a moving average, as their other tensors show."""

    def judge(self, layer: Layer) -> list[Verdict]:
        """The roles of a layer's members, in their order."""
        norm = self._norm(layer)
        return [self._role(member, layer, norm) for member in layer.members]

    def _role(self, member: Member, layer: Layer, norm: Verdict | None) -> Verdict:
        """The role of one member; ``norm`` says why its layer is a norm, if it is one."""
        meaning = member.meaning
        if not member.is_floating:
            return Verdict("running_stat" if meaning == "running_stat" else "buffer", "dtype")
        if meaning in _FROM_NAMES:
            return Verdict(_FROM_NAMES[meaning], "leaf name")
        match meaning:
            case "weight" | "projection" | "scale":
                return norm or self._multiplier(member, layer)
            case "bias" | "shift":
                return _offset(member, layer, norm)
            case "statistic":
                inside = norm is not None or layer.meaning == "norm" or "batch_stats" in layer.path
                return Verdict("running_stat" if inside else "buffer", "sibling shapes" if norm else "module name")
            case "factor":
                return Verdict("weight" if len(member.shape) >= 2 else "other_param", "leaf name")
            case "table":
                return Verdict("buffer", "siblings") if layer.owner in self.averaged else _table(member, layer)
            case _:
                return Verdict("unknown" if len(member.core) > 1 else "other_param", "rank")

    def _norm(self, layer: Layer) -> Verdict | None:
        """Why a layer is a norm, if it is: it has a scale or a shift, a vector, and no matrix."""
        scale = next((member for member in layer.members if member.meaning in ("weight", "scale")), None)
        shape = scale.shape if scale else layer.first("bias", "shift")
        if shape is None or _has_matrix(layer):
            return None
        if shape in layer.shapes.get("running_stat", ()) or shape in layer.shapes.get("statistic", ()):
            return Verdict("norm_scale", "running statistics")
        named = layer.meaning == "norm"
        if scale is None:
            return Verdict("norm_scale", "module name") if named and len(shape) == 1 else None
        if not scale.is_floating or layer.meaning in ("activation", "adapter", "gate"):
            return None
        if shape in layer.shapes.get("bias", ()) or shape in layer.shapes.get("shift", ()):
            return Verdict("norm_scale", "module name") if named else self._shifted_norm(scale, layer)
        if scale.meaning == "weight" and len(shape) == 2:
            return None  # a matrix with one row or column
        if named:
            return Verdict("norm_scale", "module name")
        return None if layer.has("bias", "shift") else self._lone_norm(scale, layer)

    def _shifted_norm(self, scale: Member, layer: Layer) -> Verdict | None:
        """Whether a scale and a shift of one shape are a norm's: they are, if there is something to normalise."""
        shift = next(member for member in layer.members if member.meaning in ("bias", "shift"))
        factor, offset = self.statistics.get(scale.name), self.statistics.get(shift.name)
        if factor and not factor.is_constant and len(scale.core) > 1:
            return None  # a matrix with a bias for each of its elements, as those that embed numbers have
        if factor and offset and factor.is_constant and offset.is_constant and factor.mean == 0 != offset.mean:
            return None  # it says what to scale by, and begins with the shift
        return Verdict("norm_scale", "sibling shapes") if math.prod(scale.shape) > 1 else None

    def _lone_norm(self, scale: Member, layer: Layer) -> Verdict | None:
        """Whether a vector without shift is a norm's: those start at 1, or at 0 where the model adds 1."""
        if len(scale.core) != 1 or (scale.meaning == "weight" and len(scale.shape) > 1):
            return None
        if layer.stem or layer.path in self.branches:
            return None  # a norm is a module of its own, and holds no others
        values = self.statistics.get(scale.name)
        if values is None:
            return Verdict("norm_scale", "rank") if scale.meaning == "weight" else None
        if values.is_constant:
            starts = (1.0,) if len(scale.shape) > 1 else (0.0, 1.0)  # what broadcasts from 0 is a gate
            return Verdict("norm_scale", "values") if values.mean in starts else None
        near = scale.meaning == "weight" and abs(values.mean - 1) < 0.1 and values.std < 0.1
        return Verdict("norm_scale", "values") if near else None

    def _multiplier(self, member: Member, layer: Layer) -> Verdict:
        """The role of a weight or scale that is no norm's."""
        if member.meaning == "scale" or len(member.shape) < 2:
            return Verdict("other_param", "rank")
        if len(member.core) < 2 and (member.leaf not in ("weight", "kernel", "w") or self._is_gating(member)):
            return Verdict("other_param", "rank")
        if layer.meaning == "gate" and len(member.shape) == 2 and len(layer.members) == 1:
            return Verdict("other_param", "module name")
        if layer.has("rnn_weight"):
            return Verdict("rnn_weight", "sibling shapes")
        return self._lookup(member, layer) or Verdict("weight", "rank")

    def _is_gating(self, member: Member) -> bool:
        """Whether a vector that broadcasts over a map, [1, channels, 1, …], is ones: it only multiplies."""
        values = self.statistics.get(member.name)
        broadcasts = len(member.shape) > 2 and member.shape[0] == 1
        return broadcasts and values is not None and values.is_constant and values.mean == 1

    def _lookup(self, member: Member, layer: Layer) -> Verdict | None:
        """Whether a matrix is looked up in rather than multiplied by: it has no bias then, and its rows are a width."""
        shape = member.shape
        if layer.has("bias", "shift", "part") or member.meaning == "projection" or len(layer.members) > 1:
            return None
        named, bare = layer.meaning, member.leaf != "weight"
        if len(shape) != 2:
            return Verdict("positional", "module name") if named == "position" and bare else None
        entries, width = shape
        if named in ("position", "table"):
            if entries < width and not self.widths.meet(width, apart_from=shape):
                return None  # it leads from a new width into a known one
            if entries < min(width, 32) and "bias" in layer.words:
                return None  # few heads read many offsets; a table has many offsets
            return Verdict("positional" if named == "position" else "embedding", "module name")
        if named == "matrix" and not _TABLES.isdisjoint(layer.words) and width < entries:
            values = self.statistics.get(member.name)  # "to embed" may be either: as torch draws them, they differ
            return Verdict("embedding", "values") if values is not None and _is_standard(values) else None
        if named == "matrix" or bare:
            return None
        around = layer.surname
        if around in ("position", "table") and entries not in self.widths.signals:
            return Verdict("positional" if around == "position" else "embedding", "name of the module around")
        return None if layer.is_numbered else self._nameless_lookup(member)

    def _nameless_lookup(self, member: Member) -> Verdict | None:
        """Whether a matrix without a telling name is looked up in: its rows are as wide as a signal."""
        shape = member.shape
        entries, width = shape
        if self.widths.nameless[shape] > 1 or self.widths.meet(entries, apart_from=shape):
            return None  # of two for one vocabulary, one leads out of it
        if entries in self.vocabularies:
            return Verdict("embedding", "config")
        values = self.statistics.get(member.name)
        if values is not None and _is_standard(values):
            return Verdict("embedding", "values")
        fused = entries < 2 * width or entries % width == 0
        read = self.widths.meet(width, apart_from=shape)
        return Verdict("embedding", "widths") if read and not fused else None


def _is_standard(values: Statistics) -> bool:
    """Whether values look drawn from N(0, 1): torch's lookup tables are, and no matrix is."""
    error = 3 / math.sqrt(values.count)
    return abs(values.mean) < 0.05 + error and abs(values.std - 1) < 0.05 + error


def _has_matrix(layer: Layer) -> bool:
    """Whether a layer has a weight that is no vector, nor of the shape of its shift."""
    shifts = {*layer.shapes.get("bias", ()), *layer.shapes.get("shift", ())}
    return any(
        len(member.core) > 1 and member.shape not in shifts
        for member in layer.members
        if member.meaning in ("weight", "projection", "rnn_weight")
    )


def _offset(member: Member, layer: Layer, norm: Verdict | None) -> Verdict:
    """The role of a bias or shift: a norm's if its layer is one."""
    if len(member.shape) >= 3 and member.shape[-1] == member.shape[-2] > 1:
        return Verdict("buffer", "rank")  # an attention mask that is called a bias
    if norm is not None:
        return Verdict("norm_shift", norm.evidence)
    if member.meaning == "shift":
        return Verdict("other_param", "leaf name")
    if layer.has("rnn_weight"):
        return Verdict("rnn_bias", "sibling shapes")
    if len(layer.members) == 1 and (math.prod(member.shape) == 1 or len(member.core) > 1) and not layer.stem:
        return Verdict("other_param", "rank")  # a logit's offset, or a table of offsets, as wide as no layer around it
    return Verdict("bias", "leaf name")


def _table(member: Member, layer: Layer) -> Verdict:
    """The role of a tensor that is itself called an embedding, as in Flax and Keras or as a bare parameter."""
    around = meanings.module(meanings.words(layer.path[-2])) if len(layer.path) > 1 else "nothing"
    if "position" in (layer.meaning, around):
        return Verdict("positional", "module name")
    if len(member.core) <= 1:
        return Verdict("token", "rank")
    return Verdict("embedding" if len(member.shape) == 2 else "positional", "rank")


def agree(layers: Sequence[Layer], verdicts: Sequence[list[Verdict]], blocks: Blocks) -> list[list[Verdict]]:
    """The verdicts, with vectors that only their values told apart taken for what most of their place are.

    A norm's scale that was drawn at random is still one where those of the other blocks are ones.
    """
    places: dict[tuple[str, tuple[int, ...]], Counter[bool]] = {}
    for layer, roles in zip(layers, verdicts, strict=True):
        for member, verdict in zip(layer.members, roles, strict=True):
            if verdict.evidence in _DOUBTFUL:
                places.setdefault((blocks.place(member.name), member.shape), Counter())[
                    verdict.role == "norm_scale"
                ] += 1
    norms = {at for at, votes in places.items() if votes[True] > votes[False] > 0}
    return [
        [
            Verdict("norm_scale", "siblings")
            if verdict.evidence in _DOUBTFUL and (blocks.place(member.name), member.shape) in norms
            else verdict
            for member, verdict in zip(layer.members, roles, strict=True)
        ]
        for layer, roles in zip(layers, verdicts, strict=True)
    ]


_DOUBTFUL = ("values", "rank")
"""Evidence that a fault may have forged, or that is none."""
