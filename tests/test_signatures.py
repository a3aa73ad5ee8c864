"""A wrong scale is reported with the mistake that gives it."""

import math
from pathlib import Path

import numpy as np
import pytest

from initaudit.audit import audit
from initaudit.registry import load_rules
from tests.checkpoints import written
from tests.recipes import Draw, Tensors

RULES = tuple(load_rules().values())
BLOCKS, INPUTS, OUTPUTS, AREA = 6, 128, 512, 9
LECUN = INPUTS**-0.5


def siblings(odd_std: float, *, expected: float = LECUN, shape: tuple[int, ...] = (OUTPUTS, INPUTS)) -> Tensors:
    draw = Draw()
    return {
        f"blocks.{i}.{'conv' if len(shape) > 2 else 'fc'}.weight": draw.normal(
            *shape, std=odd_std if i == 2 else expected
        )
        for i in range(BLOCKS)
    }


@pytest.mark.parametrize(
    ("odd_std", "words"),
    [
        (LECUN**2, "its variance had been passed"),
        (LECUN**0.5, "a deviation taken for a variance"),
        (LECUN * math.sqrt(INPUTS / OUTPUTS), "fan_out had been used for fan_in"),
        (LECUN * math.sqrt(2 * BLOCKS), "the scaling by depth, 1/sqrt(2·6), were missing"),
        (LECUN / math.sqrt(2 * BLOCKS), "a scaling by depth, 1/sqrt(2·6), had been applied"),
        (LECUN / math.sqrt(3), "taken for the bound of a uniform"),
        (LECUN * math.sqrt(3), "the bound of a uniform had been taken for the deviation"),
        (LECUN * math.sqrt(2), "the gain of ReLU, sqrt(2), had been applied once more"),
        (LECUN / math.sqrt(2), "the gain of ReLU, sqrt(2), were missing"),
        (LECUN * math.sqrt(8), "the fan of one of 8 shards"),
        (10 * LECUN, "a factor of 10 had slipped in"),
    ],
)
def test_the_likely_cause_of_an_odd_scale_is_named(odd_std: float, words: str, tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", siblings(odd_std))
    (finding,) = audit([path], RULES).findings
    assert words in finding.message


def test_the_area_of_a_kernel_that_is_missing_in_the_fan_is_named(tmp_path: Path) -> None:
    lecun = (64 * AREA) ** -0.5
    tensors = siblings(lecun * math.sqrt(AREA), expected=lecun, shape=(64, 64, 3, 3))
    (finding,) = audit([written(tmp_path / "model.safetensors", tensors)], RULES).findings
    assert "the area of the kernel were missing in the fan" in finding.message


def test_a_scale_that_no_mistake_explains_has_no_cause(tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", siblings(LECUN * 5.3))
    (finding,) = audit([path], RULES).findings
    assert "as if" not in finding.message


def test_the_measurement_has_its_standard_error(tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", siblings(LECUN * 3.3))
    (finding,) = audit([path], RULES).findings
    std_error = finding.evidence["std"] / math.sqrt(2 * INPUTS * OUTPUTS)
    assert np.isclose(finding.evidence["std_error"], std_error, rtol=0.05)
    assert f"(± {std_error:.1g})" in finding.message


def test_where_one_deviation_serves_all_fans_no_fan_is_blamed(tmp_path: Path) -> None:
    tensors = siblings(0.02 * math.sqrt(INPUTS / OUTPUTS), expected=0.02)
    (finding,) = audit([written(tmp_path / "model.safetensors", tensors)], RULES).findings
    assert "fan_out" not in finding.message
