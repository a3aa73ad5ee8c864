"""What rules see of faults that are smaller and smaller: rates over drawn checkpoints, with 95 % bounds.

    python tests/corpus/power.py [scale laws kinds residual units null] [--trials 100] [--quick] [--out FILE.json]

Small tensors are drawn and measured; of large ones the statistics themselves are drawn (see `drawn.py`), so that a
trial with tensors of a million values takes some milliseconds. A fault is found where a warning or an error names its
tensor; an info is counted apart. "best" is what the best test of one tensor against kin with known errors would find
at a rate of 1e-3 false alarms a checkpoint.

- scale: one of k + 1 kin off by a factor
- laws: one of k + 1 kin of another law at the same deviation, or left at PyTorch's default
- kinds: one kind of matrix off in all blocks of a Llama, by several recipes, and all matrices
- residual: residual scaling left out, applied twice, by another depth, from another base
- units: rows, columns, means and parts of one of four kin
- null: healthy checkpoints of all sizes and recipes; what is found, and every info, is a false alarm
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from drawn import draw, drawn, measured, scaled
from scipy import stats

from initaudit.audit import judge
from initaudit.checkpoint.values import Checkpoint, Entry, Shard, Stamp
from initaudit.registry import load_rules
from initaudit.statistics import Statistics
from initaudit.understanding import understood_from

RULES = tuple(load_rules().values())
ALPHA = 1e-3

DRAWN_FROM = 4096
"""Elements from which on statistics are drawn; of fewer it costs as little to draw the values."""

FACTORS = (1.02, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5, 2.0, 3.0)

Random = np.random.Generator
Named = dict[str, tuple[tuple[int, ...], Statistics]]
"""A checkpoint by the names of its tensors: shape and statistics."""


class Trial(NamedTuple):
    """One checkpoint with a fault, or without: what is healthy is named again, and must stay unnamed."""

    tensors: Named
    faulty: frozenset[str]
    dtype: str = "F32"


class Cell(NamedTuple):
    """A row of the table, a column of it, and how to draw a trial."""

    row: str
    column: str
    draw: Callable[[Random], Trial]
    best: float | None = None
    """The rate at which the best test would see it."""


class Rate(NamedTuple):
    """What came of a cell."""

    row: str
    column: str
    trials: int
    found: int
    info: int
    astray: int
    best: float | None

    @property
    def bounds(self) -> tuple[float, float]:
        """The 95 % bounds of the rate at which it is found (Clopper & Pearson 1934)."""
        low = stats.beta.ppf(0.025, self.found, self.trials - self.found + 1) if self.found else 0.0
        high = stats.beta.ppf(0.975, self.found + 1, self.trials - self.found) if self.found < self.trials else 1.0
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.bounds
        text = f"{self.column} {self.found / self.trials:.0%} ({low:.0%}-{high:.0%})"
        text += f" +{self.info / self.trials:.0%} info" if self.info else ""
        text += f" astray {self.astray / self.trials:.0%}" if self.astray else ""
        return text if self.best is None else f"{text} best {self.best:.0%}"


@cache
def ones(width: int) -> Statistics:
    """The scale of a norm."""
    return measured(np.ones(width))


def tensor(law: str, shape: tuple[int, int], std: float, random: Random, dtype: str = "F32") -> Statistics:
    """The statistics of one draw."""
    if math.prod(shape) >= DRAWN_FROM:
        return drawn(law, shape, std, random, dtype)
    return measured(draw(law, shape, random) * std, dtype)


def said_of(trial: Trial) -> dict[str, str]:
    """The worst severity that is said of each tensor."""
    entries = tuple(Entry(name, trial.dtype, shape) for name, (shape, _) in trial.tensors.items())
    checkpoint = Checkpoint("drawn", "safetensors", (Shard(Path("drawn"), Stamp(0, 0, 0, 0), entries),))
    statistics = {name: values for name, (_, values) in trial.tensors.items()}
    audited = judge(understood_from(checkpoint, statistics), RULES)
    if audited.failures:
        raise RuntimeError(str(audited.failures[0]))
    said: dict[str, str] = {}
    for finding in audited.findings:  # the worst come first
        said.setdefault(finding.tensor, finding.severity.value)
    return said


def rate_of(cell: Cell, trials: int, seed: int) -> Rate:
    """What comes of so many trials of a cell."""
    found = info = astray = 0
    for number in range(trials):
        # One row's healthy tensors are the same in all its columns: differences between them are of the fault.
        random = np.random.default_rng([seed, number, *cell.row.encode()])
        trial = cell.draw(random)
        said = said_of(trial)
        own = {said[name] for name in trial.faulty if name in said}
        found += bool(own & {"warning", "error"})
        info += own == {"info"}
        astray += any(severity != "info" for name, severity in said.items() if name not in trial.faulty)
    return Rate(cell.row, cell.column, trials, found, info, astray, cell.best)


def kin(count: int, make: Callable[[int], tuple[tuple[int, int], Statistics]]) -> Named:
    """Blocks of one matrix and one norm each."""
    tensors: Named = {}
    for at in range(count):
        shape, values = make(at)
        tensors[f"layers.{at}.fc.weight"] = shape, values
        tensors[f"layers.{at}.norm.weight"] = (shape[1],), ones(shape[1])
    return tensors


def best_rate(count: int, others: int, factor: float, kurtosis: float = 3.0) -> float:
    """The power of the two-sided test of one deviation against others, at `ALPHA` for all of them."""
    error = math.sqrt((kurtosis - 1) / 4 / count * (1 + 1 / others))
    apart, bar = abs(math.log(factor)) / error, stats.norm.isf(ALPHA / 2 / (others + 1))
    return float(stats.norm.sf(bar - apart) + stats.norm.cdf(-bar - apart))


def scale_cells(quick: bool) -> Iterator[Cell]:
    """One of k + 1 kin off by a factor."""
    others_of, sizes = ((3, 11), (4096, 65536)) if quick else ((2, 3, 11, 47), (256, 4096, 65536, 1 << 20))
    factors = (1.05, 1.1, 1.2, 2.0) if quick else FACTORS

    def trial(others: int, side: int, dtype: str, law: str, factor: float, random: Random) -> Trial:
        shape = side, side
        tensors = kin(others + 1, lambda at: (shape, tensor(law, shape, side**-0.5, random, dtype)))
        odd = f"layers.{random.integers(others + 1)}.fc.weight"
        tensors[odd] = shape, scaled(tensors[odd][1], factor)
        return Trial(tensors, frozenset([odd]), dtype)

    for law, kurtosis in (("normal", 3.0), ("uniform", 1.8)):
        for dtype in ("F32", "BF16"):
            if law == "uniform" and dtype == "BF16":
                continue
            for others in others_of if law == "normal" else (3, 11):
                for size in sizes:
                    side = math.isqrt(size)
                    for factor in (*factors, *(1 / one for one in factors)):
                        yield Cell(
                            f"scale, {law} {dtype} k={others} N={size}",
                            f"x{factor:.3g}",
                            partial(trial, others, side, dtype, law, factor),
                            best_rate(size, others, factor, kurtosis),
                        )


def law_cells(quick: bool) -> Iterator[Cell]:
    """One of k + 1 kin of another law at the same deviation, or at PyTorch's default; or one alone."""
    sides = (64, 128) if quick else (16, 24, 32, 48, 64, 128, 256)
    pairs = [("normal", odd) for odd in ("uniform", "cut at 2", "cut at 3", "laplace", "t5")]
    pairs += [("uniform", "normal"), ("cut at 2", "normal"), ("cut at 2", "uniform")]

    def trial(others: int, side: int, healthy: str, odd: str, stds: tuple[float, float], random: Random) -> Trial:
        shape = side, side
        tensors = kin(others + 1, lambda at: (shape, tensor(healthy, shape, stds[0], random)))
        name = f"layers.{random.integers(others + 1)}.fc.weight"
        tensors[name] = shape, tensor(odd, shape, stds[1], random)
        return Trial(tensors, frozenset([name]))

    for others in (3, 11) if quick else (0, 2, 3, 11, 47):
        for healthy, odd in pairs:
            for side in sides:
                yield Cell(
                    f"law, {odd} among {others} {healthy}",
                    f"{side}x{side}",
                    partial(trial, others, side, healthy, odd, (side**-0.5, side**-0.5)),
                )
        for recipe in ("lecun", "fixed 0.02") if others else ():
            for side in sides:
                std = side**-0.5 if recipe == "lecun" else 0.02
                yield Cell(
                    f"law, PyTorch's default among {others} normal, {recipe}",
                    f"{side}x{side}",
                    partial(trial, others, side, "normal", "uniform", (std, (3 * side) ** -0.5)),
                )


