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

LOCAL_HEADER = struct.Struct("<4s2xH18xHH")
"""Of the header right before a record: its mark, its flags and the lengths of the name and of what follows that."""

END = struct.Struct("<4s4H2LH")
"""Of the end of an archive: a mark, two numbers of disks, twice that of records, the directory's length and begin."""

END_64, POINTER = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
"""Of the same in 64 bits, which stands before the end, and of the pointer to it, which stands between the two."""

MOST_TAIL = 0xFFFF + END.size + END_64.size + POINTER.size
"""The last bytes, in which the end must stand: a comment may follow it."""

MOST_DIRECTORY, MOST_RECORDS = 100_000_000, 300_000
"""Bytes and records of a directory that is read: a record of 46 bytes takes a thousand in memory."""

MOST_INFLATED = 1 << 30
"""Bytes up to which a compressed record is inflated, since that takes as much memory; a bomb ends here."""

FLAGS = 0x080E
"""The flags that a record may have: how hard it was packed, sizes that stand behind it, a name in UTF-8.

The others say that it is encrypted, or packed in ways that no reader of weights knows.
"""

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
    checksum: int = 0
    """The CRC-32 of what it stands for, as the directory has it."""


def read_records(path: Path, file: BinaryIO, size: int) -> dict[str, Record]:
    """The records of an archive by name, in the order of its directory.

    Raises:
        CheckpointError: it is damaged, or is not as PyTorch and NumPy write archives.

    """
    try:
        require_one_directory(path, file, size)
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
        records = [_record(path, file, size, info) for info in infos if not info.filename.endswith("/")]
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
    file.seek(info.header_offset)
    mark, flags, name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    if (info.flag_bits | flags) & ~FLAGS or info.compress_type not in METHODS:
        raise CheckpointError(path, f"is a zip archive whose {where} is encrypted or packed in an uncommon way")
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
    return Record(info.filename, begin, end, info.file_size, is_packed, info.CRC)


def require_one_directory(path: Path, file: BinaryIO, size: int) -> None:
    """See that every reader finds the same directory, one that is not too long to be read: right before the end.

    Of a large archive the place is written twice, once more in 64 bits. PyTorch looks there where a pointer says,
    Python right before the pointer: a file may show each of them a directory of its own.

    Raises:
        CheckpointError: it is not so.

    """
    tail_begin = max(0, size - MOST_TAIL)
    file.seek(tail_begin)
    tail = file.read(MOST_TAIL)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0:
        raise CheckpointError(path, "is a damaged zip archive: its end is missing: truncated download?")
    end = END.unpack_from(tail, at)
    _, disks, first_disk, here, there, length, begin, _ = end
    stop = tail_begin + at
    odd = disks not in (0, 0xFFFF) or first_disk not in (0, 0xFFFF) or here != there
    if at >= POINTER.size and tail[at - POINTER.size : at].startswith(b"PK\x06\x07"):
        _, _, pointed, _ = POINTER.unpack_from(tail, at - POINTER.size)
        stop -= POINTER.size + END_64.size
        file.seek(max(stop, 0))
        mark, rest, *_, here_64, there_64, length_64, begin_64 = END_64.unpack(file.read(END_64.size))
        pairs = ((here, here_64), (there, there_64), (length, length_64), (begin, begin_64))
        differ = any(short not in (long, 0xFFFF, 0xFFFFFFFF) for short, long in pairs)
        odd = odd or mark != b"PK\x06\x06" or rest != END_64.size - 12 or pointed != stop or differ
        length, begin = length_64, begin_64
    if odd or begin + length != stop:
        raise CheckpointError(
            path, "is a zip archive whose directory is not in one place for all that read it: refused"
        )
    if length > MOST_DIRECTORY:
        raise CheckpointError(path, f"is a zip archive with a directory of {length:,} bytes: what else is in it?")
    file.seek(begin)
    records = file.read(length).count(b"PK\x01\x02")
    if records > MOST_RECORDS:
        raise CheckpointError(path, f"is a zip archive of {records:,} records: {MOST_RECORDS:,} are read of one file")


def _repeated(records: Iterable[Record]) -> str:
    seen: set[str] = set()
    for record in records:
        if record.name in seen:
            return record.name
        seen.add(record.name)
    return ""
