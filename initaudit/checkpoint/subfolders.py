"""Which folders below one that a user names are looked through, and which are left out and why."""

import os
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from initaudit.checkpoint.foreign import foreign_file
from initaudit.checkpoint.opening import SUFFIXES
from initaudit.checkpoint.sharded import INDEX_SUFFIX

DEEPEST = 2
"""Levels of subfolders that are looked through: those of a pipeline, or of runs that have folders of their own."""

SNAPSHOTS = ("checkpoint-*", "global_step*")
"""How training loops name what they save on the way: none of it is fresh, and there may be hundreds."""

ENDS_OF_NAMES = (*SUFFIXES, INDEX_SUFFIX, ".distcp")
"""What tells weights by their names, where no more than that there are some is asked."""

MOST_LOOKED_AT = 10_000
"""Files and folders in which weights are looked for only to name the folder in a note."""

MOST_NAMED = 8
"""How many folders are named for each reason."""

HIDDEN, LINKED, SNAPSHOT = "hidden folders", "linked folders", "training snapshots"
OF_SHARDS, DEEPER, UNREAD = "folders with shards of an index", f"below {DEEPEST} levels", "formats that are not read"


@dataclass(frozen=True, slots=True)
class Listing:
    """The names in a folder: all of them, and those of its folders, each with whether it is a link."""

    folder: Path
    names: Set[str]
    folders: dict[str, bool]

    @classmethod
    def of(cls, folder: Path) -> "Listing":
        """What is in a folder now.

        Raises:
            OSError: it cannot be listed.

        """
        with os.scandir(folder) as found:
            entries = list(found)
        folders = {entry.name: _is_link(entry) for entry in entries if _is_folder(entry)}
        return cls(folder, {entry.name for entry in entries}, folders)


@dataclass(slots=True)
class LeftOut:
    """What was left out, by reason, as the paths from the folder that was named."""

    root: Path
    rows: dict[str, list[str]] = field(default_factory=dict)
    foreign: dict[Path, str] = field(default_factory=dict)
    """The files in formats that are not read, each with what it is."""

    def add(self, reason: str, path: Path) -> None:
        """Note one more."""
        self.rows.setdefault(reason, []).append(str(path.relative_to(self.root)))

    def add_foreign(self, listing: Listing) -> None:
        """Note the files of a folder that are weights in formats that are not read."""
        for name in sorted(listing.names - listing.folders.keys()):
            said = foreign_file(name, listing.names)
            if said is not None:
                self.foreign[listing.folder / name] = said
                self.add(UNREAD, listing.folder / name)

    @property
    def note(self) -> str:
        """All of it in one line, empty where nothing was left out."""
        said = []
        for reason, names in self.rows.items():
            more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
            said.append(f"{reason} ({', '.join(names[:MOST_NAMED])}{more})")
        return f"left out: {'; '.join(said)}" if said else ""


def looked_through(listing: Listing, depth: int, shards: Iterable[Path], left_out: LeftOut) -> Iterator[Path]:
    """The subfolders of a folder that are looked through, by name; of the others those with weights are noted.

    Links are never followed, so that no loop is walked and nothing is audited twice. ``depth`` is that of the
    subfolders below the folder that was named, ``shards`` are files of the indexes that were found.
    """
    of_shards = {parent for shard in shards for parent in shard.parents}
    for name in sorted(listing.folders):
        path = listing.folder / name
        reason = _why_left_out(path, depth, is_link=listing.folders[name], of_shards=of_shards)
        if reason is None:
            yield path
        elif _holds_weights(path, 0 if reason == DEEPER else DEEPEST):
            left_out.add(reason, path)


def _why_left_out(path: Path, depth: int, *, is_link: bool, of_shards: Set[Path]) -> str | None:
    if path in of_shards:
        return OF_SHARDS
    if path.name.startswith("."):
        return HIDDEN
    if is_link:
        return LINKED
    if any(fnmatchcase(path.name, glob) for glob in SNAPSHOTS):
        return SNAPSHOT
    return DEEPER if depth > DEEPEST else None


def _holds_weights(folder: Path, levels: int) -> bool:
    """Whether there are weights in a folder or so many levels below it; where it takes long to know, it may be so."""
    looked_at = 0
    level = [folder]
    for _ in range(levels + 1):
        below: list[Path] = []
        for path in level:
            try:
                listing = Listing.of(path)
            except OSError:
                continue
            looked_at += 1 + len(listing.names)
            if looked_at > MOST_LOOKED_AT or any(name.endswith(ENDS_OF_NAMES) for name in listing.names):
                return True
            below += [path / name for name, is_link in listing.folders.items() if not is_link]
        level = below
    return False


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_link(entry: "os.DirEntry[str]") -> bool:
    """Whether a folder is only the way to another: a symbolic link or, on Windows, a junction."""
    is_junction = getattr(entry, "is_junction", None)  # from Python 3.12 on
    return entry.is_symlink() or bool(is_junction and is_junction())
