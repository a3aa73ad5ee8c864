"""Every convention excuses what it is for, and nothing once its condition fails."""

from dataclasses import replace

import pytest

from initaudit.audit import judge
from initaudit.conventions import TABLE, Convention
from initaudit.outcome import Audited
from tests.laws.conventions import CAPTIONED, PAIRS, Pair
from tests.laws.judging import RULES, measured
from tests.laws.not_yet import cases
from tests.recipes import Tensors

ROWS = {row.name: row for row in TABLE}
CODES = {rule.name: rule.code for rule in RULES}


def said(tensors: Tensors, config: object) -> Audited:
    """The audit of some tensors under all rules."""
    return judge(measured(tensors, config), RULES)  # type: ignore[arg-type]


def excuses(one: Audited, pair: Pair, row: Convention) -> bool:
    """Whether a convention is named at the tensor that a pair is about, for its rule."""
    return any((i.rule, i.tensor, i.convention) == (pair.rule, pair.at, row.name) for i in one.intended)


def test_there_is_a_pair_of_models_for_every_convention_and_for_no_other() -> None:
    assert PAIRS.keys() == ROWS.keys()


@pytest.mark.parametrize(("way", "name"), cases("convention", ["condition holds"], PAIRS))
def test_what_is_by_a_convention_is_intended_and_not_found(way: str, name: str) -> None:
    pair, row = PAIRS[name], ROWS[name]
    assert pair.rule in {CODES[name] for name in row.rules}
    one = said(pair.excused, pair.config)
    assert excuses(one, pair, row)
    assert pair.at not in {finding.tensor for finding in one.findings}


@pytest.mark.parametrize(("way", "name"), cases("convention", ["condition fails"], PAIRS))
def test_what_fails_its_condition_is_found(way: str, name: str) -> None:
    pair, row = PAIRS[name], ROWS[name]
    at = pair.beside or pair.at
    one = said(pair.spoken, pair.config if pair.otherwise is None else pair.otherwise)
    assert (pair.rule, at) in {(finding.rule, finding.tensor) for finding in one.findings}
    assert not excuses(one, replace(pair, at=at), row)


MOST_THAT_DECIDE = 12


def test_few_conventions_decide() -> None:
    assert len(TABLE) <= MOST_THAT_DECIDE


@pytest.mark.parametrize("name", CAPTIONED)
def test_what_learns_is_silent_and_captioned_by_the_name_that_the_field_has_for_it(name: str) -> None:
    pair = CAPTIONED[name]
    one = said(pair.excused, pair.config)
    assert {finding.tensor for finding in one.findings if finding.severity != "info"} == set()
    assert (pair.rule, pair.at, name) in {(i.rule, i.tensor, i.convention) for i in one.intended}


@pytest.mark.parametrize("name", CAPTIONED)
def test_a_name_excuses_nothing_that_is_dead_or_unlike_its_kin(name: str) -> None:
    pair = CAPTIONED[name]
    found = said(pair.spoken, pair.config).findings
    assert (pair.rule, pair.beside or pair.at) in {(f.rule, f.tensor) for f in found if f.severity != "info"}
