"""Laws that are asked for by hand, the laws of remedies, and what JSON says of both."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from initaudit.laws import LawError, Setting, parse_law, settle
from initaudit.layers.values import Part
from initaudit.names import Depth
from initaudit.remedies import AskedError, Remedy, laws_of, wish_of
from initaudit.schemes.catalogue import candidates
from initaudit.schemes.families import FAMILIES
from tests.checkpoints import FIXTURES, faulty, run, written
from tests.recipes import DEPTH, WIDTH, Draw, Tensors, gpt2, mixture, resnet
from tests.test_repair import BAD


def fixed(tmp_path: Path, model: Tensors, *schemes: str, config: Any = None) -> tuple[Tensors, list[dict[str, Any]]]:
    """A model redrawn as was asked for, and the rows that `fix` says of it."""
    path = written(tmp_path / "model.safetensors", model)
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    options = [option for scheme in schemes for option in ("--scheme", scheme)]
    outcome = run("fix", path, "--in-place", "--output-format", "json", *options)
    assert outcome.err == ""
    return load_file(path), outcome.document["repairs"]


def without(model: Tensors, *names: str) -> Tensors:
    return {**model, **{name: np.zeros_like(model[name]) for name in names}}


@pytest.mark.parametrize(
    ("scheme", "check"),
    [
        ("normal(std = sqrt(2 / fan_in))", lambda v: v.std() == pytest.approx(math.sqrt(2 / 64), rel=0.05)),
        ("normal(std = 0.05)", lambda v: v.std() == pytest.approx(0.05, rel=0.05)),
        ("fc1.weight=normal(std=2/fan_out)", lambda v: v.std() == pytest.approx(2 / 96, rel=0.05)),
        (" fc1.* = normal(std = 0.1, mean = 1) ", lambda v: v.mean() == pytest.approx(1, abs=0.01)),
        ("uniform(bound = 1 / sqrt(fan_in))", lambda v: np.abs(v).max() == pytest.approx(1 / 8, rel=0.01)),
        (
            "uniform(low = 0.1, high = min(0.3, 1))",
            lambda v: (v.min(), v.max()) == (pytest.approx(0.1, abs=1e-3), pytest.approx(0.3, abs=1e-3)),
        ),
        ("trunc_normal(std = 0.05, cut = 1)", lambda v: np.abs(v).max() == pytest.approx(0.05, rel=0.01)),
        ("orthogonal(gain = 2)", lambda v: np.allclose(v.T @ v, 4 * np.eye(64), atol=1e-4)),
        ("sparse(connections = 10, std = 1)", lambda v: set(np.count_nonzero(v, axis=1)) == {10}),
        ("*=identity", lambda v: np.array_equal(v, np.eye(96, 64))),
        ("normal(std = width / 1000)", lambda v: v.std() == pytest.approx(0.064, rel=0.05)),
        ("normal(std = 1 / torch_fan_out)", lambda v: v.std() == pytest.approx(1 / 96, rel=0.05)),
        ("normal(std = groups / rows)", lambda v: v.std() == pytest.approx(1 / 96, rel=0.05)),
    ],
)
def test_a_law_can_be_chosen_by_hand(scheme: str, check: Any, tmp_path: Path) -> None:
    tensors, (row,) = fixed(tmp_path, faulty(layer="fc1"), scheme)
    assert row["reason"].startswith("asked for")
    assert check(tensors["fc1.weight"])


def test_a_law_is_evaluated_at_each_block_and_the_number_of_blocks(tmp_path: Path) -> None:
    names = [f"transformer.h.{layer}.mlp.c_proj.weight" for layer in (1, 4)]
    scheme = "*.c_proj.*=normal(std = 0.5 / sqrt(2 * (block + 1)) / blocks)"
    tensors, rows = fixed(tmp_path, without(gpt2(Draw()), *names), scheme)
    assert [row["tensor"] for row in rows] == names
    for name, layer in zip(names, (1, 4), strict=True):
        expected = 0.5 / math.sqrt(2 * (layer + 1)) / DEPTH
        assert tensors[name].std() == pytest.approx(expected, rel=0.02)
    assert {row["reason"] for row in rows} == {"asked for: normal(std = 0.5 / sqrt(2 * (block + 1)) / blocks)"}


def test_the_innermost_list_counts_and_a_stage_is_none_of_its_blocks(tmp_path: Path) -> None:
    expert = "model.layers.1.block_sparse_moe.experts.5.w1.weight"
    tensors, _ = fixed(tmp_path, without(mixture(Draw()), expert), "normal(std = (block + 1) / blocks)")
    assert tensors[expert].std() == pytest.approx(6 / 8, rel=0.02)
    conv = "layer2.1.conv2.weight"
    tensors, _ = fixed(tmp_path, without(resnet(Draw()), conv), "normal(std = (block + 1) / (10 * blocks))")
    assert tensors[conv].std() == pytest.approx(2 / 20, rel=0.02)


@pytest.mark.parametrize("first", [0, 1])
def test_blocks_of_flax_and_keras_are_counted_from_where_they_begin(first: int, tmp_path: Path) -> None:
    draw, model = Draw(), {}
    for number in range(first, first + 5):
        block = f"params/encoderblock_{number}/MlpBlock_0"
        model |= {
            f"{block}/Dense_0/kernel": draw.normal(64, 256, std=0.1),
            f"{block}/Dense_0/bias": np.zeros(256, "f4"),
        }
    name = f"params/encoderblock_{first + 2}/MlpBlock_0/Dense_0/kernel"
    tensors, _ = fixed(tmp_path, without(model, name), "normal(std = (block + 1) / (10 * blocks))")
    assert tensors[name].std() == pytest.approx(3 / 50, rel=0.03)


def test_a_law_may_name_what_config_json_states(tmp_path: Path) -> None:
    config = {"initializer_range": 0.3, "text_config": {"n": 4}}
    scheme = "normal(std = config.initializer_range / config.text_config.n)"
    tensors, (row,) = fixed(tmp_path, faulty(layer="fc1"), scheme, config=config)
    assert tensors["fc1.weight"].std() == pytest.approx(0.075, rel=0.05)
    assert row["law"] == "normal(std = 0.075)"


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("norm(std = 1)", "no law is called 'norm'"),
        ("kaiming_normal(mode = fan_in)", "no law is called 'kaiming_normal'"),
        ("fc2.*=normal(sd = 1)", "normal takes std, mean, and was given sd"),
        ("normal(std = fan)", "'fan' is no name of a law"),
        ("normal(std = 1", "')' is expected at its end"),
        ("normal(std = " + "(" * 5000, "more than 1,000 characters"),
        ("*=derived", "derived cannot be drawn: it is computed from other tensors"),
        ("table(sinusoidal)", "table(sinusoidal) cannot be drawn"),
    ],
)
def test_a_law_that_is_none_is_one_line(scheme: str, words: str) -> None:
    outcome = run("fix", FIXTURES / "bad" / "IA101-zero-weight.safetensors", "--dry-run", "--scheme", scheme)
    assert outcome.status == 2
    assert words in outcome.err
    assert len(outcome.complaints) == 1


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("normal(std = 0.02 / sqrt(blocks))", "blocks is not known here"),
        ("normal(std = config.initializer_range)", "config.json holds no number initializer_range"),
        ("normal(std = fan_in - 64)", "std is to be above zero"),
        ("normal(std = 1 / (fan_in - 64))", "has no number here"),
        ("normal(std = 10 ** 10 ** 10)", "has no number here"),
    ],
)
def test_where_a_law_has_no_number_the_tensor_stays_and_it_is_said_why(scheme: str, words: str, tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", faulty(layer="fc1"))
    before = path.read_bytes()
    outcome = run("fix", path, "--in-place", "--scheme", scheme)
    assert (outcome.status, outcome.err) == (1, "")
    assert "not repaired  fc1.weight" in outcome.out
    assert words in " ".join(outcome.out.split())
    assert path.read_bytes() == before


@pytest.mark.parametrize("scheme", ["orthogonal(gain = 1)", "identity", "sparse(connections = 2, std = 1)"])
def test_a_law_of_matrices_leaves_a_vector_as_it_is_and_says_why(scheme: str, tmp_path: Path) -> None:
    model = {**faulty(layer="fc1"), "fc1.bias": np.full(96, np.nan, np.float32)}
    path = written(tmp_path / "model.safetensors", model)
    outcome = run("fix", path, "--dry-run", "--scheme", f"fc1.bias={scheme}")
    assert outcome.status == 1
    assert "fc1.bias is no matrix" in " ".join(outcome.out.split())


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("table(rotary, base = 100)", 100.0 ** -(np.arange(64) / 64)),
        ("log_arange", np.log(np.arange(1, 65))),
        ("ones", np.ones(64)),
        ("constant(-0.25)", np.full(64, -0.25)),
    ],
)
def test_a_table_is_filled_by_the_law_that_was_asked_for(scheme: str, expected: Any, tmp_path: Path) -> None:
    model = {"rotary_emb.inv_freq": np.full(64, np.nan, np.float32), **faulty()}
    tensors, _ = fixed(tmp_path, model, f"rotary_emb.*={scheme}")
    assert tensors["rotary_emb.inv_freq"] == pytest.approx(expected, rel=1e-6)


def test_a_law_of_draws_fills_a_vector_too(tmp_path: Path) -> None:
    model = {"rotary_emb.inv_freq": np.full(4096, np.nan, np.float32), **faulty()}
    for text in ("log_uniform(low = 1, high = 16)", "time_step(low = 0.001, high = 0.1)"):
        tensors, _ = fixed(tmp_path, model, f"rotary_emb.*={text}")
        settled, values = settle(parse_law(text), Setting()), tensors["rotary_emb.inv_freq"]
        assert values.std() == pytest.approx(settled.std, rel=0.05)
        assert values.mean() == pytest.approx(settled.mean, abs=0.1)


def test_names_with_parameters_mean_what_they_meant() -> None:
    for text in ("normal", "normal:std=0.05", "h.*=trunc_normal:std=0.05,cut=2", "kaiming_uniform:mode=fan_out"):
        assert wish_of(text).law is None
    wish = wish_of("dense/kernel:0=normal(std = 0.02)")
    assert (wish.glob, str(wish.law)) == ("dense/kernel:0", "normal(std = 0.02)")
    with pytest.raises(AskedError, match="no scheme is called"):
        wish_of("h.*=kaiming")
    with pytest.raises(LawError, match="no law is called"):
        wish_of("h.*=kaiming()")


REMEDIES = {
    "normal(std = 0.02)": Remedy("normal", "normal", {"std": 0.02}, ""),
    "normal(std = 0.1, mean = 1)": Remedy("normal", "normal", {"std": 0.1, "mean": 1.0}, ""),
    "normal(std = 0.006804138)": Remedy(
        "residual_scaled", "normal", {"base_std": 0.02, "std": 0.02 / 216**0.5 * 5}, ""
    ),
    "uniform(bound = 0.125)": Remedy("torch_default", "uniform", {"std": 0.125 / math.sqrt(3)}, ""),
    "uniform(low = 0, high = 0.02)": Remedy("uniform", "uniform", {"std": 0.1, "low": 0.0, "high": 0.02}, ""),
    "trunc_normal(std = 0.02, cut = 2)": Remedy(
        "trunc_normal", "trunc_normal", {"std": 0.02 * 0.8796256610342398, "cut": 2.0}, ""
    ),
    "orthogonal(gain = 1.414214)": Remedy("orthogonal", "orthogonal", {"gain": math.sqrt(2)}, ""),
    "sparse(connections = 10, std = 0.3162278)": Remedy("sparse", "sparse", {"connections": 10, "std": 10**-0.5}, ""),
    "identity": Remedy("identity", "identity", {}, ""),
    "zeros": Remedy("zeros", "constant", {"value": 0.0}, ""),
    "ones": Remedy("ones", "constant", {"value": 1.0}, ""),
    "constant(-0.5)": Remedy("constant", "constant", {"value": -0.5}, ""),
    "table(rotary, base = 500000)": Remedy("rotary", "formula", {"formula": "rotary", "base": 5e5}, ""),
    "table(log_arange)": Remedy("log_arange", "formula", {"formula": "log_arange"}, ""),
    "log_uniform(low = 1, high = 16)": Remedy(
        "log_uniform", "formula", {"formula": "log_uniform", "low": 1.0, "high": 16.0}, ""
    ),
    "time_step(low = 0.001, high = 0.1)": Remedy(
        "time_step", "formula", {"formula": "time_step", "low": 1e-3, "high": 0.1}, ""
    ),
}


@pytest.mark.parametrize("text", REMEDIES)
def test_every_remedy_has_its_law(text: str) -> None:
    (law,) = laws_of(REMEDIES[text])
    assert str(law) == text
    assert parse_law(text) == law


def test_a_packed_remedy_has_a_law_for_each_block() -> None:
    remedy = Remedy("blocks", "blocks", {"stds": [0.02, 0.02, 0.05]}, "")
    assert [str(law) for law in laws_of(remedy)] == ["normal(std = 0.02)", "normal(std = 0.02)", "normal(std = 0.05)"]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_each_repair_in_the_report_states_the_law_of_its_numbers(path: Path) -> None:
    document = run("check", path, "--output-format", "json").document
    rows = [row for group in document["findings"] for row in (group, *group["per_tensor"])]
    for repair in (row["repair"] for row in rows if row["repair"]):
        laws, parameters = repair.get("laws") or [repair["law"]], repair["parameters"]
        settled = [settle(parse_law(law), Setting()) for law in laws]
        stds = parameters.get("stds") or [parameters.get("std")]
        if stds != [None] and "connections" not in parameters:
            assert [one.std for one in settled] == pytest.approx(stds, rel=1e-6)
        if "value" in parameters:
            assert settled[0].mean == pytest.approx(parameters["value"])


def test_a_repair_whose_number_is_none_has_no_law_and_the_report_is_whole(tmp_path: Path) -> None:
    written(tmp_path / "model.safetensors", {"rotary_emb.inv_freq": np.full(64, np.nan, np.float32), **faulty()})
    (tmp_path / "config.json").write_text('{"rope_theta": 1e999}', encoding="utf-8")
    outcome = run("check", tmp_path, "--output-format", "json")
    repairs = [row["repair"] for row in outcome.document["findings"] if row["tensor"] == "rotary_emb.inv_freq"]
    assert (outcome.status, outcome.err) == (1, "")
    assert [repair["law"] for repair in repairs] == [None]


def test_what_the_catalogue_knows_can_be_written_in_terms_of_names() -> None:
    shapes = [
        (Part("a", "linear", "weight", "out_in", 64, 192, 1, ""), (192, 64)),
        (Part("a", "conv", "weight", "out_in", 27, 108, 4, ""), (48, 3, 3, 3)),
        (Part("a", "recurrent", "rnn_weight", "out_in", 48, 256, 1, ""), (256, 48)),
    ]
    fans = ["fan_in", "fan_out", "torch_fan_in", "torch_fan_out", "torch_fan_out / groups", "fan_out / 3"]
    fans += [f"rows / {gates}" for gates in (4, 3, 1)]
    roots = [f"1 / sqrt({fan})" for fan in fans]
    roots += [f"sqrt(2 / ({ins} + {outs}))" for ins in fans for outs in fans]
    depths = ["1", "sqrt(2 * blocks)", "sqrt(2 * (block + 1))"]
    factors = [
        "1",
        "sqrt(2)",
        "1 / sqrt(3)",
        "5 / 3",
        "1 / sqrt(2)",
        "sqrt(2 / 5)",
        "0.02",
        "0.8796256610",
        "0.9865783926",
    ]
    fixed = [f"{std:g}" for std in (0.02, 0.01, 1.0, 0.05, 0.006, 0.1, 0.001, 1e-4, 1e-5, 1e-6, 1e-10)]
    for part, shape in shapes:
        setting = Setting(
            fan_in=part.fan_in,
            fan_out=part.fan_out,
            torch_fan_in=math.prod(shape[1:]),
            torch_fan_out=shape[0] * math.prod(shape[2:]),
            rows=shape[0],
            groups=part.groups,
            block=2,
            blocks=6,
        )
        texts = [f"normal(std = {f} * {r} / {d})" for f in factors for r in (*roots, *fixed) for d in depths]
        known = np.array([settle(parse_law(text), setting).std for text in texts])
        for family in FAMILIES:
            for candidate in candidates(part, shape, family, Depth(2, 6)):
                assert np.isclose(known, candidate.std, rtol=1e-6, atol=0).any(), candidate


def test_the_width_of_a_model_without_a_table_is_its_most_common_last_axis(tmp_path: Path) -> None:
    name = "transformer.h.0.mlp.c_fc.weight"
    model = gpt2(Draw())
    del model["transformer.wte.weight"], model["transformer.wpe.weight"]
    tensors, _ = fixed(tmp_path, without(model, name), "normal(std = 1 / width)")
    assert tensors[name].std() == pytest.approx(1 / WIDTH, rel=0.02)
