"""Where a model's residual stream runs: the tables that start it, its blocks with their branches, norms and head."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from initaudit.architectures import ZERO_CENTRED_NORMS, architecture_of
from initaudit.model import Model, Tensor
from initaudit.names.meanings import words
from initaudit.names.segments import segments

QUERIES, KEYS, VALUES = (
    frozenset(("q", "query", "queries", "wq")),
    frozenset(("k", "key", "keys", "wk")),
    frozenset(("v", "value", "values", "wv")),
)
FUSED = frozenset(("qkv", "wqkv"))
"""Words of the layers that give queries, keys and values; no shape tells which is which."""


@dataclass(frozen=True, slots=True)
class Branches:
    """The matrices of one block: those of its attention, and those of its feed-forward part.

    ``value`` may hold queries and keys as well, and then lies in the last ``share`` of its units. ``rising`` are the
    matrices that widen, two where one gates the other; or one that holds both, and then it ``is_packed``.
    """

    value: Tensor
    share: int
    output: Tensor
    rising: tuple[Tensor, ...]
    is_packed: bool
    falling: Tensor

    @property
    def is_gated(self) -> bool:
        """Whether one half of what is widened gates the other."""
        return self.is_packed or len(self.rising) > 1


@dataclass(frozen=True, slots=True)
class Stream:
    """The blocks of a model that adds their branches to one stream, normalised before each branch alone."""

    width: int
    blocks: tuple[Branches, ...]
    norm: float
    """The root mean square of the scales of the blocks' norms."""


def stream_of(model: Model) -> Stream | None:
    """The residual stream of a model with one list of blocks that normalise what they read; None for any other."""
    return model.remember(_stream)


def final_scale(model: Model, width: int) -> float | None:
    """The root mean square of what the last norm gives: that of its scale, None where no norm is known to be last.

    It stands outside of all blocks, and not beside the tables of tokens, as where blocks normalise what they give.
    """
    beside = {tensor.parent for tensor in model.tensors if tensor.part.role == "embedding"}
    outside = [
        scale_rms(tensor, model)
        for tensor in model.tensors
        if tensor.part.role == "norm_scale"
        and tensor.count == width
        and block_of(tensor, model) is None
        and (tensor.parent not in beside or "embed" not in tensor.parent.lower())
    ]
    if not outside or max(outside) > 1.01 * min(outside):
        return None
    return outside[0]


def scale_rms(tensor: Tensor, model: Model) -> float:
    """The root mean square by which the scale of a norm multiplies; one is added where the architecture does so."""
    moments = tensor.statistics.moments
    added = 1.0 if architecture_of(model.config) in ZERO_CENTRED_NORMS else 0.0
    return math.hypot(moments.std, moments.mean + added)


def block_of(tensor: Tensor, model: Model) -> tuple[str, int, tuple[str, ...]] | None:
    """The stack that a tensor stands in, the number of its block, and the rest of its layer's name; None outside."""
    stack = model.blocks.stack(tensor.name)
    first, *rest = segments(tensor.part.layer[len(stack) :].lstrip("./"))
    return (stack, int(first), tuple(rest)) if stack and first.isdecimal() else None


def _stream(model: Model) -> Stream | None:
    lists: dict[str, dict[int, list[tuple[tuple[str, ...], Tensor]]]] = {}
    for tensor in model.tensors:
        at = block_of(tensor, model)
        if at is not None:
            lists.setdefault(at[0], {}).setdefault(at[1], []).append((at[2], tensor))
    attending = [blocks for blocks in lists.values() if any(map(_attends, blocks.values()))]
    if len(attending) != 1:
        return None
    blocks = [_branches(attending[0][number]) for number in sorted(attending[0])]
    found = [block for block in blocks if block is not None]
    if not found or len(found) < len(blocks):
        return None
    width = found[0].value.part.fan_in or 0
    held = [tensor for block in attending[0].values() for _, tensor in block]
    norms = [tensor for tensor in held if tensor.part.role == "norm_scale" and tensor.count == width]
    scaled = any(tensor.part.role == "other_param" and tensor.count in (1, width) for tensor in held)
    if scaled or len(norms) not in (len(found), 2 * len(found)) or final_scale(model, width) is None:
        return None  # a gate that is not known, norms behind the branches, or none at the end
    if _is_normed_at_once(model, width):
        return None
    return Stream(width, tuple(found), math.fsum(scale_rms(tensor, model) for tensor in norms) / len(norms))


