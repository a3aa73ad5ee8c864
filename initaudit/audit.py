"""From a checkpoint to findings: measure, understand, judge."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from initaudit.checkpoint import Checkpoint, find_checkpoints
from initaudit.checkpoint.reading import Reader
from initaudit.conventions import excuse
from initaudit.errors import CheckpointError
from initaudit.layers import understand
from initaudit.layers.values import Part
from initaudit.model import Model, Tensor
from initaudit.recipe import describe
from initaudit.report.values import Audited, Failure, Finding, Intended, NotJudged, Report
from initaudit.rule import Rule
from initaudit.schemes import Draw, Scheme, recognise
from initaudit.statistics import JUDGED, PIECE_BYTES, Statistics, measure, why_not_judged

NOTHING_TO_JUDGE = "nothing to judge: no floating-point tensor with values that is not excluded"

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


def read(checkpoint: Checkpoint, *, exclude: Sequence[str] = (), progress: Progress | None = None) -> Understood:
    """Measure every tensor that can be judged and is not excluded by a glob, and say what each tensor is.

    Raises:
        CheckpointError: a file cannot be read to its end, or was changed meanwhile.

    """
    statistics = {}
    for shard in checkpoint.shards:
        with Reader.opened(shard, PIECE_BYTES) as reader:
            for entry in shard.entries:
                if _why_left_out(entry.dtype, entry.count, entry.name, exclude) is None:
                    statistics[entry.name] = measure(reader, entry)
                if progress is not None:
                    progress(entry.end - entry.begin)
    parts = understand(checkpoint.entries, statistics, checkpoint.config)
    measured = (entry for entry in checkpoint.entries if entry.name in statistics)
    draws = (Draw(entry, parts[entry.name], statistics[entry.name]) for entry in measured)
    schemes = recognise(draws, checkpoint.config)
    return Understood(checkpoint, parts, statistics, schemes)


def judge(understood: Understood, rules: Sequence[Rule], *, exclude: Sequence[str] = ()) -> Audited:
    """Hold a checkpoint to rules; what a convention of the field explains is listed as intended."""
    checkpoint, model = understood.checkpoint, understood.model
    tensors = {tensor.name: tensor for tensor in model.tensors}
    findings, intended, failures = [], [], []
    for rule in rules:
        try:
            for fault in rule.judge(model):
                kept = []
                for name in fault.tensors:
                    convention = excuse(rule.name, tensors[name], model)
                    if convention is None:
                        kept.append(name)
                    else:
                        intended.append(Intended(rule.code, checkpoint.path, name, convention))
                if kept:
                    findings.append(Finding.of(rule, checkpoint.path, replace(fault, tensors=tuple(kept))))
        except Exception as error:  # a rule of anyone's must not hide what the others found
            failures.append(Failure(checkpoint.path, f"rule {rule.code} crashed: {type(error).__name__}: {error}"))
    not_judged = []
    for entry in checkpoint.entries:
        reason = _why_left_out(entry.dtype, entry.count, entry.name, exclude)
        if reason is not None:
            not_judged.append(NotJudged(checkpoint.path, entry.name, entry.dtype, reason))
    if not understood.statistics:
        failures.append(Failure(checkpoint.path, NOTHING_TO_JUDGE))
    return Audited(
        checkpoint=checkpoint,
        recipe=describe(model, Counter(row.convention for row in intended)),
        judged=len(model.tensors),
        findings=tuple(sorted(findings, key=Finding.order)),
        intended=tuple(sorted(intended, key=lambda row: (row.rule, row.tensor))),
        not_judged=tuple(sorted(not_judged, key=lambda row: row.tensor)),
        failures=tuple(failures),
    )


def audit(
    paths: Iterable[Path],
    rules: Sequence[Rule],
    *,
    exclude: Sequence[str] = (),
    progress: Callable[[Checkpoint], Progress | None] | None = None,
) -> Report:
    """Audit every checkpoint behind some paths.

    What cannot be read is among the report's failures and hides nothing else.
    """
    checkpoints, failures = open_paths(paths)
    audited = []
    for checkpoint in checkpoints:
        try:
            understood = read(checkpoint, exclude=exclude, progress=progress(checkpoint) if progress else None)
            audited.append(judge(understood, rules, exclude=exclude))
        except CheckpointError as error:
            failures.append(Failure(error.path, error.reason))
        except Exception as error:  # one checkpoint, however odd, must not hide what the others hold
            text = f"internal error, please report it: {type(error).__name__}: {error}"
            failures.append(Failure(checkpoint.path, text))
    return Report(tuple(audited), tuple(failures), tuple(rules))


def _why_left_out(dtype: str, count: int, name: str, exclude: Sequence[str]) -> str | None:
    """Why a tensor is not judged, or None if it is."""
    if dtype not in JUDGED:
        return why_not_judged(dtype)
    if count == 0:
        return "has no elements"
    if any(fnmatchcase(name, glob) for glob in exclude):
        return "excluded"
    return None
