"""From a path that a user names to the checkpoints behind it."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

from initaudit.checkpoint.files import errno_text, read_text
from initaudit.checkpoint.header import read_shard
from initaudit.checkpoint.sharded import INDEX_SUFFIX, read_index
from initaudit.checkpoint.values import Checkpoint
from initaudit.errors import CheckpointError

CONFIG_NAMES = ("config.json", "adapter_config.json")
MAX_CONFIG_BYTES = 10_000_000  # real ones are a few KB; a hint is not worth more
WEIGHTS_SUFFIX = ".safetensors"


def find_checkpoints(path: Path) -> Iterator[Checkpoint | CheckpointError]:
    """Each checkpoint that a path leads to, or the reason why one of them cannot be read.

    A weight file and an index are one checkpoint. In a folder an index, if there is one, is one checkpoint of many
    shards; else each weight file directly inside is a checkpoint of its own; if there is none, one level of
    subfolders is looked through in the same way. What is wrong with one file does not hide the others, so errors are
    yielded, not raised.
    """
    try:
        if path.is_dir():
            yield from _in_folder(path)
        else:
            yield _open_file(path)
    except CheckpointError as error:
        yield error
    except OSError as error:
        yield CheckpointError(path, errno_text(error))


def _in_folder(folder: Path) -> Iterator[Checkpoint | CheckpointError]:
    found = _directly_in(folder)
    if not found:
        subfolders = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
        found = [checkpoint for subfolder in subfolders for checkpoint in _try_folder(subfolder)]
    if not found:
        raise CheckpointError(
            folder, f"no checkpoint found: no *{WEIGHTS_SUFFIX} file or index in it or one level below"
        )
    yield from found


def _directly_in(folder: Path) -> list[Checkpoint | CheckpointError]:
    """The checkpoints of a folder: its indexes or, without one, its weight files."""
    children = sorted(folder.iterdir())
    weights = [child for child in children if child.name.endswith(WEIGHTS_SUFFIX)]
    indexes = [child for child in children if child.name.endswith(f"{WEIGHTS_SUFFIX}{INDEX_SUFFIX}")]
    if not indexes:
        return [_try_file(path) for path in weights]
    found = [_try_file(path) for path in indexes]
    checkpoints = [checkpoint for checkpoint in found if isinstance(checkpoint, Checkpoint)]
    named = {shard.path.name for checkpoint in checkpoints for shard in checkpoint.shards}
    aside = [path.name for path in weights if path.name not in named]
    if not aside or len(checkpoints) < len(found):
        return found
    note = f"left alone, since the index does not name it: {', '.join(aside)}"
    return [replace(checkpoints[0], notes=(note, *checkpoints[0].notes)), *found[1:]]


def _try_folder(folder: Path) -> list[Checkpoint | CheckpointError]:
    try:
        return _directly_in(folder)
    except OSError as error:
        return [CheckpointError(folder, errno_text(error))]


def _try_file(path: Path) -> Checkpoint | CheckpointError:
    try:
        return _open_file(path)
    except CheckpointError as error:
        return error


def _open_file(path: Path) -> Checkpoint:
    """The checkpoint of one weight file or one index.

    Raises:
        CheckpointError: it cannot be read.

    """
    shards, notes = read_index(path) if path.name.endswith(INDEX_SUFFIX) else ((read_shard(path),), ())
    config, why_not = _read_config(path.parent)
    alike = _look_alikes(entry.name for shard in shards for entry in shard.entries)
    return Checkpoint(str(path), "safetensors", shards, config, (*notes, *why_not, *alike))


def _read_config(folder: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The model's configuration beside its weights, empty where none can be read, and notes why; it only hints."""
    notes = []
    for name in CONFIG_NAMES:
        try:
            config = json.loads(read_text(folder / name, limit=MAX_CONFIG_BYTES))
        except CheckpointError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                notes.append(f"{name} is not made use of: {error.reason}")
        except (ValueError, RecursionError) as error:
            notes.append(f"{name} is not made use of: it is not JSON ({error})")
        else:
            if isinstance(config, dict):
                return config, tuple(notes)
            notes.append(f"{name} is not made use of: it is not a JSON object")
    return {}, tuple(notes)


def _look_alikes(names: Iterable[str]) -> Iterator[str]:
    """A note where two names differ only in case or in how Unicode spells them: two tensors, perhaps meant as one."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold() if name.isascii() else normalize("NFKC", name).casefold(), name)
        if other != name:
            yield f"two tensors whose names only look alike: {other[:60]!a} and {name[:60]!a}"
            return
