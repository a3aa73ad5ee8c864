"""What the type of a module says of its tensors: kind, role, layout and fans, without a guess.

A name can mislead (a `Linear` called ``norm``), a type cannot. What a type leaves open, such as whether an `Embedding`
holds tokens or positions, is the name's to say, and so is all of a module whose type is not known.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from initaudit.layers.shapes import Fans, fans
from initaudit.layers.values import Kind, Layout, Part, Role
from initaudit.modules.holdings import Holding
from initaudit.names import meanings

NORMS = (
    nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase,
)  # fmt: skip
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

IN_OUT = frozenset({"transformers.pytorch_utils.Conv1D", "transformers.modeling_utils.Conv1D"})
"""Types outside torch that multiply by [in, out]: GPT-2's `Conv1D`, in its old and its new place."""

TABLES: tuple[Role, ...] = ("embedding", "positional", "token")
"""What an `Embedding` may hold, as its name says."""

RUNNING = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, slots=True)
class Known:
    """What a type settles about one of its tensors; ``shape`` is that of the whole tensor."""

    kind: Kind
    role: Role
    shape: tuple[int, ...]
    layout: Layout = "none"
    groups: int = 1
    fans: Fans = field(default_factory=Fans)


def settle(holding: Holding, named: Part) -> Part:
    """What a tensor is, by its owner's type as far as that is known, else as ``named`` after names and shapes."""
    if holding.owner is None:
        return named
    evidence = f"type {type_before_parametrizations(holding.owner).__name__}"
    if holding.is_part:
        return replace(named, role="other_param", layout="none", fan_in=None, fan_out=None, groups=1, evidence=evidence)
    known = known_of(holding.owner).get(holding.leaf)
    if known is None or known.shape != holding.shape:
        return _by_registration(holding, named)
    kind, role = known.kind, known.role
    if role == "weight" and named.kind == "adapter":
        kind = "adapter"  # what a layer is used for is not in its type
    if role == "embedding" and named.role in TABLES:
        role = named.role
    inputs, outputs = known.fans.fan_in, known.fans.fan_out
    return Part(named.layer, kind, role, known.layout, inputs, outputs, known.groups, evidence)


def in_shape(holding: Holding) -> Holding:
    """The same with the shape of the whole tensor, where the first FSDP left a flat piece and the type tells."""
    known = known_of(holding.owner).get(holding.leaf) if holding.is_flat and holding.owner is not None else None
    values, size = holding.values, math.prod(known.shape) if known is not None else 0
    if known is None or values is None or holding.is_part or values.dim() != 1 or values.numel() > size:
        return holding
    return replace(holding, shape=known.shape, values=values.view(known.shape) if values.numel() == size else values)


def known_of(module: nn.Module) -> Mapping[str, Known]:
    """What a module's type says of the tensors it owns, by leaf; nothing for types that are not known."""
    match module:
        case nn.Linear():
            sizes = module.out_features, module.in_features
            return {"weight": _multiplier("linear", sizes), "bias": Known("linear", "bias", sizes[:1])}
        case nn.Bilinear():
            sizes3 = module.out_features, module.in1_features, module.in2_features
            pairs = Fans(module.in1_features * module.in2_features, module.out_features)
            weight = Known("bilinear", "weight", sizes3, "out_in", fans=pairs)
            return {"weight": weight, "bias": Known("bilinear", "bias", sizes3[:1])}
        case _ if isinstance(module, CONVOLUTIONS):
            shape = module.out_channels, module.in_channels // module.groups, *module.kernel_size
            weight = _multiplier("conv", shape, groups=module.groups)
            return {"weight": weight, "bias": Known("conv", "bias", (module.out_channels,))}
        case _ if isinstance(module, TRANSPOSED):
            shape = module.in_channels, module.out_channels // module.groups, *module.kernel_size
            weight = _multiplier("conv_transposed", shape, "conv_transposed", module.groups)
            return {"weight": weight, "bias": Known("conv_transposed", "bias", (module.out_channels,))}
        case nn.Embedding() | nn.EmbeddingBag():
            table = module.num_embeddings, module.embedding_dim
            return {"weight": Known("embedding", "embedding", table, "embedding", fans=Fans(None, table[1]))}
        case _ if isinstance(module, NORMS):
            return _norm(module)
        case nn.RNNBase() | nn.RNNCellBase():
            return _recurrent(module)
        case nn.MultiheadAttention():
            return _attention(module)
        case nn.PReLU():
            return {"weight": Known("other", "other_param", (module.num_parameters,))}
    return _by_name_of_type(module)


