"""The laws that a verdict does not obey yet: for each law and way of applying it, the subjects, and what mends it.

A case that is listed is expected to fail, and fails the suite once it holds: then it is taken off the list.
"""

from collections.abc import Iterable, Mapping

import pytest
from _pytest.mark import ParameterSet

ONE_RECIPE = "one recipe"
SIBLINGS = "repair as the siblings"
GRADIENT = "by its gradient"

NOT_YET: Mapping[tuple[str, str], Mapping[str, tuple[str, ...]]] = {
    ("names", "an attribute called policy"): {
        GRADIENT: ("example IA101-a matrix nobody initialised",),
    },
    ("names", "an attribute called target"): {
        GRADIENT: (
            "shipped copied_layers",
            "fault identical layers",
            "fault identical experts",
            "style policy_and_reference",
            "fixture bad/IA105-equal-tensors.safetensors",
            "fixture bad/IA106-shared-stream.safetensors",
            "example IA105-a layer that was copied instead of drawn",
            "example IA106-one seed for two layers of different shape and scale",
        ),
    },
    ("names", "an attribute called gate"): {
        GRADIENT: (
            "shipped dead_adapter",
            "example IA101-a matrix nobody initialised",
            "example IA401-a bias of one",
            "example IA402-0.01 before a ReLU",
        ),
    },
    ("scale", "0.6"): {
        ONE_RECIPE: (
            "shipped residual_scaling_lost",
            "shipped equal_registers",
            "fault end of the vocabulary zero",
        ),
    },
    ("scale", "1.5"): {
        ONE_RECIPE: (
            "structure unscaled residual",
            "structure zero projector",
            "shipped residual_scaling_lost",
            "shipped residual_scaling_misplaced",
            "shipped ranks_of_one_seed",
            "shipped equal_registers",
            "fault residual scaling missing on one",
            "fault end of the vocabulary zero",
        ),
        SIBLINGS: ("structure one zero of orthogonal layers",),
    },
    ("seed", "seed 5"): {
        ONE_RECIPE: ("fault rank one",),
    },
    ("seed", "seed 7"): {
        ONE_RECIPE: ("fault rank one",),
    },
    ("union", "a transformer"): {
        ONE_RECIPE: (
            "structure dying perceptron",
            "structure exploding perceptron",
            "structure small mixers",
            "shipped kernel_added",
            "shipped dead_adapter",
            "shipped numerically_zero",
            "fixture bad/IA101-zero-weight.safetensors",
            "fixture bad/IA201-vanishing-weight.safetensors",
            "fixture bad/IA202-exploding-weight.safetensors",
        ),
    },
    ("union", "a ResNet"): {
        ONE_RECIPE: (
            "structure dying perceptron",
            "structure exploding perceptron",
            "structure zero projector",
            "shipped dead_adapter",
            "shipped tiny_experts",
            "shipped skipped",
            "shipped numerically_zero",
            "fixture bad/IA101-zero-weight.safetensors",
            "fixture bad/IA201-vanishing-weight.safetensors",
            "fixture bad/IA202-exploding-weight.safetensors",
            "fixture bad/IA206-skipped-init.safetensors",
            "shipped fan_of_a_shard",
            "shipped factor_for_deviation",
        ),
    },
    ("union", "a perceptron"): {
        ONE_RECIPE: (
            "structure dying perceptron",
            "structure exploding perceptron",
            "shipped kernel_added",
            "shipped numerically_zero",
            "fixture bad/IA101-zero-weight.safetensors",
            "fixture bad/IA201-vanishing-weight.safetensors",
            "fixture bad/IA202-exploding-weight.safetensors",
            "fixture bad/IA401-nonzero-bias.safetensors",
        ),
    },
    ("union", "a transformer by muP"): {
        ONE_RECIPE: (
            "structure dying perceptron",
            "structure exploding perceptron",
            "structure small mixers",
            "structure zero projector",
            "shipped ranks_of_one_seed",
            "shipped kernel_added",
            "shipped dead_adapter",
            "shipped tiny_experts",
            "shipped skipped",
            "shipped factor_for_deviation",
            "fixture bad/IA201-vanishing-weight.safetensors",
            "fixture bad/IA206-skipped-init.safetensors",
            "shipped width_for_every_fan",
            "fixture bad/IA101-zero-weight.safetensors",
        ),
    },
    ("coincidence", "PyTorch's default for 256 features"): {
        ONE_RECIPE: ("uniform",),
    },
    ("convention", "condition holds"): {
        GRADIENT: (
            "identity initialisation",  # no rule speaks of an identity, so that nothing is to be excused
        ),
    },
    ("expectation", "advice"): {
        ONE_RECIPE: (
            "structure zero projector",
            "shipped dead_adapter",
            "fixture bad/IA101-zero-weight.safetensors",
            "fixture bad/IA102-constant-weight.safetensors",
            "fixture bad/IA103-equal-units.safetensors",
            "fixture bad/IA104-dead-units.safetensors",
            "fixture bad/IA108-symmetric-weight.safetensors",
            "fixture bad/IA109-common-direction.safetensors",
            "fixture bad/IA203-uneven-units.safetensors",
            "fixture bad/IA301-unfilled-block.safetensors",
            "fixture bad/IA303-outlying-value.safetensors",
            "fixture bad/IA304-few-valued-weight.safetensors",
            "fixture bad/IA306-repeated-value.safetensors",
            "fixture bad/IA501-non-finite.safetensors",
            "fixture bad/IA503-scattered-zeros.safetensors",
        ),
    },
    ("expectation", "band"): {
        ONE_RECIPE: (
            "shipped residual_scaling_lost",
            "shipped residual_scaling_misplaced",
        ),
    },
    ("seed", "seed 12"): {
        ONE_RECIPE: ("style sinusoidal_network",),
    },
}


def cases(law: str, ways: Iterable[str], subjects: Iterable[str]) -> list[ParameterSet]:
    """A test's parameters, a way of applying a law and a subject, with a mark on those that do not obey it yet."""
    wanted, found = list(subjects), []
    for way in ways:
        reasons = {name: reason for reason, names in NOT_YET.get((law, way), {}).items() for name in names}
        for name in wanted:
            marks = [pytest.mark.xfail(strict=True, reason=reasons[name])] if name in reasons else []
            found.append(pytest.param(way, name, marks=marks, id=f"{way}-{name}"))
    return found