LLAMA = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
MLP = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
OUTPUTS = ("self_attn.o_proj", "mlp.down_proj")


def llama(
    width: int,
    layers: int,
    law: str,
    std: Callable[[str, int, int, int], float],
    random: Random,
    dtype: str = "F32",
    prefix: str = "model.",
) -> Named:
    """A Llama with a head and an embedding; ``std`` says a matrix's by its kind, fans and layer."""
    inner, vocabulary = 5 * width // 2, 500
    tensors: Named = {
        f"{prefix}embed_tokens.weight": ((vocabulary, width), _embedding(vocabulary, width, random, dtype))
    }
    for layer in range(layers):
        block = f"{prefix}layers.{layer}"
        for kind in (*LLAMA, *MLP):
            rows, columns = {"mlp.down_proj": (width, inner)}.get(kind, (inner if kind in MLP else width, width))
            values = tensor(law, (rows, columns), std(kind, columns, rows, layer), random, dtype)
            tensors[f"{block}.{kind}.weight"] = (rows, columns), values
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{block}.{norm}.weight"] = (width,), ones(width)
    tensors[f"{prefix}norm.weight"] = (width,), ones(width)
    head = tensor(law, (vocabulary, width), std("lm_head", width, vocabulary, 0), random, dtype)
    return tensors | {"lm_head.weight": ((vocabulary, width), head)}


