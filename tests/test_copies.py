"""Copies of one draw, however they are disguised, and draws of their own, which are none."""

from collections.abc import Callable, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

import initaudit

Values = NDArray[np.float64]
Found = list[tuple[str, str, tuple[str, ...]]]


def draw(seed: int, *shape: int, family: str = "normal") -> Values:
    generator = np.random.default_rng(seed)
    if family == "normal":
        return generator.standard_normal(shape) * 0.1
    return generator.uniform(-0.2, 0.2, shape)


def found(folder: Path, tensors: Mapping[str, Values], dtype: str = "float32") -> Found:
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    save_file({name: np.ascontiguousarray(one).astype(kind) for name, one in tensors.items()}, folder / "m.safetensors")
    report = initaudit.check(folder / "m.safetensors", select=["IA103", "IA105", "IA106"])
    assert report.failures == ()
    return [(group.rule, group.severity.value, group.tensors) for group in report.groups]


def messages(folder: Path) -> list[str]:
    return [group.message for group in initaudit.check(folder / "m.safetensors", select=["IA105"]).groups]


def layers(shape: tuple[int, ...] = (128, 96), family: str = "normal") -> dict[str, Values]:
    return {f"layers.{i}.fc.weight": draw(i, *shape, family=family) for i in range(6)}


ORDER = np.random.default_rng(9).permutation
# What is said of each; nothing of one whose values are still in order: that is the same stream, as IA106 says.
DISGUISES: Mapping[str, tuple[Callable[[Values], Values], str]] = {
    "negated": (lambda a: -a, "with their signs turned"),
    "transposed": (lambda a: a.T, "in another order"),
    "rows permuted": (lambda a: a[ORDER(len(a))], "in another order"),
    "columns permuted": (lambda a: a[:, ORDER(a.shape[1])], "in another order"),
    "reversed": (lambda a: a.reshape(-1)[::-1].reshape(a.shape), "in another order"),
    "wrapped by one": (lambda a: np.roll(a.reshape(-1), 1).reshape(a.shape), "in another order"),
    "scaled": (lambda a: a * 1.3, ""),
    "negated and scaled": (lambda a: a * -0.7, "times -0.7"),
    "transposed and scaled": (lambda a: a.T * 0.5, "in another order and times 0.5"),
    "reshaped": (lambda a: a.reshape(64, -1)[ORDER(64)], "in another order"),
    "off by rounding": (lambda a: a * (1 + 1e-7 * draw(8, *a.shape)), ""),
}


@pytest.mark.parametrize("family", ["normal", "uniform"])
@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_disguised_copy_is_found_with_what_it_copies(disguise: str, family: str, tmp_path: Path) -> None:
    change, words = DISGUISES[disguise]
    tensors = layers(family=family)
    tensors["layers.4.fc.weight"] = change(tensors["layers.1.fc.weight"])
    ((rule, severity, names),) = found(tmp_path, tensors)
    assert (severity, sorted(names)) == ("warning", ["layers.1.fc.weight", "layers.4.fc.weight"])
    assert rule == ("IA105" if words else "IA106")
    assert all(words in message for message in messages(tmp_path))


def test_a_large_copy_is_found_though_its_sums_are_in_another_order(tmp_path: Path) -> None:
    tensors = {f"fc{i}.weight": draw(i, 1024, 700) for i in range(3)}
    tensors["fc3.weight"] = -tensors["fc1.weight"].T
    assert [names for _, _, names in found(tmp_path, tensors)] == [("fc1.weight", "fc3.weight")]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_an_exact_copy_of_another_order_is_found_in_coarse_dtypes(dtype: str, tmp_path: Path) -> None:
    tensors = layers()
    tensors["layers.4.fc.weight"] = -tensors["layers.1.fc.weight"].T
    assert [rule for rule, _, _ in found(tmp_path, tensors, dtype)] == ["IA105"]


@pytest.mark.parametrize("family", ["normal", "uniform"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_draws_of_their_own_are_no_copies(family: str, dtype: str, tmp_path: Path) -> None:
    for shape in ((4, 4), (16, 8), (48, 32)):
        tensors = {f"layers.{i}.fc.weight": draw(i, *shape, family=family) for i in range(700)}
        assert found(tmp_path, tensors, dtype) == []


def test_one_cause_in_all_blocks_is_one_finding(tmp_path: Path) -> None:
    tensors = {}
    for block in range(4):
        tensors[f"layers.{block}.k.weight"] = draw(block, 64, 48)
        tensors[f"layers.{block}.v.weight"] = -tensors[f"layers.{block}.k.weight"]
    assert len(found(tmp_path, tensors)) == 1
    equal = {name: abs(one) * np.sign(draw(int(name[7]), 64, 48)) for name, one in tensors.items()}
    assert len(found(tmp_path, equal)) == 1


def test_a_block_that_was_copied_is_one_finding(tmp_path: Path) -> None:
    names = ("q", "k", "v", "o", "up", "down")
    tensors = {f"layers.{i}.{n}.weight": draw(10 * i + j, 64, 64) for i in range(4) for j, n in enumerate(names)}
    tensors |= {f"layers.3.{n}.weight": tensors[f"layers.0.{n}.weight"] for n in names}
    ((_, severity, where),) = found(tmp_path, tensors)
    assert severity == "warning"
    assert len(where) == 12


def test_experts_that_are_all_copies_of_one_are_an_info_and_some_an_error(tmp_path: Path) -> None:
    tensors = {
        f"layers.{i}.experts.{e}.{n}.weight": draw(3 * i + j, 64, 48)
        for i in range(2)
        for e in range(4)
        for j, n in enumerate(("w1", "w2", "w3"))
    }
    ((_, severity, where),) = found(tmp_path, tensors)
    assert (severity, len(where)) == ("info", 24)
    other = {name: draw(90 + at, 64, 48) for at, name in enumerate(tensors) if ".3." in name}
    ((_, severity, where),) = found(tmp_path, tensors | other)
    assert (severity, len(where)) == ("error", 18)


COMPUTED: Mapping[str, Values] = {
    "a ramp": np.linspace(-1, 1, 128 * 96).reshape(128, 96),
    "a falling series": 10000.0 ** -(np.arange(128 * 96).reshape(128, 96) / 9000),
    "an identity": np.eye(128, 96),
    "sinusoids": np.sin(np.arange(128)[:, None] / 10000 ** (np.arange(96) / 96)),
}


@pytest.mark.parametrize("table", COMPUTED)
def test_what_is_computed_is_equal_by_right(table: str, tmp_path: Path) -> None:
    assert found(tmp_path, {f"layers.{i}.fc.weight": COMPUTED[table] for i in range(3)}) == []
    assert found(tmp_path, {f"layers.{i}.fc.bias": COMPUTED[table].reshape(-1)[:96] for i in range(3)}) == []


def test_uneven_inputs_are_seen_as_uneven_units_are(tmp_path: Path) -> None:
    weight = draw(0, 128, 96)
    weight[:, :48] *= 3
    save_file({"fc.weight": weight.astype(np.float32)}, tmp_path / "m.safetensors")
    (finding,) = initaudit.check(tmp_path, select=["IA203"]).findings
    assert "its inputs vary" in finding.message
