"""Names are taken all together or not at all, and only from the files that were audited.

Before two or more are taken, a journal is written beside them. A kill between two renames leaves it, and with it all
that is needed to finish or undo; an error, a signal or a file that was saved meanwhile undoes at once.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from initaudit.checkpoint.interrupted import JOURNAL, Mark, Step, journal_of, read_steps
from initaudit.checkpoint.values import Stamp
from initaudit.errors import CheckpointError, errno_text
from initaudit.repair.names import SUFFIX, bring_to_disk, create, place, stamp_of, swap, unused

TRIES = 10
"""How often a file that is saved at the very moment of a renaming is put back: each time another is to be saved."""

CHANGED = "was saved by another program meanwhile, and is left as that left it; nothing was repaired: run it again"
APPEARED = "appeared meanwhile, and is not written over; nothing was written"


@dataclass(frozen=True, slots=True)
class Taking:
    """A finished copy, the name that it is to get, and the files that both are, the target's None where none is."""

    copy: Path
    target: Path
    old: Stamp | None
    new: Stamp


def take_names(takings: Sequence[Taking], root: Path, kept: set[Path]) -> None:
    """Give all copies, which lie in a folder or below as their targets do, their names, and take away what had these.

    Meanwhile all copies are among those that are ``kept``, and whatever cannot be put right stays so.

    Raises:
        CheckpointError: a file was saved meanwhile; all is as it was before.
        OSError: the system refuses; likewise.

    """
    kept |= {taking.copy for taking in takings}
    journal = None
    try:
        for taking in takings:
            _require_untouched(taking)
        if len(takings) > 1:
            journal = _write_journal(takings, root)
        for taking in takings:
            _require_untouched(taking)
            _take(taking)
        for taking in takings:
            _require_displaced(taking)
    except BaseException:
        undone = [_undo(taking) for taking in reversed(takings)]
        if all(undone):
            _remove_journal(root, journal)
            kept -= {taking.copy for taking in takings}
        raise
    for folder in {taking.target.parent for taking in takings}:
        bring_to_disk(folder)
    _remove_journal(root, journal)
    for taking in takings:
        if stamp_of(taking.copy) not in (None, taking.old):
            raise CheckpointError(taking.target, f"was written to while it was repaired: see {taking.copy.name}")
        taking.copy.unlink(missing_ok=True)
        kept.discard(taking.copy)


def complete(root: Path) -> str | None:
    """Finish what a killed run left between two renames in a folder, or else undo it; what was done, None for nothing.

    Raises:
        CheckpointError: it can be neither, since files were changed since; or the journal is none.

    """
    if not os.path.lexists(root / JOURNAL):
        return None
    steps = read_steps(root)
    for step in steps:
        _require_inside(root, step)
    try:
        if all(_is_taken(root, step) or _can_be_taken(root, step) for step in steps):
            done, away = "finished", [(root / step.copy, step.old) for step in steps]
            for step in steps:
                if not _is_taken(root, step):
                    _exchange(root, step, gets=step.new, loses=step.old)
        elif all(_is_untaken(root, step) or _can_be_untaken(root, step) for step in steps):
            done, away = "undone", [(root / step.copy, step.new) for step in steps]
            for step in steps:
                if not _is_untaken(root, step):
                    _exchange(root, step, gets=step.old, loses=step.new)
        else:
            odd = next(s for s in steps if not (_is_taken(root, s) or _can_be_taken(root, s)))
            raise CheckpointError(
                root / odd.name,
                f"or its copy {odd.copy} was changed since a repair of {root} was interrupted, so that it can be "
                f"neither finished nor undone: remove {root / JOURNAL} to go on with the files as they are",
            )
    except OSError as error:
        where = error.filename2 or error.filename or root
        raise CheckpointError(where, f"cannot be renamed: {errno_text(error)}: run it again") from error
    for folder in {(root / step.name).parent for step in steps}:
        bring_to_disk(folder)
    _remove_journal(root, root / JOURNAL)
    for path, mark in away:
        if mark is not None and _mark_of(path) == mark:
            path.unlink()
        _remove_empty(path.parent, root)
    return f"{done} what a killed run had left between two renames: {', '.join(step.name for step in steps)}"


def _require_untouched(taking: Taking) -> None:
    now = stamp_of(taking.target)
    if now != taking.old:
        raise CheckpointError(taking.target, CHANGED if taking.old is not None else APPEARED)


