"""Every rule by its own examples and by the fixtures: what is right is silent, what is wrong is found at its place."""

import inspect
import re
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from initaudit.audit import audit
from initaudit.cli import main
from initaudit.examples import Example
from initaudit.registry import load_rules
from initaudit.rule import Rule
from initaudit.testing import Case, audit_example, cases, check_case
from tests.checkpoints import NO_FILE, written
from tests.readme import updated

ROOT = Path(__file__).parents[1]
RULES = tuple(load_rules().values())
CASES = cases()
README = (ROOT / "README.md").read_text(encoding="utf-8")
GOOD = sorted((ROOT / "fixtures" / "good").rglob("*.safetensors"))
BAD = sorted((ROOT / "fixtures" / "bad").iterdir())


def slashed(example: Example) -> Example:
    """An example with the same values under names as Flax and Keras join them."""
    tensors = {name.replace(".", "/"): recipe.of(recipe.stream or name) for name, recipe in example.tensors.items()}
    reach = {name.replace(".", "/"): when for name, when in example.reach.items()}
    return replace(example, tensors=tensors, at=tuple(name.replace(".", "/") for name in example.at), reach=reach)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rule_speaks_exactly_where_its_example_says(case: Case) -> None:
    check_case(case)


@pytest.mark.parametrize("case", [case for case in CASES if not case.example.is_good], ids=str)
def test_a_rule_speaks_at_the_same_tensors_where_names_are_joined_by_slashes(case: Case) -> None:
    check_case(Case(case.rule, slashed(case.example)))


@pytest.mark.parametrize("case", [case for case in CASES if case.example.is_good], ids=str)
def test_what_is_right_for_one_rule_is_no_error_for_another(case: Case) -> None:
    others = [other for other in RULES if other.group != case.rule.group]
    assert not [finding for finding in audit_example(case.example, others).findings if finding.severity == "error"]


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.relative_to(ROOT / "fixtures" / "good").as_posix())
def test_a_healthy_fixture_is_clean_under_all_rules(path: Path) -> None:
    report = audit([path], RULES)
    assert report.findings == ()
    assert report.failures == ()


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_broken_fixture_is_found_by_the_rule_it_is_named_after_and_by_no_other(path: Path) -> None:
    report = audit([path], RULES)
    assert [f"{group.rule}-{group.name}" for group in report.groups] == [path.stem]


@pytest.mark.parametrize(
    ("dtype", "std"),
    [
        (np.float32, 0.1),
        (np.float16, 0.1),
        (np.float16, 1e-7),  # a few steps of the smallest number
        (ml_dtypes.bfloat16, 0.1),
        (ml_dtypes.float8_e4m3fn, 0.1),
        (ml_dtypes.float8_e5m2, 0.1),
    ],
)
def test_a_draw_has_enough_values_in_every_dtype(dtype: type, std: float, tmp_path: Path) -> None:
    drawn = (np.random.default_rng(1).standard_normal((64, 96)) * std).astype(dtype)
    path = written(tmp_path / "model.safetensors", {"fc1.weight": drawn})
    assert [finding.rule for finding in audit([path], [r for r in RULES if r.code == "IA304"]).findings] == []


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_a_list_of_values_is_no_draw_in_any_wide_dtype(dtype: type, tmp_path: Path) -> None:
    chosen = np.random.default_rng(1).choice(np.linspace(-0.2, 0.2, 16), (64, 96)).astype(dtype)
    path = written(tmp_path / "model.safetensors", {"fc1.weight": chosen})
    assert [finding.rule for finding in audit([path], [r for r in RULES if r.code == "IA304"]).findings] == ["IA304"]


@pytest.mark.parametrize(("value", "found"), [(-3.4e38, []), (3.9e28, ["IA502"])], ids=["mask", "memory"])
def test_few_values_are_a_mask_only_if_the_huge_one_is_negative(value: float, found: list[str], tmp_path: Path) -> None:
    unknown = np.zeros((64, 64), np.float32)
    unknown[::7, ::5] = value
    path = written(tmp_path / "model.safetensors", {"conv.l2": unknown})
    assert [finding.rule for finding in audit([path], [r for r in RULES if r.code == "IA502"]).findings] == found


def test_every_rule_has_a_broken_fixture() -> None:
    assert [path.stem for path in BAD] == [f"{rule.code}-{rule.name}" for rule in RULES if rule.code not in NO_FILE]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_a_rule_is_named_after_its_module_and_has_a_whole_page(rule: Rule) -> None:
    assert Path(inspect.getfile(rule.check)).stem == rule.check.__name__
    assert re.fullmatch(r"IA[1-6]\d\d", rule.code)
    assert rule.summary.endswith(".")
    headings = re.findall(r"^## (.*)$", rule.page, re.MULTILINE)
    assert headings[0].startswith("Why is this ")
    assert headings[1:] == ["How is it decided?", "When is it right?", "What to do"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_an_example_reads_as_the_source_that_builds_it(rule: Rule) -> None:
    from initaudit.examples import constant, meta, normal, powers, sparse, uniform

    words = {
        "powers": powers,
        "constant": constant,
        "meta": meta,
        "normal": normal,
        "sparse": sparse,
        "uniform": uniform,
        "nan": float("nan"),
    }
    for example in rule.examples:
        for recipe in example.tensors.values():
            assert repr(eval(repr(recipe), {**words, "inf": float("inf")})) == repr(recipe)


def test_the_table_of_rules_in_the_readme_is_up_to_date() -> None:
    assert updated(README) == README, "run `python tests/readme.py`"


def test_every_code_that_is_emitted_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    emitted = {finding.rule for finding in audit(BAD, RULES).findings}
    assert emitted == {rule.code for rule in RULES} - NO_FILE
    for code in sorted(emitted):
        assert main(["rule", code, "--output-format", "markdown"]) == 0
        page = capsys.readouterr().out
        assert page.startswith(f"# {code} ")
        assert "## What to do" in page


def test_the_report_in_the_readme_is_what_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    block = re.search(r"^```console\n\$ (initaudit check \S+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert block is not None
    assert main(block[1].split()[1:]) == 1
    assert capsys.readouterr().out == block[2]
