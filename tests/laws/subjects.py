"""The models that every law is held to: the tests' own recipes, styles, faults and fixtures, by name."""

import json
import math
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from initaudit.testing import cases
from tests import test_styles
from tests.checkpoints import FIXTURES
from tests.recipes import GPT2_CONFIG, RECIPES, Draw, Tensors, norm, ones, zeros
from tests.test_faults import PLANTS, VECTORS, Plant
from tests.test_recipes import FAULTS
from tests.test_shipped_faults import SHIPPED
from tests.test_styles import STYLES

THOROUGH = int(os.environ.get("INITAUDIT_EXAMPLES", "200")) > 200
"""Whether a thorough run was asked for: then every subject is held to every law, else some of each kind."""


@dataclass(frozen=True)
class Subject:
    """A model, and its ``config.json``."""

    tensors: Tensors
    config: Mapping[str, Any] = field(default_factory=dict)


Build = Callable[[], Subject]

WIDTH, BLOCKS, VOCABULARY = 64, 5, 200


def transformer(
    seed: int = 0, *, std: float = 0.02, scaled: tuple[str, ...] = ("attn.c_proj", "mlp.c_proj")
) -> Tensors:
    """A small GPT in the names of nanoGPT: one deviation throughout, residual outputs over the root of their number."""
    draw, model = Draw(seed), {}
    for block in (f"transformer.h.{number}" for number in range(BLOCKS)):
        model |= norm(f"{block}.ln_1", WIDTH) | norm(f"{block}.ln_2", WIDTH)
        for name, outputs, inputs in (
            ("attn.c_attn", 3 * WIDTH, WIDTH),
            ("attn.c_proj", WIDTH, WIDTH),
            ("mlp.c_fc", 4 * WIDTH, WIDTH),
            ("mlp.c_proj", WIDTH, 4 * WIDTH),
        ):
            shrunk = std / math.sqrt(2 * BLOCKS) if name in scaled else std
            model[f"{block}.{name}.weight"] = draw.normal(outputs, inputs, std=shrunk)
            model[f"{block}.{name}.bias"] = zeros(outputs)
    model |= {"transformer.wte.weight": draw.normal(VOCABULARY, WIDTH, std=std)}
    return model | norm("transformer.ln_f", WIDTH) | {"lm_head.weight": draw.normal(VOCABULARY, WIDTH, std=std)}


def perceptron(seed: int = 0, *, gain: float = math.sqrt(2), layers: int = 6) -> Tensors:
    """A plain chain, as an `nn.Sequential` with activations between its layers numbers it; He's scheme."""
    draw, model = Draw(seed), {}
    for number in range(layers):
        model[f"net.{2 * number}.weight"] = draw.normal(96, 96, std=gain / math.sqrt(96))
        model[f"net.{2 * number}.bias"] = zeros(96)
    return model


def orthogonal_list(seed: int = 0) -> Tensors:
    """Layers of one gain, orthogonal, one of which is zero."""
    draw, model = Draw(seed), {}
    for number in range(6):
        model[f"layers.{number}.fc.weight"] = draw.orthogonal(64, 96, gain=0.7) if number != 2 else zeros(64, 96)
        model[f"layers.{number}.norm.weight"] = ones(64)
    return model


def mixers(seed: int = 0) -> Tensors:
    """A ResNet with one kind of convolution six times too small, in stages of four widths."""
    draw = Draw(seed)
    model = {"stem.weight": draw.normal(16, 3, 7, 7, std=math.sqrt(2 / 147)), **norm("bn", 16)}
    for stage, width in enumerate((16, 24, 32, 48)):
        for number in range(2):
            block = f"layer{stage + 1}.{number}"
            for name in ("conv1", "conv2"):
                model[f"{block}.{name}.weight"] = draw.normal(width, width, 3, 3, std=math.sqrt(2 / (9 * width)))
                model |= norm(f"{block}.{name.replace('conv', 'bn')}", width)
        mix = draw.normal(width, width, 3, 3, std=math.sqrt(2 / (9 * width)) / 6)
        model[f"layer{stage + 1}.1.mix.weight"] = mix
    return model


