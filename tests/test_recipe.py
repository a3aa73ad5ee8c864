"""The recipe sums up what a checkpoint was drawn from."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from initaudit.audit import audit
from initaudit.examples import Recipe, normal
from initaudit.registry import load_rules

ROOT = Path(__file__).parents[1]
RULES = tuple(load_rules().values())


def recipe(path: Path) -> tuple[str, ...]:
    (audited,) = audit([path], RULES).audited
    return audited.recipe


def of(tensors: Mapping[str, Recipe], folder: Path) -> tuple[str, ...]:
    path = folder / "model.safetensors"
    save_file({name: np.ascontiguousarray(one.draw(name)) for name, one in tensors.items()}, path)
    return recipe(path)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("mlp-he-normal", ["weights: kaiming_normal(fan_in) (4)", "biases: 0 (4)"]),
        ("mlp-xavier-uniform", ["weights: xavier_uniform (4)", "biases: 0 (4)"]),
        ("gpt2/model", ["weights: N(0, 0.02²) (6); residual_scaled N(0, 0.02²/(2·3)) (6)", "norm scales: 1 (7)"]),
        ("resnet/model", ["norm scales: 1 (15)"]),
    ],
)
def test_the_recipe_of_a_healthy_fixture_is_what_it_was_drawn_by(name: str, lines: list[str]) -> None:
    assert set(lines) <= set(recipe(ROOT / "fixtures" / "good" / f"{name}.safetensors"))


def test_sparse_weights_are_named_with_their_connections() -> None:
    lines = recipe(ROOT / "fixtures" / "good" / "mlp-sparse.safetensors")
    assert "sparse initialisation, 15 of 64 inputs for each unit (3)" in lines[0]


def test_tensors_that_differ_from_the_rest_are_counted(tmp_path: Path) -> None:
    tensors = {f"h.{i}.fc.weight": normal(128, 96, std=0.05 if i == 7 else 0.02) for i in range(20)}
    assert of(tensors, tmp_path)[0] == "weights: N(0, 0.02²) (19); 1 differ"


def test_a_law_of_scale_that_has_no_name_is_given_as_a_formula(tmp_path: Path) -> None:
    fans = [(64, 256), (256, 128), (128, 512), (512, 300), (300, 80), (80, 160)]
    tensors = {f"fc{i}.weight": normal(out, fan_in, std=fan_in**-0.8) for i, (fan_in, out) in enumerate(fans)}
    tensors |= {f"fc{i}.bias": normal(out, std=0) for i, (_, out) in enumerate(fans)}
    assert any(line.startswith("law of scale: std = 1") and "fan_in^-0.80" in line for line in of(tensors, tmp_path))


def test_conventions_that_explain_what_deviates_are_named_with_their_number() -> None:
    lines = recipe(ROOT / "fixtures" / "good" / "mlp-torch-default.safetensors")
    assert lines[-1] == "by convention: PyTorch's default bias, U(±1/sqrt(fan_in)) (4)"
