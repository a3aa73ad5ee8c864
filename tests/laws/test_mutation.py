"""The run that moves thresholds finds them all, and moves one at a time."""

import ast
from pathlib import Path

import pytest

from tests.laws.mutation import FACTORS, ROOMS, ROOT, Number, judging, numbers_of

NUMBERS = list(judging())


def test_numbers_are_found_alone_in_pairs_and_as_what_is_computed() -> None:
    found = {number.name: number.value for number in numbers_of(Path("initaudit/recipes/verdicts.py"))}
    assert {"WARNING", "ERROR", "GAIN", "LOUD", "DEAFENING"} <= found.keys()
    assert found["GAIN"] == 1.75
    biases = {number.name for number in numbers_of(Path("initaudit/conventions/biases.py"))}
    assert {"SOFTPLUS_OF_ONE", "NEAR_ONE", "LEAST_LOG_ODDS"} <= biases


def test_every_room_that_judges_is_there_and_is_asked_by_tests_that_are_there() -> None:
    assert {number.room for number in NUMBERS} <= ROOMS.keys()
    tests = {name for names in ROOMS.values() for name in names}
    assert [name for name in tests if not (ROOT / "tests" / f"{name}.py").exists()] == []


@pytest.mark.parametrize("number", NUMBERS[::10], ids=str)
@pytest.mark.parametrize("factor", FACTORS.values(), ids=FACTORS.keys())
def test_a_number_is_moved_and_nothing_else(number: Number, factor: float) -> None:
    source = (ROOT / number.path).read_bytes()
    moved = number.moved(source, factor)
    if moved is None:
        assert number.value * factor == number.value or isinstance(number.value, int)
        return
    assert moved[: number.begin] == source[: number.begin]
    assert moved.endswith(source[number.end :])
    value = ast.literal_eval(moved[number.begin : len(moved) - len(source) + number.end].decode())
    assert value == pytest.approx(number.value * factor, abs=1)
