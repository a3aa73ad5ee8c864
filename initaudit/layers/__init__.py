"""What each tensor is: its layer, role, layout and fans."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from initaudit.checkpoint.values import Entry
from initaudit.names import Blocks
from initaudit.statistics.values import Statistics

from .choices import Choice, plain
from .grouping import Layer, Member, group
from .kinds import kind_of
from .layouts import Arrangement
from .neighbours import Surroundings, Widths
from .roles import Judge, Verdict, agree
from .values import Kind, Part

__all__ = ["understand"]


def understand(
    entries: Sequence[Entry],
    statistics: Mapping[str, Statistics],
    config: Mapping[str, Any],
    blocks: Blocks | None = None,
) -> dict[str, Part]:
    """What every tensor of one checkpoint is, by name; ``statistics`` may lack some, and ``config`` is only a hint.

    ``blocks`` is the tree of its names, built from the entries if it is not given.
    """
    blocks = blocks or Blocks(entry.name for entry in entries)
    layers = group(entries, blocks)
    widths = Widths.of(layers)
    branches = frozenset(layer.path[:depth] for layer in layers for depth in range(len(layer.path)))
    averaged = frozenset(layer.owner for layer in layers if layer.has("average"))
    judge = Judge(statistics, widths, frozenset(_vocabularies(config)), branches, averaged)
    verdicts = agree(layers, [judge.judge(layer) for layer in layers], blocks)
    weights = [
        (layer, member)
        for layer, roles in zip(layers, verdicts, strict=True)
        for member, verdict in zip(layer.members, roles, strict=True)
        if verdict.role in ("weight", "rnn_weight") and len(member.shape) >= 2 and 0 not in member.shape
    ]
    choices = Arrangement(Surroundings.of(layers, weights), widths).choose(weights)
    parts: dict[str, Part] = {}
    for layer, roles in zip(layers, verdicts, strict=True):
        chosen = [choices.get(member.name) for member in layer.members]
        kind = kind_of(layer, roles, chosen)
        for member, verdict, choice in zip(layer.members, roles, chosen, strict=True):
            parts[member.name] = _part(layer, member, kind, verdict, choice)
    return parts


def _part(layer: Layer, member: Member, kind: Kind, verdict: Verdict, choice: Choice | None) -> Part:
    """What a tensor is, from what was found out about it and its layer."""
    if choice is None:
        named = verdict.role in ("embedding", "positional") and member.meaning in ("weight", "table")
        lookup = named and len(member.shape) == 2
        choice = plain(member.shape, "embedding" if lookup else "none", verdict.evidence)
    return Part(
        layer=layer.owner,
        kind=kind,
        role=verdict.role,
        layout=choice.layout,
        fan_in=choice.fans.fan_in,
        fan_out=choice.fans.fan_out,
        groups=choice.groups,
        evidence=choice.evidence,
    )


def _vocabularies(config: Mapping[str, Any]) -> Iterator[int]:
    """The sizes of vocabularies that a config names, at its top or one level below."""
    for section in (config, *(value for value in config.values() if isinstance(value, Mapping))):
        size = section.get("vocab_size")
        if isinstance(size, int) and size > 1:
            yield size
