"""One chunk of a folder of ``torch.distributed.checkpoint``: an archive of ``torch.save`` within a larger file."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from initaudit.checkpoint.allowance import Allowance, PickleError
from initaudit.checkpoint.archive import Record, read_records
from initaudit.checkpoint.inert import SavedTensor, Storage
from initaudit.checkpoint.pickles import unpickle
from initaudit.checkpoint.rebuilding import TorchMeaning, storage_of
from initaudit.checkpoint.strided import is_in_order, strided_entry
from initaudit.checkpoint.torch_dtypes import WIDTHS, code_of
from initaudit.errors import CheckpointError

MOST_PICKLE = 10_000
"""Bytes of the pickle of one tensor; torch's have 150."""

OPCODES, BUILT = 1_000, 100_000
"""What such a pickle may have and build."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A chunk as it lies in its file: ``dtype`` is torch's name, ``strides`` are empty where elements are in order."""

    dtype: str
    sizes: tuple[int, ...]
    begin: int
    strides: tuple[int, ...]
    obstacle: str = ""


class Window(io.RawIOBase):
    """A range of a file, as a file of its own."""

    def __init__(self, file: BinaryIO | io.FileIO, begin: int, length: int) -> None:
        super().__init__()
        self.file, self.begin, self.length, self.at = file, begin, length, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte, counted from the begin, from here or from the end."""
        at = offset + (0, self.at, self.length)[whence]
        if at < 0:
            raise OSError("before the begin")
        self.at = at
        return at

    def tell(self) -> int:
        """Where it is read next."""
        return self.at

    def read(self, size: int = -1) -> bytes:
        """Up to so many bytes, all that are left without a number."""
        left = max(0, self.length - self.at)
        self.file.seek(self.begin + self.at)
        data = self.file.read(left if size is None or size < 0 else min(size, left))
        self.at += len(data)
        return data


def read_chunk(path: Path, file: BinaryIO, begin: int, length: int) -> Stored:
    """The tensor that the archive in bytes ``[begin, begin + length)`` of a file holds.

    Raises:
        CheckpointError: it is damaged, or holds something else than one tensor.

    """
    window = cast("BinaryIO", Window(file, begin, length))
    where = f"the chunk at byte {begin:,}"
    try:
        window.seek(0)
        if window.read(4) != b"PK\x03\x04":
            raise CheckpointError(path, f"{where} is not where .metadata says: is it of another save?")
        records = read_records(path, window, length)
        prefix = _folder(path, where, records)
        saved = _unpickled(window, records[f"{prefix}data.pkl"])
        return _stored(path, where, saved, window, records, prefix, begin)
    except PickleError as error:
        raise CheckpointError(path, f"{where}: {error}") from error


def _folder(path: Path, where: str, records: Mapping[str, Record]) -> str:
    pickles = [name for name in records if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1 or any(record.is_packed for record in records.values()):
        raise CheckpointError(path, f"{where} is not as torch.save writes it: damaged")
    return pickles[0].removesuffix("data.pkl")


def _unpickled(window: BinaryIO, record: Record) -> SavedTensor:
    """The one tensor that a pickle describes."""
    if record.size > MOST_PICKLE:
        raise PickleError(f"its pickle is longer than {MOST_PICKLE:,} bytes: what else is in it?")
    window.seek(record.begin)
    meaning = TorchMeaning(allowance := Allowance(OPCODES, BUILT), _referred)
    saved, _ = unpickle(window.read(record.size), 0, meaning, allowance)
    if meaning.strange:
        raise PickleError(f"refused: loading it would import or call {next(iter(meaning.strange))[:200]}")
    if not isinstance(saved, SavedTensor):
        raise PickleError("holds something else than a tensor: damaged")
    return saved


def _referred(identity: tuple[Any, ...]) -> Storage:
    if len(identity) != 5 or identity[0] != "storage" or not isinstance(identity[2], str):
        raise PickleError("its pickle refers to something that is no storage: damaged")
    return storage_of(identity[1], identity[2], identity[4])


def _stored(
    path: Path,
    where: str,
    saved: SavedTensor,
    window: BinaryIO,
    records: Mapping[str, Record],
    prefix: str,
    begin: int,
) -> Stored:
    storage = saved.storage
    if saved.obstacle or saved.is_meta or storage is None:
        return Stored(saved.dtype, saved.shape, begin, (), saved.obstacle or "has no values: it was never materialised")
    record = records.get(f"{prefix}data/{storage.key}")
    if record is None or record.size != storage.size:
        raise CheckpointError(path, f"{where} has no data for its tensor: damaged")
    width = WIDTHS[saved.dtype]
    lies = strided_entry("", code_of(saved.dtype), width, saved.shape, saved.strides, saved.offset * width)
    if lies.end > storage.size:
        raise CheckpointError(path, f"{where} has a tensor that reaches beyond its data: damaged")
    order = records.get(f"{prefix}byteorder")
    obstacle = lies.obstacle
    if order is not None:
        window.seek(order.begin)
        obstacle = obstacle or ("" if window.read(min(order.size, 16)) == b"little" else "is in big-endian byte order")
    strides = () if is_in_order(saved.shape, saved.strides) else saved.strides
    return Stored(saved.dtype, saved.shape, begin + record.begin + lies.begin, strides, obstacle)