def _multiplier(kind: Kind, shape: tuple[int, ...], layout: Layout = "out_in", groups: int = 1) -> Known:
    return Known(kind, "weight", shape, layout, groups, fans(shape, layout, groups))


def _norm(module: nn.Module) -> dict[str, Known]:
    roles: dict[str, Role] = {"weight": "norm_scale", "bias": "norm_shift", **dict.fromkeys(RUNNING, "running_stat")}
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return {leaf: Known("norm", roles[leaf], tuple(tensor.shape)) for leaf, tensor in own if leaf in roles}


def _recurrent(module: nn.RNNBase | nn.RNNCellBase) -> dict[str, Known]:
    known = {}
    for leaf, tensor in module.named_parameters(recurse=False):
        shape = tuple(tensor.shape)
        if leaf.startswith("weight_"):
            known[leaf] = Known("recurrent", "rnn_weight", shape, "out_in", fans=fans(shape, "out_in"))
        elif leaf.startswith("bias_"):
            known[leaf] = Known("recurrent", "rnn_bias", shape)
    return known


def _attention(module: nn.MultiheadAttention) -> dict[str, Known]:
    width = module.embed_dim
    return {
        "in_proj_weight": _multiplier("attention", (3 * width, width)),
        "q_proj_weight": _multiplier("attention", (width, width)),
        "k_proj_weight": _multiplier("attention", (width, module.kdim)),
        "v_proj_weight": _multiplier("attention", (width, module.vdim)),
        "in_proj_bias": Known("attention", "bias", (3 * width,)),
        "bias_k": Known("embedding", "token", (1, 1, width)),
        "bias_v": Known("embedding", "token", (1, 1, width)),
    }


def _by_name_of_type(module: nn.Module) -> dict[str, Known]:
    """What the name of a type says that is not torch's: `Conv1D` of GPT-2, and norms of whatever make."""
    own = {leaf: tuple(parameter.shape) for leaf, parameter in module.named_parameters(recurse=False)}
    if f"{type(module).__module__}.{type(module).__qualname__}" in IN_OUT and len(own.get("weight", ())) == 2:
        shape = own["weight"]
        return {
            "weight": _multiplier("linear", shape, "in_out"),
            "bias": Known("linear", "bias", shape[1:]),
        }
    if meanings.module(meanings.words(type(module).__name__)) != "norm" or any(module.children()):
        return {}
    if any(sum(size > 1 for size in shape) > 1 for shape in own.values()):
        return {}
    meant = {leaf: meanings.leaf(leaf) for leaf in own}
    scales = {leaf: Known("norm", "norm_scale", own[leaf]) for leaf, meaning in meant.items() if meaning in _SCALES}
    shifts = {leaf: Known("norm", "norm_shift", own[leaf]) for leaf, meaning in meant.items() if meaning in _SHIFTS}
    return scales | shifts


_SCALES, _SHIFTS = ("weight", "scale"), ("bias", "shift")


def _by_registration(holding: Holding, named: Part) -> Part:
    """What it says of a tensor that it was registered as a buffer, or as a parameter that is trained."""
    if holding.is_buffer and named.role not in ("running_stat", "buffer"):
        return replace(named, role="buffer", evidence="registered as a buffer")
    if holding.is_trained and named.role == "buffer":
        return replace(named, role="other_param", evidence="registered as a parameter")
    return named
