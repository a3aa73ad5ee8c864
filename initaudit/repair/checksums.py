"""The checksums of a zip archive whose records were patched.

PyTorch does not look at them, other readers do. A record's stands in its directory, and either in the header before the
record or, as PyTorch writes archives, behind it.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import BinaryIO, cast

from initaudit.checkpoint.archive import Record, read_records
from initaudit.checkpoint.chunks import Window
from initaudit.errors import CheckpointError, errno_text
from initaudit.repair.patching import PIECE_BYTES, Copy

MARK = b"PK\x03\x04"
BEHIND = 0x08
"""The flag of a record whose checksum stands behind it, after a mark."""

BEHIND_MARK = b"PK\x07\x08"
IN_HEADER, IN_DIRECTORY = 14, 16
"""Where in a record's header, and in its entry in the directory, the checksum stands."""

DIRECTORY_ENTRY = struct.Struct("<4s24xHHH12x")
"""Of an entry in the directory: its mark and the lengths of the name, of what follows that, and of the comment."""


def mend_checksums(copy: Copy, archives: Sequence[tuple[int, int]] = ()) -> None:
    """Make the checksums of a patched archive those of its records; nothing where the file is none.

    ``archives`` are the ranges of bytes of those that a file holds, where it is not one as a whole.

    Raises:
        CheckpointError: the file cannot be read or written.

    """
    written = [(entry.begin, entry.end) for entry in copy.source.entries if entry.name in copy.digests]
    try:
        with copy.path.open("r+b", buffering=0) as file:
            for begin, end in archives or [(0, copy.source.stamp.size)]:
                within = [(a - begin, b - begin) for a, b in written if a < end and begin < b]
                if within:
                    _mend(copy, file, begin, end - begin, within)
    except OSError as error:
        raise CheckpointError(copy.source.path, f"cannot be rewritten: {errno_text(error)}") from error


def _mend(copy: Copy, file: FileIO, begin: int, length: int, written: Sequence[tuple[int, int]]) -> None:
    """The same for what may be one archive, ``written`` to within it."""
    window = cast("BinaryIO", Window(file, begin, length))
    if window.read(len(MARK)) != MARK:
        return
    records = read_records(copy.path, window, length)
    if not any(record.checksum for record in records.values()):  # they were not written, and one alone is odd
        return
    for record, info, entry_at in list(_directory(copy.path, window, records)):
        if any(a < record.end and record.begin < b for a, b in written):
            checksum = struct.pack("<I", _checksum(copy.path, window, record))
            places = [entry_at + IN_DIRECTORY, _beside(window, record, info)]
            for place in places:
                file.seek(begin + place)
                file.write(checksum)
                copy.mended.append((begin + place, begin + place + len(checksum)))


def _directory(path: Path, file: BinaryIO, records: dict[str, Record]) -> Iterator[tuple[Record, zipfile.ZipInfo, int]]:
    """The records, each with what the directory says of it and where."""
    with zipfile.ZipFile(file) as archive:
        infos, at = archive.infolist(), archive.start_dir
    for info in infos:
        file.seek(at)
        mark, name, extra, comment = DIRECTORY_ENTRY.unpack(file.read(DIRECTORY_ENTRY.size))
        if mark != b"PK\x01\x02":
            raise CheckpointError(path, "its directory is not where it should be: nothing was changed")
        if info.filename in records:
            yield records[info.filename], info, at
        at += DIRECTORY_ENTRY.size + name + extra + comment


def _beside(file: BinaryIO, record: Record, info: zipfile.ZipInfo) -> int:
    """Where the checksum stands that is not in the directory."""
    if not info.flag_bits & BEHIND:
        return info.header_offset + IN_HEADER
    file.seek(record.end)
    return record.end + (len(BEHIND_MARK) if file.read(len(BEHIND_MARK)) == BEHIND_MARK else 0)


def _checksum(path: Path, file: BinaryIO, record: Record) -> int:
    checksum, at = 0, record.begin
    file.seek(at)
    while at < record.end:
        piece = file.read(min(PIECE_BYTES, record.end - at))
        if not piece:
            raise CheckpointError(path, "shrank while it was rewritten: nothing was changed")
        checksum = zlib.crc32(piece, checksum)
        at += len(piece)
    return checksum
