"""What a tensor is: the words of `inspect`, and the evidence behind them."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "linear", "conv", "conv_transposed", "bilinear", "embedding", "norm", "recurrent", "attention", "experts", "ssm",
    "adapter", "other", "unknown",
]  # fmt: skip
Role = Literal[
    "weight", "bias", "norm_scale", "norm_shift", "running_stat", "embedding", "positional", "token", "rnn_weight",
    "rnn_bias", "buffer", "other_param", "unknown",
]  # fmt: skip
Layout = Literal["out_in", "in_out", "conv_transposed", "embedding", "expert_3d", "none"]


@dataclass(frozen=True, slots=True)
class Part:
    """What one tensor is within its layer.

    ``layer`` is the name of the module that owns the tensor (the tensor's name without its leaf). ``fan_in`` is the
    number of inputs that feed one output unit and ``fan_out`` the number of outputs that one input feeds, receptive
    field included; both are None where a fan has no meaning. ``evidence`` says in a few words what settled it.
    """

    layer: str
    kind: Kind
    role: Role
    layout: Layout
    fan_in: int | None
    fan_out: int | None
    groups: int
    evidence: str
