"""A folder of ``torch.distributed.checkpoint`` as one checkpoint: its chunks, held against what its metadata says."""

import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from initaudit.checkpoint import header
from initaudit.checkpoint.chunks import Stored, read_chunk
from initaudit.checkpoint.dcp_metadata import METADATA, Chunk, Metadata, Place, read_dcp_metadata
from initaudit.checkpoint.files import open_file
from initaudit.checkpoint.inert import Plain, SavedTensor
from initaudit.checkpoint.nesting import NestingError, StateDict, find_state_dict
from initaudit.checkpoint.slices import saved_offsets
from initaudit.checkpoint.tiling import TilingError, require_tiling
from initaudit.checkpoint.torch_dtypes import WIDTHS, code_of
from initaudit.checkpoint.values import Aside, Entry, Part, Piece, Shard, Stamp
from initaudit.errors import CheckpointError, errno_text

SUFFIX = ".distcp"

Placed = Mapping[Path, Path]
"""Where a file's copy is, which is read in its place."""


@dataclass(frozen=True, slots=True)
class Joint:
    """A checkpoint whose tensors are in pieces."""

    shard: Shard
    aside: tuple[Aside, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A chunk of a weight that is to be found: of the tensor of that name, at its place in a file."""

    name: str
    flat_name: str
    dtype: str
    chunk: Chunk
    place: Place


def is_dcp_folder(folder: Path, names: Set[str]) -> bool:
    """Whether a folder that holds these names is one of ``torch.distributed.checkpoint``, whole or not."""
    if any(name.endswith(SUFFIX) for name in names):
        return True
    try:
        if METADATA not in names or not (folder / METADATA).is_file():
            return False
        with (folder / METADATA).open("rb") as file:
            return file.read(1) == b"\x80"
    except OSError:
        return False


def read_dcp_folder(folder: Path, key: str | None = None, placed: Placed | None = None) -> Joint:
    """The checkpoint of a folder; ``key`` leads to the state dict where one is nested.

    Raises:
        CheckpointError: the folder is not whole, damaged, or holds something else.

    """
    path = folder / METADATA
    try:
        metadata = read_dcp_metadata(path)
    except CheckpointError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            why = f"has files of torch.distributed.checkpoint but no {METADATA}, which is written last: is it complete?"
            raise CheckpointError(folder, why) from error
        raise
    saved = {name: SavedTensor(planned.dtype, planned.shape) for name, planned in metadata.tensors.items()}
    found = _state_dict(folder, metadata, saved, key)
    flat = {id(tensor): name for name, tensor in found.tensors.items()}
    wanted: dict[str, list[Wanted]] = defaultdict(list)
    for flat_name, tensor in saved.items():
        if id(tensor) in flat:
            for one in _wanted(path, flat_name, flat[id(tensor)], metadata):
                wanted[one.place.file].append(one)
    parts: list[Part] = []
    pieces: dict[str, list[Piece]] = defaultdict(list)
    obstacles: dict[str, str] = {}
    for file in sorted(wanted):
        rows = sorted(wanted[file], key=lambda one: (one.place.begin, one.place.length))
        part, stored = _read_part(folder, file, rows, placed or {})
        for one, chunk in zip(rows, stored, strict=True):
            pieces[one.name].append(Piece(len(parts), one.chunk.offsets, one.chunk.sizes, chunk.begin, chunk.strides))
            obstacles[one.name] = obstacles.get(one.name) or chunk.obstacle
        parts.append(part)
    entries = placed_one_behind_the_other(
        Entry(
            name,
            code_of(tensor.dtype),
            tensor.shape,
            0,
            math.prod(tensor.shape) * WIDTHS[tensor.dtype],
            pieces=tuple(sorted(pieces[name], key=lambda piece: piece.offsets)),
            obstacle=obstacles.get(name, ""),
        )
        for name, tensor in found.tensors.items()
    )
    return Joint(Shard(path, metadata.stamp, tuple(entries), found.key, parts=tuple(parts)), found.aside)


def placed_one_behind_the_other(entries: Iterator[Entry]) -> Iterator[Entry]:
    """Entries in pieces in the order of where these lie, each with the bytes that it takes of the whole."""
    at = 0
    for entry in sorted(entries, key=lambda entry: [(piece.part, piece.begin) for piece in entry.pieces[:1]]):
        yield replace(entry, begin=at, end=at + entry.size)
        at += entry.size


def _state_dict(folder: Path, metadata: Metadata, saved: Mapping[str, SavedTensor], key: str | None) -> StateDict:
    """The weights among what was saved, at the places that they had there."""
    root: dict[str, Any] = {}
    for name, thing in [*saved.items(), *((name, Plain("object")) for name in metadata.others)]:
        *above, last = metadata.paths.get(name, (name,))
        inner = root
        for part in above:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise CheckpointError(folder / METADATA, f"places {name[:200]!r} within something else: damaged")
        if last in inner:
            raise CheckpointError(folder / METADATA, f"places two things where {name[:200]!r} is: damaged")
        inner[last] = thing
    try:
        return find_state_dict(root, lambda value: isinstance(value, SavedTensor), key)
    except NestingError as error:
        raise CheckpointError(folder, str(error)) from error


def _wanted(path: Path, flat_name: str, name: str, metadata: Metadata) -> Iterator[Wanted]:
    """The chunks of a tensor that have elements, once they are known to make it up."""
    planned = metadata.tensors[flat_name]
    chunks = [chunk for chunk in planned.chunks if 0 not in chunk.sizes]
    try:
        require_tiling(planned.shape, [(chunk.offsets, chunk.sizes) for chunk in chunks])
    except TilingError as error:
        raise CheckpointError(path, f"tensor {flat_name[:200]!r} {error}") from error
    for chunk in chunks:
        place = metadata.places.get((flat_name, chunk.offsets))
        if place is None:
            raise CheckpointError(
                path, f"tensor {flat_name[:200]!r} has a chunk at {list(chunk.offsets)[:20]} that is in no file"
            )
        if place.transforms:
            way = "save it without extensions"
            raise CheckpointError(
                path, f"tensor {flat_name[:200]!r} is packed by {place.transforms[:100]}, which is not read: {way}"
            )
        yield Wanted(name, flat_name, planned.dtype, chunk, place)


def path_within(folder: Path, name: str, by: Path) -> Path:
    """The file of a folder that a name leads to.

    Names are read by Windows' rules on every system, since those know all the ways out.

    Raises:
        CheckpointError: it leads out of the folder; ``by`` is the file that names it.

    """
    parts = PureWindowsPath(name)
    if not name or "\0" in name or parts.drive or parts.root or ".." in parts.parts:
        raise CheckpointError(by, f"names the file {name[:200]!r}: must be a path inside the folder, without '..'")
    return folder.joinpath(*parts.parts)


def _read_part(folder: Path, name: str, rows: list[Wanted], placed: Placed) -> tuple[Part, list[Stored]]:
    """A file of the folder, and what its chunks hold."""
    named = path_within(folder, name, folder / METADATA)
    path = placed.get(named, named)
    try:
        descriptor, status = open_file(path)
    except CheckpointError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise CheckpointError(
                path, f"{error.reason}, but {METADATA} names it: is a save or download complete?"
            ) from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        try:
            if header.is_plausible(file.read(header.START_BYTES), status.st_size):
                return Part(path, Stamp.of(status)), list(_in_safetensors(path, rows))
            _require_apart(path, rows, status.st_size)
            stored = [read_chunk(path, file, row.place.begin, row.place.length) for row in rows]
        except OSError as error:
            raise CheckpointError(path, errno_text(error)) from error
    for row, one in zip(rows, stored, strict=True):
        _require_described(path, row, one.dtype, one.sizes)
    archives = tuple((row.place.begin, row.place.begin + row.place.length) for row in rows)
    return Part(path, Stamp.of(status), archives), stored


def _require_apart(path: Path, rows: list[Wanted], size: int) -> None:
    """See that chunks, sorted by their begin, lie in the file and not in each other."""
    at = 0
    for row in rows:
        end = row.place.begin + row.place.length
        if row.place.begin < at:
            raise CheckpointError(path, f"two chunks lie in the same bytes, one of them of {row.name[:200]!r}: damaged")
        if end > size:
            why = f"a chunk of {row.name[:200]!r} ends at byte {end:,}, the file has {size:,}: is a save complete?"
            raise CheckpointError(path, why)
        at = end


def _require_described(path: Path, row: Wanted, dtype: str, sizes: tuple[int, ...]) -> None:
    if (dtype, sizes) != (row.dtype, row.chunk.sizes):
        there, said = f"{dtype} {list(sizes)[:20]}", f"{row.dtype} {list(row.chunk.sizes)[:20]}"
        raise CheckpointError(path, f"a chunk of {row.name[:200]!r} is {there}, and {METADATA} says {said}: damaged")


def _in_safetensors(path: Path, rows: list[Wanted]) -> Iterator[Stored]:
    """The chunks of a file of safetensors, of which the metadata says what they are but not where."""
    shard, said = header.read_described(path)
    entries = {entry.name: entry for entry in shard.entries}
    offsets = saved_offsets(said) or {}
    for row in rows:
        entry = entries.get(row.flat_name)
        if entry is None or offsets.get(row.flat_name, row.chunk.offsets) != row.chunk.offsets:
            raise CheckpointError(path, f"has no chunk of {row.flat_name[:200]!r} at {list(row.chunk.offsets)[:20]}")
        if (entry.dtype, entry.shape) != (code_of(row.dtype), row.chunk.sizes):
            there, named = (
                f"{entry.dtype} {list(entry.shape)[:20]}",
                f"{code_of(row.dtype)} {list(row.chunk.sizes)[:20]}",
            )
            raise CheckpointError(
                path, f"a chunk of {row.name[:200]!r} is {there}, and {METADATA} says {named}: damaged"
            )
        yield Stored(row.dtype, entry.shape, entry.begin, ())
