"""Which rules are loaded and chosen."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from initaudit.errors import RuleError, SelectionError
from initaudit.examples import bad, constant, good
from initaudit.model import Fault, Tensor
from initaudit.registry import load_rules, select_rules
from initaudit.rule import RULES, Severity, rule

ALL = load_rules()
EXAMPLES = [good("one", {"a.weight": constant(1, 2, 2)}), bad("zero", {"a.weight": constant(0, 2, 2)}, at="a.weight")]


def codes(*, select: tuple[str, ...] = (), ignore: tuple[str, ...] = ()) -> set[str]:
    return {rule.code for rule in select_rules(ALL, select=select, ignore=ignore)}


def test_all_rules_apply_unless_told_otherwise() -> None:
    assert codes() == set(ALL) == codes(select=("ALL",))


@pytest.mark.parametrize("selector", ["IA101", "zero-weight"])
def test_a_rule_is_chosen_by_code_or_by_name(selector: str) -> None:
    assert codes(select=(selector,)) == {"IA101"}
    assert codes(ignore=(selector,)) == set(ALL) - {"IA101"}


def test_a_prefix_chooses_a_group() -> None:
    assert codes(select=("IA4",)) == {code for code in ALL if code.startswith("IA4")} != set()


def test_the_more_exact_selector_wins() -> None:
    assert codes(select=("IA101",), ignore=("IA1",)) == {"IA101"}
    assert codes(select=("IA1",), ignore=("IA101",)) == {code for code in ALL if code.startswith("IA1")} - {"IA101"}


def test_ignore_wins_between_equals() -> None:
    assert codes(select=("IA101",), ignore=("IA101",)) == set()


def test_a_selector_that_fits_no_rule_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(SelectionError, match="did you mean 'zero-weight'"):
        select_rules(ALL, select=("zero-wieght",))


def declare(code: str, **changes: object) -> None:
    def fault(tensor: Tensor) -> Iterator[Fault]:
        """It is wrong."""
        yield tensor.fault("wrong", advice="mend it")

    for name, value in changes.items():
        setattr(fault, name, value)
    rule(code=code, severity=Severity.INFO, examples=EXAMPLES)(fault)


def test_a_code_in_use_is_refused() -> None:
    with pytest.raises(RuleError, match=r"IA101 is in use by initaudit\.rules\.zero_weight"):
        declare("IA101")


def test_a_rule_without_a_page_is_refused() -> None:
    with pytest.raises(RuleError, match="needs a docstring"):
        declare("XX901", __doc__=None)


def test_a_rule_without_a_bad_example_is_refused() -> None:
    with pytest.raises(RuleError, match="a good and a bad example"):
        rule(code="XX902", severity=Severity.INFO, examples=EXAMPLES[:1])(next(iter(ALL.values())).check)


def test_parameters_that_are_none_of_a_rule_are_refused_with_their_place() -> None:
    def fault(weights: Tensor) -> Iterator[Fault]:
        """It is wrong."""
        yield weights.fault("wrong", advice="mend it")

    with pytest.raises(RuleError, match=r"test_registry\.py:\d+"):
        rule(code="XX903", severity=Severity.INFO, examples=EXAMPLES)(fault)


def test_a_refused_rule_is_not_kept() -> None:
    assert not [code for code in RULES if code.startswith("XX")]


@pytest.mark.parametrize(("code", "group"), [("IA101", "IA1"), ("ACME001", "ACME0"), ("X7", "X7")])
def test_a_group_is_the_letters_of_a_code_and_its_first_digit(code: str, group: str) -> None:
    assert replace(next(iter(load_rules().values())), code=code).group == group
