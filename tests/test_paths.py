"""What a zero does depends on its neighbours: one on a path trains, two never learn."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from initaudit.audit import audit
from initaudit.registry import load_rules
from tests.checkpoints import written
from tests.recipes import Draw, Tensors, dit, gpt2, llama, lora, vit

RULES = tuple(load_rules().values())


def zeroed(model: Tensors, *parts: str) -> set[str]:
    """Set all matrices to zero whose names hold one of some parts; their names."""
    names = {name for name in model if any(part in name for part in parts)}
    model.update({name: np.zeros_like(model[name]) for name in names})
    return names


def errors(model: Tensors, folder: Path) -> set[str]:
    """The tensors of which an error is reported."""
    report = audit([written(folder / "model.safetensors", model)], RULES)
    return {name for finding in report.failing("error") for name in finding.tensors}


@pytest.mark.parametrize(
    "parts", [(".wo.",), (".w2.",), (".wo.", ".w2."), (".wq.",), (".wk.",), (".w1.",), ("output.",)]
)
def test_one_zero_matrix_on_each_path_is_intended(parts: tuple[str, ...], tmp_path: Path) -> None:
    model = llama(Draw())
    assert zeroed(model, *parts)
    assert errors(model, tmp_path) == set()


@pytest.mark.parametrize(
    "parts", [(".wq.", ".wk."), (".wv.", ".wo."), (".w1.", ".w2."), (".w1.", ".w3."), (".w2.", ".w3.")]
)
def test_two_zero_matrices_on_one_path_never_learn(parts: tuple[str, ...], tmp_path: Path) -> None:
    model = llama(Draw())
    assert errors(model, tmp_path) == set()
    names = zeroed(model, *parts)
    assert errors(model, tmp_path) == names


def test_a_zero_matrix_that_makes_queries_and_keys_never_learns(tmp_path: Path) -> None:
    model = gpt2(Draw())
    names = {name for name in zeroed(model, ".c_attn.") if name.endswith("weight")}
    assert errors(model, tmp_path) == names


def test_a_zero_matrix_behind_a_zero_gate_never_learns(tmp_path: Path) -> None:
    model = vit(Draw())
    names = zeroed(model, ".mlp.fc2.weight")
    assert errors(model, tmp_path) == set()
    zeroed(model, ".ls1.gamma", ".ls2.gamma")
    assert errors(model, tmp_path) == names


def test_a_zero_gate_alone_trains(tmp_path: Path) -> None:
    model = vit(Draw())
    zeroed(model, ".ls1.gamma", ".ls2.gamma")
    assert errors(model, tmp_path) == set()


def test_an_adapter_with_one_zero_factor_trains_and_with_two_does_not(tmp_path: Path) -> None:
    model = lora(Draw())
    names = zeroed(model, ".lora_A.")
    assert errors(model, tmp_path) == names | {name for name in model if ".lora_B." in name}


def test_one_block_of_several_that_is_zero_is_no_scheme(tmp_path: Path) -> None:
    model = llama(Draw())
    names = zeroed(model, "layers.3.attention.wo.")
    assert errors(model, tmp_path) == names


def test_a_zero_modulation_is_intended_in_every_block_and_a_fault_in_one(tmp_path: Path) -> None:
    model = dit(Draw())
    assert errors(model, tmp_path) == set()
    for name in [name for name in model if "adaLN" in name and ".3." not in name and name.endswith("weight")]:
        model[name] = Draw().normal(*model[name].shape, std=0.02)
    assert errors(model, tmp_path) == {"blocks.3.adaLN_modulation.1.weight"}


@pytest.mark.parametrize("pattern", ["m.a{}.weight", "w{}"])
def test_the_matrices_of_a_module_are_counted_once_whatever_their_number(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every zero one asks how many there are: so that 100,000 of one module end, the answer is not counted again."""
    counted: list[int] = []
    total = Counter.total
    monkeypatch.setattr(Counter, "total", lambda self: counted.append(len(self)) or total(self))
    zeros = {pattern.format(number): np.zeros((4, 4), np.float32) for number in range(200)}
    audit([written(tmp_path / "model.safetensors", zeros)], RULES)
    assert len([size for size in counted if size >= 200]) <= 4
