"""The header of a safetensors file, read before and beside safetensors itself.

The offsets in it are used only once safetensors has accepted the file. What safetensors lets through (a name that
stands twice) is refused here, and what it refuses in words of its own is said so that a person knows what to do.
Layout of the format: 8 bytes with the length of the header, little-endian; the header, JSON; the data.
"""

import json
import os
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from safetensors import SafetensorError, deserialize

from initaudit.checkpoint.files import open_file
from initaudit.checkpoint.foreign import foreign_content, foreign_file
from initaudit.checkpoint.slices import METADATA, require_whole_tensors
from initaudit.checkpoint.values import Entry, Shard, Stamp
from initaudit.errors import CheckpointError, errno_text

LENGTH_BYTES = 8
START_BYTES = 512  # in which the mark of any other format would stand
MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit: what it would refuse is not read either

MAX_TENSORS = 100_000
"""The most tensors of one file that are read; a model of 140,000 experts' matrices has a thousand in each shard."""

MAX_VALUES = 10 * MAX_TENSORS
"""The most commas of a JSON text that is parsed: a tensor takes four, and one for each further dimension.

A hundred megabytes may hold fifty million values, which would take gigabytes of memory.
"""

MAX_COUNT = 1 << 64
"""What safetensors can count to: the elements of a tensor, multiplied from the first dimension on."""

MAX_NUMBER = 1 << 128
"""What a dimension or an offset is below; safetensors ends long before, and numbers of any length cannot be shown."""

_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
}
"""The size of an element of the dtypes of whole bytes; the others are safetensors' to judge."""


def read_shard(path: Path) -> Shard:
    """The tensors of one safetensors file, in the order of their bytes.

    Raises:
        CheckpointError: the file is not there, is not a regular file, cannot be read, or is not a whole and well
            formed safetensors file.

    """
    shard, metadata = read_described(path)
    require_whole_tensors(path, metadata, [entry.name for entry in shard.entries], read_metadata)
    return shard


def read_described(path: Path) -> tuple[Shard, object]:
    """What one safetensors file holds, be it slices of tensors, and what it says of itself beside.

    Raises:
        CheckpointError: as for `read_shard`, but for slices.

    """
    header, data_begin, status = _opened(path)
    parsed = _parse(path, header)
    entries = _entries(path, parsed, data_begin, status.st_size)
    _ask_safetensors(path, header)
    return Shard(path, Stamp.of(status), entries), parsed.get(METADATA)


def read_metadata(path: Path) -> object:
    """What a safetensors file says of itself beside its tensors, None where it says nothing.

    Raises:
        CheckpointError: as for `read_shard`, as far as the header tells.

    """
    header, _, _ = _opened(path)
    return _parse(path, header).get(METADATA)


def _opened(path: Path) -> tuple[bytes, int, os.stat_result]:
    """The header's bytes, the offset at which the data begins, and the file's status."""
    descriptor, status = open_file(path)
    with os.fdopen(descriptor, "rb") as file:
        try:
            return (*_read_header(path, file, status.st_size), status)
        except OSError as error:
            raise CheckpointError(path, errno_text(error)) from error


def _read_header(path: Path, file: BinaryIO, size: int) -> tuple[bytes, int]:
    """The header's bytes and the offset at which the data begins."""
    if size == 0:
        raise CheckpointError(path, "is empty: was it cut short while it was written or fetched?")
    start = file.read(START_BYTES)
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    data_begin = LENGTH_BYTES + length
    if not is_plausible(start, size) and (what := foreign_content(start) or foreign_file(path.name)):
        raise CheckpointError(path, what)
    if size < LENGTH_BYTES:
        raise CheckpointError(path, f"is {size} bytes long, too short to be a checkpoint")
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(
            path, "is not a safetensors file nor one of torch.save or NumPy, or its first bytes are damaged"
        )
    if data_begin > size:
        raise CheckpointError(path, f"header says {length:,} bytes, the file has {size:,}: truncated download?")
    file.seek(LENGTH_BYTES)
    return file.read(length), data_begin


def is_plausible(start: bytes, size: int) -> bool:
    """Whether a file of this size that begins so can be a safetensors file, whatever mark its length looks like."""
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    return LENGTH_BYTES + length <= size and start[LENGTH_BYTES : LENGTH_BYTES + 1] in b"{ \t\r\n"


def _parse(path: Path, header: bytes) -> dict[str, Any]:
    """The header as a dictionary.

    Refused are: text that is not UTF-8 JSON or no object, numbers that JSON does not know, names that stand twice.
    """
    try:
        text = header.decode("utf-8")
        require_few_values(path, text)
        parsed = parse_strictly(text)
    except ValueError as error:
        raise CheckpointError(
            path, f"is not a safetensors file, or damaged: the header is not JSON ({error})"
        ) from error
    if not isinstance(parsed, dict):
        raise CheckpointError(path, "is not a safetensors file, or damaged: the header is not a JSON object")
    tensors = len(parsed) - (METADATA in parsed)
    if tensors > MAX_TENSORS:
        raise CheckpointError(
            path, f"holds {tensors:,} tensors: {MAX_TENSORS:,} are read of one file, save it in shards"
        )
    return parsed