def _is_normed_at_once(model: Model, width: int) -> bool:
    """Whether the sum of the tables is normalised before the first block, as by models that normalise after each."""
    beside = {tensor.parent for tensor in model.tensors if tensor.part.role in ("embedding", "positional")}
    return any(
        tensor.part.role == "norm_scale"
        and tensor.count == width
        and block_of(tensor, model) is None
        and "embed" in tensor.part.layer.lower()
        and tensor.parent in beside
        for tensor in model.tensors
    )


def _attends(block: Sequence[tuple[tuple[str, ...], Tensor]]) -> bool:
    return any(_part(path, tensor) for path, tensor in block)


def _part(path: tuple[str, ...], tensor: Tensor) -> str:
    """Whether a weight gives ``queries``, ``keys``, ``values`` or all three (``fused``), by its name; else empty."""
    if not tensor.is_weight or len(tensor.shape) != 2 or not path:
        return ""
    if tensor.part.kind == "attention":
        return "fused" if tensor.leaf == "in_proj_weight" else ""
    said = set(words(path[-1]))
    if said & FUSED or path[-1] in ("c_attn", "query_key_value", "in_proj"):
        return "fused"
    named = [name for name, found in (("queries", QUERIES), ("keys", KEYS), ("values", VALUES)) if said & found]
    return named[0] if len(named) == 1 else "fused" if len(named) == 3 else ""


def _branches(block: Sequence[tuple[tuple[str, ...], Tensor]]) -> Branches | None:
    """The matrices of one block, None where they are not one attention and one feed-forward part."""
    weights = [(path, tensor) for path, tensor in block if tensor.is_weight]
    if any(len(tensor.shape) != 2 or tensor.part.fan_in is None for _, tensor in weights):
        return None
    parts = {tensor.name: _part(path, tensor) for path, tensor in weights}
    givers = [(path, tensor) for path, tensor in weights if parts[tensor.name] in ("values", "fused")]
    if len(givers) != 1:
        return None
    at, value = givers[0]
    home = at[0] if len(at) > 1 or value.part.kind == "attention" else None
    inside = [tensor for path, tensor in weights if home is not None and path[0] == home]
    outputs = [tensor for tensor in inside if not parts[tensor.name]]
    rest = [tensor for _, tensor in weights if tensor not in inside]
    width = value.part.fan_in
    if len(outputs) != 1 or outputs[0].part.fan_out != width:
        return None
    fed = _feed_forward(rest, width or 0)
    if fed is None:
        return None
    rising, falling, packed = fed
    return Branches(value, 3 if parts[value.name] == "fused" else 1, outputs[0], rising, packed, falling)


def _feed_forward(weights: Sequence[Tensor], width: int) -> tuple[tuple[Tensor, ...], Tensor, bool] | None:
    """What widens and what narrows again, by their fans alone, and whether the first holds a gate as well."""
    falling = [tensor for tensor in weights if tensor.part.fan_out == width and tensor.part.fan_in != width]
    if len(falling) != 1:
        return None
    inner, rising = falling[0].part.fan_in or 0, [tensor for tensor in weights if tensor is not falling[0]]
    if any(tensor.part.fan_in != width for tensor in rising) or len(rising) not in (1, 2):
        return None
    wide = {tensor.part.fan_out for tensor in rising}
    packed = len(rising) == 1 and wide == {2 * inner}
    return (tuple(rising), falling[0], packed) if packed or wide == {inner} else None


def tables_of(model: Model, width: int) -> Iterator[Tensor]:
    """The tables of tokens, positions and kinds that are added up to what the first block reads."""
    for tensor in model.tensors:
        if (
            tensor.part.role in ("embedding", "positional")
            and tensor.shape[-1:] == (width,)
            and block_of(tensor, model) is None
        ):
            yield tensor
