"""What else of a folder comes along when it is repaired into another: files, subfolders, and links that stay inside.

The folder may be a stranger's: what a link of his leads to outside of it is not copied into what is given away later.
Only what a model is made of (weights, their indexes, configurations) is written as files whatever links to it, since
caches of hubs consist of such links.
"""

import json
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from initaudit.checkpoint.files import read_text
from initaudit.checkpoint.folder import MAX_CONFIG_BYTES
from initaudit.checkpoint.interrupted import JOURNAL
from initaudit.checkpoint.opening import SUFFIXES, is_weights
from initaudit.checkpoint.sharded import INDEX_SUFFIX, MAX_INDEX_BYTES
from initaudit.checkpoint.values import CONFIG_NAMES
from initaudit.errors import CheckpointError, errno_text
from initaudit.repair.locks import LOCK_FILE
from initaudit.repair.names import SUFFIX

MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Companion:
    """A file, a folder or, with where it is to lead, a link; ``name`` is its place in the folder."""

    name: Path
    is_folder: bool = False
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Company:
    """All that comes along, each folder before what is in it, and what is left out, with the reason."""

    companions: tuple[Companion, ...]
    left_out: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """One note of what is left out, none where nothing is."""
        if not self.left_out:
            return ()
        more = f" and {len(self.left_out) - MOST_NAMED} more" if len(self.left_out) > MOST_NAMED else ""
        return (f"left out of the output: {', '.join(self.left_out[:MOST_NAMED])}{more}",)


def company_of(root: Path, weights: Collection[Path], output: Path) -> Company:
    """What is in a folder, less a folder of the output's in it; ``weights`` are the files that were audited.

    Raises:
        CheckpointError: a subfolder cannot be listed.

    """
    companions: dict[Path, Companion] = {}
    left_out: list[str] = []
    for weight in sorted({path.relative_to(root) for path in weights}):
        for folder in reversed(weight.parents[:-1]):
            companions.setdefault(folder, Companion(folder, is_folder=True))
        companions[weight] = Companion(weight)
    for name, status in _walk(root, Path(), output):
        if name in companions:
            continue
        if stat.S_ISLNK(status.st_mode):
            found = _linked(root, name)
        elif stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode):
            found = Companion(name, is_folder=stat.S_ISDIR(status.st_mode))
        else:
            found = "is a pipe, socket or device"
        if isinstance(found, str):
            left_out.append(f"{name} ({found})")
        else:
            companions[name] = found
    ordered = sorted(companions.values(), key=lambda companion: companion.name)
    return Company(tuple(ordered), tuple(left_out))


def _walk(root: Path, folder: Path, output: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All that is in a folder and below, less what is ours; links are not followed."""
    try:
        with os.scandir(root / folder) as listed:
            found = sorted((entry.name, entry.stat(follow_symlinks=False)) for entry in listed)
    except OSError as error:
        raise CheckpointError(root / folder, errno_text(error)) from error
    for name, status in found:
        if name.endswith(SUFFIX) or name.startswith(LOCK_FILE) or name == JOURNAL:
            continue
        here = root / folder / name
        if stat.S_ISDIR(status.st_mode) and output.exists() and here.samefile(output):
            continue
        yield folder / name, status
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(root, folder / name, output)


def _linked(root: Path, name: Path) -> Companion | str:
    """What a link becomes, or why it is left out."""
    link, within = root / name, root.resolve()
    try:
        target = link.resolve(strict=True)
    except FileNotFoundError:
        return "a link that leads nowhere"
    except (OSError, RuntimeError):  # by Python's version
        return "a link that leads in a circle"
    if _is_part_of_a_model(link, target):
        return Companion(name)
    if not target.is_relative_to(within):
        return "a link that leads out of the folder"
    here = within / name
    if here.is_relative_to(target):
        return "a link that leads in a circle"
    if not (target.is_dir() or target.is_file()):
        return "a link to a pipe, socket or device"
    text = os.readlink(link)  # noqa: PTH115 (as it is spelt)
    if not _stays_inside(name.parent, text):
        text = os.path.relpath(target, link.parent.resolve())
    return Companion(name, link=text)


def _stays_inside(folder: Path, text: str) -> bool:
    """Whether a link's text never leaves the folder on its way."""
    if Path(text).is_absolute():
        return False
    depth = len(folder.parts)
    for part in Path(text).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return False
    return True


def _is_part_of_a_model(link: Path, target: Path) -> bool:
    """Whether what a link leads to holds what its name says: weights, an index of them, or a configuration."""
    if not target.is_file():
        return False
    try:
        if link.suffix in SUFFIXES:
            return is_weights(target)
        if link.name in CONFIG_NAMES:
            return isinstance(json.loads(read_text(target, limit=MAX_CONFIG_BYTES)), dict)
        if link.name.endswith(INDEX_SUFFIX):
            return "weight_map" in json.loads(read_text(target, limit=MAX_INDEX_BYTES))
    except (CheckpointError, ValueError, TypeError, RecursionError):
        return False
    return False
