"""A file of ``torch.save``, read without torch: its structure by a reader that runs nothing, its data by offset."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from initaudit.checkpoint.allowance import Allowance, PickleError
from initaudit.checkpoint.archive import Record
from initaudit.checkpoint.header import MAX_TENSORS
from initaudit.checkpoint.inert import Made, SavedTensor, Storage
from initaudit.checkpoint.nesting import NestingError, NoStateDictError, StateDict, find_state_dict, leaves_by_name
from initaudit.checkpoint.pickles import unpickle
from initaudit.checkpoint.rebuilding import TorchMeaning, storage_of
from initaudit.checkpoint.sharing import mark_shared
from initaudit.checkpoint.strided import strided_entry
from initaudit.checkpoint.torch_dtypes import WIDTHS, code_of
from initaudit.checkpoint.values import Aside, ByteOrder, Entry, Shard, Stamp
from initaudit.errors import CheckpointError

MOST_PICKLE = 50_000_000
"""Bytes of the pickle that says what is where; that of 100,000 tensors has 20 million."""

CONTROL = ("data.pkl", "byteorder", "constants.pkl")
"""The records that say how to read the others."""

ORDERS: Mapping[bytes, ByteOrder] = {b"little": "little", b"big": "big"}

MOST_LISTED, MOST_NOTED = 4, 20
"""How many of the names of a kind a message lists, and a note, in which nothing should hide."""

WASTE = 0.5
"""The part of the data from which on it is said that no tensor refers to it."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file of ``torch.save`` holds; ``unread`` are tensors that cannot be judged, though they should be."""

    shard: Shard
    aside: tuple[Aside, ...]
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Region:
    """Where in a file the data of a storage lies."""

    begin: int
    end: int


def read_archived(
    path: Path, file: BinaryIO, status: os.stat_result, records: Mapping[str, Record], key: str | None
) -> Saved:
    """The tensors of a zip archive of torch's.

    Raises:
        CheckpointError: the file is damaged, or holds something else than tensors.

    """
    prefix = _folder(path, records)
    order = _byte_order(path, file, records.get(f"{prefix}byteorder"))
    storages: dict[str, Storage] = {}
    meaning = TorchMeaning(allowance := Allowance(), lambda identity: _referred(identity, storages))
    file.seek(records[f"{prefix}data.pkl"].begin)
    data = file.read(records[f"{prefix}data.pkl"].size)
    try:
        root, _ = unpickle(data, 0, meaning, allowance)
    except PickleError as error:
        raise CheckpointError(path, str(error)) from error
    regions = {
        record.name.removeprefix(f"{prefix}data/"): Region(record.begin, record.end)
        for record in records.values()
        if record.name.startswith(f"{prefix}data/")
    }
    return described(path, status, root, meaning, regions, key, order)


def described(
    path: Path,
    status: os.stat_result,
    root: Any,
    meaning: TorchMeaning,
    regions: Mapping[str, Region],
    key: str | None,
    order: ByteOrder = "little",
) -> Saved:
    """What was saved, with its tensors held against where the data of their storages lies.

    Raises:
        CheckpointError: it is no state dict, or the data is not there.

    """
    found = _state_dict(path, root, meaning, key)
    if len(found.tensors) > MAX_TENSORS:
        raise CheckpointError(path, f"holds {len(found.tensors):,} tensors: {MAX_TENSORS:,} are read of one file")
    entries, unmade = [], {}
    for name, tensor in found.tensors.items():
        if isinstance(tensor, Made):
            unmade[name] = tensor.by
            entries.append(
                Entry(name, "OBJECT", (), obstacle=f"is what {tensor.by[:200]} makes, which is never called")
            )
        else:
            entries.append(_entry(path, name, tensor, regions, order))
    beside = tuple(_beside(path, root, meaning, found, regions, order))
    shard = Shard(path, Stamp.of(status), mark_shared(entries), found.key, beside)
    # Of a file that nests its weights, much of the data belongs to what lies beside them.
    notes = [*_called(meaning), *(() if found.key else _waste(shard.entries, regions.values()))]
    return Saved(shard, found.aside, tuple(notes), tuple(_unmade(unmade)))


