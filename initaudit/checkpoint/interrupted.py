"""What a repair writes down in a folder before it renames several files of it, and what is there if it was killed.

Until all are renamed the folder holds neither the old checkpoint nor the new one, though each file is whole; so it is
not audited. The journal comes from a folder that may be anybody's: names in it lead nowhere but into that folder.
"""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from initaudit.checkpoint.files import open_file, read_text
from initaudit.errors import CheckpointError

JOURNAL = ".initaudit-journal"
SCHEMA = "initaudit/journal/1"
MOST_BYTES = 10_000_000
LEVELS = 4
"""How many folders up from a file a journal may lie that names it: an index's shards may lie in subfolders."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a file is known by wherever its folder is moved or copied to."""

    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Step:
    """One renaming of several: of a file that has the name ``copy``, within the folder, to ``name``.

    ``old`` is the file that has the name until then, None where there is none, and ``new`` the one that gets it.
    """

    name: str
    copy: str
    old: Mark | None
    new: Mark


def require_whole(folder: Path) -> None:
    """See that no repair of a folder was interrupted half-way.

    Raises:
        CheckpointError: one was.

    """
    if os.path.lexists(folder / JOURNAL):
        raise CheckpointError(folder, _interrupted(folder))


def require_not_half_done(path: Path) -> None:
    """See that a file, or its folder, is not of those that a repair was interrupted over.

    Raises:
        CheckpointError: it is.

    """
    if os.path.lexists(path.parent / JOURNAL):
        raise CheckpointError(path, _interrupted(path.parent))
    whole = Path(os.path.abspath(path))  # noqa: PTH100 (a link's own name counts, not where it leads)
    for folder in whole.parents[1:LEVELS]:
        journal = folder / JOURNAL
        if os.path.lexists(journal) and _is_by_the_same_user(journal, whole.parent):
            name = whole.relative_to(folder).as_posix()
            if any(step.name == name for step in read_steps(folder)):
                raise CheckpointError(path, _interrupted(folder))


def read_steps(folder: Path) -> tuple[Step, ...]:
    """The renamings that a journal in a folder lists.

    Raises:
        CheckpointError: it is none of a repair's, or cannot be read.

    """
    journal = folder / JOURNAL
    if journal.is_symlink():
        raise CheckpointError(journal, f"is not the journal of a repair but a link: remove it{_to_go_on()}")
    try:
        document = json.loads(read_text(journal, limit=MOST_BYTES))
        if document["schema"] != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        return tuple(_step(row) for row in document["files"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(journal, f"is not the journal of a repair: remove it{_to_go_on()} ({error})") from error


def journal_of(steps: tuple[Step, ...]) -> str:
    """The text of a journal."""

    def mark(of: Mark | None) -> list[int] | None:
        return None if of is None else [of.size, of.modified_ns]

    files = [{"name": s.name, "copy": s.copy, "old": mark(s.old), "new": mark(s.new)} for s in steps]
    return json.dumps({"schema": SCHEMA, "files": files}, indent=1) + "\n"


def _interrupted(folder: Path) -> str:
    way = f"`initaudit fix {shlex.quote(str(folder))} --in-place` finishes it"
    return f"a repair was interrupted between two renames, so that some files are old and some new: {way}"


def _to_go_on() -> str:
    return " to go on with the folder as it is"


def _step(row: Mapping[str, Any]) -> Step:
    old = row["old"]
    return Step(_name(row["name"]), _name(row["copy"]), None if old is None else _mark(old), _mark(row["new"]))


def _mark(numbers: Any) -> Mark:
    size, modified = numbers
    if not all(type(number) is int for number in (size, modified)):
        raise ValueError("a file is not known by two numbers")
    return Mark(size, modified)


def _name(text: Any) -> str:
    """A name that stays within the folder by any system's rules, as those of shards in an index."""
    parts = PureWindowsPath(text)
    if not text or "\0" in text or parts.drive or parts.root or ".." in parts.parts:
        raise ValueError("a name leads out of the folder")
    return str(text)


def _is_by_the_same_user(journal: Path, folder: Path) -> bool:
    """Whether a journal further up was written by one who may say something of a folder: its owner, root or oneself."""
    if not hasattr(os, "geteuid"):
        return True
    try:
        descriptor, status = open_file(journal)
    except CheckpointError:
        return False
    os.close(descriptor)
    return status.st_uid in {folder.stat().st_uid, 0, os.geteuid()}
