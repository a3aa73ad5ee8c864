"""From a path that a user names to the checkpoints behind it."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

from initaudit.checkpoint.dcp_folder import Joint, is_dcp_folder, read_dcp_folder
from initaudit.checkpoint.files import read_text
from initaudit.checkpoint.foreign import foreign_file, foreign_folder, not_on_disk
from initaudit.checkpoint.interrupted import require_not_half_done, require_whole
from initaudit.checkpoint.joined_slices import join_slices, sliced_files
from initaudit.checkpoint.opening import SUFFIXES, open_weights, suffix_note
from initaudit.checkpoint.sharded import INDEX_SUFFIX, read_index, shards_named_by
from initaudit.checkpoint.subfolders import DEEPEST, MOST_NAMED, LeftOut, Listing, looked_through
from initaudit.checkpoint.values import CONFIG_NAMES, Checkpoint
from initaudit.errors import CheckpointError, crash_text, errno_text

MAX_CONFIG_BYTES = 10_000_000  # real ones are a few KB; a hint is not worth more

COMPANIONS = re.compile(r"(optimi[sz]er|scheduler|scaler|rng_state)[\w-]*\.(pt|pth|bin)|training_args\.bin")
"""What training loops save beside the weights, in files of their own."""

MOST_NORMALISED = 128
"""Characters up to which it is looked at how Unicode spells a name: real ones are shorter."""

SAME_MODEL = {"pytorch_model.bin": "model.safetensors"}
"""How the hub's folders name one model in two formats, where the names differ in more than the suffix."""


Found = Checkpoint | CheckpointError
"""A checkpoint, or why there is none."""


def find_checkpoints(path: Path, key: str | None = None, *, recursive: bool = True) -> Iterator[Found]:
    """Each checkpoint that a path leads to, or the reason why one of them cannot be read.

    A weight file and an index are one checkpoint, and so is a folder of ``torch.distributed.checkpoint``. In any other
    folder an index, if there is one, is one checkpoint of many shards, and so are files that hold slices; else each
    weight file directly inside is a checkpoint of its own. Subfolders are looked through in the same way, two levels
    deep, if it is to be ``recursive``. What is wrong with one file does not hide the others, so errors are yielded, not
    raised. ``key`` leads to the state dict within files that nest it.
    """
    elsewhere = not_on_disk(path)
    if elsewhere is not None:
        yield CheckpointError(*elsewhere)
        return
    try:
        if path.is_dir():
            yield from _in_folder(path, key, recursive=recursive)
        else:
            yield _open_file(path, key)
    except CheckpointError as error:
        yield error
    except OSError as error:
        yield CheckpointError(path, errno_text(error))
    except Exception as error:  # a file or folder, however odd, must not hide what the others hold
        yield CheckpointError(path, crash_text(error))


def is_named_as_weights(path: Path) -> bool:
    """Whether a file is by its name one of weights, or an index of them."""
    return path.suffix in SUFFIXES or path.name.endswith(INDEX_SUFFIX)


def _in_folder(folder: Path, key: str | None, *, recursive: bool) -> list[Found]:
    """The checkpoints of a folder and of those below it; the first bears the note of what was left out."""
    left_out = LeftOut(folder)
    found = _walk(folder, key, left_out, 1 if recursive else None)
    if not found:
        found += [CheckpointError(path, said) for path, said in left_out.foreign.items()][:MOST_NAMED]
    if found:
        return _noted(found, [left_out.note] if left_out.note else [])
    kinds = ", ".join(f"*{suffix}" for suffix in SUFFIXES)
    where = (
        f"in it or up to {DEEPEST} levels below" if recursive else "in it, and folders below it are not looked through"
    )
    note = f" ({left_out.note})" if left_out.note else ""
    return [CheckpointError(folder, f"no checkpoint found: no weight file ({kinds}) or index {where}{note}")]


def _walk(folder: Path, key: str | None, left_out: LeftOut, depth: int | None) -> list[Found]:
    """The checkpoints of a folder and of its subfolders, which are ``depth`` levels below the one that was named."""
    try:
        require_whole(folder)
        listing = Listing.of(folder)
    except CheckpointError as error:
        return [error]
    except OSError as error:
        return [CheckpointError(folder, errno_text(error))]
    said = foreign_folder(folder, listing.names)
    is_dcp = said is None and is_dcp_folder(folder, listing.names)
    own = _as_dcp(listing, key) if is_dcp else _directly_in(listing, key)
    found: list[Found] = [*([CheckpointError(folder, said)] if said else []), *own]
    if said is None and not is_dcp:
        left_out.add_foreign(listing)
    if depth is not None and said is None:
        shards = [path for one in own if isinstance(one, Checkpoint) for path in one.data_files]
        if any(isinstance(one, CheckpointError) for one in own):  # an index that is not whole has its shards as well
            indexes = [folder / name for name in listing.names if name.endswith(INDEX_SUFFIX)]
            shards += [shard for index in indexes for shard in shards_named_by(index)]
        for subfolder in looked_through(listing, depth, shards, left_out):
            found += _walk(subfolder, key, left_out, depth + 1)
    return found


