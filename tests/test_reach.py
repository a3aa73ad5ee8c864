"""Gradients of live models by a batch: what learns, late or never, what is not reached, and all is put back."""

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import initaudit
from initaudit.modules.reaching import BatchError, reach
from initaudit.reach import Reach

WIDTH, TOKENS = 16, 30
TABLE = {"tokens.weight", "norm.weight", "norm.bias", "head.weight"}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


class Attention(nn.Module):
    """One head, whose queries, keys, values and outputs are linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.o(nn.functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x)))


class Gated(nn.Module):
    """A feed-forward block with a gate by SiLU."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(WIDTH, 32, bias=False) for _ in range(2))
        self.down = nn.Linear(32, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


class Plain(nn.Module):
    """Two layers with ReLU between."""

    def __init__(self, activation: Callable[[torch.Tensor], torch.Tensor] = torch.relu) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.activation(self.first(x)))


class Scaled(nn.Module):
    """A matrix and the scale of its branch."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.gamma = nn.Linear(WIDTH, WIDTH, bias=False), nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gamma * self.fc(x)


class Model(nn.Module):
    """Blocks of one kind in a residual stream, between a table and a head."""

    def __init__(self, block: Callable[[], nn.Module], *, zero: tuple[str, ...] = (), tied: bool = False) -> None:
        super().__init__()
        self.tokens = nn.Embedding(TOKENS, WIDTH)
        self.blocks = nn.ModuleList(block() for _ in range(2))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, TOKENS, bias=False)
        if tied:
            self.head.weight = self.tokens.weight
        for name in zero:
            for target, parameter in self.named_parameters():
                if target.endswith(name):
                    nn.init.zeros_(parameter)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids)
        for block in self.blocks:
            x = x + block(x)
        return self.head(self.norm(x))


def ids() -> torch.Tensor:
    return torch.randint(0, TOKENS, (3, 7))


def never(model: nn.Module, batch: Any) -> set[str]:
    return {name for name, when in reach(model, batch).items() if when is Reach.NEVER}


FATAL = {
    "values and outputs": (Attention, ("v.weight", "o.weight"), {"q.weight", "k.weight", "v.weight", "o.weight"}),
    "queries and keys": (Attention, ("q.weight", "k.weight"), {"q.weight", "k.weight"}),
    "gate and up": (Gated, ("gate.weight", "up.weight"), {"gate.weight", "up.weight", "down.weight"}),
    "up and down": (Gated, ("up.weight", "down.weight"), {"gate.weight", "up.weight", "down.weight"}),
    "first before ReLU": (Plain, ("first.weight", "first.bias"), {"first.weight", "first.bias", "second.weight"}),
    "a matrix and its scale": (Scaled, ("fc.weight", "gamma"), {"fc.weight", "gamma"}),
}
LEARNING = {
    "outputs": (Attention, ("o.weight",)),
    "values": (Attention, ("v.weight",)),
    "queries": (Attention, ("q.weight",)),
    "keys and values": (Attention, ("k.weight", "v.weight")),
    "down": (Gated, ("down.weight",)),
    "gate": (Gated, ("gate.weight",)),
    "first before GELU": (lambda: Plain(nn.functional.gelu), ("first.weight", "first.bias")),
    "the scale": (Scaled, ("gamma",)),
    "head": (Attention, ("head.weight",)),
    "outputs and head": (Attention, ("o.weight", "head.weight")),
}


@pytest.mark.parametrize("case", FATAL)
def test_zeros_that_meet_are_dead_with_all_between_them(case: str) -> None:
    block, zero, dead = FATAL[case]
    model = Model(block, zero=zero)
    expected = {f"blocks.{i}.{name}" for i in range(2) for name in dead}
    assert never(model, ids()) == expected
    report = initaudit.check(model, batch=ids())
    assert {f.tensor for f in report.findings if f.rule == "IA110"} == expected
    assert [group.rule for group in report.groups if group.severity == "error"] == ["IA110"]


@pytest.mark.parametrize("case", FATAL)
def test_what_is_called_dead_does_not_move_in_training(case: str) -> None:
    block, zero, _ = FATAL[case]
    model, batch = Model(block, zero=zero), ids()
    dead = never(model, batch)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(20):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(batch).transpose(1, 2), batch).backward()
        optimiser.step()
    assert {name for name, one in model.named_parameters() if torch.equal(one, before[name])} == dead


@pytest.mark.parametrize("case", LEARNING)
def test_one_zero_on_a_path_learns_and_is_no_finding(case: str) -> None:
    block, zero = LEARNING[case]
    model, batch = Model(block, zero=zero), ids()
    assert {when.learns for when in reach(model, batch).values()} == {True}
    report = initaudit.check(model, batch=batch)
    assert [finding for finding in report.findings if finding.severity == "error"] == []


def test_one_zero_among_drawn_kin_is_an_error_though_it_learns() -> None:
    model = Model(Attention)
    nn.init.zeros_(model.blocks[1].get_submodule("q").weight)
    model.blocks.extend(Attention() for _ in range(2))
    assert [f.tensor for f in initaudit.check(model, batch=ids()).findings if f.rule == "IA101"] == [
        "blocks.1.q.weight"
    ]


def test_what_stands_behind_a_zero_is_reached_late() -> None:
    found = reach(Model(Attention, zero=("o.weight",)), ids())
    assert found["blocks.0.o.weight"] is Reach.AT_ONCE
    assert found["blocks.0.q.weight"] is found["blocks.0.v.weight"] is Reach.LATE


class Experts(nn.Module):
    """Two experts, of which one is never asked, and a layer that is not run at all."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.idle, self.unused = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.asked(x), self.idle(x[:0])])


