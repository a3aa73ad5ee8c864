"""Names joined by slashes, as Flax, Keras and TensorFlow write them, are taken apart as those joined by dots are."""

from pathlib import Path

import numpy as np
import pytest

from initaudit.audit import audit
from initaudit.names.segments import (
    enclosing,
    ending_of,
    leaf_of,
    leaf_within,
    natural,
    outline,
    owner_of,
    parent_of,
    roots_of,
    segments,
    stem_of,
)
from initaudit.outcome import Outcome
from initaudit.registry import load_rules
from tests.checkpoints import written

RULES = tuple(load_rules().values())


@pytest.mark.parametrize(
    ("name", "parts", "leaf", "parent"),
    [
        pytest.param("h.3.mlp.weight", ["h", "3", "mlp", "weight"], "weight", "h.3.mlp", id="torch"),
        pytest.param("params/Dense_0/kernel", ["params", "Dense_0", "kernel"], "kernel", "params/Dense_0", id="flax"),
        pytest.param("dense/kernel:0", ["dense", "kernel:0"], "kernel", "dense", id="keras"),
        pytest.param("model/v1.5/w", ["model", "v1.5", "w"], "w", "model/v1.5", id="a dot within a word"),
        pytest.param("scale", ["scale"], "scale", "", id="no module"),
        pytest.param("", [""], "", "", id="nothing"),
        pytest.param("a..weight", ["a", "", "weight"], "weight", "a.", id="an empty segment"),
    ],
)
def test_a_name_falls_into_segments(name: str, parts: list[str], leaf: str, parent: str) -> None:
    assert (segments(name), leaf_of(name), parent_of(name)) == (parts, leaf, parent)


@pytest.mark.parametrize("separator", [".", "/"])
def test_the_modules_around_a_name_go_from_the_inside_out(separator: str) -> None:
    name = separator.join("abcd")
    assert list(enclosing(name, 8)) == [separator.join("abc"), separator.join("ab"), "a", ""]
    assert list(enclosing(name, 2)) == [separator.join("abc"), separator.join("ab")]


@pytest.mark.parametrize(
    ("name", "owner", "leaf"),
    [
        pytest.param("a.conv.weight", "a.conv", "weight", id="torch"),
        pytest.param("a.conv.parametrizations.weight.original0", "a.conv", "weight_g", id="the norms of weight norm"),
        pytest.param("a.conv.parametrizations.weight.original1", "a.conv", "weight", id="its directions"),
        pytest.param("parametrizations.bias.original", "", "bias", id="a layer that is the model"),
        pytest.param("a/parametrizations/weight/0/_u", "a", "weight_u", id="spectral norm, joined by slashes"),
        pytest.param("a.conv.weight_orig", "a.conv", "weight", id="spectral norm as it was"),
        pytest.param("a.parametrizations_of.weight", "a.parametrizations_of", "weight", id="a word that begins so"),
        pytest.param("weight", "", "weight", id="no module"),
    ],
)
def test_a_layer_owns_its_tensors_whatever_parametrises_them(name: str, owner: str, leaf: str) -> None:
    assert (owner_of(name), leaf_within(name)) == (owner, leaf)


@pytest.mark.parametrize(
    ("leaves", "stem"),
    [
        pytest.param(("weight", "bias", "kernel", "running_mean", "w", "weight_g"), "", id="those of a module"),
        pytest.param(("in_proj_weight", "in_proj_bias"), "in_proj", id="before the word"),
        pytest.param(("weight_ih_l0", "bias_ih_l0"), "ih_l0", id="behind the word"),
        pytest.param(("w1", "b1"), "1", id="by their numbers"),
    ],
)
def test_leaves_that_go_together_share_a_stem(leaves: tuple[str, ...], stem: str) -> None:
    assert {stem_of(leaf) for leaf in leaves} == {stem}


def test_names_are_ordered_by_their_numbers_and_masked_from_their_end() -> None:
    assert sorted(["h.10.w", "h.2.w", "h.1.w"], key=natural) == ["h.1.w", "h.2.w", "h.10.w"]
    assert outline("h.10.fc2.weight") == "h.#.fc#.weight"
    assert len(outline("1" * 1_000_000 + "." + "a" * 1_000_000)) < 1000
    assert ending_of("model.h.3.fc.weight") == ending_of("other.h.7.fc.weight".replace(".h", "")) == "#.fc.weight"


def test_copies_have_roots_before_the_end_that_they_share() -> None:
    assert roots_of(["policy.fc.weight", "target.policy.fc.weight"]) == ("", "target")
    assert roots_of(["h.0.fc.weight", "h.1.fc.weight"]) == ("h.0", "h.1")
    assert roots_of(["a.w", "a.w.b"]) == ("a.w", "a.w.b")


@pytest.mark.parametrize("separator", [".", "/"])
def test_a_zero_layer_before_others_of_its_list_is_an_error(separator: str, tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).standard_normal((2, 64, 64)).astype(np.float32) / 8
    head = {"head.0.weight": np.zeros((64, 64), np.float32), "head.1.weight": drawn[0], "head.2.weight": drawn[1]}
    report = checked(head, separator, tmp_path)
    found = [(finding.rule, finding.tensor) for finding in report.findings if finding.rule == "IA101"]
    assert found == [("IA101", separator.join(("head", "0", "weight")))]


@pytest.mark.parametrize("separator", [".", "/"])
def test_pytorchs_default_bias_is_intended_beside_its_weight(separator: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    model = {}
    for layer in range(4):
        model[f"fc{layer}.weight"] = generator.uniform(-1 / 8, 1 / 8, (256, 64)).astype(np.float32)
        model[f"fc{layer}.bias"] = generator.uniform(-1 / 8, 1 / 8, 256).astype(np.float32)
    report = checked(model, separator, tmp_path)
    assert [finding.tensor for finding in report.findings if finding.tensor.endswith("bias")] == []
    intended = {kept.tensor for one in report.audited for kept in one.intended}
    assert intended >= {separator.join((f"fc{layer}", "bias")) for layer in range(4)}


def checked(model: dict[str, np.ndarray], separator: str, folder: Path) -> Outcome:
    renamed = {name.replace(".", separator): values for name, values in model.items()}
    return audit([written(folder / "model.safetensors", renamed)], RULES)
