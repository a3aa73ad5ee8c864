"""What a scale means in its context: chains, heads, and scales that are divided out."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from initaudit.examples import Recipe, constant, normal, uniform
from initaudit.model import Model, Tensor
from initaudit.scale import chain_growth, is_output, judged_weights, plain_chains
from initaudit.understanding import open_paths, read


def model(tensors: Mapping[str, Recipe], folder: Path) -> Model:
    path = folder / "model.safetensors"
    save_file({name: np.ascontiguousarray(recipe.draw(name)) for name, recipe in tensors.items()}, path)
    return read(open_paths([path])[0][0]).model


def by_name(model: Model) -> dict[str, Tensor]:
    return {tensor.name: tensor for tensor in model.tensors}


def test_norms_without_a_scale_of_their_own_break_a_chain_as_well(tmp_path: Path) -> None:
    layers = {f"fc{i}.weight": normal(64, 64, std=0.125) for i in (1, 2, 3)}
    statistics = {"bn1.running_mean": constant(0, 64), "bn1.running_var": constant(1, 64)}
    assert list(plain_chains(model(layers, tmp_path)))
    assert not list(plain_chains(model(layers | statistics, tmp_path)))


def test_a_head_is_what_nobody_reads_on_from(tmp_path: Path) -> None:
    one = model({"fc1.weight": normal(64, 32, std=0.2), "fc2.weight": normal(10, 64, std=0.2)}, tmp_path)
    assert {tensor.name: is_output(tensor, one) for tensor in one.weights} == {"fc1.weight": False, "fc2.weight": True}


def test_features_that_are_flattened_are_read(tmp_path: Path) -> None:
    one = model({"conv.weight": normal(16, 3, 3, 3, std=0.2), "fc.weight": normal(10, 16 * 49, std=0.03)}, tmp_path)
    assert not is_output(by_name(one)["conv.weight"], one)


def test_a_plain_chain_is_followed_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    widths = [32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120]
    tensors = {f"net.{i}.weight": normal(widths[i + 1], widths[i], std=0.1) for i in range(11)}
    (chain,) = plain_chains(model(tensors, tmp_path))
    assert [tensor.name for tensor in chain] == [f"net.{i}.weight" for i in range(11)]
    assert chain_growth(chain) == pytest.approx(np.prod([0.1 * w**0.5 * 0.5**0.5 for w in widths[:11]]), rel=0.2)


def test_a_model_with_norms_has_no_plain_chain(tmp_path: Path) -> None:
    tensors = {f"fc{i}.weight": normal(32, 32, std=0.01) for i in range(5)}
    norm = {"norm.weight": constant(1, 32), "norm.bias": constant(0, 32)}
    assert list(plain_chains(model(tensors | norm, tmp_path))) == []


def test_layers_side_by_side_are_no_chain(tmp_path: Path) -> None:
    tensors = {f"attn.{name}_proj.weight": normal(32, 32, std=0.01) for name in "qkv"}
    assert all(len(chain) == 1 for chain in plain_chains(model(tensors, tmp_path)))


@pytest.mark.parametrize(
    "tensors",
    [
        {"conv.weight_v": normal(64, 8, 3, std=5), "conv.weight_g": constant(1, 64, 1, 1)},
        {
            "conv.parametrizations.weight.original0": constant(1, 64, 1, 1),
            "conv.parametrizations.weight.original1": normal(64, 8, 3, std=5),
        },
        {"fc.weight": normal(4, 4, std=5)},
        {"fc.weight": uniform(64, 64, bound=1).put("3, 3", float("nan"))},
    ],
    ids=["weight norm", "weight norm as a parametrisation", "too few values", "not finite"],
)
def test_what_has_no_scale_of_its_own_is_not_judged_by_it(tensors: Mapping[str, Recipe], tmp_path: Path) -> None:
    assert list(judged_weights(model(tensors, tmp_path))) == []
