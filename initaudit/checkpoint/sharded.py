"""A checkpoint in shards: an index that maps each tensor to its file, held against the files both ways."""

from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from initaudit.checkpoint.files import read_text
from initaudit.checkpoint.header import parse_strictly, require_few_values
from initaudit.checkpoint.opening import SUFFIXES, Format, Opened, open_weights
from initaudit.checkpoint.values import Aside, Shard
from initaudit.errors import CheckpointError

INDEX_SUFFIX = ".index.json"
MAX_INDEX_BYTES = 100_000_000  # as for a header: 100,000 names of 1,000 characters


@dataclass(frozen=True, slots=True)
class Index:
    """The shards that an index names, in the order of their names, and notes about what does no harm."""

    format: Format
    shards: tuple[Shard, ...]
    notes: tuple[str, ...]
    aside: tuple[Aside, ...]
    unread: tuple[str, ...]


def read_index(path: Path) -> Index:
    """An index and its shards.

    Raises:
        CheckpointError: the index is not one, a shard is missing or unreadable, or index and shards disagree.

    """
    index = _load(path)
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise CheckpointError(path, "has no weight_map from tensor names to file names")
    if not weight_map:
        raise CheckpointError(path, "its weight_map is empty")
    suffix = _suffix_of_shards(path)
    shards: list[Shard] = []
    aside: list[Aside] = []
    notes: list[str] = []
    unread: list[str] = []
    owner: dict[str, str] = {}
    for file in sorted(set(weight_map.values())):
        opened = _open_shard(path, file, suffix)
        if opened.format != SUFFIXES[suffix]:
            raise CheckpointError(path, f"names the shard {file[:200]!r}, which is not what the suffix {suffix} says")
        shard = opened.shard
        aside += opened.aside
        notes += [f"{file[:200]}: {note}" for note in opened.notes]
        unread += [f"{file[:200]}: {why}" for why in opened.unread]
        for entry in shard.entries:
            if entry.name in owner:
                raise CheckpointError(
                    path, f"tensor {entry.name[:200]!r} is in two shards, {owner[entry.name]} and {file}"
                )
            if entry.name not in weight_map:
                raise CheckpointError(
                    path, f"shard {file} holds tensor {entry.name[:200]!r}, which the weight_map lacks"
                )
            owner[entry.name] = file
        shards.append(shard)
    for name, file in weight_map.items():
        if owner.get(name) != file:
            found = f"is in {owner[name]}" if name in owner else "is in no shard"
            raise CheckpointError(path, f"the weight_map places tensor {name[:200]!r} in {file[:200]}, but it {found}")
    notes += _size_notes(index, shards)
    return Index(SUFFIXES[suffix], tuple(shards), tuple(notes), tuple(aside), tuple(unread))


def shards_named_by(path: Path) -> list[Path]:
    """The files that an index names, as far as it can be read: those of one that is not whole are no checkpoints."""
    try:
        weight_map = _load(path).get("weight_map")
    except CheckpointError:
        return []
    files = {file for file in weight_map.values() if isinstance(file, str)} if isinstance(weight_map, dict) else set()
    suffix = _suffix_of_shards(path)
    found = []
    for file in sorted(files):
        try:
            found.append(_shard_path(path, file, suffix))
        except CheckpointError:  # it leads out of the folder
            continue
    return found


def _suffix_of_shards(index: Path) -> str:
    suffix = Path(index.name.removesuffix(INDEX_SUFFIX)).suffix
    return suffix if suffix in SUFFIXES else ".safetensors"


def _open_shard(index: Path, name: str, suffix: str) -> Opened:
    """A shard that an index names; where it cannot be opened, it is said who asks for it."""
    path = _shard_path(index, name, suffix)
    try:
        return open_weights(path)
    except CheckpointError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise CheckpointError(
                path, f"{error.reason}, but {index.name} names it: is a download complete?"
            ) from error
        raise


def _load(path: Path) -> dict[str, Any]:
    """The parsed index, at most `MAX_INDEX_BYTES` long."""
    try:
        text = read_text(path, limit=MAX_INDEX_BYTES)
        require_few_values(path, text)
        index = parse_strictly(text)
    except ValueError as error:
        raise CheckpointError(path, f"is not as JSON should be ({error})") from error
    if not isinstance(index, dict):
        raise CheckpointError(path, "is not a JSON object")
    return index


def _shard_path(index: Path, name: str, suffix: str) -> Path:
    """The file that an index names, if the name stays inside the index's folder.

    Names are read by Windows' rules on every system, since those know all the ways out: drives, UNC shares, both
    slashes. A link that is itself inside the folder may lead anywhere, as those of hub caches do.
    """
    parts = PureWindowsPath(name)
    if not name or parts.drive or parts.root or ".." in parts.parts:
        raise CheckpointError(index, f"names the shard {name[:200]!r}: must be a path inside the folder, without '..'")
    if parts.suffix != suffix:
        raise CheckpointError(index, f"names the shard {name[:200]!r}, which is not a {suffix} file")
    return index.parent.joinpath(*parts.parts)


def _size_notes(index: dict[str, Any], shards: list[Shard]) -> tuple[str, ...]:
    """A note where `metadata.total_size` is not the size of the tensors; writers are known to get it wrong."""
    metadata = index.get("metadata")
    stated = metadata.get("total_size") if isinstance(metadata, dict) else None
    entries = [entry for shard in shards for entry in shard.entries]
    actual = sum(entry.size for entry in entries if not entry.shared_with)
    with_copies = sum(entry.size for entry in entries)
    if isinstance(stated, int | float) and stated not in (actual, with_copies):
        return (f"the index says total_size {stated:,}, the tensors have {actual:,} bytes",)
    return ()
