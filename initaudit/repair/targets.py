"""Where a repair is written: over the originals, to one file, or to a folder together with all that lies beside."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from initaudit.checkpoint.files import open_file
from initaudit.checkpoint.interrupted import JOURNAL
from initaudit.checkpoint.values import Checkpoint, Shard, Stamp
from initaudit.errors import CheckpointError, InitauditError, errno_text
from initaudit.repair.attributes import keep_attributes
from initaudit.repair.backups import backup_of, forget, is_kept, keep, own_links
from initaudit.repair.companions import Companion, Company, company_of
from initaudit.repair.locks import Locks
from initaudit.repair.names import SUFFIX, bring_to_disk, create, leftovers, place, stamp_of, unused
from initaudit.repair.patching import Copy, copy_bytes, require_room, require_same
from initaudit.repair.takeover import APPEARED, Taking, complete, take_names

LEVELS = 2
"""How many levels of subfolders are looked through for what a killed run left."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the user wants it: ``output``, a file or folder of another name, or in place; nowhere for a dry run."""

    output: Path | None = None
    in_place: bool = False
    backup: bool = False
    force: bool = False

    @property
    def is_dry(self) -> bool:
        """Whether nothing is written."""
        return self.output is None and not self.in_place


class Targets:
    """The way from each shard to the file that it becomes. Names are taken at the very end, indexes last.

    ``kept`` are the copies that must stay, whatever happens: they hold what has no other name. ``notes`` say what was
    left out, or could not be kept.
    """

    def __init__(self, path: Path, destination: Destination, locks: Locks) -> None:
        self._path, self._to, self._locks = path, destination, locks
        self._root = path if path.is_dir() else path.parent
        self._to_folder = destination.output is not None and (path.is_dir() or path.suffix == ".json")
        self._staging: Path | None = None
        self._company = Company((), ())
        self._ready: list[Copy] = []
        self._there: dict[Path, Stamp | None] = {}
        self.kept: set[Path] = set()
        self.notes: list[str] = []

    @property
    def target(self) -> Path:
        """What the user gave as the place of the result."""
        return self._to.output or self._path

    @property
    def _is_over_folder(self) -> bool:
        """Whether the output is a folder that is there."""
        return self._to_folder and self._to.output is not None and self._to.output.is_dir()

    @property
    def folder(self) -> Path:
        """The folder in which copies are made, and names taken."""
        if self._to.output is None:
            return self._root
        return self._to.output.absolute() if self._is_over_folder else self._to.output.absolute().parent

    def claim(self) -> None:
        """Lock what is to be rewritten in place, and first finish what a killed run left half-way in it.

        Raises:
            CheckpointError: another repair is at work there, or what was left can neither be finished nor undone.

        """
        if self._to.in_place and self._root.is_dir():
            self._locks.take(self._root)
            for folder in [self._root, *_subfolders(self._root, LEVELS if self._path.is_dir() else 0)]:
                self._complete(folder)

    def claim_shards(self, checkpoint: Checkpoint) -> None:
        """Lock the folders of a checkpoint's shards as well, which may be others than the one that was named.

        Raises:
            CheckpointError: another repair is at work there.

        """
        if self._to.in_place:
            for folder in sorted({path.parent for path in checkpoint.data_files}):
                self._locks.take(folder)

    def leftovers(self, shards: Iterable[Shard]) -> Iterator[Path]:
        """What killed runs have left in the folders in which copies are made."""
        folders = {shard.path.parent for shard in shards} if self._to.in_place else set()
        for folder in sorted({self.folder, *folders}):
            yield from leftovers(folder)

    def require(self, checkpoints: Iterable[Checkpoint], shards: Iterable[Shard]) -> None:
        """See that all can be written, before anything is: ``shards`` are those of the checkpoints that will differ.

        Raises:
            CheckpointError: a file stands in the way or must not be rewritten, or there is no room for the copies.
            InitauditError: the output is there already.

        """
        size = 0
        if self._to.output is not None and os.path.lexists(self._to.output):
            self._require_replaceable(self._to.output)
        for shard in shards:
            size += shard.stamp.size
            if self._to.in_place and (why := self._why_not_in_place(shard.path)) is not None:
                raise CheckpointError(shard.path, why)
            backup = backup_of(shard.path)
            if self._to.backup and os.path.lexists(backup) and not is_kept(shard.path):
                raise CheckpointError(shard.path, f"its backup {backup.name} is there already: move it away")
        if not self.folder.is_dir():
            raise InitauditError(f"{self.folder}: no such folder to write to")
        if self._to_folder:
            weights = {path for checkpoint in checkpoints for path in checkpoint.data_files}
            self._company = company_of(self._root, weights, self.target)
            self.notes += self._company.notes
            size = sum(_readable_size(self._root / companion.name) for companion in _files(self._company))
        require_room(self.folder, size)
        self._note_what_is_there()

    def prepare(self, stack: ExitStack) -> None:
        """Make the folder in which a folder's copy grows, taken away at the end unless it has got its name.

        Raises:
            CheckpointError: it cannot be made.

        """
        if not self._to_folder or self._to.output is None:
            return
        staging = unused(self.folder, self._to.output.name)
        stack.callback(self._clear, staging)
        try:
            staging.mkdir(mode=0o700)
            for companion in self._company.companions:
                if companion.is_folder:
                    (staging / companion.name).mkdir(mode=0o700)
        except OSError as error:
            raise CheckpointError(self.folder, f"cannot be written to: {errno_text(error)}") from error
        self._staging = staging

    def beside(self, shard: Shard) -> Path:
        """The folder in which a shard's copy is made: that of the file it becomes, or in the growing folder."""
        if self._staging is not None:
            return (self._staging / shard.path.relative_to(self._root)).parent
        return self._becomes(shard.path).parent

    def add(self, copy: Copy, lost: Iterable[str]) -> None:
        """Note a copy that is finished, and what of the original's attributes it did not get."""
        self._ready.append(copy)
        self._note_lost(copy.source.path, lost)

    def take_names(self) -> None:
        """Give all copies their names, and a folder what else belongs to it.

        Raises:
            CheckpointError: a file was saved meanwhile, or the system refuses; all is as it was.

        """
        try:
            if self._staging is not None:
                self._complete_staging(self._staging)
            self._locks.take(self.folder)
            if self._staging is not None and not self._is_over_folder:
                self._place_staging(self._staging)
            else:
                self._take_over()
        except OSError as error:
            where = error.filename2 or error.filename or self.target
            raise CheckpointError(where, f"cannot be copied or written: {errno_text(error)}: run it again") from error

    def _complete(self, folder: Path) -> None:
        """Finish or undo what a killed run left half-way in a folder."""
        if os.path.lexists(folder / JOURNAL):
            self._locks.take(folder)
            if (done := complete(folder)) is not None:
                self.notes.append(done)

    def _require_replaceable(self, output: Path) -> None:
        """See that what has the name of the output may lose it."""
        if not self._to.force:
            raise InitauditError(f"{output}: is there already: name another output, or --force")
        if output.exists() and not output.is_dir() and not output.is_file():
            raise InitauditError(f"{output}: is a device or pipe, which is not replaced: name a file")
        if output.exists() and output.is_dir() != self._to_folder:
            raise InitauditError(f"{output}: is a {'folder' if output.is_dir() else 'file'}, which the input is not")
        if output.exists() and output.samefile(self._root if self._to_folder else self._path):
            raise InitauditError(f"{output}: is the input itself: use --in-place to rewrite it")
        if self._to_folder and self._root.resolve().is_relative_to(output.resolve()):
            raise InitauditError(f"{output}: holds the input: name a folder beside it")

    def _why_not_in_place(self, path: Path) -> str | None:
        """Why a file must not be rewritten where it stands, None if it may be."""
        way = "which others may read as well: write to --output instead"
        if path.is_symlink():
            return f"is a link to {path.readlink()}, {way}"
        for folder in path.relative_to(self._root).parents[:-1]:
            if (self._root / folder).is_symlink():
                return f"is in the linked folder {folder}, {way}"
        status = path.stat()
        if status.st_nlink > 1 + own_links(path):
            return f"has {status.st_nlink} names (hard links), all of which would change: write to --output instead"
        if {"blobs", "snapshots"} & set(path.absolute().parts[-4:-1]):
            return "lies in a cache that is shared by its digest: write to --output instead"
        return None

    def _note_what_is_there(self) -> None:
        """Look at what has the names that are to be taken in an output by force: nothing else will be written over."""
        if self._to.output is None:
            return
        if self._is_over_folder:
            self._locks.take(self.folder)
            self._complete(self.folder)
            for companion in self._company.companions:
                self._there[self.folder / companion.name] = stamp_of(self.folder / companion.name)
        elif self._to.force:
            self._there[self._to.output] = stamp_of(self._to.output)

    def _clear(self, staging: Path) -> None:
        """Take the growing folder away, unless something in it must stay."""
        if not self.kept:
            shutil.rmtree(staging, ignore_errors=True)

    def _complete_staging(self, staging: Path) -> None:
        """Bring all that is not redrawn into the growing folder, and the attributes of its folders."""
        drawn = {copy.source.path.relative_to(self._root): copy for copy in self._ready}
        for companion in self._company.companions:
            source, target = self._root / companion.name, staging / companion.name
            if companion.link is not None:
                target.symlink_to(companion.link)
            elif companion.name in drawn:
                place(drawn[companion.name].path, target)
            elif not companion.is_folder:
                self._copy_along(source, target)
        for copy in self._ready:
            require_same(copy.source)
        for folder in sorted({companion.name for companion in self._company.companions if companion.is_folder}):
            bring_to_disk(staging / folder)
        bring_to_disk(staging)

    def _copy_along(self, source: Path, target: Path) -> None:
        status = source.stat()
        create(target)
        copy_bytes(source, target)
        with target.open("r+b") as file:
            os.fsync(file.fileno())
        self._note_lost(source, keep_attributes(source, target))
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        if Stamp.of(source.stat()) != Stamp.of(status):
            raise CheckpointError(source, "was changed while it was copied: run it again once it is written")

    def _keep_folder(self, name: Path, target: Path) -> None:
        """Give a folder that was made the attributes of the input's."""
        self._note_lost(self._root / name, keep_attributes(self._root / name, target))

    def _place_staging(self, staging: Path) -> None:
        """Give the whole folder its name."""
        for companion in reversed(self._company.companions):
            if companion.is_folder:
                self._keep_folder(companion.name, staging / companion.name)
        self._keep_folder(Path(), staging)
        try:
            place(staging, self.target)
        except FileExistsError as error:
            raise CheckpointError(self.target, APPEARED) from error
        bring_to_disk(self.folder)

    def _take_over(self) -> None:
        """Give each copy its name, over the file that was there when this began, or over none."""
        takings, made = [], []
        if self._staging is None:
            for copy in self._ready:
                old = copy.source.stamp if self._to.in_place else self._there.get(self.target)
                takings.append(_taking(copy.path, self._becomes(copy.source.path), old))
        for companion in self._company.companions:
            target = self.folder / companion.name
            if not companion.is_folder and self._staging is not None:
                takings.append(_taking(self._staging / companion.name, target, self._there[target]))
            elif companion.is_folder and not target.is_dir():
                target.mkdir(mode=0o700)
                made.append(companion)
        takings.sort(key=lambda taking: taking.target.suffix == ".json")
        try:
            for copy in self._ready if self._to.backup else ():
                self._note_lost(backup_of(copy.source.path), keep(copy.source))
            take_names(takings, self.folder, self.kept)
        except BaseException:
            for copy in self._ready if self._to.backup else ():
                forget(copy.source.path)
            for companion in reversed(made):
                with suppress(OSError):
                    (self.folder / companion.name).rmdir()
            raise
        for companion in reversed(made):
            self._keep_folder(companion.name, self.folder / companion.name)

    def _becomes(self, path: Path) -> Path:
        """The file that a shard becomes."""
        return self._to.output or path

    def _note_lost(self, path: Path, lost: Iterable[str]) -> None:
        if said := ", ".join(lost):
            self.notes.append(f"{path.name} could not keep {said}: nobody else may do more with it than before")


def _taking(copy: Path, target: Path, old: Stamp | None) -> Taking:
    new = stamp_of(copy)
    if new is None:
        raise CheckpointError(target, f"its copy {copy.name} is gone: run it again")
    return Taking(copy, target, old, new)


def _subfolders(folder: Path, levels: int) -> Iterator[Path]:
    """The folders in a folder, some levels deep; links are not followed."""
    with suppress(OSError):
        for child in sorted(folder.iterdir()) if levels else ():
            if child.is_dir() and not child.is_symlink() and not child.name.endswith(SUFFIX):
                yield child
                yield from _subfolders(child, levels - 1)


def _files(company: Company) -> Iterator[Companion]:
    return (companion for companion in company.companions if not companion.is_folder and companion.link is None)


def _readable_size(path: Path) -> int:
    """The size of a file that is to come along.

    Raises:
        CheckpointError: it cannot be read.

    """
    descriptor, status = open_file(path)
    os.close(descriptor)
    return status.st_size
