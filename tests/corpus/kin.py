"""One change of scale at a time in real fresh models: is it seen beside the tensor's kin, and is another one named?

    python tests/corpus/kin.py CORPUS [--cache DIR] [--models 300] [--cast bfloat16] [--out FILE]

Kin are the tensors whose names differ in numbers alone and whose shapes are equal, two or more of them, and they agree
with each other. A factor scales the statistics, which is exact; another law is drawn and measured. Models are measured
once and kept in a cache, see `cache.py`; a run over 300 of them takes three minutes.
"""

import argparse
import json
import math
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cache import Measured
from cache import measured as models_of
from corpus import models
from drawn import draw, measured, scaled

from initaudit.audit import judge
from initaudit.model import Model, Tensor
from initaudit.names.meanings import LENGTH
from initaudit.registry import load_rules
from initaudit.significance import log_std_error
from initaudit.statistics import Statistics

FACTORS = (0.1, 0.3, 0.5, 0.8, 0.9, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0, 10.0)
KINDS = (1.41, 3.0, 10.0)
DEFAULT, OTHER = "PyTorch's default", "another law of the model"

LEAST = 64
"""Smaller tensors tell no deviation."""

AGREE = 6.0
"""Standard errors, beside a hundredth, within which kin are of one law."""

MOST = 4_000_000
"""Elements up to which a tensor is drawn anew."""

DIFFERENT = 1.1
"""The least factor that makes another law another."""

VISIBLE = 7.0
"""Standard errors of a difference from which on a test at 1e-3 a checkpoint sees it in 99 of 100."""

_NUMBER = re.compile(r"\d+")


class Change(NamedTuple):
    """What is done to a model, to which tensors, and by what factor their deviation changes."""

    what: str
    statistics: dict[str, Statistics]
    factor: float
    kin: int


class Said(NamedTuple):
    """What came of one change."""

    what: str
    model: str
    tensor: str
    shape: tuple[int, ...]
    factor: float
    severity: str | None
    """The worst that is said of what was changed."""
    rules: tuple[str, ...]
    others: tuple[str, ...]
    """Tensors that were not changed, and of which a warning or an error is said now."""
    is_visible: bool
    """Whether chance would let it be seen."""


