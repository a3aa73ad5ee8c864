"""Plant one fault at a time in real fresh models: is it found at its tensor, and is anything else said?

Only the tensor that was changed is measured anew; all are understood and judged again.
"""

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from corpus import models
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from initaudit.audit import judge
from initaudit.registry import load_rules
from initaudit.understanding import Understood, open_paths, read, understood_from

Values = NDArray[np.float64]
Plant = Callable[[Values, np.random.Generator], Values]
Truth = Mapping[str, Any]


def rows(part: float, *, copied: bool) -> Plant:
    """The last rows, a part of them or so many, set to zero or to copies of the first."""

    def plant(values: Values, generator: np.random.Generator) -> Values:
        count = min(len(values) // 2, int(part) if part >= 1 else int(part * len(values))) or 1
        planted = values.copy()
        planted[-count:] = planted[:count] if copied else 0
        return planted

    return plant


def shards(values: Values, generator: np.random.Generator) -> Values:
    """Four ranks with one seed."""
    quarter = len(values) // 4
    return np.concatenate([values[:quarter]] * 4 + [values[4 * quarter :]])


def block(values: Values, generator: np.random.Generator) -> Values:
    """A quarter of the matrix never filled."""
    planted = values.reshape(len(values), -1).copy()
    planted[len(planted) // 2 :, planted.shape[1] // 2 :] = 0
    return planted.reshape(values.shape)


def tail(values: Values, generator: np.random.Generator) -> Values:
    """The last third of the memory never filled."""
    planted = values.ravel().copy()
    planted[int(0.7 * planted.size) :] = 0
    return planted.reshape(values.shape)


def garbage(values: Values, generator: np.random.Generator) -> Values:
    """The last tenth of the memory as it was: small integers and pointers read as floats."""
    planted = values.ravel().copy()
    count = planted.size // 10
    words = generator.integers(0, 1 << 32, count, dtype=np.uint32)
    planted[-count:] = np.nan_to_num(words.view(np.float32), nan=0.0, posinf=1e38, neginf=-1e38)
    return planted.reshape(values.shape)


def some(value: float, count: int) -> Plant:
    """So many elements set to a value."""

    def plant(values: Values, generator: np.random.Generator) -> Values:
        planted = values.copy()
        planted.ravel()[generator.choice(values.size, count, replace=False)] = value
        return planted

    return plant


def outliers(values: Values, generator: np.random.Generator) -> Values:
    """Five elements a hundred deviations off, as a clamp leaves them."""
    return some(-100 * values.std(), 5)(values, generator)


def of_rank(rank: int) -> Plant:
    """A product of random factors with the same deviation."""

    def plant(values: Values, generator: np.random.Generator) -> Values:
        outputs, inputs = len(values), values.size // len(values)
        product = generator.standard_normal((outputs, rank)) @ generator.standard_normal((rank, inputs))
        return (product / product.std() * values.std()).reshape(values.shape)

    return plant


def lengths(values: Values, generator: np.random.Generator) -> Values:
    """Rows scaled by log-normal factors."""
    return values * np.exp(generator.standard_normal((len(values), *[1] * (values.ndim - 1))))


def quantised(values: Values, generator: np.random.Generator) -> Values:
    """Rounded to half a deviation, zero left out."""
    step = values.std() / 2
    return (np.floor(values / step) + 0.5) * step


def third(values: Values, generator: np.random.Generator) -> Values:
    """The second of three packed blocks never filled."""
    planted = values.copy()
    planted[len(values) // 3 : 2 * (len(values) // 3)] = 0
    return planted


def randn(std: float) -> Plant:
    """Drawn anew, whatever the fan."""
    return lambda values, generator: generator.standard_normal(values.shape) * std


def filled(value: float) -> Plant:
    """One value throughout."""
    return lambda values, generator: np.full_like(values, value)


def times(factor: float) -> Plant:
    """Off by a factor."""
    return lambda values, generator: values * factor


BREAKING = {
    "zero": filled(0),
    "constant": filled(0.05),
    "one row for all": lambda v, g: np.broadcast_to(v[:1], v.shape),
    "half copied": rows(0.5, copied=True),
    "two copied": rows(2, copied=True),
    "one copied": rows(1, copied=True),
    "four ranks": shards,
    "half dead": rows(0.5, copied=False),
    "two dead": rows(2, copied=False),
    "one dead": rows(1, copied=False),
    "block unfilled": block,
    "tail unfilled": tail,
    "tail of garbage": garbage,
    "one NaN": some(np.nan, 1),
    "one inf": some(np.inf, 1),
    "denormals": times(1e-38),
}
"""What breaks training: to be an error."""

WEIGHTS: dict[str, Plant] = {
    **BREAKING,
    "randn": randn(1),
    "rand": lambda v, g: g.uniform(size=v.shape),
    "|w|": lambda v, g: np.abs(v),
    "0.0001 randn": randn(1e-4),
    "rank 1": of_rank(1),
    "rank 4": of_rank(4),
    "log-normal rows": lengths,
    "shared direction": lambda v, g: v + v[:1] / 2,
    "five outliers": outliers,
    "underflow": lambda v, g: np.where(np.abs(v) < v.std() / 2, 0, v),
    "quantised": quantised,
}
DOUBTFUL: dict[str, Plant] = {"0.01 randn": randn(0.01), "0.001 randn": randn(1e-3)}
"""Scales that are a scheme in one model and a fault in another; counted, but not among all."""

SIBLINGS: dict[str, Plant] = {
    "x10": times(10),
    "x3": times(3),
    "/10": times(0.1),
    "/3": times(1 / 3),
    "variance": lambda v, g: v * v.std(),
    "root": lambda v, g: v / v.std() ** 0.5,
}
"""What shows beside siblings."""

BIASES: dict[str, Plant] = {
    "bias 1": filled(1),
    "bias -3": filled(-3),
    "bias 10000": filled(1e4),
    "bias N(0, 1)": randn(1),
    "bias N(0, 0.01)": randn(0.1),
}
SCALES: dict[str, Plant] = {"norm 0": filled(0), "norm N(0, 1)": randn(1), "norm 100": filled(100)}
SHIFTS: dict[str, Plant] = {"shift N(0, 1)": randn(1)}
EMBEDDINGS: dict[str, Plant] = {"embedding 0": filled(0), "embedding copied": rows(0.5, copied=True)}
FUSED: dict[str, Plant] = {"third unfilled": third}


class Model:
    """A fresh model with its values, into which faults are planted."""

    def __init__(self, folder: Path, truth: Truth) -> None:
        (checkpoint,), _ = open_paths([folder])
        self.healthy = read(checkpoint)
        self.values = load_file(folder / truth["file"])
        there = [t for t in truth["tensors"] if t["name"] in self.values and t["in_file"] and not t.get("tied_to")]
        weights = [t for t in there if t["role"] == "weight" and t["numel"] >= 512 and len(t["shape"]) >= 2]
        weights = [t for t in weights if min(t["shape"][:2]) >= 6 and not t["is_constant"]]
        peers = Counter((_masked(t), tuple(t["shape"])) for t in weights)
        self.places: dict[str, list[Truth]] = {
            "weight": weights,
            "sibling": [t for t in weights if peers[_masked(t), tuple(t["shape"])] >= 4],
            "bias": [t for t in there if t["role"] == "bias" and t["numel"] >= 16],
            "norm_scale": [t for t in there if t["role"] == "norm_scale" and t["numel"] >= 8],
            "norm_shift": [t for t in there if t["role"] == "norm_shift" and t["numel"] >= 8],
            "embedding": [t for t in there if t["role"] == "embedding" and t["shape"][0] >= 16],
            "fused": [t for t in weights if t.get("packed") == 3 and t["layout"] == "out_in"],
        }

    def said(self, changed: Mapping[str, NDArray[Any]]) -> dict[tuple[str, str], str]:
        """The severity of what each rule says of each tensor once some tensors were changed."""
        understood = self._with(changed) if changed else self.healthy
        return {(f.rule, name): f.severity.value for f in judge(understood, RULES).findings for name in f.tensors}

    def _with(self, changed: Mapping[str, NDArray[Any]]) -> Understood:
        checkpoint = self.healthy.checkpoint
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "changed.safetensors"
            save_file(dict(changed), path)
            (small,), _ = open_paths([path])
            statistics = {**self.healthy.statistics, **read(small).statistics}
        return understood_from(checkpoint, statistics)


class Outcome(NamedTuple):
    """What came of one planted fault."""

    fault: str
    name: str
    severity: str | None
    astray: bool


def planted(values: NDArray[Any], plant: Plant, *, units_last: bool) -> NDArray[Any]:
    """A fault planted along the axis of the output units."""
    generator = np.random.default_rng(0)
    wide = values.astype(np.float64)
    result = plant(wide.T, generator).T if units_last else plant(wide, generator)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(result.astype(values.dtype))


def outcomes(model: Model, draw: random.Random, each: int) -> Iterator[Outcome]:
    """Each fault planted in some of the tensors that can have it."""
    before = model.said({})
    tables = (
        ("weight", WEIGHTS | DOUBTFUL),
        ("sibling", SIBLINGS),
        ("bias", BIASES),
        ("fused", FUSED),
        ("embedding", EMBEDDINGS),
    )
    known = {name for _, name in before}
    for place, table in (*tables, ("norm_scale", SCALES), ("norm_shift", SHIFTS)):
        candidates = [tensor for tensor in model.places[place] if tensor["name"] not in known]
        for fault, plant in table.items():
            for tensor in draw.sample(candidates, min(each, len(candidates))):
                name = tensor["name"]
                value = planted(model.values[name], plant, units_last=tensor["layout"] == "in_out")
                if not np.array_equal(value, model.values[name]):
                    yield _outcome(fault, name, {name: value}, model, before)
    pairs = model.places["sibling"]
    for tensor in draw.sample(pairs, min(each, len(pairs))):
        twin = next(t["name"] for t in pairs if _masked(t) == _masked(tensor) and t["name"] != tensor["name"])
        if model.values[twin].shape == model.values[tensor["name"]].shape:
            yield _outcome("layer copied", tensor["name"], {tensor["name"]: model.values[twin]}, model, before, {twin})


def _outcome(
    fault: str,
    name: str,
    changed: Mapping[str, NDArray[Any]],
    model: Model,
    before: Mapping[tuple[str, str], str],
    partners: frozenset[str] | set[str] = frozenset(),
) -> Outcome:
    after = {key: severity for key, severity in model.said(changed).items() if key not in before}
    severities = [severity for (_, at), severity in after.items() if at == name and severity != "info"]
    astray = any(at != name and at not in partners and s != "info" for (_, at), s in after.items())
    return Outcome(fault, name, min(severities) if severities else None, astray)


def _masked(tensor: Truth) -> str:
    return ".".join("#" if part.isdigit() else part for part in str(tensor["name"]).split("."))


RULES = tuple(load_rules().values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--models", type=int, default=20, help="so many, drawn with a fixed seed")
    parser.add_argument("--each", type=int, default=1, help="tensors of a model for each fault")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tried: Counter[str] = Counter()
    found: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    astray: Counter[str] = Counter()
    missed: list[str] = []
    pool = [pair for pair in models(arguments.corpus) if (pair[0] / pair[1]["file"]).stat().st_size < 60_000_000]
    pool = random.Random(arguments.seed).sample(pool, min(arguments.models, len(pool)))
    for folder, truth in pool:
        try:
            model = Model(folder, truth)
        except TypeError:  # numpy knows neither bfloat16 nor float8
            continue
        for fault, name, severity, is_astray in outcomes(model, random.Random(folder.name), arguments.each):
            tried[fault] += 1
            found[fault] += severity is not None
            errors[fault] += severity == "error"
            astray[fault] += is_astray
            if severity is None or is_astray or (fault in BREAKING and severity != "error"):
                what = "missed" if severity is None else "astray" if is_astray else severity
                missed.append(f"{what}: {fault}: {folder.name} {name} {list(model.values[name].shape)}")
    for fault, count in tried.items():
        error = f", {errors[fault]:3d} as errors" if fault in BREAKING else ""
        print(f"{fault:16s} found {found[fault]:3d} of {count:3d}{error}; said of another tensor {astray[fault]}")
    for fault in DOUBTFUL:
        del tried[fault], found[fault], astray[fault]
    share = found.total() / max(1, tried.total())
    print(f"all: found {found.total()} of {tried.total()} ({share:.2%}), said of another tensor {astray.total()}")
    breaking = sum(tried[fault] for fault in BREAKING)
    print(f"of those that break training {sum(errors[fault] for fault in BREAKING)} of {breaking} are errors")
    print("\n".join(missed))


if __name__ == "__main__":
    main()
