"""The laws that a checkpoint's scales follow, and what they say is wrong: beside kin, in one file, by effect."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from initaudit.examples import Recipe as Drawn
from initaudit.examples import constant, normal, uniform
from initaudit.model import Model
from initaudit.recipes import mistakes, recipe_of, residuals, scale_verdicts
from initaudit.recipes.fits import RANGE, Fitter, log_normal, weighted
from initaudit.recipes.observations import observations_of
from tests.test_scale import model

WIDTH, DEPTH = 64, 6


def transformer(std: float = 0.02, *, prefix: str = "", depth: int = DEPTH, **changes: float) -> dict[str, Drawn]:
    """Blocks of four kinds of matrices of one deviation; ``changes`` are factors of a kind, or of one matrix."""
    shapes = {"q": (WIDTH, WIDTH), "o": (WIDTH, WIDTH), "up": (4 * WIDTH, WIDTH), "down": (WIDTH, 4 * WIDTH)}
    tensors = {}
    for block in range(depth):
        for kind, shape in shapes.items():
            factor = changes.get(f"{kind}{block}", changes.get(kind, 1.0))
            tensors[f"{prefix}layers.{block}.{kind}.weight"] = normal(*shape, std=std * factor)
        tensors[f"{prefix}layers.{block}.norm.weight"] = constant(1, WIDTH)
    return tensors


def said(one: Model) -> dict[str, tuple[str, str]]:
    return {verdict.tensor.name: (verdict.level, verdict.severity) for verdict in scale_verdicts(one)}


@pytest.mark.parametrize("std", [0.02, 0.0137, 1 / 24, 0.3])
def test_one_law_of_any_constant_is_the_recipe_of_a_model(std: float, tmp_path: Path) -> None:
    one = model(transformer(std), tmp_path)
    (law,) = recipe_of(one).laws
    assert (law.fit.base, len(law.fit.members)) == ("fixed", 4 * DEPTH)
    assert law.fit.constant == pytest.approx(std, rel=0.01)
    assert said(one) == {}


@pytest.mark.parametrize(
    ("base", "constant_of", "name"),
    [
        ("fan_in", 1.0, "LeCun"),
        ("fan_in", math.sqrt(2), "He"),
        ("fan_in", 0.37, ""),
        ("fan_mean", 1.0, "Xavier"),
        ("fan_out", math.sqrt(2), "He by fan_out"),
    ],
)
def test_a_law_by_a_fan_is_told_from_the_others_and_has_its_name(
    base: str, constant_of: float, name: str, tmp_path: Path
) -> None:
    fans = [(48, 96), (96, 64), (64, 160), (160, 48), (128, 256), (32, 128)]
    by = {"fan_in": lambda o, i: i, "fan_out": lambda o, i: o, "fan_mean": lambda o, i: (o + i) / 2}[base]
    tensors = {
        f"{c}.weight": normal(o, i, std=constant_of * by(o, i) ** -0.5)
        for c, (o, i) in zip("abcdef", fans, strict=True)
    }
    (law,) = recipe_of(model(tensors, tmp_path)).laws
    assert (law.fit.base, law.fit.name, len(law.fit.members)) == (base, name, len(fans))
    assert law.fit.constant == pytest.approx(constant_of, rel=0.02)


@pytest.mark.parametrize("factor", [0.1, 0.5, 0.8, 1.25, 3])
def test_one_that_is_off_its_kin_is_found_and_no_other(factor: float, tmp_path: Path) -> None:
    level, severity = "kin", "error" if max(factor, 1 / factor) >= 4 else "warning"
    one = model(transformer(up3=factor), tmp_path)
    assert said(one) == {"layers.3.up.weight": (level, severity)}
    (verdict,) = scale_verdicts(one)
    assert verdict.ratio == pytest.approx(factor, rel=0.03)
    assert verdict.expected.std == pytest.approx(0.02, rel=0.02)


def test_two_kin_that_agree_suffice_to_tell_the_third(tmp_path: Path) -> None:
    assert said(model(transformer(depth=3, up1=0.5), tmp_path)) == {"layers.1.up.weight": ("kin", "warning")}


def test_of_two_the_one_that_no_law_of_the_model_explains_is_odd(tmp_path: Path) -> None:
    one = model(transformer(depth=2, up1=0.5) | {"head.weight": normal(100, WIDTH, std=0.02)}, tmp_path)
    assert said(one) == {"layers.1.up.weight": ("pair", "warning")}


def test_of_two_alone_nobody_can_say_which_is_odd(tmp_path: Path) -> None:
    assert said(model({f"layers.{i}.up.weight": normal(64, 48, std=0.1 / (1 + i)) for i in range(2)}, tmp_path)) == {}


@pytest.mark.parametrize("law", [lambda i: (2 * (i + 1)) ** -0.5, lambda i: 1 / (i + 1)], ids=["sqrt depth", "depth"])
def test_a_scale_that_falls_with_depth_has_no_odd_one_until_one_leaves_the_law(law, tmp_path: Path) -> None:
    factors = {f"down{i}": law(i) for i in range(8)}
    assert said(model(transformer(depth=8, **factors), tmp_path)) == {}
    odd = factors | {"down5": 1.3 * factors["down5"]}
    assert said(model(transformer(depth=8, **odd), tmp_path)) == {"layers.5.down.weight": ("kin", "warning")}


@pytest.mark.parametrize("factor", [0.29, 0.58, 1.41])
def test_a_kind_with_a_scale_of_its_own_in_all_blocks_is_a_design(factor: float, tmp_path: Path) -> None:
    assert said(model(transformer(down=factor), tmp_path)) == {}


def test_every_second_block_on_another_scale_is_a_design_and_one_block_is_not(tmp_path: Path) -> None:
    every_second = {f"{kind}{i}": 0.5 for kind in ("q", "up") for i in range(0, 8, 2)}
    assert said(model(transformer(depth=8, **every_second), tmp_path)) == {}
    one = {f"{kind}4": 0.5 for kind in ("q", "up")}
    assert set(said(model(transformer(depth=8, **one), tmp_path))) == {"layers.4.q.weight", "layers.4.up.weight"}


def test_a_widening_matrix_unlike_its_twin_is_found(tmp_path: Path) -> None:
    gates = {f"layers.{i}.gate.weight": normal(4 * WIDTH, WIDTH, std=0.02) for i in range(DEPTH)}
    found = said(model(transformer(up=0.5) | gates, tmp_path))
    assert found == {f"layers.{i}.up.weight": ("twin", "warning") for i in range(DEPTH)}


def test_a_loud_place_that_no_law_explains_is_found_and_a_deafening_law_is(tmp_path: Path) -> None:
    assert said(model(transformer(0.125, o=2.5), tmp_path)) == {
        f"layers.{i}.o.weight": ("gain", "warning") for i in range(DEPTH)
    }
    found = said(model(transformer(2.0), tmp_path))
    assert set(found.values()) == {("gain", "error")}
    assert len(found) == 4 * DEPTH


@pytest.mark.parametrize("prefix", ["", "model.", "0.", "model.0."])
@pytest.mark.parametrize("base", [0.02, 0.012, 0.125])
def test_a_residual_output_left_unscaled_is_found_under_any_base_and_prefix(
    base: float, prefix: str, tmp_path: Path
) -> None:
    step = (2 * DEPTH) ** -0.5
    assert residuals(model(transformer(base, prefix=prefix, o=step, down=step), tmp_path)) == ()
    found = residuals(model(transformer(base, prefix=prefix, o=step), tmp_path))
    assert [row.tensor.name for row in found] == [f"{prefix}layers.{i}.down.weight" for i in range(DEPTH)]
    assert {round(row.expected.std / base, 2) for row in found if row.expected.std} == {round(step, 2)}


def test_a_residual_output_scaled_twice_is_found(tmp_path: Path) -> None:
    step = (2 * DEPTH) ** -0.5
    found = residuals(model(transformer(o=step, down=step * step), tmp_path))
    assert [(row.tensor.name, row.is_twice) for row in found] == [
        (f"layers.{i}.down.weight", True) for i in range(DEPTH)
    ]


def convolutions(wrong: Mapping[str, float]) -> dict[str, Drawn]:
    """Depthwise and pointwise layers by 1/√fan_in; ``wrong`` are other deviations of depthwise ones, by their names."""
    tensors = {}
    for i, channels in enumerate((32, 64, 128, 256)):
        name = f"blocks.{i}.dw.weight"
        tensors[name] = uniform(channels, 1, 3, 3, bound=wrong.get(name, 1 / 3))
        tensors[f"blocks.{i}.pw.weight"] = uniform(2 * channels, channels, 1, 1, bound=channels**-0.5)
    return tensors


def test_groups_that_were_ignored_are_named(tmp_path: Path) -> None:
    wrong = {f"blocks.{i}.dw.weight": (9 * (32 << i)) ** -0.5 for i in range(4)}
    assert mistakes(model(convolutions({}), tmp_path)) == ()
    found = mistakes(model(convolutions(wrong), tmp_path))
    assert {row.what for row in found} == {"groups ignored in fan_in"}
    assert [row.tensor.name for row in found] == sorted(wrong)
    assert [row.expected.std for row in found] == pytest.approx([1 / math.sqrt(27)] * 4, rel=1e-9)


def test_a_weight_by_fan_out_beside_its_bias_by_fan_in_is_named(tmp_path: Path) -> None:
    shapes = {"actor.fc1": (400, 33), "actor.fc2": (300, 400), "critic.fcs1": (400, 33), "critic.fc2": (300, 404)}

    def drawn(axis: int) -> dict[str, Drawn]:
        weights = {f"{name}.weight": uniform(*shape, bound=shape[axis] ** -0.5) for name, shape in shapes.items()}
        return weights | {f"{name}.bias": uniform(shape[0], bound=shape[1] ** -0.5) for name, shape in shapes.items()}

    assert mistakes(model(drawn(1), tmp_path)) == ()
    found = mistakes(model(drawn(0), tmp_path))
    assert sorted(row.tensor.name for row in found) == sorted(f"{name}.weight" for name in shapes)


def test_the_evidence_is_the_integral_over_the_constant(tmp_path: Path) -> None:
    """Σ ln N(v; m, s) + ln of the Occam factor is the marginal likelihood of one constant, by brute force."""
    seen = observations_of(model(transformer(depth=3), tmp_path))
    ids = np.arange(len(seen.rows))
    fit = Fitter(seen).of_many(ids, ("fixed",))
    constants = np.linspace(fit.log_constant - 20 * fit.error, fit.log_constant + 20 * fit.error, 4001)
    likelihood = np.exp([log_normal(seen.scale - c, seen.error).sum() for c in constants])
    marginal = math.log(np.trapezoid(likelihood, constants) / RANGE) + len(ids) * math.log(RANGE)
    prior = fit.evidence - marginal
    assert prior == pytest.approx(math.log(0.36) + math.log(20), abs=0.01)  # the share of fixed laws, and a name's atom


def test_a_weighted_mean_has_the_error_of_independent_values() -> None:
    draws = np.random.default_rng(0)
    errors = np.array([0.1, 0.2, 0.05])
    means = [weighted(draws.normal(0, errors), errors) for _ in range(4000)]
    assert np.std([mean for mean, _ in means]) == pytest.approx(means[0][1], rel=0.05)
