"""What a scale means in its context: siblings, the scheme of the model, chains, heads, and scales divided out."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from initaudit.examples import Recipe, constant, normal, uniform
from initaudit.model import Model, Tensor
from initaudit.scale import chain_growth, is_output, is_textbook, judged_weights, odd_ratio, plain_chains, stray_ratio
from initaudit.understanding import open_paths, read


def model(tensors: Mapping[str, Recipe], folder: Path) -> Model:
    path = folder / "model.safetensors"
    save_file({name: np.ascontiguousarray(recipe.draw(name)) for name, recipe in tensors.items()}, path)
    return read(open_paths([path])[0][0]).model


def blocks(std: Mapping[int, float], *, count: int = 6) -> dict[str, Recipe]:
    return {f"blocks.{i}.mlp.fc.weight": normal(64, 48, std=std.get(i, 0.1)) for i in range(count)}


def by_name(model: Model) -> dict[str, Tensor]:
    return {tensor.name: tensor for tensor in model.tensors}


def test_the_odd_one_of_several_siblings_is_found_with_its_ratio(tmp_path: Path) -> None:
    one = model(blocks({3: 0.3}), tmp_path)
    ratios = {tensor.name: odd_ratio(tensor, one) for tensor in one.weights}
    assert ratios.pop("blocks.3.mlp.fc.weight") == pytest.approx(3, rel=0.1)
    assert set(ratios.values()) == {None}


def test_norms_without_a_scale_of_their_own_break_a_chain_as_well(tmp_path: Path) -> None:
    layers = {f"fc{i}.weight": normal(64, 64, std=0.125) for i in (1, 2, 3)}
    statistics = {"bn1.running_mean": constant(0, 64), "bn1.running_var": constant(1, 64)}
    assert list(plain_chains(model(layers, tmp_path)))
    assert not list(plain_chains(model(layers | statistics, tmp_path)))


def test_two_siblings_that_agree_suffice_to_tell_the_third(tmp_path: Path) -> None:
    one = model(blocks({1: 0.03}, count=3), tmp_path)
    assert [odd_ratio(tensor, one) is None for tensor in one.weights] == [True, False, True]


def test_of_two_none_is_odd(tmp_path: Path) -> None:
    one = model(blocks({1: 0.03}, count=2), tmp_path)
    assert [odd_ratio(tensor, one) for tensor in one.weights] == [None, None]


def test_a_scale_that_slides_with_depth_has_no_odd_one(tmp_path: Path) -> None:
    one = model(blocks({i: 0.1 / (2 * (i + 1)) ** 0.5 for i in range(12)}, count=12), tmp_path)
    assert {odd_ratio(tensor, one) for tensor in one.weights} == {None}


def test_layers_of_one_block_are_no_siblings(tmp_path: Path) -> None:
    one = model({f"h.0.mlp.fc{i}.weight": normal(64, 48, std=0.3 if i == 2 else 0.1) for i in range(1, 6)}, tmp_path)
    assert {odd_ratio(tensor, one) for tensor in one.weights} == {None}


def test_what_strays_from_the_scheme_of_the_whole_model_is_found(tmp_path: Path) -> None:
    fans = {"a": 32, "b": 64, "c": 128, "d": 256, "e": 96}
    tensors = {f"{name}.weight": normal(48, fan, std=(2 / fan) ** 0.5) for name, fan in fans.items()}
    one = model(tensors | {"stray.weight": normal(48, 128, std=0.02)}, tmp_path)
    strays = {tensor.name: stray_ratio(tensor, one) for tensor in one.weights}
    assert strays.pop("stray.weight") == pytest.approx(0.02 / 0.125, rel=0.1)
    assert set(strays.values()) == {None}


def test_a_head_is_what_nobody_reads_on_from(tmp_path: Path) -> None:
    one = model({"fc1.weight": normal(64, 32, std=0.2), "fc2.weight": normal(10, 64, std=0.2)}, tmp_path)
    assert {tensor.name: is_output(tensor, one) for tensor in one.weights} == {"fc1.weight": False, "fc2.weight": True}


def test_features_that_are_flattened_are_read(tmp_path: Path) -> None:
    one = model({"conv.weight": normal(16, 3, 3, 3, std=0.2), "fc.weight": normal(10, 16 * 49, std=0.03)}, tmp_path)
    assert not is_output(by_name(one)["conv.weight"], one)


@pytest.mark.parametrize("std", [0.125, 0.0884, (1 / 192) ** 0.5, (2 / 128) ** 0.5, 0.02])
def test_scales_by_some_fan_are_textbook(std: float, tmp_path: Path) -> None:
    one = model({"fc.weight": normal(128, 64, std=std)}, tmp_path)
    assert is_textbook(one.weights[0])


def test_other_scales_are_not(tmp_path: Path) -> None:
    assert not is_textbook(model({"fc.weight": normal(128, 64, std=1.0)}, tmp_path).weights[0])


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