def test_what_the_batch_does_not_reach_is_noted_and_no_finding() -> None:
    model = Experts()
    found = reach(model, torch.randn(3, 4))
    assert {name for name, when in found.items() if when is Reach.UNSEEN} == {
        "idle.weight", "idle.bias", "unused.weight", "unused.bias",
    }  # fmt: skip
    report = initaudit.check(model, batch=torch.randn(3, 4))
    assert report.findings == ()
    assert report.audited[0].checkpoint.notes == (
        "not reached by this batch: idle.weight, idle.bias, unused.weight, unused.bias",
    )


def test_a_frozen_zero_that_keeps_others_from_learning_is_no_fault_of_the_batch() -> None:
    model = Model(Scaled, zero=("gamma",))
    for block in model.blocks:
        block.get_parameter("gamma").requires_grad_(False)
    assert never(model, ids()) == {"blocks.0.fc.weight", "blocks.1.fc.weight"}


def test_tied_parameters_are_reached_under_each_of_their_names() -> None:
    found = reach(Model(Attention, tied=True), ids())
    assert found["head.weight"] is found["tokens.weight"] is Reach.AT_ONCE


class Odd(nn.Module):
    """Changes whatever a module can change while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm, self.drop = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)
        self.dead = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
        for layer in self.dead.children():
            nn.init.zeros_(layer.weight)
        self.register_buffer("seen", torch.zeros(1))
        self.calls, self.history, self.plain = 0, [0], torch.zeros(2)
        self.generator = torch.Generator().manual_seed(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls, self.cache = self.calls + 1, x
        self.history.append(self.calls)
        self.plain += 1
        self.seen = self.seen + 1
        self.fc.register_forward_hook(lambda *_: None)
        x.mul_(torch.rand(4, generator=self.generator) + random.random() + np.random.rand())
        self.train(not self.training)
        return self.drop(self.norm(self.fc(x))) + self.dead(x)


def state_of(model: nn.Module) -> dict[str, object]:
    return {
        name: [(key, copy.deepcopy(value)) for key, value in module.__dict__.items() if key != "generator"]
        for name, module in model.named_modules()
    } | {"random": random.getstate(), "numpy": np.random.get_state()[1].tolist(), "torch": torch.get_rng_state()}


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))  # type: ignore[arg-type]
    return isinstance(one, nn.Module) or callable(one) or one == other


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back(fails: bool) -> None:
    model, batch = Odd(), torch.randn(5, 4)
    model.fc.weight.grad, model.fc.bias.requires_grad = torch.ones(4, 4), False
    grad, given, before, generator = model.fc.weight.grad, batch.clone(), state_of(model), model.generator.get_state()
    if fails:
        with pytest.raises(BatchError, match="does not go through the model"):
            reach(model, lambda: (model(batch.clone()), 1 / 0))
    else:
        assert never(model, batch) == {"dead.0.weight", "dead.1.weight"}
    assert same(state_of(model), before)
    assert torch.equal(model.generator.get_state(), generator)
    assert model.fc.weight.grad is grad
    assert torch.equal(batch, given)
    assert model.fc.weight._post_accumulate_grad_hooks in (None, {})


WAYS: dict[str, Callable[[nn.Module, torch.Tensor], Any]] = {
    "tensor": lambda model, x: x,
    "tuple": lambda model, x: (x,),
    "list": lambda model, x: [x],
    "keywords": lambda model, x: {"ids": x},
    "function": lambda model, x: lambda: model(x).square().mean(),
    "function of a dict": lambda model, x: lambda: {"loss": model(x).mean(), "more": [(model(x), 3), None]},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_comes_in_any_form(way: str) -> None:
    model = Model(Attention, zero=("v.weight", "o.weight"))
    assert len(never(model, WAYS[way](model, ids()))) == 8


def test_packed_sequences_are_one_input() -> None:
    assert set(reach(nn.LSTM(4, 4), pack_sequence([torch.randn(3, 4), torch.randn(2, 4)])).values()) == {Reach.AT_ONCE}


def test_gradients_are_taken_where_the_caller_has_switched_them_off() -> None:
    with torch.no_grad():
        assert set(reach(Model(Attention), ids()).values()) == {Reach.AT_ONCE}


BROKEN: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module], Any], str]] = {
    "a wrong shape": (lambda: nn.Linear(4, 4), lambda _: torch.randn(3, 5), "does not go through the model"),
    "no gradient": (lambda: nn.Linear(4, 4), lambda m: lambda: m(torch.randn(3, 4)).detach(), "no output that has"),
    "no output": (lambda: nn.Linear(4, 4), lambda _: lambda: None, "no output that has a gradient"),
    "all frozen": (lambda: nn.Linear(4, 4).requires_grad_(False), lambda _: torch.randn(3, 4), "no parameter that is"),
    "meta": (lambda: nn.Linear(4, 4, device="meta"), lambda _: torch.randn(3, 4), "without values"),
    "lazy": (lambda: nn.LazyLinear(4), lambda _: torch.randn(3, 4), "without values"),
}


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("case", BROKEN)
def test_a_batch_that_cannot_be_run_is_a_failure_and_hides_nothing_else(case: str) -> None:
    make, batch, said = BROKEN[case]
    model = make()
    report = initaudit.check(model, batch=batch(model))
    (failure,) = report.failures
    assert said in failure.message
    assert "\n" not in str(failure)
    assert not report.ok()
    without = initaudit.check(make())
    assert [finding.rule for finding in report.findings] == [finding.rule for finding in without.findings]


def test_a_batch_goes_with_a_module_alone(tmp_path: Any) -> None:
    for source in (tmp_path, {"weight": torch.ones(3)}):
        with pytest.raises(TypeError, match=r"batch goes with a torch\.nn\.Module"):
            initaudit.check(source, batch=torch.randn(3))
    with pytest.raises(TypeError, match="not int"):
        initaudit.check(nn.Linear(3, 3), batch=3)


def test_the_report_and_its_json_say_what_is_reached() -> None:
    report = initaudit.check(Model(Attention, zero=("v.weight", "o.weight")), batch=ids())
    assert "8 parameters here never get a gradient" in str(report)
    assert '"no-gradient"' in report.to_json()
    assert '"never": 8' in report.to_json()


def test_the_fixture_takes_a_batch(assert_initialised: Callable[..., Any]) -> None:
    assert_initialised(Model(Attention, zero=("o.weight",)), batch=ids())
    with pytest.raises(pytest.fail.Exception, match="no-gradient"):
        assert_initialised(Model(Attention, zero=("o.weight", "v.weight")), batch=ids())


def test_nothing_is_copied_where_the_first_pass_reaches_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from initaudit.modules.reaching import _Passes

    moved: list[str] = []
    monkeypatch.setattr(_Passes, "_move", lambda self, name, where: moved.append(name))
    reach(Model(Attention), ids())
    assert moved == []
