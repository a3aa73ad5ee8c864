"""A file of ``torch.save`` from before torch 1.6, which is no archive: five pickles, and the storages behind them."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from initaudit.checkpoint.allowance import Allowance, CutError, PickleError
from initaudit.checkpoint.inert import Name, Storage
from initaudit.checkpoint.opcodes import Meaning
from initaudit.checkpoint.pickles import unpickle
from initaudit.checkpoint.rebuilding import TorchMeaning, storage_of
from initaudit.checkpoint.torch_dtypes import WIDTHS
from initaudit.checkpoint.torch_file import MOST_PICKLE, Region, Saved, described, known_again
from initaudit.errors import CheckpointError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""What the first two pickles hold."""

COUNT_BYTES = 8
"""The length of what stands before each storage: the number of its elements."""

FIRST_BYTES = 1 << 20
"""What is read of a file at first, in which the pickles of most end."""


def read_legacy(path: Path, file: BinaryIO, status: os.stat_result, key: str | None) -> Saved:
    """The tensors of such a file.

    Raises:
        CheckpointError: the file is damaged, is a pickle of something else, or holds something else than tensors.

    """
    storages: dict[str, Storage] = {}
    roots: dict[str, Storage] = {}
    meaning = TorchMeaning(allowance := Allowance(), lambda identity: _referred(identity, storages, roots))
    try:
        pickles = _pickles(file, status.st_size, meaning, allowance)
        if next(pickles)[0] != MAGIC or next(pickles)[0] != PROTOCOL:
            raise PickleError("its pickle is not one of torch.save")
        next(pickles)
        root, _ = next(pickles)
        keys, begin = next(pickles)
        regions = _regions(file, status.st_size, keys, roots, begin)
    except PickleError as error:
        raise CheckpointError(path, str(error)) from error
    return described(path, status, root, meaning, regions, key)


def _pickles(file: BinaryIO, size: int, meaning: Meaning, allowance: Allowance) -> Iterator[tuple[Any, int]]:
    """What each of the pickles at the begin of a file holds, and where it ends."""
    file.seek(0)
    data, at = file.read(FIRST_BYTES), 0
    while True:
        try:
            held, at = unpickle(data, at, meaning, allowance)
        except CutError:
            if len(data) >= min(size, MOST_PICKLE):
                raise
            data += file.read(min(len(data), MOST_PICKLE - len(data)))
        else:
            yield held, at


def _referred(identity: tuple[Any, ...], storages: dict[str, Storage], roots: dict[str, Storage]) -> Storage | Name:
    """The storage of an identity, or the class that one with its source code stands for."""
    if identity[0] == "module" and len(identity) == 4 and isinstance(identity[1], Name):
        return identity[1]
    if len(identity) != 6 or identity[0] != "storage":
        raise PickleError("its pickle refers to something that is no storage: damaged")
    _, kind, key, _location, count, view = identity
    if not isinstance(key, str) or not (view is None or (isinstance(view, tuple) and len(view) == 3)):
        raise PickleError("its pickle names a storage by what is no name of one: damaged")
    root = known_again(key, storage_of(kind, key, count), storages)
    roots[key] = root
    return root if view is None else known_again(view[0], _part(root, view), storages)


def _part(root: Storage, view: Any) -> Storage:
    """A part of a storage, as the oldest files have them: its key, its begin and its number of elements."""
    key, begin, count = view
    if not (isinstance(key, str) and type(begin) is type(count) is int and 0 <= begin <= begin + count <= root.count):
        raise PickleError("its pickle takes a part of a storage that it does not have: damaged")
    width = WIDTHS[root.dtype]
    return Storage(root.key, root.dtype, count, count * width, begin * width, root.size)


def _regions(file: BinaryIO, size: int, keys: Any, roots: Mapping[str, Storage], begin: int) -> dict[str, Region]:
    """Where the data of each storage lies, once it is as long as its description says."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
        raise PickleError("lists no storages, or one twice: damaged")
    regions: dict[str, Region] = {}
    for key in keys:
        root = roots.get(key)
        if root is None:
            raise PickleError(f"lists the storage {key[:50]!r}, which no tensor has: damaged")
        file.seek(begin)
        count = int.from_bytes(file.read(COUNT_BYTES), "little")
        begin += COUNT_BYTES
        if count != root.count or begin + root.size > size:
            raise PickleError(f"the storage {key[:50]!r} is not whole: truncated download?")
        regions[key] = Region(begin, begin + root.size)
        begin += root.size
    return regions
