"""How modules are put into each other, in a live model or in its file, changes no verdict."""

import re
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import nn

import initaudit
from tests.laws.judging import (
    Judged,
    assert_agree,
    judged,
    measured,
    prescribed,
    renamed,
    subject_judged,
    subject_measured,
    verdicts,
)
from tests.laws.not_yet import cases
from tests.laws.subjects import SUBJECTS, THOROUGH
from tests.models import FAULTS, MODELS


class Wrapper(nn.Module):
    """A module of one's own with another in it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.net = model


NESTS: Mapping[str, tuple[str, Callable[[nn.Module], nn.Module]]] = {
    "a module": ("net.", Wrapper),
    "a Sequential": ("0.", nn.Sequential),
    "two Sequentials": ("0.0.", lambda model: nn.Sequential(nn.Sequential(model))),
    "behind a layer without weights": ("1.", lambda model: nn.Sequential(nn.Flatten(), model)),
    "a ModuleList": ("0.", lambda model: nn.ModuleList([model])),
    "a ModuleDict": ("policy.", lambda model: nn.ModuleDict({"policy": model})),
    "a Sequential in a module": ("net.0.", lambda model: Wrapper(nn.Sequential(model))),
}
SOME_NESTS = list(NESTS) if THOROUGH else ["a Sequential", "a ModuleDict", "a Sequential in a module"]

LIVE: Mapping[str, Callable[[], nn.Module]] = {
    **{f"healthy {make.__name__}": make for make in MODELS},
    **{f"fault {name}": make for name, make in FAULTS.items()},
}


def seeded(name: str) -> nn.Module:
    """A live model, the same each time."""
    torch.manual_seed(0)
    return LIVE[name]()


def said_of(source: object) -> Judged:
    """What is said of a module."""
    report = initaudit.check(source)  # type: ignore[arg-type]
    assert report.failures == ()
    return Judged(verdicts(report.findings), prescribed(report.findings, report.audited[0].model))


def tensors_of(model: nn.Module) -> dict[str, object]:
    """The tensors of a model's file; what is tied is there once, and by the name that comes first."""
    kept = {tensor.data_ptr(): name for name, tensor in reversed(model.state_dict().items())}
    return {name: tensor.numpy() for name, tensor in model.state_dict().items() if kept[tensor.data_ptr()] == name}


@pytest.mark.parametrize(("way", "subject"), cases("nest of modules", SOME_NESTS, LIVE))
def test_the_same_is_said_of_a_live_model_inside_another(way: str, subject: str) -> None:
    prefix, put_into = NESTS[way]
    assert_agree(said_of(put_into(seeded(subject))), said_of(seeded(subject)).under(lambda name: prefix + name))


@pytest.mark.parametrize(("way", "subject"), cases("nest in a file", SOME_NESTS, LIVE))
def test_the_same_is_said_of_the_file_of_a_model_inside_another(way: str, subject: str) -> None:
    prefix, put_into = NESTS[way]
    inside, alone = (judged(measured(tensors_of(model))) for model in (put_into(seeded(subject)), seeded(subject)))
    assert_agree(inside, alone.under(lambda name: prefix + name))


def numbered(pattern: str, name: Callable[[int], str]) -> Callable[[str], str]:
    """Names in which the number of a block, or a layer, is written otherwise."""
    return lambda text: re.sub(pattern, lambda match: name(int(match[1])), text)


BLOCKS_IN_LISTS: Mapping[str, Callable[[str], str]] = {
    "two stages": numbered(r"(?<=\.)h\.(\d+)(?=\.)", lambda number: f"stages.{number // 3}.{number % 3}"),
    "stages in a Sequential": numbered(r"(?<=\.)h\.(\d+)(?=\.)", lambda number: f"h.0.{number}"),
    "each in a Sequential": numbered(r"(?<=\.)h\.(\d+)(?=\.)", lambda number: f"h.{number}.0"),
    "numbered from one": numbered(r"(?<=\.)h\.(\d+)(?=\.)", lambda number: f"h.{number + 1}"),
}
LAYERS_IN_LISTS: Mapping[str, Callable[[str], str]] = {
    "without activations": numbered(r"^net\.(\d+)", lambda number: f"net.{number // 2}"),
    "each with its activation": numbered(r"^net\.(\d+)", lambda number: f"net.{number // 2}.0"),
    "in two halves": numbered(r"^net\.(\d+)", lambda number: f"net.{number // 6}.{number % 6}"),
    "by attributes": numbered(r"^net\.(\d+)", lambda number: f"net.fc{number // 2 + 1}"),
}
IN_BLOCKS = [name for name in SUBJECTS if name.startswith(("plant ", "structure transformer", "structure unscaled"))]
IN_A_CHAIN = [name for name in SUBJECTS if name.endswith(" perceptron")]


@pytest.mark.parametrize(("way", "subject"), cases("list of blocks", BLOCKS_IN_LISTS, IN_BLOCKS))
def test_the_same_is_said_of_blocks_in_whatever_lists_they_stand(way: str, subject: str) -> None:
    names = BLOCKS_IN_LISTS[way]
    assert_agree(judged(renamed(subject_measured(subject), names)), subject_judged(subject).under(names))


@pytest.mark.parametrize(("way", "subject"), cases("list of layers", LAYERS_IN_LISTS, IN_A_CHAIN))
def test_the_same_is_said_of_a_chain_however_its_layers_are_counted(way: str, subject: str) -> None:
    names = LAYERS_IN_LISTS[way]
    assert_agree(judged(renamed(subject_measured(subject), names)), subject_judged(subject).under(names))
