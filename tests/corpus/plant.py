"""Plant one fault at a time in real fresh models: is it found at its tensor, and is anything else said?"""

import argparse
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from corpus import models
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from initaudit.audit import audit
from initaudit.registry import load_rules

Values = NDArray[np.float64]
Plant = Callable[[Values, np.random.Generator], Values]


def rows(part: float, *, copied: bool) -> Plant:
    """The last rows, a part of them or so many, set to zero or to copies of the first."""

    def plant(values: Values, generator: np.random.Generator) -> Values:
        count = min(len(values) // 2, int(part) if part >= 1 else int(part * len(values))) or 1
        planted = values.copy()
        planted[-count:] = planted[:count] if copied else 0
        return planted

    return plant


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


def one(value: float) -> Plant:
    """One element set to a value."""

    def plant(values: Values, generator: np.random.Generator) -> Values:
        planted = values.copy()
        planted.ravel()[generator.integers(values.size)] = value
        return planted

    return plant


def randn(std: float) -> Plant:
    """Drawn anew, whatever the fan."""
    return lambda values, generator: generator.standard_normal(values.shape) * std


def filled(value: float) -> Plant:
    """One value throughout."""
    return lambda values, generator: np.full_like(values, value)


def times(factor: float) -> Plant:
    """Off by a factor."""
    return lambda values, generator: values * factor


WEIGHTS: dict[str, Plant] = {
    "zero": filled(0), "constant": filled(0.05), "one row for all": lambda v, g: np.broadcast_to(v[:1], v.shape),
    "half copied": rows(0.5, copied=True), "two copied": rows(2, copied=True), "one copied": rows(1, copied=True),
    "half dead": rows(0.5, copied=False), "two dead": rows(2, copied=False), "one dead": rows(1, copied=False),
    "block unfilled": block, "tail unfilled": tail, "one NaN": one(np.nan), "one inf": one(np.inf),
    "randn": randn(1), "0.01 randn": randn(0.01), "0.001 randn": randn(1e-3), "0.0001 randn": randn(1e-4),
    "x10": times(10), "/10": times(0.1), "x3": times(3),
}  # fmt: skip
BIASES: dict[str, Plant] = {
    "bias 1": filled(1), "bias 0.01": filled(0.01), "bias -3": filled(-3), "bias 10000": filled(1e4),
    "bias N(0, 1)": randn(1), "bias N(0, 0.01)": randn(0.1),
}  # fmt: skip


def planted(values: Any, plant: Plant, *, units_last: bool) -> Any:
    """A fault planted along the axis of the output units."""
    generator = np.random.default_rng(0)
    wide = values.astype(np.float64)
    result = plant(wide.T, generator).T if units_last else plant(wide, generator)
    return np.ascontiguousarray(result.astype(values.dtype))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--models", type=int, default=20, help="so many, drawn with a fixed seed")
    parser.add_argument("--each", type=int, default=2, help="tensors of a model for each fault")
    arguments = parser.parse_args()
    rules = tuple(load_rules().values())
    tried: Counter[str] = Counter()
    found: Counter[str] = Counter()
    astray: Counter[str] = Counter()
    missed: list[str] = []
    pool = [pair for pair in models(arguments.corpus) if (pair[0] / pair[1]["file"]).stat().st_size < 40_000_000]
    for folder, truth in random.Random(0).sample(pool, min(arguments.models, len(pool))):
        draw = random.Random(folder.name)
        try:
            tensors = load_file(folder / truth["file"])
        except TypeError:  # numpy knows neither bfloat16 nor float8
            continue
        before = {(f.rule, name) for f in audit([folder], rules).findings for name in f.tensors}
        there = [t for t in truth["tensors"] if t["name"] in tensors and not t["is_constant"]]
        weights = [t for t in there if t["role"] == "weight" and t["numel"] >= 512 and len(t["shape"]) >= 2]
        weights = [t for t in weights if min(t["shape"][:2]) >= 6]
        zeros = [t for t in truth["tensors"] if t["name"] in tensors and t["role"] == "bias" and t["numel"] >= 16]
        with tempfile.TemporaryDirectory() as scratch:
            for config in folder.glob("*config.json"):
                shutil.copy(config, scratch)
            for table, candidates in ((WEIGHTS, weights), (BIASES, zeros)):
                for fault, plant in table.items():
                    for tensor in draw.sample(candidates, min(arguments.each, len(candidates))):
                        name = tensor["name"]
                        value = planted(tensors[name], plant, units_last=tensor["layout"] == "in_out")
                        save_file({**tensors, name: value}, Path(scratch) / truth["file"])
                        after = {(f.rule, at) for f in audit([Path(scratch)], rules).findings for at in f.tensors}
                        tried[fault] += 1
                        at_its_place = any(at == name for _, at in after - before)
                        found[fault] += at_its_place
                        astray[fault] += any(at != name for _, at in after - before)
                        if not at_its_place:
                            missed.append(f"{fault}: {folder.name} {name} {tensor['shape']} std {tensor['std']:.3g}")
    for fault, count in tried.items():
        print(f"{fault:16s} found {found[fault]:3d} of {count:3d}, said of another tensor {astray[fault]}")
    print(f"all              found {found.total()} of {tried.total()}, said of another tensor {astray.total()}")
    print("\n".join(missed))


if __name__ == "__main__":
    main()
