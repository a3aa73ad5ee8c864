"""A model all of whose matrices are multiplied by one constant is the same recipe at another scale.

Its norms take the constant out again, so that nothing changes in what the model does: the same is said of the same
tensors, and the repair is multiplied with the rest. Chains without norms, and what is wrong for its effect alone, are
none of this law's subjects.
"""

import numpy as np
import pytest

from tests.laws.judging import Judged, assert_agree, judged, measured, subject_judged
from tests.laws.not_yet import cases
from tests.laws.subjects import SUBJECTS, THOROUGH

FACTORS = {"0.6": 0.6, **({"1.5": 1.5} if THOROUGH else {})}

BY_EFFECT = {
    "plant denormals",
    "plant one huge value",
    "plant randn",
    "plant variance for deviation",
    "structure perceptron",
    "structure dying perceptron",
    "structure exploding perceptron",
    "structure small mixers",
    "recipe mlp",
    "recipe lora",
    "recipe rnn",
}
"""Subjects in which a value is wrong by itself, or in which no norm takes the constant out."""

STATED = {"initializer_range"}
"""What a configuration says of deviations."""

HARMED = (
    "shipped residual_scaling_lost",
    "shipped residual_scaling_misplaced",
    "shipped nothing_after_to_empty",
    "shipped ranks_of_one_seed",
    "shipped equal_registers",
    "fault half as much again",
    "fault residual scaling missing on one",
    "fault end of the vocabulary zero",
    "fault identical layers",
    "fault symmetric",
)
SUBJECTS_OF_SCALE = [
    name
    for name in SUBJECTS
    if name not in BY_EFFECT
    and (name.startswith(("structure ", "plant ", *(["recipe "] if THOROUGH else []))) or name in HARMED)
]


@pytest.mark.parametrize(("way", "subject"), cases("scale", FACTORS, SUBJECTS_OF_SCALE))
def test_the_same_is_said_of_a_recipe_at_another_scale(way: str, subject: str) -> None:
    factor, model = FACTORS[way], SUBJECTS[subject]()
    with np.errstate(over="ignore"):
        scaled = {n: v * np.float32(factor) if v.ndim > 1 else v for n, v in model.tensors.items()}
    config = {key: value for key, value in model.config.items() if key not in STATED}
    before = subject_judged(subject)
    expected = {
        name: (law, number if number is None or law == "constant" else number * factor)
        for name, (law, number) in before.prescribed.items()
    }
    assert_agree(judged(measured(scaled, config)), Judged(before.verdicts, expected), within=0.02)
