"""From a path to checkpoints that are measured and understood, before any rule has spoken."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from initaudit.checkpoint import Checkpoint, find_checkpoints
from initaudit.errors import CheckpointError
from initaudit.findings import Failure
from initaudit.layers import understand
from initaudit.layers.values import Part
from initaudit.model import Model, Tensor
from initaudit.schemes import Draw, Scheme, recognise
from initaudit.statistics import JUDGED, Statistics, why_not_judged
from initaudit.workers import measure_all

Progress = Callable[[int], None]
"""Told the number of bytes that were just read."""


@dataclass(frozen=True, slots=True)
class Understood:
    """A checkpoint whose tensors were measured and understood, before any rule has spoken."""

    checkpoint: Checkpoint
    parts: dict[str, Part]
    statistics: dict[str, Statistics]
    schemes: dict[str, Scheme]

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
        return Model(tuple(tensors), self.checkpoint.config)


def open_paths(paths: Iterable[Path]) -> tuple[list[Checkpoint], list[Failure]]:
    """The checkpoints behind some paths, and what could not be opened."""
    checkpoints, failures = [], []
    for path in paths:
        for found in find_checkpoints(path):
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
        replace(
            shard, entries=tuple(e for e in shard.entries if why_left_out(e.dtype, e.count, e.name, exclude) is None)
        )
        for shard in checkpoint.shards
    ]
    measured = measure_all(judged, workers=workers, progress=progress, histograms=histograms)
    return understood_from(checkpoint, measured)


def understood_from(checkpoint: Checkpoint, statistics: dict[str, Statistics]) -> Understood:
    """A checkpoint whose tensors have these statistics, understood."""
    parts = understand(checkpoint.entries, statistics, checkpoint.config)
    measured = (entry for entry in checkpoint.entries if entry.name in statistics)
    draws = (Draw(entry, parts[entry.name], statistics[entry.name]) for entry in measured)
    return Understood(checkpoint, parts, statistics, recognise(draws, checkpoint.config))


def understood(
    paths: Iterable[Path],
    *,
    exclude: Sequence[str] = (),
    workers: int = 1,
    progress: Callable[[Checkpoint], Progress | None] | None = None,
    histograms: bool = False,
) -> Iterator[Understood | Failure]:
    """Each checkpoint behind some paths, understood, or why it is not; one that is odd hides none of the others."""
    checkpoints, failures = open_paths(paths)
    yield from failures
    for checkpoint in checkpoints:
        try:
            told = progress(checkpoint) if progress else None
            yield read(checkpoint, exclude=exclude, workers=workers, progress=told, histograms=histograms)
        except CheckpointError as error:
            yield Failure(error.path, error.reason)
        except Exception as error:
            yield crashed(checkpoint.path, error)


def crashed(path: str, error: Exception) -> Failure:
    """What is said of a checkpoint on which the audit itself failed."""
    return Failure(path, f"internal error, please report it: {type(error).__name__}: {error}")


def why_left_out(dtype: str, count: int, name: str, exclude: Sequence[str]) -> str | None:
    """Why a tensor is not judged, or None if it is."""
    if dtype not in JUDGED:
        return why_not_judged(dtype)
    if count == 0:
        return "has no elements"
    if any(fnmatchcase(name, glob) for glob in exclude):
        return "excluded"
    return None
