"""One tensor against its kin: the statistic, its rate of false verdicts, and what several odd ones do to each other."""

import math

import numpy as np
import pytest
from scipy import stats

import initaudit
from initaudit.recipes.kin import Kin, _off, odd_ones, threshold
from tests.checkpoints import run, written

FIXTURE = "fixtures/good/mlp-lecun-normal.safetensors"


def group(squares: list[float], freedom: float = 4096.0) -> Kin:
    count = len(squares)
    return Kin(np.arange(count), np.array(squares), np.full(count, freedom), is_shared=True)


@pytest.mark.parametrize("freedom", [64, 1024])
@pytest.mark.parametrize("tail", [1e-6, 1e-3, 0.5, 1 - 1e-3, 1 - 1e-6])
def test_the_statistic_is_a_standard_normal_where_the_ratio_follows_f(freedom: int, tail: float) -> None:
    ratio = stats.f(freedom, 3 * freedom).isf(tail)
    kin = group([ratio, 1.0, 1.0, 1.0], freedom)
    assert _off(kin, 0, np.array([1, 2, 3])) == pytest.approx(stats.norm.isf(tail), abs=0.03)


def test_many_tests_share_one_alpha() -> None:
    assert threshold(0.05, 1) == pytest.approx(stats.norm.isf(0.025))
    assert threshold(0.05, 100) == pytest.approx(stats.norm.isf(0.00025))


@pytest.mark.parametrize(
    "law", [stats.norm(), stats.uniform(-math.sqrt(3), 2 * math.sqrt(3))], ids=["normal", "uniform"]
)
def test_of_groups_that_are_drawn_alike_no_more_than_alpha_are_found_fault_with(law: object) -> None:
    alpha, kin, values, groups = 0.2, 8, 256, 500
    drawn = law.rvs((groups, kin, values), random_state=np.random.default_rng(1))  # type: ignore[attr-defined]
    squares = (drawn**2).mean(axis=2)
    kurtosis = float(law.stats("k")) + 3  # type: ignore[attr-defined]
    bar = threshold(alpha, kin)
    hit = sum(bool(list(odd_ones(group(list(row), 2 * values / (kurtosis - 1)), bar))) for row in squares)
    assert hit / groups < alpha + 3 * math.sqrt(alpha * (1 - alpha) / groups)


@pytest.mark.parametrize("odd", [(2500.0, 2500.0), (2500.0, 1e-4), (1e30, 1.3), (1e-30, 1e30)])
def test_two_that_are_off_hide_neither_each_other_nor_behind_the_rest(odd: tuple[float, float]) -> None:
    found = {number for number, _, _ in odd_ones(group([1.0, odd[0], 1.01, 0.99, odd[1], 1.0]), threshold(1e-3, 6))}
    assert found == {1, 4}


@pytest.mark.parametrize("alpha", ["0", "1", "-1", "nan", "much"])
def test_an_alpha_that_is_none_is_refused(alpha: str) -> None:
    outcome = run("check", FIXTURE, f"--alpha={alpha}")
    assert (outcome.status, outcome.out) == (2, "")
    assert "--alpha" in outcome.err


def test_an_alpha_that_is_none_is_refused_in_code() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        initaudit.check(FIXTURE, alpha=1.0)


def test_a_larger_alpha_finds_what_chance_may_have_done(tmp_path) -> None:  # type: ignore[no-untyped-def]
    draw = np.random.default_rng(0)
    blocks = {f"layers.{i}.fc.weight": draw.standard_normal((16, 32)).astype(np.float32) for i in range(8)}
    blocks["layers.3.fc.weight"] *= 1.12
    path = written(tmp_path / "model.safetensors", blocks)
    found = [
        bool(
            [
                f
                for f in initaudit.check(path, alpha=alpha).findings
                if f.tensor == "layers.3.fc.weight" and "siblings" in f.message
            ]
        )
        for alpha in (0.9, 1e-9)
    ]
    assert found == [True, False]