def _embedding(vocabulary: int, width: int, random: Random, dtype: str) -> Statistics:
    return tensor("normal", (vocabulary, width), 0.02, random, dtype)


def recipe(name: str, layers: int) -> tuple[str, Callable[[str, int, int, int], float]]:
    """The law of a recipe, and its deviation by a matrix's kind, fans and layer."""

    def std(kind: str, fan_in: int, fan_out: int, layer: int) -> float:
        if name == "lecun":
            return fan_in**-0.5
        if name == "xavier uniform":
            return math.sqrt(2 / (fan_in + fan_out))
        if name == "by layer":
            return 0.02 / math.sqrt(2 * (layer + 1)) if kind in OUTPUTS else 0.02
        return 0.02 / math.sqrt(2 * layers) if name == "residual" and kind in OUTPUTS else 0.02

    return "uniform" if "uniform" in name else "normal", std


def off(tensors: Named, ending: str, factor: float, only: int | None = None) -> frozenset[str]:
    """The tensors of a kind, or of one layer of it, scaled in place."""
    inside = "" if only is None else f"layers.{only}."
    chosen = frozenset(name for name in tensors if name.endswith(f"{ending}.weight") and inside in name)
    for name in chosen:
        shape, values = tensors[name]
        tensors[name] = shape, scaled(values, factor)
    return chosen


def kind_cells(quick: bool) -> Iterator[Cell]:
    """One kind of matrix off in all blocks, and all matrices off."""
    factors = (0.1, 1.41, 3.0, 10.0) if quick else (0.1, 0.3, 0.5, 0.7, 1.1, 1.25, 1.41, 1.73, 2.0, 3.0, 5.0, 10.0)
    kinds = ("mlp.down_proj",) if quick else ("mlp.down_proj", "mlp.up_proj", "self_attn.q_proj", "lm_head", "all")

    def trial(width: int, layers: int, name: str, kind: str, factor: float, random: Random) -> Trial:
        law, std = recipe(name, layers)
        tensors = llama(width, layers, law, std, random)
        return Trial(tensors, off(tensors, "_proj" if kind == "all" else kind, factor))

    for width, layers in ((64, 3),) if quick else ((64, 3), (256, 12)):
        for name in ("fixed", "lecun", "xavier uniform", "residual"):
            for kind in kinds:
                for factor in factors:
                    yield Cell(
                        f"kind, {kind} in {name}, d={width} L={layers}",
                        f"x{factor:g}",
                        partial(trial, width, layers, name, kind, factor),
                    )


