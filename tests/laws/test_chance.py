"""What is drawn as it should be is seldom found fault with: no more often than is stated here.

The draws are small and many, and the same each time; a thorough run has more of them. A stated rate is tested by the
number of alarms that it would give once in a million runs.
"""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import binom

from initaudit.audit import judge
from tests.corpus.simulate import DTYPES, SCHEMES, drawn, shape_of, tensor_of
from tests.laws.judging import RULES, measured
from tests.laws.not_yet import cases
from tests.laws.subjects import THOROUGH
from tests.recipes import Tensors, ones, zeros

TENSOR_RATE = 1e-4
"""Of ten thousand healthy weights, each by itself, one may be reported at warning or above."""

MODEL_RATE = 1e-3
"""Of a thousand healthy models, each of one recipe, one may have such a finding."""

ONCE = 1e-6
"""How seldom a run may fail where the rate is what it is said to be."""

TENSORS, MODELS = (40_000, 4000) if THOROUGH else (2000, 150)
A_FILE, LARGEST = 50, 1e4


def most(count: int, rate: float) -> int:
    """The alarms that a rate exceeds in so many trials less than once in a million runs."""
    return int(binom.isf(ONCE, count, rate))


def alarms(tensors: Tensors) -> set[str]:
    """The tensors of which anything is said at warning or above."""
    found = judge(measured(tensors), RULES).findings
    return {finding.tensor for finding in found if finding.severity.value != "info"}


def single_weights() -> Iterator[Tensors]:
    """Files of weights of one scheme, whose names are no sequence."""
    generator = np.random.default_rng(1)
    for number in range(TENSORS // A_FILE):
        scheme, dtype = SCHEMES[number % len(SCHEMES)], DTYPES[number // len(SCHEMES) % len(DTYPES)]
        sizes = np.exp(generator.uniform(0, math.log(LARGEST), A_FILE))
        yield {
            f"{'abcdefghij'[at // 10]}{'klmnopqrst'[at % 10]}.weight": tensor_of(
                scheme, shape_of(float(size), generator), generator
            ).astype(dtype)
            for at, size in enumerate(sizes)
        }


LAWS = ("normal", "uniform", "cut at 2", "cut at 3")
FIELD = ("fixed", "fixed, residual outputs scaled", "fan-in", "both fans", "He", "PyTorch's default")
"""Recipes that transformers are drawn by."""


COINCIDENCES = {
    "PyTorch's default for 64 features": (3 * 64) ** -0.5,
    "PyTorch's default for 256 features": (3 * 256) ** -0.5,
    "1/sqrt(fan-in) for 256 features": 256**-0.5,
    "Xavier's for 64 and 192 features": math.sqrt(2 / 256),
    "Xavier's for 64 and 256 features": math.sqrt(2 / 320),
}
"""Deviations that a scheme by fan has for some of the matrices of a model 64 features wide."""


def any_model(recipe: str, generator: np.random.Generator, std: float = 0.02) -> Tensors:
    """A small transformer of some width, depth, law and dtype."""
    width, depth = int(generator.choice([32, 48, 64])), int(generator.integers(3, 6))
    law = "uniform" if recipe == "PyTorch's default" else str(generator.choice(LAWS))
    dtype = DTYPES[generator.integers(len(DTYPES))]
    tensors = model(recipe, law, width, depth, generator, std)
    return {name: values.astype(dtype) for name, values in tensors.items()}


def model(recipe: str, law: str, width: int, depth: int, generator: np.random.Generator, std: float = 0.02) -> Tensors:
    """A small transformer of one law throughout, in float32."""
    found: Tensors = {"embed.weight": drawn("normal", (200, width), std, generator)}
    for number in range(depth):
        for name, outputs, inputs in (
            ("attn.qkv", 3 * width, width),
            ("attn.proj", width, width),
            ("mlp.fc1", 4 * width, width),
            ("mlp.fc2", width, 4 * width),
        ):
            scaled = "residual" in recipe and name in ("attn.proj", "mlp.fc2")
            deviation = {
                "fan-in": inputs**-0.5,
                "both fans": math.sqrt(2 / (inputs + outputs)),
                "He": math.sqrt(2 / inputs),
                "PyTorch's default": (3 * inputs) ** -0.5,
            }.get(recipe, std / math.sqrt(2 * depth) if scaled else std)
            found[f"blocks.{number}.{name}.weight"] = drawn(law, (outputs, inputs), deviation, generator)
            found[f"blocks.{number}.{name}.bias"] = zeros(outputs)
        for name in ("norm1", "norm2"):
            found |= {f"blocks.{number}.{name}.weight": ones(width), f"blocks.{number}.{name}.bias": zeros(width)}
    found |= {"norm.weight": ones(width), "norm.bias": zeros(width)}
    return {name: values.astype(np.float32) for name, values in found.items()}


def test_single_weights_are_found_fault_with_no_more_often_than_is_stated() -> None:
    found = [name for tensors in single_weights() for name in alarms(tensors)]
    assert len(found) <= most(TENSORS, TENSOR_RATE)


@pytest.mark.parametrize(("way", "recipe"), cases("chance", ["of the field"], FIELD))
def test_models_of_a_recipe_of_the_field_are_found_fault_with_no_more_often_than_is_stated(
    way: str, recipe: str
) -> None:
    generator, count = np.random.default_rng(FIELD.index(recipe)), MODELS // len(FIELD)
    assert sum(bool(alarms(any_model(recipe, generator))) for _ in range(count)) <= most(count, MODEL_RATE)


@pytest.mark.parametrize(("way", "recipe"), cases("chance", ["of any deviation"], FIELD[:2]))
def test_models_of_whatever_deviation_are_found_fault_with_no_more_often_than_is_stated(way: str, recipe: str) -> None:
    generator, count = np.random.default_rng(7), MODELS // len(FIELD)
    stds = np.exp(generator.uniform(math.log(0.005), math.log(0.1), count))
    assert sum(bool(alarms(any_model(recipe, generator, std))) for std in stds) <= most(count, MODEL_RATE)


@pytest.mark.parametrize(("way", "law"), cases("coincidence", COINCIDENCES, LAWS))
def test_one_deviation_for_all_is_one_recipe_though_it_be_that_of_another_scheme_for_some(way: str, law: str) -> None:
    generator = np.random.default_rng(3)
    assert alarms(model("fixed", law, 64, 4, generator, COINCIDENCES[way])) == set()


def test_a_rate_of_one_in_a_hundred_would_be_seen() -> None:
    assert binom.sf(most(TENSORS, TENSOR_RATE), TENSORS, 0.01) > 0.999


def test_one_model_in_four_would_be_seen() -> None:
    count = MODELS // len(FIELD)
    assert binom.sf(most(count, MODEL_RATE), count, 0.25) > 0.9
