"""The arrays of a ``.npz`` file, by NumPy's own headers; what would have to be unpickled is left alone."""

import os
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from initaudit.checkpoint.archive import MOST_INFLATED, Record
from initaudit.checkpoint.values import Checksum, Entry, Shard, Stamp
from initaudit.errors import CheckpointError

SUFFIX = ".npy"
MOST_HEADER = 1 << 16
"""Bytes in which an array's header must end; NumPy's own limit on its text is 10,000."""

_CODES = {
    "f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32", "i2": "I16", "i1": "I8",
    "u8": "U64", "u4": "U32", "u2": "U16", "u1": "U8", "b1": "BOOL", "c8": "C64", "c16": "C128",
}  # fmt: skip


def read_arrays(path: Path, file: BinaryIO, status: os.stat_result, records: Mapping[str, Record]) -> Shard:
    """The arrays of an archive.

    Raises:
        CheckpointError: an array's header is not one, or says another size than its record has.

    """
    entries = []
    sums = {}
    for record in records.values():
        entry, header = _entry(path, file, record)
        entries.append(entry)
        sums[entry.name] = Checksum(record.name, record.checksum, zlib.crc32(header), is_binding=True)
    placed = tuple(sorted(entries, key=lambda entry: entry.begin))
    return Shard(path, Stamp.of(status), placed, records=tuple(records.values()), sums=sums)


def _entry(path: Path, file: BinaryIO, record: Record) -> tuple[Entry, bytes]:
    """An array, and the bytes of its header."""
    name = record.name.removesuffix(SUFFIX)
    shape, is_fortran, dtype, header = _header(path, file, record)
    length = len(header)
    code = _CODES.get(dtype.str[1:], dtype.str.lstrip("<>|=").upper())
    if dtype.hasobject:
        return Entry(name, "OBJECT", shape, obstacle="holds pickled Python objects, which are never loaded"), header
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize if shape else dtype.itemsize
    if length + size != record.size:
        raise CheckpointError(
            path, f"array {name[:200]!r} needs {size:,} bytes, its record has {record.size - length:,}"
        )
    obstacle = "is in big-endian byte order" if dtype.str.startswith(">") else ""
    strides: tuple[int, ...] = ()
    if is_fortran and len(shape) > 1 and size:
        strides = tuple(int(np.prod(shape[:axis], dtype=object)) for axis in range(len(shape)))
    if not record.is_packed:
        return Entry(name, code, shape, record.begin + length, record.end, strides, obstacle=obstacle), header
    if record.size > MOST_INFLATED:
        obstacle = f"is compressed and inflates to {record.size:,} bytes: save it with numpy.savez"
    packed = (length, record.size)
    return Entry(name, code, shape, record.begin, record.end, strides, packed, obstacle=obstacle), header


def _header(path: Path, file: BinaryIO, record: Record) -> tuple[tuple[int, ...], bool, np.dtype[np.generic], bytes]:
    """Shape, order and dtype of an array, and the bytes of its header."""
    file.seek(record.begin)
    start = file.read(min(MOST_HEADER, record.end - record.begin))
    try:
        if record.is_packed:
            start = zlib.decompressobj(-zlib.MAX_WBITS).decompress(start, MOST_HEADER)
        text = BytesIO(start)
        version = npy.read_magic(text)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, is_fortran, dtype = read(text)
    except MemoryError:
        raise
    except Exception as error:  # NumPy evaluates it as a literal of Python's, which fails in many ways: TokenError ...
        said = str(error).partition("\n")[0]
        raise CheckpointError(path, f"array {record.name[:200]!r} has no header as NumPy writes it ({said})") from error
    if not all(type(length) is int and length >= 0 for length in shape):
        raise CheckpointError(path, f"array {record.name[:200]!r} has a shape that is none: {shape}")
    return shape, bool(is_fortran), dtype, start[: text.tell()]
