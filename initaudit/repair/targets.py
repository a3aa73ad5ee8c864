"""Where a repair is written: over the originals, to one file, or to a folder together with all that lies beside."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from initaudit.checkpoint.files import open_file
from initaudit.checkpoint.values import Shard
from initaudit.errors import CheckpointError, InitauditError, errno_text
from initaudit.repair.patching import (
    SUFFIX,
    Copy,
    backup_of,
    keep,
    leftovers,
    require_room,
    take_name,
    why_not_in_place,
)


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
    """The way from each shard to the file that it becomes. Names are taken at the very end, indexes last."""

    def __init__(self, path: Path, destination: Destination) -> None:
        self._path, self._to = path, destination
        self._root = path if path.is_dir() else path.parent
        self._to_folder = destination.output is not None and (path.is_dir() or path.suffix == ".json")
        self._staging: Path | None = None
        self._ready: list[tuple[Path, Path]] = []

    @property
    def target(self) -> Path:
        """What the user gave as the place of the result."""
        return self._to.output or self._path

    @property
    def folder(self) -> Path:
        """The folder in which copies are made."""
        return self._to.output.absolute().parent if self._to.output else self._root

    def leftovers(self, shards: Iterable[Shard]) -> Iterator[Path]:
        """What killed runs have left in the folders in which copies are made."""
        folders = {shard.path.parent for shard in shards} if self._to.in_place else set()
        for folder in sorted({self.folder, *folders}):
            yield from leftovers(folder)

    def require(self, shards: Iterable[Shard]) -> None:
        """See that all can be written, before anything is.

        Raises:
            CheckpointError: a file stands in the way or must not be rewritten, or there is no room for the copies.
            InitauditError: the output is there already.

        """
        size = 0
        if self._to.output is not None and os.path.lexists(self._to.output):
            self._require_replaceable(self._to.output)
        for shard in shards:
            size += shard.stamp.size
            if self._to.in_place and (why := why_not_in_place(shard.path)) is not None:
                raise CheckpointError(shard.path, why)
            backup = backup_of(shard.path)
            if self._to.backup and backup.exists() and not backup.samefile(shard.path):
                raise CheckpointError(shard.path, f"its backup {backup.name} is there already: move it away")
        if self._to_folder:
            size = sum(map(_readable_size, self._files()))
        if not self.folder.is_dir():
            raise InitauditError(f"{self.folder}: no such folder to write to")
        require_room(self.folder, size)

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

    def prepare(self, stack: ExitStack) -> None:
        """Make the folder in which a folder's copy grows, taken away at the end unless it has got its name."""
        if not self._to_folder or self._to.output is None:
            return
        try:
            self._staging = Path(tempfile.mkdtemp(prefix=f".{self._to.output.name}.", suffix=SUFFIX, dir=self.folder))
        except OSError as error:
            raise CheckpointError(self.folder, f"cannot be written to: {errno_text(error)}") from error
        stack.callback(shutil.rmtree, self._staging, ignore_errors=True)

    def beside(self, shard: Shard) -> Path:
        """The folder in which a shard's copy is made: that of the file it becomes."""
        folder = self._becomes(shard.path).parent
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def add(self, copies: Iterable[Copy]) -> None:
        """Note copies that are finished."""
        self._ready += [(copy.path, self._becomes(copy.source.path)) for copy in copies]

    def take_names(self) -> None:
        """Give all copies their names, and a folder what else belongs to it.

        Raises:
            CheckpointError: the system refuses; what has its name is whole, and running again completes the rest.

        """
        try:
            if self._staging is not None:
                self._complete_folder(self._staging)
                return
            for copy, target in self._ready:
                if self._to.backup:
                    keep(target)
                take_name(copy, target)
        except OSError as error:
            where = error.filename2 or error.filename or self.target
            raise CheckpointError(where, f"cannot be copied or written: {errno_text(error)}: run it again") from error

    def _complete_folder(self, staging: Path) -> None:
        for copy, target in self._ready:
            take_name(copy, target)
        written = {target for _, target in self._ready}
        for path in self._files():
            target = staging / path.relative_to(self._root)
            if target not in written:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
        output = self._to.output or staging
        if not output.exists():
            shutil.copymode(self._root, staging)
            take_name(staging, output)
            return
        for path in sorted(filter(Path.is_file, staging.rglob("*")), key=lambda path: path.suffix == ".json"):
            target = output / path.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            take_name(path, target)

    def _becomes(self, path: Path) -> Path:
        """The file that a shard becomes, within the growing folder where there is one."""
        if self._staging is not None:
            return self._staging / path.relative_to(self._root)
        return self._to.output or path

    def _files(self) -> Iterator[Path]:
        """All files of the input's folder, less what killed runs have left."""
        output = self.target.resolve() if self._to_folder else None
        for path in sorted(self._root.rglob("*")):
            inside = output is not None and path.resolve().is_relative_to(output)
            if path.is_file() and not inside and not any(part.endswith(SUFFIX) for part in path.parts):
                yield path


def _readable_size(path: Path) -> int:
    """The size of a file that is to come along.

    Raises:
        CheckpointError: it cannot be read.

    """
    descriptor, status = open_file(path)
    os.close(descriptor)
    return status.st_size
