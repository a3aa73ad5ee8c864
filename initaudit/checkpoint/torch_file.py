"""A file of ``torch.save``: its structure by `torch.load` with ``weights_only=True``, its data by offset.

Tensors are loaded onto the meta device, which reads no data; each storage then says where in the file its record
begins. So data is read as that of a safetensors file is, in pieces, and nothing is mapped.
"""

import os
import pickle
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from initaudit.checkpoint.archive import Record
from initaudit.checkpoint.nesting import NestingError, StateDict, every_leaf, find_state_dict
from initaudit.checkpoint.sharing import mark_shared
from initaudit.checkpoint.values import Aside, Entry, Shard, Stamp
from initaudit.errors import CheckpointError

OLDEST = (2, 10)
"""Versions of torch before have known holes in ``weights_only`` itself: CVE-2025-32434, CVE-2026-24747."""

OFFSET = "_checkpoint_offset"
"""What torch notes at a storage that it made without its data: the byte of the file at which these begin."""

MOST_HELD = 900_000_000
"""Bytes of a file that can only be read whole, as those from before torch 1.6."""

MOST_PICKLE = 100_000_000
"""Bytes of the pickle that says what is where; that of a million tensors is as long."""

WASTE = 0.5
"""The part of the data from which on it is said that no tensor refers to it."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file of ``torch.save`` holds."""

    shard: Shard
    aside: tuple[Aside, ...]
    notes: tuple[str, ...] = ()


def read_archived(
    path: Path, file: BinaryIO, status: os.stat_result, records: Mapping[str, Record], key: str | None
) -> Saved:
    """The tensors of a zip archive of torch's.

    Raises:
        CheckpointError: torch is missing or too old, the file is damaged, or holds something else than tensors.

    """
    data = _data_records(path, file, records)
    _require_torch(path)
    try:
        saved = _load(path, file, "meta")
        found = _state_dict(path, saved, key)
        if not _has_offsets(found) and any(record.size for record in data):
            saved = _load_as_fakes(path, file)
            found = _state_dict(path, saved, key)
    except NotImplementedError:  # what is quantised or nested is only rebuilt from its data
        return _read_whole(path, file, status, key)
    begins = {record.begin: record for record in data}
    entries = [_entry(path, name, tensor, begins) for name, tensor in found.tensors.items()]
    beside = tuple(_beside(path, saved, found, begins))
    shard = Shard(path, Stamp.of(status), mark_shared(entries), found.key, beside=beside)
    # Of a file that nests its weights, much of the data belongs to what lies beside them.
    return Saved(shard, found.aside, () if found.key else tuple(_waste(shard.entries, data)))


def read_legacy(path: Path, file: BinaryIO, status: os.stat_result, key: str | None) -> Saved:
    """The tensors of a file from before torch 1.6, which is no archive and is read whole.

    Raises:
        CheckpointError: as for `read_archived`, or the file is too long.

    """
    _require_torch(path)
    return _read_whole(path, file, status, key)


def _read_whole(path: Path, file: BinaryIO, status: os.stat_result, key: str | None) -> Saved:
    import torch

    from initaudit.checkpoint.torch_tensors import entry_of

    if status.st_size > MOST_HELD:
        raise CheckpointError(
            path, f"can only be read whole, and is longer than {MOST_HELD:,} bytes: save it again with torch.save"
        )
    try:
        found = _state_dict(path, _load(path, file, "cpu"), key)
    except NotImplementedError as error:  # a kind of tensor that this build of torch has not, even on the CPU
        raise CheckpointError(path, f"torch cannot load it: {_first_line(error)}") from error
    entries, held = [], {}
    for name, tensor in found.tensors.items():
        if tensor.is_meta:
            entries.append(_meta(name, tensor))
            continue
        entry = entry_of(name, tensor, 0 if tensor.layout != torch.strided else tensor.data_ptr())
        entries.append(entry)
        if not entry.obstacle:
            flat = tensor.detach().contiguous().reshape(-1)
            held[name] = flat.view(torch.uint8).numpy() if flat.numel() else np.empty(0, np.uint8)
    return Saved(Shard(path, Stamp.of(status), mark_shared(entries), found.key, held), found.aside)


def _require_torch(path: Path) -> None:
    try:
        import torch
    except ImportError as error:
        raise CheckpointError(
            path, f"is a PyTorch file, which takes torch to read ({error}): pip install 'initaudit[torch]'"
        ) from error
    version = torch.__version__
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST:
        raise CheckpointError(path, f"is a PyTorch file, which torch {version} cannot read safely: 2.10 or later can")


