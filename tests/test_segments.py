"""Names joined by slashes, as Flax, Keras and TensorFlow write them, are taken apart as those joined by dots are."""

from pathlib import Path

import numpy as np
import pytest

from initaudit.audit import audit
from initaudit.names.segments import enclosing, leaf_of, parent_of, segments
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
