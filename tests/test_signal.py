"""The signal at the start, as it is told from values alone, against forward passes of models written here."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import initaudit
from initaudit.model import Model
from initaudit.report import json as as_json
from initaudit.signal import TOKENS, growth_of, loss_of, through
from initaudit.signal.activations import ACTIVATIONS, activation_of, product, square
from initaudit.understanding import open_paths, read

VOCABULARY, WIDTH, HEADS = 1000, 128, 4


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


class RmsNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


def attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    q, k, v = (x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in (q, k, v))
    return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        if fused:
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
            self.proj = nn.Linear(WIDTH, WIDTH, bias=False)
        else:
            self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.fused:
            return self.proj(attended(*self.qkv(x).chunk(3, -1)))
        return self.o_proj(attended(self.q_proj(x), self.k_proj(x), self.v_proj(x)))


class FeedForward(nn.Module):
    def __init__(self, *, gated: bool) -> None:
        super().__init__()
        self.gated = gated
        if gated:
            self.gate_proj, self.up_proj = (nn.Linear(WIDTH, 384, bias=False) for _ in range(2))
            self.down_proj = nn.Linear(384, WIDTH, bias=False)
        else:
            self.fc1, self.fc2 = nn.Linear(WIDTH, 512, bias=False), nn.Linear(512, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.gated:
            return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, *, gated: bool) -> None:
        super().__init__()
        self.input_norm, self.post_norm = RmsNorm(), RmsNorm()
        self.attn, self.mlp = SelfAttention(fused=not gated), FeedForward(gated=gated)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.input_norm(x))
        return x + self.mlp(self.post_norm(x))


class Decoder(nn.Module):
    """A causal model of tokens as GPT-2 or Llama are, drawn by one deviation, residual outputs by another."""

    def __init__(
        self, *, gated: bool, depth: int = 8, std: float = 0.02, output: float = 1.0, fan: bool = False
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Block(gated=gated) for _ in range(depth))
        self.norm, self.lm_head = RmsNorm(), nn.Linear(WIDTH, VOCABULARY, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, 0, parameter.shape[1] ** -0.5 if fan and "layers" in name else std)
                if name.endswith(("o_proj.weight", "attn.proj.weight", "down_proj.weight", "fc2.weight")):
                    parameter.data.mul_(output)
        self.seen: list[float] = []

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids)
        self.seen = []
        for layer in self.layers:
            x = layer(x)
            self.seen.append(float(x.square().mean().sqrt()))
        return self.lm_head(self.norm(x))


def run(model: Decoder) -> tuple[float, list[float]]:
    """The loss on random tokens, and the stream behind each block."""
    ids, targets = (torch.randint(0, VOCABULARY, (8, TOKENS)) for _ in range(2))
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
    return float(loss), model.seen


def in_file(model: nn.Module, folder: Path, config: Mapping[str, Any], *, without: str = "-") -> Model:
    state = {name: value.contiguous() for name, value in model.state_dict().items() if not name.startswith(without)}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(dict(config)))
    ((checkpoint,), ()) = open_paths([folder])
    return read(checkpoint).model


RECIPES: Mapping[str, tuple[Mapping[str, Any], float]] = {
    "gated, one deviation": ({"gated": True}, 0.05),
    "plain, one deviation": ({"gated": False}, 0.05),
    "plain, residual outputs scaled": ({"gated": False, "output": 0.25}, 0.05),
    "gated and deep": ({"gated": True, "depth": 20}, 0.05),
    "plain, outputs five times too large": ({"gated": False, "output": 5.0}, 0.2),
    "gated, by fan": ({"gated": True, "fan": True}, 0.2),
    "plain, by fan": ({"gated": False, "fan": True}, 0.2),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_stream_grows_as_is_said(recipe: str, tmp_path: Path) -> None:
    options, tolerance = RECIPES[recipe]
    said, seen = [], []
    for _ in range(3):  # at this width one draw differs from the next by a twentieth
        model = Decoder(**options)
        seen.append(run(model)[1])
        growth = growth_of(in_file(model, tmp_path, {}))
        assert growth is not None
        assert growth.tokens == TOKENS
        said.append(growth.signal)
    mine, true = np.log(said).mean(axis=0), np.log(seen).mean(axis=0)
    assert math.exp(mine[-1] - mine[0]) == pytest.approx(math.exp(true[-1] - true[0]), rel=tolerance)
    assert np.exp(mine) == pytest.approx(np.exp(true), rel=tolerance + 0.1)  # those between are told less exactly


@pytest.mark.parametrize("std", [0.005, 0.02, 0.04, 0.08])
@pytest.mark.parametrize("gated", [True, False])
def test_the_loss_is_that_of_a_forward_pass(std: float, gated: bool, tmp_path: Path) -> None:
    model = Decoder(gated=gated)
    nn.init.normal_(model.lm_head.weight, 0, std)
    loss, _ = run(model)
    said = loss_of(in_file(model, tmp_path, {}))
    assert said is not None
    assert said.head.name == "lm_head.weight"
    assert said.nats == pytest.approx(loss, abs=0.1)
    assert said.std == pytest.approx(std * WIDTH**0.5, rel=0.02)


@pytest.mark.parametrize("std", [0.02, 0.08, 1.0])
def test_the_loss_of_a_tied_head_counts_the_token_that_was_read(std: float, tmp_path: Path) -> None:
    model = Decoder(gated=True)
    nn.init.normal_(model.tokens.weight, 0, std)
    model.lm_head.weight = model.tokens.weight
    loss, _ = run(model)
    said = loss_of(in_file(model, tmp_path, {"tie_word_embeddings": True}, without="lm_head"))
    assert said is not None
    assert said.is_tied
    assert said.nats == pytest.approx(loss, abs=max(0.1, 0.03 * loss))


@pytest.mark.parametrize("std", [0.0, 0.3, 1.0, 2.0, 5.0, 20.0])
def test_the_mean_of_the_entropy_is_that_of_a_simulation(std: float) -> None:
    from initaudit.signal.loss import _entropy

    logits = std * np.random.default_rng(0).standard_normal((4000, 500))
    top = logits.max(axis=1, keepdims=True)
    simulated = float((np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]).mean())
    assert _entropy(500, std, 0.0) == pytest.approx(simulated, abs=0.01 + 0.01 * simulated)


SCALED = {
    "divided": ({"logits_scaling": 8.0}, 1 / 8),
    "multiplied": ({"logit_scale": 0.0625}, 0.0625),
    "not at all": ({"logit_scale": None, "logits_scaling": "8", "final_logit_softcapping": None}, 1.0),
    "capped far away": ({"final_logit_softcapping": 1e4}, 1.0),
}


@pytest.mark.parametrize("case", SCALED)
def test_logits_are_scaled_as_the_configuration_says(case: str, tmp_path: Path) -> None:
    config, factor = SCALED[case]
    model = Decoder(gated=True, depth=2)
    nn.init.normal_(model.lm_head.weight, 0, 1.0)
    said = loss_of(in_file(model, tmp_path, config))
    assert said is not None
    assert said.std == pytest.approx(factor * WIDTH**0.5, rel=0.02)


def loud(model: nn.Module, folder: Path, config: Mapping[str, Any], *, without: str = "-") -> list[tuple[str, str]]:
    in_file(model, folder, config, without=without)
    report = initaudit.check(folder, select=["loud-logits"])
    return [(finding.tensor, finding.severity.value) for finding in report.findings]


def test_loud_logits_are_a_warning_where_all_else_is_scaled(tmp_path: Path) -> None:
    model = Decoder(gated=True)
    nn.init.normal_(model.tokens.weight, 0, 1)
    tied = {"tie_word_embeddings": True}
    assert loud(model, tmp_path, tied, without="lm_head") == [("tokens.weight", "warning")]
    (finding,) = initaudit.check(tmp_path, select=["loud-logits"]).findings
    assert finding.repair is not None
    assert finding.repair.parameters["std"] == pytest.approx(0.02, rel=0.02)
    assert loud(model, tmp_path, {}, without="lm_head") == []  # nothing says that it is tied
    assert loud(model, tmp_path, tied | {"logits_scaling": 11.0}, without="lm_head") == []
    assert loud(model, tmp_path, {}) == []  # its head is scaled


def test_loud_logits_are_an_info_where_nothing_is_scaled(tmp_path: Path) -> None:
    model = Decoder(gated=True, std=1.0)
    assert loud(model, tmp_path, {}) == [("lm_head.weight", "info")]


def test_nothing_is_said_of_models_that_are_none(tmp_path: Path) -> None:
    ((checkpoint,), ()) = open_paths(
        [written(tmp_path, {"fc1.weight": torch.randn(64, 32), "fc2.weight": torch.ones(9)})]
    )
    model = read(checkpoint).model
    assert loss_of(model) is growth_of(model) is None


HOSTILE: Mapping[str, Mapping[str, Any]] = {
    "nan": {"lm_head.weight": float("nan")},
    "infinite": {"tokens.weight": float("inf")},
    "zero": {"tokens.weight": 0.0, "lm_head.weight": 0.0},
    "huge": {"lm_head.weight": 3e38, "norm.weight": 3e38},
    "no norm": {"norm.weight": 0.0},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_odd_values_give_a_report_of_finite_numbers(case: str, tmp_path: Path) -> None:
    model = Decoder(gated=True, depth=2)
    for name, value in HOSTILE[case].items():
        nn.init.constant_(model.get_parameter(name), value)
    odd = {"architectures": [3, None], "hidden_act": 4, "logit_scale": True, "embedding_multiplier": "x"}
    in_file(model, tmp_path, odd | {"final_logit_softcapping": -1, "residual_multiplier": [1]})
    report = initaudit.check(tmp_path)
    assert report.failures == ()
    json.loads(as_json.render(report), parse_constant=lambda word: pytest.fail(word))


def test_the_fact_stands_in_json_and_text(tmp_path: Path) -> None:
    in_file(Decoder(gated=True), tmp_path, {"hidden_act": "silu"})
    report = initaudit.check(tmp_path)
    (checkpoint,) = json.loads(report.to_json())["checkpoints"]
    loss, growth = checkpoint["signal"]["loss"], checkpoint["signal"]["growth"]
    assert (loss["head"], loss["vocabulary"], loss["tied"]) == ("lm_head.weight", VOCABULARY, False)
    assert loss["nats"] == pytest.approx(math.log(VOCABULARY) + loss["logit_std"] ** 2 / 2, abs=0.01)
    assert (len(growth["blocks"]), growth["tokens"], growth["assumed"]) == (8, TOKENS, False)
    assert f"loss at start: {loss['nats']:.2f}, where ln(1,000) is 6.91" in str(report)
    assert f"{growth['blocks'][-1]:.3g} behind the last" in str(report)


def written(folder: Path, tensors: Mapping[str, torch.Tensor]) -> Path:
    save_file(dict(tensors), folder / "model.safetensors")
    return folder


TORCH = {
    "relu": torch.relu,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "none": lambda x: x,
    "relu2": lambda x: torch.relu(x).square(),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("std", [0.1, 1.0, 3.0])
def test_moments_of_activations_are_those_of_a_simulation(name: str, std: float) -> None:
    x, noise = torch.randn(2, 500_000, dtype=torch.float64)
    y = 0.6 * x + 0.8 * noise
    f = TORCH[name]
    assert square(name, std) == pytest.approx(float(f(std * x).square().mean()), rel=0.03)
    assert product(name, std, 0.6) == pytest.approx(float((f(std * x) * f(std * y)).mean()), rel=0.03, abs=5e-4)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "silu", "none"])
@pytest.mark.parametrize("bias", [0.0, 0.05])
def test_a_plain_chain_leaves_what_a_forward_pass_leaves(name: str, bias: float) -> None:
    gain, width, depth = 1.2, 512, 10
    x = torch.randn(256, width)
    for _ in range(depth):
        x = TORCH[name](x @ (torch.randn(width, width) * gain / width**0.5) + bias * torch.randn(width))
    said = through([gain] * depth, [bias] * depth, name)
    assert said[-1] == pytest.approx(float(x.square().mean().sqrt()), rel=0.15)


def test_activations_are_known_by_the_names_of_configurations() -> None:
    named = {"gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "swish": "silu", "gated-gelu": "gelu", "relu": "relu"}
    assert {said: activation_of({"hidden_act": said}) for said in named} == named
    assert activation_of({"hidden_act": "mish"}) is activation_of({}) is activation_of({"hidden_act": 3}) is None