def _data_records(path: Path, file: BinaryIO, records: Mapping[str, Record]) -> list[Record]:
    """The records of an archive's storages, once it is known to be one of torch's and nothing else."""
    pickles = [name for name in records if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise CheckpointError(path, f"is a zip archive of PyTorch's with {len(pickles)} records data.pkl, not one")
    prefix = pickles[0].removesuffix("data.pkl")
    if not prefix or any(not name.startswith(prefix) for name in records):
        raise CheckpointError(path, "is a zip archive of PyTorch's whose records are not all in one folder")
    if f"{prefix}constants.pkl" in records:
        raise CheckpointError(path, "is TorchScript, which is a program: save model.state_dict() instead")
    packed = next((record.name for record in records.values() if record.is_packed), None)
    if packed is not None:
        raise CheckpointError(path, f"record {packed[:200]!r} is compressed, which torch.save never does")
    order = records.get(f"{prefix}byteorder")
    if order is not None:
        file.seek(order.begin)
        if file.read(min(order.size, 16)) != b"little":
            raise CheckpointError(path, "was saved in big-endian byte order, which is not read")
    if records[pickles[0]].size > MOST_PICKLE:
        raise CheckpointError(path, f"its pickle is longer than {MOST_PICKLE:,} bytes: what else is in it?")
    return [record for name, record in records.items() if name.startswith(f"{prefix}data/")]


def _load(path: Path, file: BinaryIO, device: str) -> Any:
    """What was saved, without running anything that the file names.

    Raises:
        CheckpointError: torch refuses.
        NotImplementedError: something cannot be made on this device.

    """
    import torch

    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location=device, weights_only=True)
    except NotImplementedError:  # not a damaged file: the caller tries another device
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(path, _why_refused(file, error)) from error
    # A damaged file makes an unpickler raise anything: KeyError(101), EOFError without a text ...
    except Exception as error:
        said = f"{type(error).__name__}: {_first_line(error)}"
        raise CheckpointError(path, f"its pickle is not one of torch.save, or damaged ({said})") from error


def _load_as_fakes(path: Path, file: BinaryIO) -> Any:
    """The same by fake tensors, which have known their offsets in versions of torch whose meta tensors do not."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        return _load(path, file, "cpu")


def _has_offsets(found: StateDict) -> bool:
    """Whether any tensor knows where in the file its data is."""
    from initaudit.checkpoint.torch_tensors import why_unreadable

    strided = (tensor for tensor in found.tensors.values() if not why_unreadable(tensor))
    return any(getattr(tensor.untyped_storage(), OFFSET, None) is not None for tensor in strided)


def _why_refused(file: BinaryIO, error: Exception) -> str:
    """Our own sentence for what ``weights_only`` refuses; torch's teaches to turn it off."""
    import torch

    try:
        file.seek(0)
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except Exception:  # not an archive, or cut: the message names the first one
        names = re.findall(r"GLOBAL ([\w.]+)", str(error))
    calls = [name for name in names if not name.rpartition(".")[2][:1].isupper()]
    listed = ", ".join(name[:100] for name in (calls or names)[:4])
    if calls:
        return f"refused: loading it would call {listed}; nothing of it was run"
    if names:
        return f"holds whole Python objects ({listed}), which are never loaded: save model.state_dict() alone"
    said = re.search(r"WeightsUnpickler error:\s*(.*)", str(error))  # around it torch tells how to turn this off
    return f"its pickle is not one of torch.save, or damaged ({said[1][:200] if said else type(error).__name__})"


def _state_dict(path: Path, root: Any, key: str | None) -> StateDict:
    import torch

    try:
        return find_state_dict(root, lambda value: isinstance(value, torch.Tensor), key)
    except NestingError as error:
        raise CheckpointError(path, str(error)) from error


def _entry(path: Path, name: str, tensor: Any, begins: Mapping[int, Record]) -> Entry:
    """A tensor of the meta device as an entry of the file, held against the record of its storage."""
    from initaudit.checkpoint.torch_tensors import entry_of, why_unreadable

    if why_unreadable(tensor):
        return entry_of(name, tensor, 0)
    storage = tensor.untyped_storage()
    offset = getattr(storage, OFFSET, None)
    if offset is None:
        return _meta(name, tensor)
    if storage.nbytes() == 0 or tensor.numel() == 0:
        return entry_of(name, tensor, 0)
    record = begins.get(offset)
    if record is None or record.size != storage.nbytes():
        there = "no record" if record is None else f"a record of {record.size:,} bytes"
        raise CheckpointError(
            path, f"tensor {name[:200]!r} needs {storage.nbytes():,} bytes of data and has {there}: damaged"
        )
    entry = entry_of(name, tensor, record.begin + tensor.storage_offset() * tensor.element_size())
    if not entry.obstacle and not record.begin <= entry.begin <= entry.end <= record.end:
        raise CheckpointError(path, f"tensor {name[:200]!r} reaches beyond its data: damaged")
    return entry


def _beside(path: Path, saved: Any, found: StateDict, begins: Mapping[int, Record]) -> Iterator[Entry]:
    """The tensors of a file that are none of its weights, such as averaged ones, which may share bytes with these."""
    import torch

    weights = {id(tensor) for tensor in found.tensors.values()}
    for name, tensor in every_leaf(saved):
        if isinstance(tensor, torch.Tensor) and id(tensor) not in weights:
            with suppress(CheckpointError):  # what is damaged there is nothing to the weights
                yield _entry(path, f"{name} (beside the weights)", tensor, begins)


def _meta(name: str, tensor: Any) -> Entry:
    from initaudit.checkpoint.torch_tensors import code_of

    return Entry(name, code_of(tensor.dtype), tuple(tensor.shape), is_meta=True)


def _waste(entries: Iterable[Entry], data: Iterable[Record]) -> Iterable[str]:
    """A note where much of the data is no tensor's, as where a slice was saved with all that it was cut from."""
    there = sum(record.size for record in data)
    used = sum(entry.size for entry in entries if not entry.shared_with)
    if there and used < WASTE * there:
        yield f"{there - used:,} of {there:,} bytes are no tensor's: a slice keeps all that it was cut from"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or "no text"
