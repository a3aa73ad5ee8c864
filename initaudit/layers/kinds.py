"""The kind of a layer, from the roles and layouts of its members."""

from collections.abc import Sequence

from initaudit.names import meanings

from .choices import Choice
from .grouping import Layer, Member
from .roles import Verdict
from .values import Kind, Role

_OF_ROLES: tuple[tuple[Role, Kind], ...] = (
    ("norm_scale", "norm"),
    ("norm_shift", "norm"),
    ("running_stat", "norm"),
    ("rnn_weight", "recurrent"),
    ("rnn_bias", "recurrent"),
    ("embedding", "embedding"),
    ("positional", "embedding"),
    ("token", "embedding"),
)
"""What one member of such a role makes of its layer, the strongest first."""


def kind_of(layer: Layer, verdicts: Sequence[Verdict], choices: Sequence[Choice | None]) -> Kind:
    """The kind of the layer that has members of these roles and layouts."""
    if any(meanings.module(meanings.words(segment)) == "adapter" for segment in layer.path[-3:]):
        return "adapter"
    for member, choice in zip(layer.members, choices, strict=True):
        if member.meaning in ("factor", "adapter"):
            return "adapter"
        if choice is not None and all(verdict.role != "rnn_weight" for verdict in verdicts):
            return _of_weight(layer, member, choice)
    roles = {verdict.role for verdict in verdicts}
    for role, kind in _OF_ROLES:
        if role in roles:
            return kind
    if any(member.meaning == "state" for member in layer.members):
        return "ssm"
    if roles == {"unknown"}:
        return "unknown"
    return "linear" if roles == {"bias"} else "other"


def _of_weight(layer: Layer, member: Member, choice: Choice) -> Kind:
    """The kind of a layer that multiplies."""
    if choice.layout == "expert_3d":
        return "experts"
    if choice.layout == "conv_transposed":
        return "conv_transposed"
    if layer.meaning == "bilinear" and len(member.shape) == 3:
        return "bilinear"
    if layer.words == ("in", "proj") and member.leaf != "weight":
        return "attention"  # torch's packed projection of queries, keys and values
    if choice.evidence == "shapes of the heads":
        return "attention"
    return "conv" if len(member.shape) > 2 else "linear"
