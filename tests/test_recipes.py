"""Twelve recipes of the field and thirty-six faults in them: the recipes are silent, every fault is found."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from initaudit.audit import audit
from initaudit.registry import load_rules
from tests.checkpoints import written
from tests.recipes import DEPTH, RECIPES, Array, Draw, Tensors, gpt2, mixture, olmo, resnet

RULES = tuple(load_rules().values())
UP = "transformer.h.2.mlp.c_fc.weight"

Fault = Callable[[Tensors, Draw], tuple[str, ...]]
"""Does its harm to a model and names the tensors that it touched."""


def said(path: Path, tensors: Tensors, least: str = "warning") -> dict[str, set[str]]:
    """The rules that speak of each tensor at a severity or above."""
    written(path / "model.safetensors", tensors)
    found: dict[str, set[str]] = {}
    for finding in audit([path], RULES).failing(least):
        for name in finding.tensors:
            found.setdefault(name, set()).add(finding.rule)
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_of_the_field_is_silent(recipe: str, seed: int, tmp_path: Path) -> None:
    assert said(tmp_path, RECIPES[recipe](Draw(seed))) == {}


def on(change: Callable[[Array, Draw], Array], name: str = UP) -> Fault:
    def harm(model: Tensors, draw: Draw) -> tuple[str, ...]:
        model[name] = np.ascontiguousarray(change(model[name].copy(), draw), dtype=np.float32)
        return (name,)

    return harm


def put(where: object, value: float) -> Callable[[Array, Draw], Array]:
    def change(values: Array, draw: Draw) -> Array:
        values[where] = value
        return values

    return change


def repeated(count: int) -> Callable[[Array, Draw], Array]:
    return lambda values, draw: np.concatenate([values[: len(values) // count]] * count)


def in_all_blocks(change: Callable[[Array, Draw], Array]) -> Fault:
    def harm(model: Tensors, draw: Draw) -> tuple[str, ...]:
        names = tuple(name for name in model if ".h." in name and model[name].ndim == 2)
        model.update({name: change(model[name], draw) for name in names})
        return names

    return harm


def identical_layers(model: Tensors, draw: Draw) -> tuple[str, ...]:
    names = [name for name in model if ".h.3." in name and model[name].ndim == 2]
    model.update({name: model[name.replace(".h.3.", ".h.1.")] for name in names})
    return (*names, *(name.replace(".h.3.", ".h.1.") for name in names))


def identical_experts(model: Tensors, draw: Draw) -> tuple[str, ...]:
    names = [name for name in model if ".layers.1." in name and re.search(r"\.experts\.[0-2]\.", name)]
    model.update({name: model[_first_expert(name)] for name in names})
    return tuple(names)


def _first_expert(name: str) -> str:
    head, _, tail = name.partition(".experts.")
    return f"{head}.experts.0{tail[1:]}"


def every(step: int, value: float) -> Callable[[Array, Draw], Array]:
    def change(values: Array, draw: Draw) -> Array:
        values.ravel()[::step] = value
        return values

    return change


def rank_one(values: Array, draw: Draw) -> Array:
    product = draw.normal(len(values), 1, std=1) @ draw.normal(1, values.shape[1], std=1)
    return np.asarray(product / product.std() * values.std())


def heavy_tailed(values: Array, draw: Draw) -> Array:
    drawn = np.random.default_rng(0).standard_t(2.5, values.shape)
    return np.asarray(drawn / drawn.std() * values.std())


def symmetric(values: Array, draw: Draw) -> Array:
    return np.asarray((values + values.T) / np.sqrt(2))


FAULTS: dict[str, tuple[Callable[[Draw], Tensors], Fault]] = {
    "zero": (gpt2, on(put(..., 0.0))),
    "constant": (gpt2, on(put(..., 0.02))),
    "all constant": (gpt2, in_all_blocks(lambda v, d: np.full_like(v, 0.02))),
    "ten times": (gpt2, on(lambda v, d: v * 10)),
    "a tenth": (gpt2, on(lambda v, d: v / 10)),
    "three times": (gpt2, on(lambda v, d: v * 3)),
    "half as much again": (gpt2, on(lambda v, d: v * 1.5)),
    "all N(0, 1)": (gpt2, in_all_blocks(lambda v, d: d.normal(*v.shape, std=1))),
    "copied rows": (gpt2, on(repeated(2))),
    "identical layers": (gpt2, identical_layers),
    "four identical shards": (gpt2, on(repeated(4))),
    "identical experts": (mixture, identical_experts),
    "0.4 % at -2": (gpt2, on(every(250, -2.0))),
    "a single -2": (gpt2, on(put((3, 4), -2.0))),
    "four NaN": (gpt2, on(put((slice(4), 0), np.nan))),
    "1e37 here and there": (gpt2, on(every(997, 1e37))),
    "bias N(0, 1)": (gpt2, on(lambda v, d: d.normal(*v.shape, std=1), "transformer.h.2.mlp.c_fc.bias")),
    "bias one": (gpt2, on(put(..., 1.0), "transformer.h.2.mlp.c_fc.bias")),
    "norm scale zero": (gpt2, on(put(..., 0.0), "transformer.h.2.ln_2.weight")),
    "norm scale at random": (gpt2, on(lambda v, d: d.normal(*v.shape, std=0.02), "transformer.h.2.ln_2.weight")),
    "residual scaling missing on one": (
        gpt2, on(lambda v, d: v * np.sqrt(2 * DEPTH), "transformer.h.2.mlp.c_proj.weight"),
    ),
    "embedding N(0, 1)": (gpt2, on(lambda v, d: d.normal(*v.shape, std=1), "transformer.wte.weight")),
    "end of the vocabulary zero": (gpt2, on(put(slice(900, None), 0.0), "transformer.wte.weight")),
    "all positive": (gpt2, on(lambda v, d: np.abs(d.uniform(*v.shape, bound=0.02 * 3**0.5)))),
    "absolute value": (gpt2, on(lambda v, d: np.abs(v))),
    "rank one": (gpt2, on(rank_one)),
    "a tenth of the rows dead": (gpt2, on(put(slice(0, None, 10), 0.0))),
    "nine tenths zero": (gpt2, on(lambda v, d: np.where(np.abs(d.uniform(*v.shape, bound=1)) < 0.9, 0, v))),
    "half zero": (gpt2, on(put(slice(384, None), 0.0))),
    "keys of a fused weight zero": (gpt2, on(put(slice(192, 384), 0.0), "transformer.h.2.attn.c_attn.weight")),
    "period of 4096": (gpt2, on(lambda v, d: np.resize(v.ravel()[:4096], v.size).reshape(v.shape))),
    "Student's t": (gpt2, on(heavy_tailed)),
    "fan_out for fan_in": (olmo, on(
        lambda v, d: d.truncated(*v.shape, std=v.shape[0] ** -0.5, cut=3), "transformer.blocks.2.ff_proj.weight"
    )),
    "0.02 for 1/sqrt(fan_in)": (olmo, on(
        lambda v, d: d.normal(*v.shape, std=0.02), "transformer.blocks.2.attn_out.weight"
    )),
    "running variance zero": (resnet, on(put(..., 0.0), "layer2.0.bn1.running_var")),
    "symmetric": (gpt2, on(symmetric, "transformer.h.2.attn.c_proj.weight")),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_recipe_is_found_where_it_is_and_nowhere_else(fault: str, tmp_path: Path) -> None:
    recipe, harm = FAULTS[fault]
    model = recipe(Draw())
    touched = harm(model, Draw(1))
    assert set(said(tmp_path, model)) == set(touched)
