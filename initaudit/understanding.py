"""From a path to checkpoints that are measured and understood, before any rule has spoken."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from initaudit.checkpoint import Checkpoint, Entry, find_checkpoints
from initaudit.equality import with_keys, with_ties
from initaudit.errors import CheckpointError, crash_text
from initaudit.findings import Failure
from initaudit.layers import understand
from initaudit.layers.values import Part
from initaudit.model import ALPHA, Model, Tensor
from initaudit.names import Blocks
from initaudit.reach import Reach
from initaudit.schemes import Draw, Scheme, recognise
from initaudit.statistics import JUDGED, Statistics, why_not_judged
from initaudit.workers import measure_all

MOST_NAMED = 8
"""How many records are named in a note."""

Progress = Callable[[int], None]
"""Told the number of bytes that were just read."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What of which checkpoints is read, and how: what every command asks alike.

    ``exclude`` are globs of tensors that are left out, ``key`` leads to the state dict in files that nest it, and
    folders below those that are named are looked through, too, unless it is not ``recursive``. ``workers`` is the
    number of processes, ``progress`` is asked for each checkpoint whom to tell of it, and ``histograms`` are what only
    a page shows of a tensor. ``alpha`` is the number of false alarms that chance may give in a checkpoint, on average.
    """

    exclude: Sequence[str] = ()
    key: str | None = None
    recursive: bool = True
    workers: int = 1
    progress: Callable[[Checkpoint], Progress | None] | None = None
    histograms: bool = False
    alpha: float = ALPHA


WHOLE = Reading()
"""Everything that is there, in this process."""


@dataclass(frozen=True, slots=True)
class Understood:
    """A checkpoint whose tensors were measured and understood, before any rule has spoken."""

    checkpoint: Checkpoint
    parts: dict[str, Part]
    statistics: dict[str, Statistics]
    schemes: dict[str, Scheme]
    unfilled: tuple[str, ...] = ()
    """The tensors that were only planned: on the meta device, without values."""
    blocks: Blocks = field(default_factory=Blocks)
    """The tree of all names, those of tensors that are not judged among them."""
    reached: Mapping[str, Reach] | None = None
    """When each trained parameter is given a gradient, where that was tried with a batch on the live model."""

    @property
    def can_be_judged(self) -> bool:
        """Whether there is anything for rules: a tensor with values, or one that should have them."""
        return bool(self.statistics or self.unfilled)

    @property
    def model(self) -> Model:
        """What rules judge: the tensors that have values."""
        entries = sorted(
            (e for e in self.checkpoint.entries if e.name in self.statistics), key=lambda entry: entry.name
        )
        tensors = (
            Tensor(e.name, e.dtype, e.shape, self.parts[e.name], self.statistics[e.name], self.schemes.get(e.name))
            for e in entries
        )
        return Model(tuple(tensors), self.checkpoint.config, self.unfilled, self.blocks, reached=self.reached)


def open_paths(
    paths: Iterable[Path], key: str | None = None, *, recursive: bool = True
) -> tuple[list[Checkpoint], list[Failure]]:
    """The checkpoints behind some paths, and what could not be opened; ``key`` leads to a nested state dict.

    Folders below those that are named are looked through, too, unless it is not to be ``recursive``.
    """
    checkpoints, failures = [], []
    for path in paths:
        for found in find_checkpoints(path, key, recursive=recursive):
            if isinstance(found, CheckpointError):
                failures.append(Failure(found.path, found.reason))
            else:
                checkpoints.append(found)
    return checkpoints, failures


def read(
    checkpoint: Checkpoint,
    *,
    exclude: Sequence[str] = (),
    workers: int = 1,
    progress: Progress | None = None,
    histograms: bool = False,
) -> Understood:
    """Measure every tensor that can be judged and is not excluded by a glob, and say what each tensor is.

    Raises:
        CheckpointError: a file cannot be read to its end, or was changed meanwhile.

    """
    judged = [
        replace(shard, entries=tuple(entry for entry in shard.entries if why_left_out(entry, exclude) is None))
        for shard in checkpoint.shards
    ]
    measured = measure_all(judged, workers=workers, progress=progress, histograms=histograms)
    if measured.wrong:
        note = _wrong_note(measured.wrong, with_files=len(checkpoint.shards) > 1)
        checkpoint = replace(checkpoint, notes=(*checkpoint.notes, note))
    statistics = with_keys(checkpoint, measured.statistics)
    blocks = Blocks(entry.name for entry in checkpoint.entries)
    parts = understand(checkpoint.entries, statistics, checkpoint.config, blocks)
    checkpoint = with_ties(checkpoint, statistics, parts)
    counted = {entry.name for entry in checkpoint.entries if not entry.shared_with}
    statistics = {name: values for name, values in statistics.items() if name in counted}
    left = unfilled(checkpoint.entries, exclude)
    return understood_from(checkpoint, statistics, known=parts, unfilled=left, blocks=blocks)


def _wrong_note(records: Sequence[tuple[str, str]], *, with_files: bool) -> str:
    """What is said of records of an archive whose checksums are wrong, at which torch.load does not look."""
    first = sorted(records)[:MOST_NAMED]
    named = ", ".join(f"{record[:100]!r}" + (f" of {file[:100]}" if with_files else "") for file, record in first)
    more = f" and {len(records) - MOST_NAMED:,} more" if len(records) > MOST_NAMED else ""
    return f"not what was saved, by checksums at which torch.load does not look: {named}{more}"


def understood_from(
    checkpoint: Checkpoint,
    statistics: dict[str, Statistics],
    *,
    known: Mapping[str, Part] | None = None,
    unfilled: tuple[str, ...] = (),
    blocks: Blocks | None = None,
) -> Understood:
    """A checkpoint whose tensors have these statistics, understood as far as it is not ``known`` what they are."""
    blocks = blocks or Blocks(entry.name for entry in checkpoint.entries)
    parts = understand(checkpoint.entries, statistics, checkpoint.config, blocks) if known is None else dict(known)
    measured = (entry for entry in checkpoint.entries if entry.name in statistics)
    draws = (Draw(entry, parts[entry.name], statistics[entry.name]) for entry in measured)
    schemes = recognise(draws, checkpoint.config, blocks)
    return Understood(checkpoint, parts, statistics, schemes, unfilled, blocks)


def understood(paths: Iterable[Path], reading: Reading = WHOLE) -> Iterator[Understood | Failure]:
    """Each checkpoint behind some paths, understood, or why it is not; one that is odd hides none of the others."""
    exclude, workers, histograms = reading.exclude, reading.workers, reading.histograms
    checkpoints, failures = open_paths(paths, reading.key, recursive=reading.recursive)
    yield from failures
    for checkpoint in checkpoints:
        try:
            told = reading.progress(checkpoint) if reading.progress else None
            yield read(checkpoint, exclude=exclude, workers=workers, progress=told, histograms=histograms)
        except CheckpointError as error:
            yield Failure(error.path, error.reason)
        except Exception as error:
            yield crashed(checkpoint.path, error)


def crashed(path: str, error: Exception) -> Failure:
    """What is said of a checkpoint on which the audit itself failed."""
    return Failure(path, crash_text(error))


def unfilled(entries: Iterable[Entry], exclude: Sequence[str]) -> tuple[str, ...]:
    """The tensors that were only planned, less those that are excluded."""
    return tuple(sorted(e.name for e in entries if e.is_meta and not _is_excluded(e.name, exclude)))


def why_left_out(entry: Entry, exclude: Sequence[str]) -> str | None:
    """Why a tensor is not judged, or None if it is."""
    if entry.is_meta:
        return "has no values: it was never materialised"
    if entry.shared_with:
        return f"shares its memory with {entry.shared_with}"
    if entry.obstacle:
        return entry.obstacle
    if entry.dtype not in JUDGED:
        return why_not_judged(entry.dtype)
    if entry.count == 0:
        return "has no elements"
    return "excluded" if _is_excluded(entry.name, exclude) else None


def _is_excluded(name: str, exclude: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in exclude)
