"""Safetensors files that hold slices of tensors, joined: the files of a folder say where in the whole each begins.

How long the whole is they do not say, so that it ends where the last slice does; files are numbered, and one that is
missing between others shows.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from initaudit.checkpoint.dcp_folder import Joint, placed_one_behind_the_other
from initaudit.checkpoint.header import read_described, read_metadata
from initaudit.checkpoint.slices import SHARDING, saved_offsets
from initaudit.checkpoint.tiling import TilingError, require_tiling
from initaudit.checkpoint.values import Entry, Part, Piece, Shard
from initaudit.errors import CheckpointError

NUMBERED = re.compile(r"shard-(\d+)-.*\.safetensors")
"""How torch names the file of a process, from 1 on."""


def sliced_files(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Those of some files that make up tensors together; none if each holds whole ones."""
    sharded, sizes, is_sliced = [], {}, False
    for path in paths:
        if path.suffix != ".safetensors":
            continue
        try:
            metadata = read_metadata(path)
        except CheckpointError:  # what is wrong with it is said of it
            continue
        if not isinstance(metadata, Mapping) or SHARDING not in metadata:
            continue
        sharded.append(path)
        for name, offsets in (saved_offsets(metadata) or {}).items():
            is_sliced = is_sliced or any(offsets) or name in sizes
            sizes[name] = offsets
    return tuple(sharded) if is_sliced else ()


def join_slices(folder: Path, paths: Sequence[Path], placed: Mapping[Path, Path] | None = None) -> Joint:
    """The tensors that some files of a folder make up.

    Raises:
        CheckpointError: a file cannot be read, or the slices do not make up tensors.

    """
    _require_all(folder, paths)
    parts: list[Part] = []
    pieces: dict[str, list[Piece]] = defaultdict(list)
    dtypes: dict[str, str] = {}
    widths: dict[str, int] = {}
    for named in paths:
        path = (placed or {}).get(named, named)
        shard, metadata = read_described(path)
        offsets = saved_offsets(metadata)
        if offsets is None:
            raise CheckpointError(path, f"its {SHARDING} cannot be read, so it is not known what its slices are")
        for entry in shard.entries:
            at = offsets.get(entry.name)
            if at is None or len(at) != len(entry.shape):
                raise CheckpointError(path, f"does not say where its slice of {entry.name[:200]!r} begins: damaged")
            if dtypes.setdefault(entry.name, entry.dtype) != entry.dtype:
                said = f"{entry.dtype}, elsewhere {dtypes[entry.name]}"
                raise CheckpointError(path, f"a slice of {entry.name[:200]!r} is {said}: damaged")
            if entry.count:
                widths[entry.name] = entry.size // entry.count
            pieces[entry.name].append(Piece(len(parts), at, entry.shape, entry.begin))
        parts.append(Part(path, shard.stamp))
    entries = placed_one_behind_the_other(
        _joined(folder, name, dtypes[name], widths.get(name, 0), found) for name, found in pieces.items()
    )
    return Joint(Shard(parts[0].path, parts[0].stamp, tuple(entries), parts=tuple(parts)))


def _joined(folder: Path, name: str, dtype: str, width: int, pieces: list[Piece]) -> Entry:
    ranks = {len(piece.sizes) for piece in pieces}
    if len(ranks) > 1:
        raise CheckpointError(
            folder, f"slices of {name[:200]!r} have {' and '.join(map(str, sorted(ranks)))} dimensions"
        )
    ends = ([o + size for o, size in zip(piece.offsets, piece.sizes, strict=True)] for piece in pieces)
    shape = tuple(map(max, zip(*ends, strict=True)))
    filled = [piece for piece in pieces if 0 not in piece.sizes]
    try:
        require_tiling(shape, [(piece.offsets, piece.sizes) for piece in filled])
    except TilingError as error:
        raise CheckpointError(folder, f"tensor {name[:200]!r} {error}") from error
    entry = Entry(name, dtype, shape, pieces=tuple(sorted(filled, key=lambda piece: piece.offsets)))
    return Entry(name, dtype, shape, 0, entry.count * width, pieces=entry.pieces)


def _require_all(folder: Path, paths: Iterable[Path]) -> None:
    """See that none of the files is missing between others, as far as their numbers tell."""
    numbers = {int(found[1]) for path in paths if (found := NUMBERED.fullmatch(path.name)) is not None}
    missing = next((number for number in range(1, max(numbers, default=0)) if number not in numbers), None)
    if missing is not None:
        raise CheckpointError(folder, f"lacks the file shard-{missing:05}-…: is a save or download complete?")
