"""The records of a zip archive, as PyTorch and NumPy write them: where each lies, held against the file's size.

Readers differ in what they make of an odd archive (a name that stands twice, records that overlap, a size that is not
the record's), so all that is odd is refused before any of them sees the file.
"""

import struct
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from initaudit.errors import CheckpointError

LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Of the header right before a record: its mark and, at its end, the lengths of the name and of what follows that."""

ENCRYPTED = 1
FOLDER = 0x10
"""What marks a record as a folder, of which PyTorch reads nothing."""

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True, slots=True)
class Record:
    """One member of an archive: bytes ``[begin, end)`` of the file, which stand for ``size`` bytes once unpacked."""

    name: str
    begin: int
    end: int
    size: int
    is_packed: bool


def read_records(path: Path, file: BinaryIO, size: int) -> dict[str, Record]:
    """The records of an archive by name, in the order of its directory.

    Raises:
        CheckpointError: it is damaged, or is not as PyTorch and NumPy write archives.

    """
    try:
        with zipfile.ZipFile(file) as archive:
            records = [
                _record(path, file, size, info) for info in archive.infolist() if not info.filename.endswith("/")
            ]
    # A directory that is damaged may name a version of the format that zipfile has not: NotImplementedError.
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, struct.error) as error:
        raise CheckpointError(path, f"is a damaged zip archive ({error}): truncated download?") from error
    named = {record.name: record for record in records}
    if len(named) < len(records):
        raise CheckpointError(path, f"is a zip archive in which {_repeated(records)[:200]!r} stands twice")
    end = 0
    for record in sorted(records, key=lambda record: (record.begin, record.end)):
        if record.begin < end:
            raise CheckpointError(path, f"is a zip archive in which {record.name[:200]!r} overlaps another record")
        end = record.end
    return named


def _record(path: Path, file: BinaryIO, size: int, info: zipfile.ZipInfo) -> Record:
    if not info.filename or info.filename != info.orig_filename:  # up to a NUL for one reader, beyond it for another
        raise CheckpointError(path, f"is a zip archive in which {info.orig_filename[:200]!r} is no record's name")
    where = f"record {info.filename[:200]!r}"
    if ".." in info.filename.split("/") or info.filename.startswith("/"):
        raise CheckpointError(path, f"is a zip archive whose {where} leads out of it")
    if info.flag_bits & ENCRYPTED or info.compress_type not in METHODS:
        raise CheckpointError(path, f"is a zip archive whose {where} is encrypted or packed in an uncommon way")
    file.seek(info.header_offset)
    mark, name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    begin = info.header_offset + LOCAL_HEADER.size + name_length + extra_length
    end = begin + info.compress_size
    if mark != b"PK\x03\x04" or end > size:
        raise CheckpointError(path, f"is a damaged zip archive: {where} is not whole: truncated download?")
    if file.read(name_length) != info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437"):
        raise CheckpointError(path, f"is a damaged zip archive: {where} has two names")
    if info.external_attr & FOLDER:
        raise CheckpointError(path, f"is a damaged zip archive: {where} is marked as a folder")
    is_packed = info.compress_type != zipfile.ZIP_STORED
    if not is_packed and info.file_size != info.compress_size:
        raise CheckpointError(path, f"is a damaged zip archive: {where} has two sizes")
    return Record(info.filename, begin, end, info.file_size, is_packed)


def _repeated(records: Iterable[Record]) -> str:
    seen: set[str] = set()
    for record in records:
        if record.name in seen:
            return record.name
        seen.add(record.name)
    return ""
