"""How the laws ask for a verdict: a model is measured once, and judged under as many names and orders as they like.

All that the laws know of the insides of an audit stands in this module.
"""

import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from initaudit.audit import judge
from initaudit.depth import std_of
from initaudit.findings import Finding
from initaudit.model import Model
from initaudit.outcome import Audited
from initaudit.registry import load_rules
from initaudit.understanding import Understood, open_paths, read, understood_from
from tests.checkpoints import written
from tests.laws.subjects import SUBJECTS, Subject
from tests.recipes import Tensors

RULES = tuple(load_rules().values())

Verdict = tuple[str, str, str]
"""The code of a rule, the severity, and the tensor."""


@dataclass(frozen=True)
class Judged:
    """What a verdict consists of; messages are worded by the numbers, and no part of it."""

    verdicts: frozenset[Verdict]
    prescribed: Mapping[str, tuple[str, float | None]]
    """What each tensor that asks for it is to be drawn as: the law, and the deviation or the value."""

    def under(self, names: Callable[[str], str]) -> "Judged":
        """The same, said of tensors that are called otherwise."""
        return Judged(
            frozenset((rule, severity, names(tensor)) for rule, severity, tensor in self.verdicts),
            {names(tensor): remedy for tensor, remedy in self.prescribed.items()},
        )


def verdicts(findings: Iterable[Finding]) -> frozenset[Verdict]:
    """What some findings say: which rule speaks how gravely of which tensor."""
    return frozenset((one.rule, one.severity.value, tensor) for one in findings for tensor in one.tensors)


def prescribed(findings: Iterable[Finding], model: Model) -> dict[str, tuple[str, float | None]]:
    """The law and the number that the findings which ask for a repair propose."""
    found: dict[str, tuple[str, float | None]] = {}
    for one in findings:
        if one.asks_for_repair and one.repair is not None:
            constant = one.repair.law == "constant"
            number = one.repair.parameters["value"] if constant else std_of(one.repair, model[one.tensor])
            found.setdefault(one.tensor, (one.repair.law, number))
    return found


def judged(one: Understood) -> Judged:
    """What is said of a checkpoint that was measured."""
    audited: Audited = judge(one, RULES)
    assert audited.failures == ()
    return Judged(verdicts(audited.findings), prescribed(audited.findings, audited.model))


def measured(tensors: Tensors, config: Mapping[str, Any] | None = None) -> Understood:
    """Some tensors, once they were written to a file and read back."""
    with tempfile.TemporaryDirectory(prefix="initaudit-") as folder:
        contiguous = {name: np.ascontiguousarray(values).reshape(values.shape) for name, values in tensors.items()}
        path = written(Path(folder) / "model.safetensors", contiguous)
        (checkpoint,), failures = open_paths([path])
        assert not failures
        return read(replace(checkpoint, config=config or {}))


@cache
def subject_measured(name: str) -> Understood:
    """A subject, measured once for all laws."""
    subject = SUBJECTS[name]()
    return measured(subject.tensors, subject.config)


@cache
def subject_judged(name: str) -> Judged:
    """What is said of a subject as it is."""
    return judged(subject_measured(name))


def renamed(one: Understood, names: Callable[[str], str]) -> Understood:
    """The same checkpoint with every tensor called otherwise, in the same order and with the values that it had."""
    shards = tuple(
        replace(shard, entries=tuple(replace(entry, name=names(entry.name)) for entry in shard.entries))
        for shard in one.checkpoint.shards
    )
    statistics = {names(name): found for name, found in one.statistics.items()}
    return understood_from(replace(one.checkpoint, shards=shards), statistics)


def reordered(one: Understood, order: Callable[[list[str]], list[str]]) -> Understood:
    """The same checkpoint with its tensors in another order."""
    (shard,) = one.checkpoint.shards
    entries = {entry.name: entry for entry in shard.entries}
    moved = replace(shard, entries=tuple(entries[name] for name in order(list(entries))))
    statistics = {entry.name: one.statistics[entry.name] for entry in moved.entries if entry.name in one.statistics}
    return understood_from(replace(one.checkpoint, shards=(moved,)), statistics)


def together(*some: Understood) -> Understood:
    """Several checkpoints as one; no two tensors have one name. The first one's configuration is kept."""
    shards = tuple(shard for one in some for shard in one.checkpoint.shards)
    statistics = {name: found for one in some for name, found in one.statistics.items()}
    return understood_from(replace(some[0].checkpoint, shards=shards), statistics)


def assert_agree(said: Judged, expected: Judged, *, within: float = 1e-6) -> None:
    """Both say the same of the same tensors, and prescribe the same law and number up to a relative difference."""
    assert said.verdicts == expected.verdicts
    assert said.prescribed.keys() == expected.prescribed.keys()
    for name, (law, number) in expected.prescribed.items():
        assert said.prescribed[name][0] == law, name
        if number is not None:
            assert said.prescribed[name][1] is not None, name
            assert math.isclose(said.prescribed[name][1], number, rel_tol=within, abs_tol=1e-12), name  # type: ignore[arg-type]


__all__ = [
    "RULES",
    "Judged",
    "Subject",
    "assert_agree",
    "judged",
    "measured",
    "prescribed",
    "renamed",
    "reordered",
    "subject_judged",
    "subject_measured",
    "together",
    "verdicts",
]
