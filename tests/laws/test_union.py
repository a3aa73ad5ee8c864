"""Two models in one file, as an encoder beside a decoder or a policy beside a reference, are judged each by itself."""

from functools import cache

import pytest

from initaudit.understanding import Understood
from tests.laws.judging import (
    Judged,
    assert_agree,
    judged,
    measured,
    renamed,
    subject_judged,
    subject_measured,
    together,
)
from tests.laws.not_yet import cases
from tests.laws.subjects import DRAWN, SUBJECTS, THOROUGH

OTHERS = {
    "a transformer": "structure transformer",
    "a ResNet": "recipe resnet",
    "a perceptron": "recipe mlp",
    "a transformer by muP": "recipe mup",
}
"""Healthy models, each with a recipe of its own."""

ANOTHER_SEED = 11
"""So that two models share no stream."""

FIXTURES = ("IA101", "IA201", "IA202", "IA205", "IA206", "IA401")
"""Those whose fault is a different one; the others are the same model with the faults that are planted anyway."""

FIRST = [
    name
    for name in SUBJECTS
    if name.startswith(("structure ", "plant ", "recipe ", "shipped ", *(f"fixture bad/{code}" for code in FIXTURES)))
    and not SUBJECTS[name]().config  # one configuration is not that of two models
]
SOME = [name for name in FIRST if THOROUGH or not name.startswith(("plant ", "recipe "))]


@cache
def other(way: str) -> tuple[Understood, Judged]:
    """A healthy model under another name, and what is said of it alone."""
    one = measured(DRAWN[OTHERS[way]](ANOTHER_SEED).tensors)
    return renamed(one, second), judged(one).under(second)


def first(name: str) -> str:
    """A name in the first of two models."""
    return f"{'first/' if '/' in name else 'first.'}{name}"


def second(name: str) -> str:
    """A name in the second of them."""
    return f"second.{name}"


@pytest.mark.parametrize(
    ("way", "subject"), [*cases("union", list(OTHERS)[:1], FIRST), *cases("union", list(OTHERS)[1:], SOME)]
)
def test_of_two_models_in_one_file_the_same_is_said_as_of_each_alone(way: str, subject: str) -> None:
    beside, said_beside = other(way)
    alone = subject_judged(subject).under(first)
    both = judged(together(renamed(subject_measured(subject), first), beside))
    expected = Judged(alone.verdicts | said_beside.verdicts, {**alone.prescribed, **said_beside.prescribed})
    assert_agree(both, expected, within=0.02)