def _directly_in(listing: Listing, key: str | None) -> list[Found]:
    """The checkpoints of a folder: its indexes or, without one, its weight files."""
    children = [listing.folder / name for name in sorted(listing.names)]
    weights = [c for c in children if c.suffix in SUFFIXES and not foreign_file(c.name, listing.names)]
    indexes = [child for child in children if child.name.endswith(INDEX_SUFFIX) and _indexed_suffix(child) in SUFFIXES]
    safe = [index for index in indexes if _indexed_suffix(index) == ".safetensors"]
    if indexes:
        found = [_try_file(path, key) for path in safe or indexes]
        checkpoints = [checkpoint for checkpoint in found if isinstance(checkpoint, Checkpoint)]
        named = {shard.path.name for checkpoint in checkpoints for shard in checkpoint.shards}
        aside = [path.name for path in weights if path.name not in named]
        if len(checkpoints) < len(found):
            return found
        return _noted(found, _aside("left alone, since the index does not name it", aside))
    sliced = sliced_files(weights)
    joined = [_try_joint(listing.folder, lambda: join_slices(listing.folder, sliced), "safetensors")] if sliced else []
    weights = [path for path in weights if path not in sliced]
    names = {path.name for path in weights}
    aside = [path.name for path in weights if _is_aside(path, names)]
    found = [_try_file(path, key) for path in weights if path.name not in aside]
    return _noted(joined + found, _aside("left alone, since it lies beside the weights", aside))


def _as_dcp(listing: Listing, key: str | None) -> list[Found]:
    """The checkpoint of a folder of ``torch.distributed.checkpoint``; other weights in it are left alone."""
    found = [_try_joint(listing.folder, lambda: read_dcp_folder(listing.folder, key), "dcp")]
    aside = sorted(name for name in listing.names if is_named_as_weights(Path(name)))
    return _noted(found, _aside("left alone, since it lies beside the weights", aside))


def _try_joint(folder: Path, read: Callable[[], Joint], form: str) -> Found:
    """The checkpoint of a folder whose tensors are in pieces."""
    try:
        joint = read()
    except CheckpointError as error:
        return error
    except Exception as error:  # as for files
        return CheckpointError(folder, crash_text(error))
    config, why_not = _read_config(folder)
    notes = (*why_not, *_look_alikes(entry.name for entry in joint.shard.entries))
    return Checkpoint(str(folder), form, (joint.shard,), config, notes, joint.aside)


def _aside(reason: str, names: list[str]) -> list[str]:
    return [f"{reason}: {', '.join(names)}"] if names else []


def _noted(found: list[Found], notes: list[str]) -> list[Found]:
    """The same with notes of what was left aside, at the first checkpoint."""
    first = next((checkpoint for checkpoint in found if isinstance(checkpoint, Checkpoint)), None)
    if first is None or not notes:
        return found
    noted = replace(first, notes=(*notes, *first.notes))
    return [noted if checkpoint is first else checkpoint for checkpoint in found]


def _is_aside(path: Path, names: Set[str]) -> bool:
    """Whether a file beside others is no checkpoint of its own: training's other state, or the same model again."""
    if COMPANIONS.fullmatch(path.name):
        return True
    twin = SAME_MODEL.get(path.name, f"{path.stem}.safetensors")
    return path.suffix == ".bin" and twin in names


def _indexed_suffix(index: Path) -> str:
    """The suffix of the shards that an index names, as its own name says."""
    return Path(index.name.removesuffix(INDEX_SUFFIX)).suffix


def _try_file(path: Path, key: str | None) -> Found:
    try:
        return _open_file(path, key)
    except CheckpointError as error:
        return error
    except Exception as error:  # whatever a file holds, it must not hide what the others do
        return CheckpointError(path, crash_text(error))


def _open_file(path: Path, key: str | None) -> Checkpoint:
    """The checkpoint of one weight file or one index.

    Raises:
        CheckpointError: it cannot be read.

    """
    require_not_half_done(path)
    config, why_not = _read_config(path.parent)
    if path.name.endswith(INDEX_SUFFIX):
        index = read_index(path)
        form, shards, notes, aside, unread = index.format, index.shards, index.notes, index.aside, index.unread
    else:
        found = open_weights(path, key)
        form, shards, aside, unread = found.format, (found.shard,), found.aside, found.unread
        notes = (*suffix_note(path, found.format), *found.notes)
    alike = _look_alikes(entry.name for shard in shards for entry in shard.entries)
    return Checkpoint(str(path), form, shards, config, (*notes, *why_not, *alike), aside, unread)


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
        # Marks are put in order in a time that grows with the square of their number.
        spelt = name if name.isascii() or len(name) > MOST_NORMALISED else normalize("NFKC", name)
        other = seen.setdefault(spelt.casefold(), name)
        if other != name:
            yield f"two tensors whose names only look alike: {other[:60]!a} and {name[:60]!a}"
            return
