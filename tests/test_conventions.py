"""Conventions excuse what is by design, and only while their condition holds."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from initaudit.audit import audit
from initaudit.conventions import TABLE, Convention
from initaudit.examples import Recipe, constant, normal, uniform
from initaudit.registry import load_rules

RULES = tuple(load_rules().values())


def said(tensors: Mapping[str, Recipe], folder: Path) -> tuple[set[str], dict[str, str]]:
    """The tensors of errors and warnings, and the convention of each tensor that is intended."""
    path = folder / "model.safetensors"
    save_file({name: np.ascontiguousarray(recipe.draw(name)) for name, recipe in tensors.items()}, path)
    report = audit([path], RULES)
    found = {tensor for finding in report.findings if finding.severity != "info" for tensor in finding.tensors}
    return found, {row.tensor: row.convention for one in report.audited for row in one.intended}


def repeated(
    block: Mapping[str, Recipe], *, count: int = 3, other: Mapping[str, Recipe] | None = None
) -> dict[str, Recipe]:
    """The same block several times; ``other`` replaces some tensors of the second."""
    model = {f"blocks.{i}.{name}": recipe for i in range(count) for name, recipe in block.items()}
    return model | {f"blocks.1.{name}": recipe for name, recipe in (other or {}).items()}


LORA = {"q_proj.lora_A.weight": uniform(8, 64, bound=0.125), "q_proj.lora_B.weight": constant(0, 64, 8)}
MLP = {"mlp.fc1.weight": normal(64, 32, std=0.18), "mlp.fc2.weight": constant(0, 32, 64)}
ADALN = {"attn.qkv.weight": normal(96, 32, std=0.18), "adaLN_modulation.1.weight": constant(0, 192, 32)}
GATE = {"fc.weight": normal(64, 32, std=0.18), "gate.weight": constant(0, 64, 32)}
OFFSETS = {
    "attn.value_proj.weight": normal(32, 32, std=0.18),
    "attn.sampling_offsets.weight": constant(0, 64, 32),
    "attn.sampling_offsets.bias": uniform(64, bound=4),
}


@pytest.mark.parametrize(
    ("block", "zero", "convention"),
    [
        (LORA, "q_proj.lora_B.weight", "adapter starts as the identity"),
        (MLP, "mlp.fc2.weight", "residual branch starts at zero"),
        (ADALN, "adaLN_modulation.1.weight", "adaptive norm starts at zero"),
        (GATE, "gate.weight", "gate or router starts neutral"),
        (OFFSETS, "attn.sampling_offsets.weight", "deformable attention starts from its bias"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_zeros_by_convention_are_intended_in_every_block(
    block: Mapping[str, Recipe], zero: str, convention: str, tmp_path: Path
) -> None:
    found, intended = said(repeated(block), tmp_path)
    assert found == set()
    assert {intended[f"blocks.{i}.{zero}"] for i in range(3)} == {convention}


@pytest.mark.parametrize(
    ("block", "zero"),
    [
        (LORA, "q_proj.lora_B.weight"),
        (MLP, "mlp.fc2.weight"),
        (ADALN, "adaLN_modulation.1.weight"),
        (GATE, "gate.weight"),
    ],
    ids=["adapter", "branch", "adaptive norm", "gate"],
)
def test_one_zero_among_blocks_that_are_drawn_is_never_by_design(
    block: Mapping[str, Recipe], zero: str, tmp_path: Path
) -> None:
    drawn = {**block, zero: normal(*block[zero].shape, std=0.1)}
    found, _ = said(repeated(drawn, other={zero: block[zero]}), tmp_path)
    assert f"blocks.1.{zero}" in found


def test_two_zeros_on_one_path_are_dead_whatever_they_are_called(tmp_path: Path) -> None:
    found, _ = said(repeated({name: constant(0, *recipe.shape) for name, recipe in MLP.items()}), tmp_path)
    assert {"blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc2.weight"} <= found


def test_an_adapter_whose_two_factors_are_zero_is_dead(tmp_path: Path) -> None:
    found, _ = said(repeated({name: constant(0, *recipe.shape) for name, recipe in LORA.items()}), tmp_path)
    assert "blocks.0.q_proj.lora_B.weight" in found


def test_a_head_may_start_at_zero_and_a_layer_before_it_may_not(tmp_path: Path) -> None:
    model = {"fc1.weight": normal(64, 32, std=0.18), "head.weight": constant(0, 10, 64)}
    assert said(model, tmp_path) == (set(), {"head.weight": "output layer starts at zero"})
    model = {"head.0.weight": constant(0, 64, 32), "head.2.weight": normal(10, 64, std=0.12)}
    assert said(model, tmp_path)[0] == {"head.0.weight"}


@pytest.mark.parametrize(
    ("name", "bias", "convention"),
    [
        ("fc1", uniform(64, bound=32**-0.5), "PyTorch's default bias, U(±1/sqrt(fan_in))"),
        ("fc1", normal(64, std=1e-6), "bias a hair off zero"),
        ("cls_logits", constant(-4.59512, 64), "bias at the prior probability"),
        ("gate_proj", constant(1, 64), "gate starts open or closed"),
        ("dt_proj", uniform(64, bound=2).put(":", -4.6), "state-space time step"),
    ],
)
def test_biases_by_convention_are_intended(name: str, bias: Recipe, convention: str, tmp_path: Path) -> None:
    block = {f"{name}.weight": uniform(64, 32, bound=32**-0.5), f"{name}.bias": bias}
    found, intended = said(repeated(block), tmp_path)
    assert (found, intended) == (set(), {f"blocks.{i}.{name}.bias": convention for i in range(3)})
    assert said(block, tmp_path)[0] == set()  # without kin it is a choice, and noted at most


@pytest.mark.parametrize("fan", [8, 128], ids=["too wide", "too narrow"])
def test_a_default_bias_is_held_to_the_fan_of_its_own_weight(fan: int, tmp_path: Path) -> None:
    found, _ = said({"fc1.weight": uniform(64, 32, bound=32**-0.5), "fc1.bias": uniform(64, bound=fan**-0.5)}, tmp_path)
    assert found == {"fc1.bias"}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_convention_names_rules_that_exist_and_its_source(row: Convention) -> None:
    assert set(row.rules) <= {rule.name for rule in RULES}
    assert row.source