def residual_cells(quick: bool) -> Iterator[Cell]:
    """Residual scaling gone wrong, by name: what of, by what factor, in which layer, from which base."""
    Wrong = tuple[str, str, Callable[[int], float], bool, float, str]  # noqa: N806 (a type)
    wrongs: list[Wrong] = [
        ("missing in one down", "mlp.down_proj", lambda n: math.sqrt(2 * n), True, 1.0, "model."),
        ("missing in all down", "mlp.down_proj", lambda n: math.sqrt(2 * n), False, 1.0, "model."),
        ("missing in all down, base .014", "mlp.down_proj", lambda n: math.sqrt(2 * n), False, 0.7, "model."),
        ("missing in all down, base .005", "mlp.down_proj", lambda n: math.sqrt(2 * n), False, 0.25, "model."),
        ("missing in all down, in a Sequential", "mlp.down_proj", lambda n: math.sqrt(2 * n), False, 1.0, "0.model."),
        ("missing in all o", "self_attn.o_proj", lambda n: math.sqrt(2 * n), False, 1.0, "model."),
        ("L for 2L in all down", "mlp.down_proj", lambda n: math.sqrt(2), False, 1.0, "model."),
        ("twice in all down", "mlp.down_proj", lambda n: 1 / math.sqrt(2 * n), False, 1.0, "model."),
        ("on up as well", "mlp.up_proj", lambda n: 1 / math.sqrt(2 * n), False, 1.0, "model."),
    ]

    def trial(width: int, layers: int, wrong: Wrong, random: Random) -> Trial:
        _, kind, factor, one, base, prefix = wrong
        law, std = recipe("residual", layers)
        tensors = llama(width, layers, law, lambda *given: base * std(*given), random, prefix=prefix)
        only = int(random.integers(layers)) if one else None
        return Trial(tensors, off(tensors, kind, factor(layers), only))

    def by_layer(width: int, layers: int, random: Random) -> Trial:
        law, std = recipe("by layer", layers)
        tensors = llama(width, layers, law, std, random)
        only = layers // 2
        return Trial(tensors, off(tensors, "mlp.down_proj", math.sqrt(2 * (only + 1)), only))

    for width, layers in ((64, 3),) if quick else ((64, 3), (256, 12)):
        for wrong in wrongs:
            yield Cell(
                f"residual, {wrong[0]}",
                f"d={width} L={layers}",
                partial(trial, width, layers, wrong),
            )
        yield Cell(
            "residual, law by layer, missing in one",
            f"d={width} L={layers}",
            partial(by_layer, width, layers),
        )