def _folder(path: Path, records: Mapping[str, Record]) -> str:
    """The folder in which all records of an archive are, once it is known to be one of torch's and nothing else."""
    pickles = [name for name in records if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise CheckpointError(path, f"is a zip archive of PyTorch's with {len(pickles)} records data.pkl, not one")
    prefix = pickles[0].removesuffix("data.pkl")
    if prefix.count("/") != 1 or any(not name.startswith(prefix) for name in records):
        raise CheckpointError(path, "is a zip archive of PyTorch's whose records are not all in one folder")
    if f"{prefix}constants.pkl" in records:
        raise CheckpointError(path, "is TorchScript, which is a program: save model.state_dict() instead")
    packed = next((record.name for record in records.values() if record.is_packed), None)
    if packed is not None:
        raise CheckpointError(path, f"record {packed[:200]!r} is compressed, which torch.save never does")
    # torch looks records up whatever the case of their letters, and takes the first.
    if len({name.lower() for name in records}) < len(records) or any(
        name not in records and name in map(str.lower, records) for name in (f"{prefix}{part}" for part in CONTROL)
    ):
        raise CheckpointError(path, "is a zip archive of PyTorch's with names that differ in their case alone")
    if records[pickles[0]].size > MOST_PICKLE:
        raise CheckpointError(path, f"its pickle is longer than {MOST_PICKLE:,} bytes: what else is in it?")
    return prefix


def _byte_order(path: Path, file: BinaryIO, record: Record | None) -> ByteOrder:
    if record is None:
        return "little"
    file.seek(record.begin)
    said = file.read(min(record.size, 16))
    if said not in ORDERS:
        raise CheckpointError(path, f"says that its byte order is {said!r}: damaged")
    return ORDERS[said]


def _referred(identity: tuple[Any, ...], storages: dict[str, Storage]) -> Storage:
    """The storage of an identity as archives have it; one that is named again is the same."""
    if len(identity) != 5 or identity[0] != "storage":
        raise PickleError("its pickle refers to something that is no storage: damaged")
    key = identity[2]
    if not isinstance(key, str):
        raise PickleError("its pickle names a storage by what is no text: damaged")
    return known_again(key, storage_of(identity[1], key, identity[4]), storages)


def known_again(key: str, storage: Storage, storages: dict[str, Storage]) -> Storage:
    """The same storage, noted by its key, once it is what it was said to be before.

    Raises:
        PickleError: it is another: torch would take the first for both.

    """
    known = storages.setdefault(key, storage)
    if known != storage and known.size + storage.size:
        raise PickleError(f"its pickle says of the storage {key[:50]!r} two different things: damaged")
    return storage


def _state_dict(path: Path, root: Any, meaning: TorchMeaning, key: str | None) -> StateDict:
    try:
        found = find_state_dict(root, _may_be_tensor, key)
        if not any(isinstance(tensor, SavedTensor) for tensor in found.tensors.values()):
            raise NoStateDictError("holds no tensors" + (f" under {key!r}" if key else ""))
    except NestingError as error:
        strange = list(meaning.strange) if isinstance(error, NoStateDictError) else []
        raise CheckpointError(path, _why_refused(strange) or str(error)) from error
    return found


def _may_be_tensor(value: Any) -> bool:
    return isinstance(value, SavedTensor) or (isinstance(value, Made) and value.holds_tensors)


def _why_refused(strange: list[str]) -> str:
    """Why there are no tensors in a file that would call something; empty where it calls nothing."""
    calls = [name for name in strange if not name.rpartition(".")[2][:1].isupper()]
    if calls:
        return f"refused: loading it would call {_listed(calls)}; nothing of it was run"
    if strange:
        return f"holds whole Python objects ({_listed(strange)}), which are never made: save model.state_dict() alone"
    return ""


def _listed(names: Iterable[str], most: int = MOST_LISTED) -> str:
    listed = [name[:100] for name in names]
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def _called(meaning: TorchMeaning) -> Iterable[str]:
    """A note of what torch would have to be told to trust."""
    if meaning.strange:
        names = _listed(meaning.strange, MOST_NOTED)
        yield f"loading it with weights_only=False would import or call {names}; nothing of it was run"


def _unmade(unmade: Mapping[str, str]) -> Iterable[str]:
    """What is said of tensors that strange calls would make."""
    if unmade:
        said = f"{len(unmade):,} tensors are" if len(unmade) > 1 else "a tensor is"
        makers = _listed(dict.fromkeys(unmade.values()))
        why = f"only {makers} could make what is there, which is never called"
        yield f"{said} not judged ({_listed(map(repr, unmade))}), since {why}"


def _entry(path: Path, name: str, tensor: SavedTensor, regions: Mapping[str, Region], order: ByteOrder) -> Entry:
    """A tensor as an entry of the file, held against the data of its storage."""
    code, storage = code_of(tensor.dtype), tensor.storage
    if tensor.obstacle:
        return Entry(name, code, tensor.shape, obstacle=tensor.obstacle)
    if tensor.is_meta or storage is None:
        return Entry(name, code, tensor.shape, is_meta=True)
    width = WIDTHS[tensor.dtype]
    if storage.size == 0 or 0 in tensor.shape:
        return strided_entry(name, code, width, tensor.shape, tensor.strides, 0)
    region = regions.get(storage.key)
    if region is None or storage.whole != region.end - region.begin:
        there = "none" if region is None else f"{region.end - region.begin:,}"
        raise CheckpointError(
            path, f"tensor {name[:200]!r} needs {storage.whole:,} bytes of data and has {there}: damaged"
        )
    begin = region.begin + storage.offset
    entry = strided_entry(name, code, width, tensor.shape, tensor.strides, begin + tensor.offset * width)
    if not entry.obstacle and entry.end > begin + storage.size:
        raise CheckpointError(path, f"tensor {name[:200]!r} reaches beyond its data: damaged")
    # Bytes without a type are not turned around by torch, which knows no width of theirs.
    return replace(entry, byte_order=order) if storage.dtype != "untyped" else entry


def _beside(
    path: Path,
    root: Any,
    meaning: TorchMeaning,
    found: StateDict,
    regions: Mapping[str, Region],
    order: ByteOrder,
) -> Iterator[Entry]:
    """The tensors of a file that are none of its weights, such as averaged ones, which may share bytes with these."""
    names = {id(tensor): name for name, tensor in leaves_by_name(root) if isinstance(tensor, SavedTensor)}
    weights = {id(tensor) for tensor in found.tensors.values()}
    for tensor in meaning.tensors:
        if id(tensor) not in weights:
            name = names.get(id(tensor), "a tensor within an object")
            with suppress(CheckpointError):  # what is damaged there is nothing to the weights
                yield _entry(path, f"{name} (beside the weights)", tensor, regions, order)


def _waste(entries: Iterable[Entry], data: Iterable[Region]) -> Iterable[str]:
    """A note where much of the data is no tensor's, as where a slice was saved with all that it was cut from."""
    there = sum(region.end - region.begin for region in data)
    used = sum(entry.size for entry in entries if not entry.shared_with)
    if there and used < WASTE * there:
        yield f"{there - used:,} of {there:,} bytes are no tensor's: a slice keeps all that it was cut from"