def projector(seed: int = 0) -> Tensors:
    """A transformer beside which a projector's first matrix is zero."""
    draw = Draw(seed + 1)
    model = transformer(seed) | {"projector.dense_in.weight": zeros(4 * WIDTH, WIDTH)}
    return model | {"projector.dense_out.weight": draw.normal(WIDTH, 4 * WIDTH, std=0.02)}


STRUCTURES: Mapping[str, Callable[[int], Tensors]] = {
    "transformer": transformer,
    "transformer off the list": partial(transformer, std=1 / 24),
    "unscaled residual": partial(transformer, scaled=("attn.c_proj",)),
    "unscaled residual of another base": partial(transformer, std=0.012, scaled=("attn.c_proj",)),
    "perceptron": perceptron,
    "dying perceptron": partial(perceptron, gain=0.05),
    "exploding perceptron": partial(perceptron, gain=9.0),
    "one zero of orthogonal layers": orthogonal_list,
    "small mixers": mixers,
    "zero projector": projector,
}


def planted(seed: int, leaf: str, plant: Plant) -> Tensors:
    """A transformer with a fault in the middle one of its blocks."""
    model, name = transformer(seed), f"transformer.h.2.{leaf}"
    values = plant(model[name].astype(np.float64), np.random.default_rng(0))
    return model | {name: np.ascontiguousarray(values.astype(np.float32))}


def in_style(build: Callable[[], Tensors], seed: int) -> Tensors:
    """A model in the style of the field, with draws of its own whatever was built before."""
    before = test_styles.generator
    test_styles.generator = np.random.default_rng([seed, zlib.crc32(build.__name__.encode())])
    try:
        return build()
    finally:
        test_styles.generator = before


def shipped(number: int, seed: int) -> Subject:
    """A fault that released code has shipped."""
    found = SHIPPED[number](Draw(seed))
    return Subject(found.model, found.config)


def harmed(name: str, seed: int) -> Subject:
    """A recipe of the field with a fault in it."""
    recipe, harm = FAULTS[name]
    model = recipe(Draw(seed))
    harm(model, Draw(seed + 1))
    return Subject(model)


def fixture(path: str) -> Subject:
    """A fixture, with the configuration beside it."""
    place = FIXTURES / path
    if place.is_dir():
        config = place / "config.json"
        said = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
        return Subject(load_file(place / "model.safetensors"), said)
    return Subject(load_file(place))


def _fixtures() -> list[str]:
    return sorted(
        path.relative_to(FIXTURES).as_posix() for kind in ("good", "bad") for path in (FIXTURES / kind).iterdir()
    )


def _examples() -> dict[str, Build]:
    found: dict[str, Build] = {}
    for case in cases():
        recipes = case.example.tensors
        if not case.example.reach and not any(recipe.is_planned for recipe in recipes.values()):
            found[f"example {case}"] = lambda example=case.example: Subject(
                {name: recipe.draw(name) for name, recipe in example.tensors.items()}, example.config
            )
    return found


DRAWN: Mapping[str, Callable[[int], Subject]] = {
    **{f"structure {name}": lambda seed, build=build: Subject(build(seed)) for name, build in STRUCTURES.items()},
    **{
        f"plant {name}": lambda seed, plant=plant: Subject(planted(seed, "mlp.c_fc.weight", plant))
        for name, (plant, _) in PLANTS.items()
    },
    **{
        f"plant {name}": lambda seed, leaf=leaf, plant=plant: Subject(planted(seed, leaf, plant))
        for name, (leaf, plant, _) in VECTORS.items()
    },
    **{
        f"recipe {name}": lambda seed, name=name: Subject(
            RECIPES[name](Draw(seed)), GPT2_CONFIG if name == "gpt2" else {}
        )
        for name in RECIPES
    },
    **{
        f"shipped {enact.__name__}": lambda seed, number=number: shipped(number, seed)
        for number, enact in enumerate(SHIPPED)
    },
    **{f"fault {name}": lambda seed, name=name: harmed(name, seed) for name in FAULTS},
    **{f"style {build.__name__}": lambda seed, build=build: Subject(in_style(build, seed)) for build in STYLES},
}
"""Subjects that can be drawn again with another seed."""

SUBJECTS: Mapping[str, Build] = {
    **{name: partial(build, 0) for name, build in DRAWN.items()},
    **{f"fixture {path}": partial(fixture, path) for path in _fixtures()},
    **_examples(),
}
