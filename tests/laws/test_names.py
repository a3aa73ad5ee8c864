"""What a model's modules are called besides, and in what order they are written, changes no verdict and no repair."""

import random
import re
from collections.abc import Callable, Mapping

import pytest

from tests.laws.judging import assert_agree, judged, measured, renamed, reordered, subject_judged, subject_measured
from tests.laws.not_yet import cases
from tests.laws.subjects import SUBJECTS, THOROUGH

WRAPPERS = {
    "DataParallel": "module.",
    "torch.compile": "_orig_mod.",
    "both": "module._orig_mod.",
    "FSDP": "_fsdp_wrapped_module.",
    "an attribute": "model.",
    "a Sequential": "0.",
    "a Sequential in an attribute": "model.0.",
    "an attribute in a Sequential in an attribute": "net.0.model.",
    "an attribute called policy": "policy.",
    "an attribute called target": "target.",
    "an attribute called gate": "gate.",
}
"""What stands before every name once a model was put into something else.

What all names share tells nothing of any of them, be it a word that a convention goes by.
"""

NEUTRAL = {
    "transformer": "trunk",
    "net": "trunk",
    "h": "rows",
    "blocks": "rows",
    "layers": "rows",
}
"""Names of containers, which say nothing of what stands in them."""


def wrapped(prefix: str) -> Callable[[str], str]:
    """Names with a prefix, joined as they are."""
    return lambda name: prefix.replace(".", "/" if "/" in name else ".") + name


def slashed(name: str) -> str:
    """A name as Flax and Keras join it."""
    return name.replace(".", "/")


def neutral(name: str) -> str:
    """A name whose containers are called otherwise."""
    separator = "/" if "/" in name else "."
    return separator.join(NEUTRAL.get(segment, segment) for segment in name.split(separator))


def swapped(name: str) -> str:
    """A name in a model of which the blocks 0 and 1 have changed places, and so have 3 and 4."""
    other = {"0": "1", "1": "0", "3": "4", "4": "3"}
    return re.sub(r"(?<=\.h\.)(\d)(?=\.)", lambda match: other.get(match[1], match[1]), name)


def in_flax(name: str) -> str:
    """A name of the subjects' transformer as Flax would have it."""
    layer, _, leaf = name.replace(".", "/").rpartition("/")
    last = layer.rpartition("/")[2]
    if leaf == "weight":
        leaf = "scale" if last.startswith("ln_") else "embedding" if last == "wte" else "kernel"
    return f"params/{layer.replace('/h/', '/h_')}/{leaf}"


RENAMED: Mapping[str, Callable[[str], str]] = {
    **{way: wrapped(prefix) for way, prefix in WRAPPERS.items()},
    "slashes": slashed,
    "other containers": neutral,
}
ORDERS: Mapping[str, Callable[[list[str]], list[str]]] = {
    "backwards": lambda names: names[::-1],
    "by chance": lambda names: random.Random(0).sample(names, len(names)),
    "the last block first": lambda names: sorted(names, key=lambda name: [-int(n) for n in re.findall(r"\d+", name)]),
}

SOME = [name for name in SUBJECTS if THOROUGH or name.startswith(("structure ", "style ", "fixture bad"))]
NUMBERED = [way for way, prefix in WRAPPERS.items() if any(map(str.isdigit, prefix))]
"""Wrappers that put another number before those of the blocks."""

IN_THE_NAMES_OF_TORCH = [
    name for name in SUBJECTS if name.startswith(("plant ", "structure transformer", "structure unscaled"))
]
WITHOUT_DEPTH = [name for name in SUBJECTS if name.startswith("plant ")]
"""Subjects whose blocks are all drawn alike."""


@pytest.mark.parametrize(
    ("way", "subject"),
    [
        *cases("names", [way for way in RENAMED if way not in NUMBERED], SOME),
        *cases("names", NUMBERED[:1], SUBJECTS),
        *cases("names", NUMBERED[1:], SOME),
    ],
)
def test_the_same_is_said_of_a_model_whose_names_are_put_together_otherwise(way: str, subject: str) -> None:
    names = RENAMED[way]
    assert_agree(judged(renamed(subject_measured(subject), names)), subject_judged(subject).under(names))


@pytest.mark.parametrize(("way", "subject"), cases("order", ORDERS, SOME))
def test_the_same_is_said_in_whatever_order_a_file_holds_its_tensors(way: str, subject: str) -> None:
    assert_agree(judged(reordered(subject_measured(subject), ORDERS[way])), subject_judged(subject))


@pytest.mark.parametrize(("way", "subject"), cases("blocks", ["pairs swapped"], WITHOUT_DEPTH))
def test_the_same_is_said_where_blocks_that_are_drawn_alike_change_places(way: str, subject: str) -> None:
    assert_agree(judged(renamed(subject_measured(subject), swapped)), subject_judged(subject).under(swapped))


@pytest.mark.parametrize(("way", "subject"), cases("layout", ["Flax"], IN_THE_NAMES_OF_TORCH))
def test_the_same_is_said_of_matrices_that_lie_the_other_way_by_the_names_that_say_so(way: str, subject: str) -> None:
    tensors = {in_flax(name): values for name, values in SUBJECTS[subject]().tensors.items()}
    turned = {name: values.T if name.endswith("kernel") else values for name, values in tensors.items()}
    assert_agree(judged(measured(turned)), subject_judged(subject).under(in_flax))