def require_few_values(path: Path, text: str) -> None:
    """See that a JSON text lists no more values than checkpoints do, before it is parsed.

    Raises:
        CheckpointError: it lists more.

    """
    values = text.count(",")
    if values > MAX_VALUES:
        raise CheckpointError(path, f"lists {values:,} values: up to {MAX_VALUES:,} are read, save it in more shards")


def parse_strictly(text: str) -> Any:
    """The value of a JSON text in which no name of an object stands twice and all numbers are numbers.

    Raises:
        ValueError: it is not JSON, or not so strict, or nested too deeply.

    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise ValueError(f"the name {twice[:200]!r} stands twice")
        return table

    def refuse(number: str) -> NoReturn:
        raise ValueError(f"{number} is not a JSON number")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:  # Python's advice on long numbers is for programmers
        raise ValueError(str(error).partition("; use sys.")[0]) from error


def _entries(path: Path, header: dict[str, Any], data_begin: int, size: int) -> tuple[Entry, ...]:
    """The tensors of a parsed header, sorted by offset."""
    entries = []
    for name, described in header.items():
        if name == METADATA:
            continue
        tensor = f"the header is damaged: tensor {name[:200]!r}"
        try:
            name.encode()
            begin, end = described["data_offsets"]
            shape = tuple(described["shape"])
            entry = Entry(name, described["dtype"], shape, data_begin + begin, data_begin + end)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CheckpointError(path, f"{tensor} is not described as safetensors does it") from error
        if not isinstance(entry.dtype, str):
            raise CheckpointError(path, f"{tensor} has a dtype that is no word: safetensors refuses it")
        if not all(type(number) is int and 0 <= number < MAX_NUMBER for number in (begin, end, *shape)):
            raise CheckpointError(path, f"{tensor} has a shape or offsets that are no whole numbers from 0 on")
        if _overflows(shape):
            raise CheckpointError(path, f"{tensor} has a shape whose product is more than 2^64")
        if begin > end:
            raise CheckpointError(path, f"{tensor} ends at offset {end:,}, before its begin at {begin:,}")
        entries.append(entry)
    _require_whole(path, entries, data_begin, size)
    return tuple(entries)


def _overflows(shape: tuple[int, ...]) -> bool:
    """Whether the product of some dimensions is too large to be counted, found before it takes long to know."""
    product = 1
    for dimension in shape:
        product *= dimension
        if product > MAX_COUNT:
            return True
    return False


def _require_whole(path: Path, entries: list[Entry], data_begin: int, size: int) -> None:
    """Sort the tensors by offset; their bytes must lie within the file, fill it, and be as many as shapes say."""
    entries.sort(key=lambda entry: (entry.begin, entry.end))
    end = max((entry.end for entry in entries), default=data_begin)
    if end > size:
        raise CheckpointError(path, f"truncated: {size:,} of {end:,} bytes are there, fetch or save it again")
    if end < size:
        raise CheckpointError(path, f"{size - end:,} extra bytes after the last tensor: is it two files in one?")
    for entry in entries:
        bits = _BITS.get(entry.dtype, 0)
        if bits and entry.count * bits != 8 * entry.size:
            described = f"shape {list(entry.shape)[:20]} of {entry.dtype} in {entry.size:,} bytes"
            raise CheckpointError(path, f"the header is damaged: tensor {entry.name[:200]!r} has the {described}")


def _ask_safetensors(path: Path, header: bytes) -> None:
    """Let safetensors accept the header: it holds every shape against its bytes and the bytes against each other.

    It would map a whole file to do so, which fails where the file is larger than the address space, and kills the
    process where the file is cut meanwhile. So it is given the header without the data: that these are not there is the
    last thing that it looks at, and the one thing of which it may complain. Their number was held against the file's.
    """
    complaint = _complaint(header)
    if complaint not in ("", _without_data()):
        reason = complaint.removeprefix("Error while deserializing: ").removeprefix(
            "Error while deserializing header: "
        )
        raise CheckpointError(path, f"safetensors refuses it, so write it again: {reason}")


@cache
def _without_data() -> str:
    """What safetensors says of a file in which nothing is wrong but that its data is missing."""
    return _complaint(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}')


def _complaint(header: bytes) -> str:
    """What safetensors says of a file of this header and no data, empty where it accepts it."""
    try:
        deserialize(len(header).to_bytes(LENGTH_BYTES, "little") + header)  # type: ignore[no-untyped-call] # has no types
    except (SafetensorError, ValueError, OverflowError) as error:
        return str(error) or type(error).__name__
    return ""