@dataclass(frozen=True)
class Place:
    """Tensors of one masked name and one shape."""

    name: str
    tensors: tuple[Tensor, ...]

    @property
    def std(self) -> float:
        """The middle of their deviations."""
        return sorted(t.statistics.moments.rms for t in self.tensors)[len(self.tensors) // 2]

    @property
    def agrees(self) -> bool:
        """Whether all are of one deviation."""
        return all(
            abs(math.log(t.statistics.moments.rms / self.std)) < max(0.01, AGREE * error_of(t)) for t in self.tensors
        )


def error_of(tensor: Tensor) -> float:
    """The standard error of the logarithm of its deviation."""
    return log_std_error(tensor.count, tensor.statistics.moments.kurtosis)


def places_of(model: Model, weights: set[str]) -> list[Place]:
    """The places of a model's weights that were drawn, as far as the corpus knows them for weights."""
    divided = {tensor.part.layer for tensor in model.tensors if LENGTH.search(tensor.name)}  # whose scale has no effect
    found: defaultdict[tuple[str, tuple[int, ...]], list[Tensor]] = defaultdict(list)
    for tensor in model.tensors:
        if tensor.part.layer in divided:
            continue
        values = tensor.statistics
        is_drawn = (
            values.std > 0 and not values.nonfinite and not values.is_constant and 2 * values.zeros < values.count
        )
        if tensor.name in weights and is_drawn and values.count >= LEAST and len(tensor.shape) > 1:
            found[_NUMBER.sub("#", tensor.name), tensor.shape].append(tensor)
    return [Place(name, tuple(tensors)) for (name, _), tensors in sorted(found.items())]


def changes(model: Model, weights: set[str], known: set[str], chosen: random.Random, each: int) -> Iterator[Change]:
    """The changes that are tried on a model, each to tensors that are drawn by lot."""
    places = places_of(model, weights)
    told = [place for place in places if len(place.tensors) > 2 and place.agrees]
    candidates = [(place, t) for place in told for t in place.tensors if t.name not in known]
    if not candidates:
        return
    generator = np.random.default_rng(chosen.randrange(1 << 32))
    for factor in FACTORS:
        for place, tensor in chosen.sample(candidates, min(each, len(candidates))):
            yield Change(
                f"x{factor:g}", {tensor.name: scaled(tensor.statistics, factor)}, factor, len(place.tensors) - 1
            )
    for place, tensor in chosen.sample(candidates, min(each, len(candidates))):
        std = (3 * (tensor.part.fan_in or 0)) ** -0.5 if tensor.part.fan_in else 0.0
        if std and tensor.count <= MOST and abs(math.log(std / place.std)) > math.log(DIFFERENT):
            values = draw("uniform", tensor.shape, generator) * std
            yield Change(
                DEFAULT, {tensor.name: measured(values, tensor.dtype)}, std / place.std, len(place.tensors) - 1
            )
    for place, tensor in chosen.sample(candidates, min(each, len(candidates))):
        laws = [
            (other.std * math.sqrt(by) / place.std, other)
            for other in places
            if other.name != place.name and other.tensors[0].part.fan_in and tensor.part.fan_in
            for by in {1.0, other.tensors[0].part.fan_in / tensor.part.fan_in}
        ]
        laws = [(factor, other) for factor, other in laws if abs(math.log(factor)) > math.log(DIFFERENT)]
        if laws:
            factor, _ = chosen.choice(laws)
            yield Change(OTHER, {tensor.name: scaled(tensor.statistics, factor)}, factor, len(place.tensors) - 1)
    whole = [place for place in told if not any(t.name in known for t in place.tensors)]
    for factor in KINDS:
        for place in chosen.sample(whole, min(each, len(whole))):
            statistics = {t.name: scaled(t.statistics, factor) for t in place.tensors}
            yield Change(f"all x{factor:g}", statistics, factor, 0)


def tried(one: Measured, weights: set[str], each: int, seed: int) -> Iterator[Said]:
    """What is said of each change in a model, beyond what is said of it as it is."""
    healthy = one.understood()
    before = {(f.rule, f.tensor): f.severity.rank for f in judge(healthy, RULES).findings}
    model = healthy.model
    known = {name for _, name in before}
    for change in changes(model, weights, known, random.Random(f"{seed} {one.name}"), each):
        findings = [
            f
            for f in judge(one.understood(change.statistics), RULES).findings
            if f.severity.rank < before.get((f.rule, f.tensor), math.inf)
        ]
        own = sorted((f.severity.rank, f.severity.value, f.rule) for f in findings if f.tensor in change.statistics)
        others = {f.tensor for f in findings if f.tensor not in change.statistics and f.severity.value != "info"}
        name = min(change.statistics)
        error = error_of(model[name]) * math.sqrt(1 + 1 / change.kin) if change.kin else 0.0
        yield Said(
            change.what,
            one.name,
            name,
            model[name].shape,
            change.factor,
            own[0][1] if own else None,
            tuple(dict.fromkeys(rule for _, _, rule in own)),
            tuple(sorted(others)),
            abs(math.log(change.factor)) > VISIBLE * error,
        )


RULES = tuple(load_rules().values())


def over(root: Path, cache: Path, cast: str | None, names: Sequence[str], each: int, seed: int) -> list[Said]:
    """What is said of all changes in some models."""
    said = []
    for one, truth in models_of(root, cache, cast, set(names)):
        weights = {t["name"] for t in truth["tensors"] if t["role"] in ("weight", "rnn_weight") and t["in_file"]}
        said += tried(one, weights, each, seed)
    return said


def show(said: Sequence[Said], examples: int) -> None:
    """The table, and some that were missed or led astray."""
    groups: Mapping[str, list[Said]] = defaultdict(list)
    for one in said:
        groups[one.what].append(one)
    print(f"{'change':26s} tried   found    where visible      info errors  another named")
    for what, group in groups.items():
        count = len(group)
        found = [one for one in group if one.severity in ("warning", "error")]
        visible = [one for one in group if one.is_visible]
        seen = sum(one.severity in ("warning", "error") for one in visible)
        info, errors = (sum(one.severity == severity for one in group) for severity in ("info", "error"))
        astray = sum(bool(one.others) for one in group)
        print(
            f"{what:26s} {count:5d} {len(found) / count:7.1%} {seen / max(1, len(visible)):7.1%} of {len(visible):5d}"
            f" {info / count:8.1%} {errors / count:6.1%} {astray / count:6.1%}"
        )
    by_rule = Counter(rule for one in said for rule in one.rules[:1] if one.severity != "info")
    print("found by:", ", ".join(f"{rule} {count}" for rule, count in by_rule.most_common()))
    for what, group in groups.items():
        missed = [one for one in group if one.is_visible and one.severity not in ("warning", "error")]
        for one in missed[:examples]:
            print(
                f"missed: {what} (x{one.factor:.3g}): {one.model} {one.tensor} {list(one.shape)}, said: {one.severity}"
            )
        for one in [one for one in group if one.others][:examples]:
            print(f"astray: {what} (x{one.factor:.3g}): {one.model} {one.tensor}, of {', '.join(one.others[:2])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--cache", type=Path, help="where measured models are kept; beside the corpus unless given")
    parser.add_argument("--models", type=int, default=300, help="so many, the same in every run")
    parser.add_argument("--each", type=int, default=1, help="tensors of a model for each change")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cast", help="the dtype as which models are saved first")
    parser.add_argument("--match", default="", help="only models whose name contains this")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--examples", type=int, default=2, help="shown of each change")
    parser.add_argument("--out", type=Path, help="everything that was said, as JSON")
    arguments = parser.parse_args()
    names = [folder.name for folder, _ in models(arguments.corpus) if arguments.match in folder.name]
    names = sorted(random.Random(0).sample(names, min(arguments.models, len(names))))
    cache = arguments.cache or arguments.corpus.parent / f"cache-{arguments.corpus.name}"
    start = time.perf_counter()
    given = (arguments.each, arguments.seed)
    if arguments.jobs == 1:
        said = over(arguments.corpus, cache, arguments.cast, names, *given)
    else:
        with ProcessPoolExecutor(arguments.jobs) as pool:
            shares = [names[at :: arguments.jobs] for at in range(arguments.jobs)]
            jobs = [pool.submit(over, arguments.corpus, cache, arguments.cast, share, *given) for share in shares]
            said = [one for job in jobs for one in job.result()]
    show(said, arguments.examples)
    told = len({one.model for one in said})
    print(f"{len(said)} changes in {told} of {len(names)} models, {time.perf_counter() - start:.0f} s")
    if arguments.out:
        arguments.out.write_text(json.dumps([one._asdict() for one in said]), encoding="utf-8")


if __name__ == "__main__":
    main()
