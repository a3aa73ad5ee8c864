"""The header of a safetensors file, read before and beside safetensors itself.

The offsets in it are used only once safetensors has accepted the file. What safetensors lets through (a name that
stands twice) is refused here, and what it refuses in words of its own is said so that a person knows what to do.
Layout of the format: 8 bytes with the length of the header, little-endian; the header, JSON; the data.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

from safetensors import SafetensorError, safe_open

from initaudit.checkpoint.values import Entry, Shard, Stamp
from initaudit.errors import CheckpointError

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit: what it would refuse is not read either

# How other things begin that get the suffix by mistake. What is said about them names the way out.
_IMPOSTORS = {
    b"version https://git-lfs": "is a Git LFS pointer, not the file itself: run `git lfs pull`",
    b"<!DOCTYPE": "is a web page, not a checkpoint: was the download refused?",
    b"<!doctype": "is a web page, not a checkpoint: was the download refused?",
    b"<html": "is a web page, not a checkpoint: was the download refused?",
    b"PK\x03\x04": "is a zip archive (a PyTorch or NumPy file?), not a safetensors file",
    b"\x80\x02": "is a Python pickle, not a safetensors file",
    b"\x80\x04": "is a Python pickle, not a safetensors file",
    b"\x89HDF": "is an HDF5 file, not a safetensors file",
    b"GGUF": "is a GGUF file, not a safetensors file",
}


def read_shard(path: Path) -> Shard:
    """The tensors of one safetensors file, in the order of their bytes.

    Raises:
        CheckpointError: the file is not there, is not a regular file, cannot be read, or is not a whole and well
            formed safetensors file.

    """
    try:
        # O_NONBLOCK: opening a pipe must not wait for a writer that never comes.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise CheckpointError(path, _errno_text(error)) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise CheckpointError(path, "is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        try:
            header, data_begin = _read_header(path, file, status.st_size)
        except OSError as error:
            raise CheckpointError(path, _errno_text(error)) from error
    entries = _entries(path, _parse(path, header), data_begin, status.st_size)
    _ask_safetensors(path)
    return Shard(path, Stamp.of(status), entries)


def _read_header(path: Path, file: Any, size: int) -> tuple[bytes, int]:
    """The header's bytes and the offset at which the data begins."""
    if size == 0:
        raise CheckpointError(path, "is empty")
    start = file.read(64)
    for magic, reason in _IMPOSTORS.items():
        if start.startswith(magic):
            raise CheckpointError(path, reason)
    if size < LENGTH_BYTES:
        raise CheckpointError(path, f"is {size} bytes long, too short to be a checkpoint")
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(path, "is not a safetensors file, or its first bytes are damaged")
    data_begin = LENGTH_BYTES + length
    if data_begin > size:
        raise CheckpointError(path, f"header says {length:,} bytes, the file has {size:,}: truncated download?")
    file.seek(LENGTH_BYTES)
    return file.read(length), data_begin


def _parse(path: Path, header: bytes) -> dict[str, Any]:
    """The header as a dictionary.

    Refused are: text that is not UTF-8 JSON or no object, numbers that JSON does not know, names that stand twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise CheckpointError(path, f"the name {twice[:200]!r} stands twice in the header")
        return table

    def refuse(number: str) -> NoReturn:
        raise ValueError(f"{number} is not a JSON number")

    try:
        parsed = json.loads(header.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            path, f"is not a safetensors file, or damaged: the header is not JSON ({error})"
        ) from error
    if not isinstance(parsed, dict):
        raise CheckpointError(path, "is not a safetensors file, or damaged: the header is not a JSON object")
    return parsed


def _entries(path: Path, header: dict[str, Any], data_begin: int, size: int) -> tuple[Entry, ...]:
    """The tensors of a parsed header, sorted by offset, if their bytes lie within the file and fill it."""
    entries = []
    for name, described in header.items():
        if name == "__metadata__":
            continue
        try:
            name.encode()
            begin, end = described["data_offsets"]
            shape = tuple(described["shape"])
            entry = Entry(name, described["dtype"], shape, data_begin + begin, data_begin + end)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CheckpointError(path, f"tensor {name[:200]!r} is not described as safetensors does it") from error
        if not all(type(number) is int and number >= 0 for number in (begin, end, *shape)):
            raise CheckpointError(path, f"tensor {name[:200]!r}: shape and offsets are not whole numbers from 0 on")
        entries.append(entry)
    entries.sort(key=lambda entry: (entry.begin, entry.end))
    end = max((entry.end for entry in entries), default=data_begin)
    if end > size:
        raise CheckpointError(path, f"truncated: {size:,} of {end:,} bytes are there")
    if end < size:
        raise CheckpointError(path, f"{size - end:,} extra bytes after the last tensor")
    return tuple(entries)


def _ask_safetensors(path: Path) -> None:
    """Let safetensors accept the file: it holds every shape against its bytes and the bytes against each other."""
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        raise CheckpointError(path, f"safetensors refuses it: {error}") from error


def _errno_text(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
