"""Faults planted one at a time in models like real ones: each is found at its tensor, and nothing else is said."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from initaudit.audit import audit
from initaudit.examples import constant, normal
from initaudit.registry import load_rules

FIXTURES = Path(__file__).parents[1] / "fixtures" / "good"
RULES = tuple(load_rules().values())

Values = NDArray[np.float64]
Plant = Callable[[Values, np.random.Generator], Values]


def rows(part: float, *, copied: bool) -> Plant:
    def plant(values: Values, generator: np.random.Generator) -> Values:
        count = max(1, int(part) if part >= 1 else int(part * len(values)))
        planted = values.copy()
        planted[-count:] = planted[:count] if copied else 0
        return planted

    return plant


def shards(values: Values, generator: np.random.Generator) -> Values:
    """Four ranks with one seed."""
    quarter = len(values) // 4
    return np.concatenate([values[:quarter]] * 4 + [values[4 * quarter :]])


def tail(values: Values, generator: np.random.Generator) -> Values:
    planted = values.ravel().copy()
    planted[int(0.7 * planted.size) :] = 0
    return planted.reshape(values.shape)


def factors(values: Values, generator: np.random.Generator) -> Values:
    """A product of rank one with the same deviation."""
    matrix = generator.standard_normal((len(values), 1)) @ generator.standard_normal((1, values.size // len(values)))
    return (matrix / matrix.std() * values.std()).reshape(values.shape)


def one(value: float) -> Plant:
    def plant(values: Values, generator: np.random.Generator) -> Values:
        planted = values.copy()
        planted.ravel()[5] = value
        return planted

    return plant


def grid(values: Values, generator: np.random.Generator) -> Values:
    step = values.std() / 2
    return (np.floor(values / step) + 0.5) * step


PLANTS: dict[str, tuple[Plant, str]] = {
    "zero": (lambda v, g: v * 0, "error"),
    "constant": (lambda v, g: v * 0 + 0.05, "error"),
    "one row for all": (lambda v, g: np.broadcast_to(v[:1], v.shape).copy(), "error"),
    "half copied": (rows(0.5, copied=True), "error"),
    "one row copied": (rows(1, copied=True), "error"),
    "four ranks with one seed": (shards, "error"),
    "half dead": (rows(0.5, copied=False), "error"),
    "one row dead": (rows(1, copied=False), "error"),
    "tail unfilled": (tail, "error"),
    "one NaN": (one(np.nan), "error"),
    "one infinity": (one(np.inf), "error"),
    "denormals": (lambda v, g: v * 1e-38, "error"),
    "one huge value": (one(1e30), "error"),
    "one outlier": (one(-2.0), "warning"),
    "0.0001 randn": (lambda v, g: g.standard_normal(v.shape) * 1e-4, "warning"),
    "randn": (lambda v, g: g.standard_normal(v.shape), "warning"),
    "rand": (lambda v, g: g.uniform(size=v.shape), "warning"),
    "absolute value": (lambda v, g: np.abs(v), "warning"),
    "ten times": (lambda v, g: v * 10, "warning"),
    "three times": (lambda v, g: v * 3, "warning"),
    "a tenth": (lambda v, g: v / 10, "warning"),
    "variance for deviation": (lambda v, g: v * v.std(), "warning"),
    "root for deviation": (lambda v, g: v / v.std() ** 0.5, "warning"),
    "rank one": (factors, "warning"),
    "rows of many scales": (lambda v, g: v * np.exp(g.standard_normal((len(v), *[1] * (v.ndim - 1)))), "warning"),
    "small values lost": (lambda v, g: np.where(np.abs(v) < v.std() / 2, 0, v), "warning"),
    "rounded to a grid": (grid, "warning"),
}
VECTORS: dict[str, tuple[str, Plant, str]] = {
    "bias of one": ("mlp.c_fc.bias", lambda v, g: v + 1, "warning"),
    "bias at random": ("mlp.c_fc.bias", lambda v, g: g.standard_normal(v.shape), "warning"),
    "huge bias": ("mlp.c_fc.bias", lambda v, g: v + 1e6, "error"),
    "norm scale zero": ("ln_1.weight", lambda v, g: v * 0, "error"),
    "norm scale at random": ("ln_1.weight", lambda v, g: g.standard_normal(v.shape), "error"),
    "norm scale of a hundred": ("ln_1.weight", lambda v, g: v * 100, "error"),
    "norm shift at random": ("ln_1.bias", lambda v, g: g.standard_normal(v.shape), "warning"),
}


def gpt(folder: Path) -> Path:
    """A GPT in the names of nanoGPT, wide enough for a matrix to be judged by itself."""
    width, model = 48, {}
    for block in (f"transformer.h.{number}" for number in range(5)):
        for norm in ("ln_1", "ln_2"):
            model |= {f"{block}.{norm}.weight": constant(1, width), f"{block}.{norm}.bias": constant(0, width)}
        for name, inputs, outputs, std in (
            ("attn.c_attn", width, 3 * width, 0.02),
            ("attn.c_proj", width, width, 0.02 / 10**0.5),
            ("mlp.c_fc", width, 4 * width, 0.02),
            ("mlp.c_proj", 4 * width, width, 0.02 / 10**0.5),
        ):
            model |= {
                f"{block}.{name}.weight": normal(outputs, inputs, std=std),
                f"{block}.{name}.bias": constant(0, outputs),
            }
    model |= {"transformer.wte.weight": normal(200, width, std=0.02), "lm_head.weight": normal(200, width, std=0.02)}
    path = folder / "model.safetensors"
    save_file({name: np.ascontiguousarray(recipe.draw(name)) for name, recipe in model.items()}, path)
    return path


def said_after(path: Path, name: str, plant: Plant) -> dict[str, set[str]]:
    """The severities of what is said of each tensor once the fault was planted."""
    tensors = load_file(path)
    values = plant(tensors[name].astype(np.float64), np.random.default_rng(0))
    save_file({**tensors, name: np.ascontiguousarray(values.astype(tensors[name].dtype))}, path)
    said: dict[str, set[str]] = {}
    for finding in audit([path], RULES).findings:
        for tensor in finding.tensors:
            said.setdefault(tensor, set()).add(finding.severity.value)
    return said


def test_the_models_are_healthy_before(tmp_path: Path) -> None:
    assert audit([gpt(tmp_path)], RULES).findings == ()


@pytest.mark.parametrize("fault", PLANTS)
def test_a_fault_in_one_of_several_blocks_is_found_there_and_only_there(fault: str, tmp_path: Path) -> None:
    plant, least = PLANTS[fault]
    said = said_after(gpt(tmp_path), "transformer.h.2.mlp.c_fc.weight", plant)
    assert set(said) == {"transformer.h.2.mlp.c_fc.weight"}
    assert said["transformer.h.2.mlp.c_fc.weight"] & {least, "error"}


@pytest.mark.parametrize("fault", VECTORS)
def test_a_fault_in_a_bias_or_norm_is_found_there_and_only_there(fault: str, tmp_path: Path) -> None:
    leaf, plant, least = VECTORS[fault]
    said = said_after(gpt(tmp_path), f"transformer.h.2.{leaf}", plant)
    assert set(said) == {f"transformer.h.2.{leaf}"}
    assert said[f"transformer.h.2.{leaf}"] & {least, "error"}


@pytest.mark.parametrize("fault", [name for name, (_, least) in PLANTS.items() if least == "error"])
@pytest.mark.parametrize("name", ["layer1.1.conv2.weight", "layer2.0.conv1.weight"])
def test_what_breaks_training_is_an_error_in_a_convolution(fault: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    shutil.copy(FIXTURES / "resnet" / "model.safetensors", path)
    said = said_after(path, name, PLANTS[fault][0])
    assert set(said) == {name}
    assert "error" in said[name]


def test_a_layer_that_was_copied_from_another_is_found_with_it(tmp_path: Path) -> None:
    path = gpt(tmp_path)
    tensors = load_file(path)
    names = {f"transformer.h.{block}.attn.c_attn.weight" for block in (1, 3)}
    tensors["transformer.h.3.attn.c_attn.weight"] = tensors["transformer.h.1.attn.c_attn.weight"]
    save_file(tensors, path)
    (finding,) = audit([path], RULES).groups
    assert (finding.name, set(finding.tensors)) == ("equal-tensors", names)