def unit_cells(quick: bool) -> Iterator[Cell]:
    """Rows, columns, means and parts of one of four kin."""

    def trial(side: int, change: Callable[[np.ndarray, Random], np.ndarray], random: Random) -> Trial:
        values = [random.standard_normal((side, side)) * side**-0.5 for _ in range(4)]
        at = int(random.integers(4))
        values[at] = change(values[at], random)
        tensors = kin(4, lambda at: ((side, side), measured(values[at])))
        return Trial(tensors, frozenset([f"layers.{at}.fc.weight"]))

    def rows(part: float, factor: float, axis: int) -> Callable[[np.ndarray, Random], np.ndarray]:
        def change(values: np.ndarray, random: Random) -> np.ndarray:
            scale = np.ones(len(values))
            scale[random.choice(len(values), max(1, round(part * len(values))), replace=False)] = factor
            return values * (scale[:, None] if axis == 0 else scale)

        return change

    def some(part: float, factor: float) -> Callable[[np.ndarray, Random], np.ndarray]:
        return lambda values, random: np.where(random.random(values.shape) < part, values * factor, values)

    def shifted(offset: float) -> Callable[[np.ndarray, Random], np.ndarray]:
        return lambda values, random: values + offset * values.std()

    for side in (64,) if quick else (64, 256):
        for axis, word in ((0, "rows"), (1, "columns")):
            for part, share in ((0.5, "half the"), (0.1, "a tenth of the"), (0.0, "one of the")):
                for factor in (1.25, 2.0) if quick else (0.01, 0.5, 1.1, 1.25, 1.5, 2.0, 4.0):
                    yield Cell(
                        f"units, {share} {word} of {side}",
                        f"x{factor:g}",
                        partial(trial, side, rows(part, factor, axis)),
                    )
        for offset in (0.05, 0.2) if quick else (0.02, 0.05, 0.09, 0.11, 0.2, 0.5):
            yield Cell(
                f"units, mean shifted, {side}x{side}",
                f"{offset:g} std",
                partial(trial, side, shifted(offset)),
            )
        for part, factor in ((0.01, 3.0), (0.01, 5.0), (0.1, 2.0), (0.5, 2.0)):
            yield Cell(
                f"units, some values, {side}x{side}",
                f"{part:.0%} x{factor:g}",
                partial(trial, side, some(part, factor)),
            )


def null_cells(quick: bool) -> Iterator[Cell]:
    """Healthy checkpoints: what is found is a false alarm, wherever it is."""

    def trial(name: str, dtype: str, random: Random) -> Trial:
        width, layers = int(random.choice([8, 16, 32, 64, 128, 256])), int(random.choice([3, 6, 12]))
        law, std = recipe(name, layers)
        tensors = llama(width, layers, law, std, random, dtype)
        return Trial(tensors, frozenset(tensors), dtype)

    for name in ("fixed", "lecun", "xavier uniform", "residual", "by layer"):
        for dtype in ("F32",) if quick else ("F32", "BF16"):
            yield Cell(f"null, {name}", dtype, partial(trial, name, dtype))


TABLES: Mapping[str, Callable[[bool], Iterator[Cell]]] = {
    "scale": scale_cells,
    "laws": law_cells,
    "kinds": kind_cells,
    "residual": residual_cells,
    "units": unit_cells,
    "null": null_cells,
}


def rates_of(table: str, quick: bool, match: str, row: str, trials: int, seed: int) -> list[Rate]:
    """The rates of all cells of a row."""
    cells = [cell for cell in TABLES[table](quick) if cell.row == row and match in f"{cell.row} {cell.column}"]
    return [rate_of(cell, trials, seed) for cell in cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], help="all unless given")
    parser.add_argument("--trials", type=int, default=100, help="of a cell")
    parser.add_argument("--quick", action="store_true", help="fewer cells and 20 trials: a minute")
    parser.add_argument("--match", default="", help="only cells whose row and column contain this")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="the rates as JSON")
    arguments = parser.parse_args()
    trials = min(arguments.trials, 20) if arguments.quick else arguments.trials
    start = time.perf_counter()
    rates: list[Rate] = []
    with ProcessPoolExecutor(arguments.jobs) as pool:
        jobs = []
        for table in arguments.tables or TABLES:
            cells = [c for c in TABLES[table](arguments.quick) if arguments.match in f"{c.row} {c.column}"]
            for row in dict.fromkeys(cell.row for cell in cells):
                given = (table, arguments.quick, arguments.match, row, trials, arguments.seed)
                jobs.append((row, pool.submit(rates_of, *given)))
        for row, job in jobs:
            found = job.result()
            rates += found
            print(f"{row}: " + " | ".join(map(str, found)), flush=True)
    print(f"{len(rates)} cells of {trials} trials, {time.perf_counter() - start:.0f} s")
    if arguments.out:
        arguments.out.write_text(json.dumps([rate._asdict() for rate in rates]), encoding="utf-8")


if __name__ == "__main__":
    main()
