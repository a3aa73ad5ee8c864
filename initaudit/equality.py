"""Tensors that are equal to others: what confirms it, and which of them are one tensor that was stored twice."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

from initaudit.checkpoint import Checkpoint, Entry, Shard
from initaudit.checkpoint.sources import open_sources
from initaudit.layers.values import Part
from initaudit.statistics import PIECE_BYTES, Statistics, exact_key

TABLES = ("embedding", "weight")
"""What a table of embeddings may be tied to: another one, or the weight of a head."""


def with_keys(checkpoint: Checkpoint, statistics: Mapping[str, Statistics]) -> dict[str, Statistics]:
    """The same, with exact keys of those tensors that are no constants and look like another: these are read again.

    Raises:
        CheckpointError: a file cannot be read to its end, or was changed meanwhile.

    """
    alike: dict[object, list[str]] = defaultdict(list)
    for entry in checkpoint.entries:
        values = statistics.get(entry.name)
        if values is not None and not values.is_constant:
            # What does not depend on the order in which something is added up.
            extremes = values.minimum, values.maximum, values.zeros, values.nonfinite
            alike[entry.shape, entry.dtype, extremes, values.sample].append(entry.name)
    wanted = {name for names in alike.values() if len(names) > 1 for name in names}
    found = dict(statistics)
    for shard in checkpoint.shards:
        for name, key in _keys(shard, [entry for entry in shard.entries if entry.name in wanted]):
            found[name] = replace(found[name], key=key)
    return found


def _keys(shard: Shard, entries: list[Entry]) -> Iterator[tuple[str, int]]:
    if entries:
        with open_sources(shard, PIECE_BYTES) as sources:
            for entry in entries:
                yield entry.name, exact_key(sources.at(entry), entry)


def with_ties(checkpoint: Checkpoint, statistics: Mapping[str, Statistics], parts: Mapping[str, Part]) -> Checkpoint:
    """The same, with what was stored twice because it is tied to a table of embeddings marked as sharing its bytes.

    ``torch.distributed.checkpoint`` stores each name by itself, so that nothing else tells of a tie. A configuration
    may say that there is none.
    """
    if checkpoint.config.get("tie_word_embeddings") is False:
        return checkpoint
    equal: dict[object, list[str]] = defaultdict(list)
    for entry in (entry for shard in checkpoint.shards if shard.parts for entry in shard.entries):
        values = statistics.get(entry.name)
        if values is not None and values.key is not None and parts[entry.name].role in TABLES:
            equal[entry.shape, entry.dtype, values.key].append(entry.name)
    owners: dict[str, str] = {}
    for names in equal.values():
        tables = [name for name in names if parts[name].role == "embedding"]
        if tables:
            owner = min(tables, key=lambda name: (len(name), name))  # a module's own table, not that of a part of it
            owners |= {name: owner for name in names if name != owner}
    if not owners:
        return checkpoint
    shards = (
        replace(s, entries=tuple(replace(e, shared_with=owners.get(e.name, e.shared_with)) for e in s.entries))
        for s in checkpoint.shards
    )
    return replace(checkpoint, shards=tuple(shards))
