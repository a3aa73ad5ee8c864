"""One cause gives one finding: what follows from a fault is not said beside it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from initaudit.audit import audit
from initaudit.causes import granted, in_order
from initaudit.errors import RuleError
from initaudit.registry import load_rules, select_rules
from tests.checkpoints import written
from tests.recipes import Draw, gpt2

RULES = load_rules()
NAME = "transformer.h.2.mlp.c_fc.weight"
Values = NDArray[np.float32]


def with_a_nan(values: Values) -> None:
    values[3, 5] = np.nan


def half_dead(values: Values) -> None:
    values[:, ::2] = 0


def without_sign(values: Values) -> None:
    np.abs(values, out=values)


def one_unit(values: Values) -> None:
    values[:] = values[:, :1]


def garbage(values: Values) -> None:
    values[-4:] = 1e30


CAUSES = {"IA501": with_a_nan, "IA104": half_dead, "IA302": without_sign, "IA103": one_unit, "IA502": garbage}


@pytest.mark.parametrize("code", CAUSES)
def test_one_cause_in_a_weight_gives_one_finding(code: str, tmp_path: Path) -> None:
    assert said(tmp_path, CAUSES[code]) == [code]


def test_a_bias_that_is_not_finite_is_neither_intended_nor_found_twice(tmp_path: Path) -> None:
    model = gpt2(Draw())
    name = "transformer.h.2.mlp.c_fc.bias"
    model[name] = np.full_like(model[name], np.nan)
    (audited,) = audit([written(tmp_path / "model.safetensors", model)], tuple(RULES.values())).audited
    assert [(finding.rule, finding.tensors) for finding in audited.findings] == [("IA501", (name,))]
    assert name not in {row.tensor for row in audited.intended}


def test_what_a_rule_that_is_left_out_would_have_explained_is_said(tmp_path: Path) -> None:
    assert said(tmp_path, half_dead, ignore=["IA104"]) == ["IA201"]


def test_a_graver_finding_is_said_beside_what_comes_before(tmp_path: Path) -> None:
    def off_centre_and_vanishing(values: Values) -> None:
        np.abs(values, out=values)
        values *= np.float32(1e-6)

    assert said(tmp_path, off_centre_and_vanishing) == ["IA201", "IA302"]


def test_what_a_rule_takes_for_granted_are_rules_that_are_asked_before_it() -> None:
    asked = [rule.name for rule in in_order(RULES.values())]
    for rule in RULES.values():
        assert granted(rule) <= set(asked[: asked.index(rule.name)])


def test_a_rule_that_is_left_out_passes_on_what_it_takes_for_granted(tmp_path: Path) -> None:
    assert said(tmp_path, with_a_nan, ignore=["IA502"]) == ["IA501"]


def test_rules_that_take_each_other_for_granted_are_refused() -> None:
    first, second = RULES["IA101"], RULES["IA102"]
    circle = {
        rule.name: replace(rule, takes_for_granted=(other.name,)) for rule, other in [(first, second), (second, first)]
    }
    with pytest.raises(RuleError, match="takes itself for granted, by way of constant-weight"):
        granted(circle[first.name], circle)


def said(folder: Path, harm: Callable[[Values], None], *, ignore: list[str] | None = None) -> list[str]:
    """The rules that speak, each of the one weight that was harmed."""
    model = gpt2(Draw())
    harm(model[NAME])
    path = written(folder / "model.safetensors", model)
    findings = audit([path], select_rules(RULES, ignore=ignore or [])).findings
    assert {name for finding in findings for name in finding.tensors} == {NAME}
    return sorted(finding.rule for finding in findings)
