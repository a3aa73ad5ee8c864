"""Healthy tensors drawn by the schemes of the field, in many files: what is said of them is a false alarm."""

import argparse
import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from initaudit.audit import audit
from initaudit.registry import load_rules

DTYPES = (np.float32, np.float16, ml_dtypes.bfloat16)
SCHEMES = ("lecun", "xavier", "he", "torch default", "fixed", "orthogonal", "sparse")
LAWS = ("normal", "uniform", "cut at 2", "cut at 3")
A_FILE = 50


def shape_of(size: float, generator: np.random.Generator) -> tuple[int, ...]:
    """A matrix, or at times a bank of 3 by 3 kernels, of about so many elements."""
    kernel = (3, 3) if size > 200 and generator.random() < 0.2 else ()
    area = size / math.prod(kernel)
    ratio = math.exp(generator.uniform(-2, 2)) if area > 16 else 1.0
    rows = max(1, round(math.sqrt(area * ratio)))
    return rows, max(1, round(area / rows)), *kernel


def deviation(scheme: str, fan_in: int, fan_out: int, generator: np.random.Generator) -> float:
    """The deviation of a scheme for these fans."""
    return {
        "lecun": fan_in**-0.5,
        "xavier": math.sqrt(2 / (fan_in + fan_out)),
        "he": math.sqrt(2 / fan_in),
        "torch default": (3 * fan_in) ** -0.5,
    }.get(scheme, float(generator.choice([0.02, 0.01])))


def drawn(law: str, shape: tuple[int, ...], std: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Values of a law with mean zero and a deviation."""
    if law == "uniform":
        return generator.uniform(-1, 1, shape) * std * math.sqrt(3)
    values = generator.standard_normal(shape)
    if law.startswith("cut"):
        cut = float(law[-1])
        while (out := np.abs(values) > cut).any():
            values[out] = generator.standard_normal(int(out.sum()))
        values /= {2.0: 0.8796256610, 3.0: 0.9865783926}[cut]
    return values * std


def tensor_of(scheme: str, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.float64]:
    """One healthy weight."""
    rows, columns = shape[0], math.prod(shape[1:])
    if scheme == "orthogonal" and min(rows, columns) > 1 and rows * columns < 200_000:
        q, r = np.linalg.qr(generator.standard_normal((max(rows, columns), min(rows, columns))))
        q = q * np.sign(np.diag(r))
        return np.asarray((q if rows >= columns else q.T).reshape(shape))
    if scheme == "sparse" and len(shape) == 2 and columns > 15 and rows > 1:
        places = np.argsort(generator.random(shape), axis=1)[:, :15]
        values = np.zeros(shape)
        np.put_along_axis(values, places, generator.standard_normal((rows, 15)) * 15**-0.5, axis=1)
        return values
    law = "uniform" if scheme == "torch default" else str(generator.choice(LAWS))
    fan_out = rows * math.prod(shape[2:])
    return drawn(law, shape, deviation(scheme, columns, fan_out, generator), generator)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensors", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=200, help="so many more of 10^7 elements")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generator = np.random.default_rng(arguments.seed)
    rules = tuple(load_rules().values())
    judged, said = 0, Counter[str]()
    sizes: list[float] = [math.exp(generator.uniform(0, math.log(1e5))) for _ in range(arguments.tensors)]
    batches = [sizes[at : at + A_FILE] for at in range(0, len(sizes), A_FILE)] + [[1e7]] * arguments.large
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.safetensors"
        for number, batch in enumerate(batches):
            scheme, dtype = SCHEMES[number % len(SCHEMES)], DTYPES[number // len(SCHEMES) % len(DTYPES)]
            model: dict[str, Any] = {}
            for at, size in enumerate(batch):
                # Names that are no sequence: each weight is judged by itself and by the scheme of its file.
                name = f"{'abcdefghij'[at // 10]}{'klmnopqrst'[at % 10]}.weight"
                model[name] = tensor_of(scheme, shape_of(size, generator), generator).astype(dtype)
            save_file(model, path)
            for finding in audit([path], rules).findings:
                said[f"{finding.severity.value} {finding.rule} {finding.name}"] += len(finding.tensors)
                if finding.severity.value != "info":
                    shapes = [model[name].shape for name in finding.tensors[:3]]
                    print(
                        f"{finding.severity.value} {finding.name} {scheme} {dtype.__name__} {shapes} {finding.message}"
                    )
            judged += len(batch)
    print(f"{judged:,} healthy tensors: {dict(said) or 'nothing said'}")


if __name__ == "__main__":
    main()