def _take(taking: Taking) -> None:
    if taking.old is None:
        try:
            place(taking.copy, taking.target)
        except FileExistsError as error:
            raise CheckpointError(taking.target, APPEARED) from error
        return
    try:
        swap(taking.copy, taking.target)
    except FileNotFoundError as error:
        raise CheckpointError(taking.target, CHANGED) from error
    _require_displaced(taking)


def _require_displaced(taking: Taking) -> None:
    """See that a copy has its name, and what lost it is the file that was audited, as far as that is still there."""
    if stamp_of(taking.copy) not in (None, taking.old) or stamp_of(taking.target) != taking.new:
        raise CheckpointError(taking.target, CHANGED)


def _undo(taking: Taking) -> bool:
    """Put back whatever lost its name to a copy; whether the copy's name stands for nothing that could be missed."""
    with suppress(OSError):
        for _ in range(TRIES):
            if stamp_of(taking.copy) == taking.new:
                return True
            if stamp_of(taking.target) != taking.new:  # another program has saved it since
                return stamp_of(taking.copy) in (None, taking.old)
            if stamp_of(taking.copy) is not None:
                swap(taking.copy, taking.target)
            elif taking.old is None:
                place(taking.target, taking.copy)
            else:
                return False
    return False


def _write_journal(takings: Iterable[Taking], root: Path) -> Path:
    """Write down which names are to be taken, whole and on the disk before the first of them is."""
    steps = tuple(
        Step(
            taking.target.relative_to(root).as_posix(),
            taking.copy.relative_to(root).as_posix(),
            None if taking.old is None else Mark(taking.old.size, taking.old.modified_ns),
            Mark(taking.new.size, taking.new.modified_ns),
        )
        for taking in takings
    )
    draft, journal = unused(root, JOURNAL), root / JOURNAL
    try:
        create(draft)
        with draft.open("w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(journal_of(steps))
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o644)  # names alone; whoever may list the folder may know why it is not audited
        draft.replace(journal)
    finally:
        draft.unlink(missing_ok=True)
    bring_to_disk(root)
    return journal


def _remove_journal(root: Path, journal: Path | None) -> None:
    if journal is not None:
        journal.unlink()
        bring_to_disk(root)


def _require_inside(root: Path, step: Step) -> None:
    """See that a step stays in the folder, whatever links there are, and renames nothing but what a repair made."""
    if not any(part.endswith(SUFFIX) for part in Path(step.copy).parts):
        raise CheckpointError(root / JOURNAL, "is not the journal of a repair: remove it to go on with the folder")
    for name in (step.name, step.copy):
        for folder in (root / name).relative_to(root).parents:
            if (root / folder).is_symlink() and folder != Path():
                raise CheckpointError(root / name, f"leads out of the folder by a link: remove {root / JOURNAL}")


def _mark_of(path: Path) -> Mark | None:
    stamp = stamp_of(path) if not path.is_symlink() and (path.is_file() or not path.exists()) else None
    return None if stamp is None else Mark(stamp.size, stamp.modified_ns)


def _is_taken(root: Path, step: Step) -> bool:
    return _mark_of(root / step.name) == step.new


def _can_be_taken(root: Path, step: Step) -> bool:
    return _is_untaken(root, step) and _mark_of(root / step.copy) == step.new


def _is_untaken(root: Path, step: Step) -> bool:
    if step.old is None:
        return not os.path.lexists(root / step.name)
    return _mark_of(root / step.name) == step.old


def _can_be_untaken(root: Path, step: Step) -> bool:
    if step.old is None:
        return _is_taken(root, step) and not os.path.lexists(root / step.copy)
    return _is_taken(root, step) and _mark_of(root / step.copy) == step.old


def _exchange(root: Path, step: Step, *, gets: Mark | None, loses: Mark | None) -> None:
    """Take one more name, or give it back, and see that what loses it is what was to."""
    copy, target = root / step.copy, root / step.name
    if gets is None:
        place(target, copy)
    elif loses is None:
        place(copy, target)
    else:
        swap(copy, target)
        if _mark_of(copy) not in (None, loses):
            swap(copy, target)
            raise CheckpointError(target, CHANGED)


def _remove_empty(folder: Path, root: Path) -> None:
    """Take away the folders in which copies grew, once nothing is in them."""
    while folder != root and any(part.endswith(SUFFIX) for part in folder.relative_to(root).parts):
        with suppress(OSError):
            folder.rmdir()
        folder = folder.parent
