"""Gradient reach from the file alone, held to what gradients do: zeros that are planted in models that run backward."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from initaudit.audit import judge
from initaudit.gradients import reach_of
from initaudit.model import Model
from initaudit.registry import load_rules
from initaudit.understanding import open_paths, read
from tests.checkpoints import written

RULES = tuple(load_rules().values())
WIDTH, BLOCKS = 32, 3


def gelu_mlp(width: int = WIDTH, inner: int = 4 * WIDTH, names: tuple[str, str] = ("fc1", "fc2")) -> nn.Module:
    return Chain({names[0]: nn.Linear(width, inner), names[1]: nn.Linear(inner, width)}, nn.GELU())


class Chain(nn.Module):
    """Layers one behind the other, an activation between them."""

    def __init__(self, layers: Mapping[str, nn.Module], activation: nn.Module) -> None:
        super().__init__()
        self._steps, self._activation = list(layers), activation
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in self._steps:
            x = self._modules[name](x)  # type: ignore[misc]
            x = self._activation(x) if name != self._steps[-1] else x
        return x


class Gated(nn.Module):
    """SwiGLU."""

    def __init__(self, names: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")) -> None:
        super().__init__()
        self._named = names
        for name, (inputs, outputs) in zip(names, ((WIDTH, 96), (WIDTH, 96), (96, WIDTH)), strict=True):
            self.add_module(name, nn.Linear(inputs, outputs, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up, down = (self._modules[name] for name in self._named)
        return down(nn.functional.silu(gate(x)) * up(x))  # type: ignore[misc, no-any-return]


class Attention(nn.Module):
    """One head, by the names of some library."""

    def __init__(self, names: tuple[str, str, str, str] = ("q_proj", "k_proj", "v_proj", "o_proj")) -> None:
        super().__init__()
        self._named = names
        for name in names:
            self.add_module(name, nn.Linear(WIDTH, WIDTH, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v, o = (self._modules[name] for name in self._named)
        weights = torch.softmax(q(x) @ k(x).transpose(-1, -2) / WIDTH**0.5, -1)  # type: ignore[misc]
        return o(weights @ v(x))  # type: ignore[misc, no-any-return]


class Fused(nn.Module):
    """Attention whose queries, keys and values come from one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.proj(torch.softmax(q @ k.transpose(-1, -2) / WIDTH**0.5, -1) @ v)  # type: ignore[no-any-return]


class Adapted(nn.Module):
    """A linear layer with a low-rank adapter."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(WIDTH, WIDTH, bias=False)
        self.lora_A, self.lora_B = nn.Linear(WIDTH, 4, bias=False), nn.Linear(4, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.lora_B(self.lora_A(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Branches that are added to what they read, each behind its norm, and each times a gate if there are some."""

    def __init__(self, branches: Mapping[str, nn.Module], *, gates: bool = False) -> None:
        super().__init__()
        self._branches = list(branches)
        for number, (name, branch) in enumerate(branches.items(), 1):
            self.add_module(f"norm{number}", nn.LayerNorm(WIDTH))
            self.add_module(name, branch)
            if gates:
                self.register_parameter(f"gamma_{number}", nn.Parameter(torch.full((WIDTH,), 0.1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for number, name in enumerate(self._branches, 1):
            given = self._modules[name](self._modules[f"norm{number}"](x))  # type: ignore[misc]
            x = x + given * getattr(self, f"gamma_{number}", 1)
        return x


class Network(nn.Module):
    """An input layer, blocks, a norm, a head."""

    def __init__(self, block: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(8, WIDTH), nn.Linear(WIDTH, 10)
        self.blocks, self.norm = nn.ModuleList(block() for _ in range(BLOCKS)), nn.LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


class Convolutions(nn.Module):
    """A residual block of convolutions, each with its batch norm."""

    def __init__(self) -> None:
        super().__init__()
        for number in (1, 2):
            self.add_module(f"conv{number}", nn.Conv1d(5, 5, 3, padding=1, bias=False))
            self.add_module(f"bn{number}", nn.BatchNorm1d(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.bn1(self.conv1(x)))  # type: ignore[operator]
        return torch.relu(x + self.bn2(self.conv2(inner)))  # type: ignore[no-any-return, operator]


NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "GELU": lambda: Network(lambda: Block({"attn": Attention(), "mlp": gelu_mlp()})),
    "SwiGLU": lambda: Network(lambda: Block({"self_attn": Attention(), "mlp": Gated()})),
    "Llama's own names": lambda: Network(
        lambda: Block({"attention": Attention(("wq", "wk", "wv", "wo")), "feed_forward": Gated(("w1", "w3", "w2"))})
    ),
    "BERT's names": lambda: Network(
        lambda: Block({"attn": Attention(("query", "key", "value", "out_proj")), "ffn": gelu_mlp(names=("up", "down"))})
    ),
    "fused": lambda: Network(lambda: Block({"attn": Fused(), "mlp": gelu_mlp()})),
    "gates": lambda: Network(lambda: Block({"attn": Fused(), "mlp": gelu_mlp()}, gates=True)),
    "adapter": lambda: Network(lambda: Block({"attn": Attention(), "mlp": Adapted()})),
    "convolutions": lambda: Network(Convolutions),
}


def gets_gradients(model: nn.Module, rounds: int = 8) -> dict[str, int | None]:
    """The round in which each parameter first gets a gradient; what got one is moved a little after each."""
    first: dict[str, int | None] = {name: None for name, _ in model.named_parameters()}
    torch.manual_seed(1)
    for number in range(rounds):
        model.zero_grad(set_to_none=True)
        given = model(torch.randn(4, 5, 8))
        ((given - torch.randn_like(given)) ** 2).mean().backward()
        new = [
            name
            for name, p in model.named_parameters()
            if first[name] is None and p.grad is not None and p.grad.abs().max() > 0
        ]
        first.update(dict.fromkeys(new, number))
        if not new:
            break
        with torch.no_grad():
            for name, p in model.named_parameters():
                if first[name] is not None:
                    p.add_(torch.randn_like(p) * 0.02 * (p.grad != 0) if p.grad is not None else 0)
    return first


def zero_biases(model: nn.Module) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()


def planted(network: str, *ends: str) -> tuple[nn.Module, set[str]]:
    """A network in which all weights and gates whose names end so are zero, and their names."""
    torch.manual_seed(0)
    model = NETWORKS[network]()
    zero_biases(model)
    zeroed = {n for n, _ in model.named_parameters() if n.removesuffix(".weight").endswith(ends) and "bias" not in n}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in zeroed:
                parameter.zero_()
    assert zeroed
    return model, zeroed


def said_of(model: nn.Module, folder: Path) -> tuple[dict[str, str], Model]:
    """The gravest that is said of each tensor of a model's file, and the file as rules see it."""
    path = written(folder / "model.safetensors", {n: p.detach().numpy() for n, p in model.state_dict().items()})
    (checkpoint,), _ = open_paths([path])
    one = read(checkpoint)
    found: dict[str, str] = {}
    for finding in judge(one, RULES).findings:
        for name in finding.tensors:
            found[name] = min(found.get(name, "z"), finding.severity.value)
    return found, one.model


FATAL = [
    ("GELU", ".fc1", ".fc2"), ("GELU", ".q_proj", ".k_proj"), ("GELU", ".v_proj", ".o_proj"),
    ("GELU", "attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.o_proj"),
    ("SwiGLU", ".gate_proj", ".up_proj"), ("SwiGLU", ".up_proj", ".down_proj"),
    ("SwiGLU", ".gate_proj", ".down_proj"),
    ("SwiGLU", ".gate_proj", ".up_proj", ".down_proj"), ("SwiGLU", ".q_proj", ".k_proj"),
    ("SwiGLU", ".v_proj", ".o_proj"),
    ("Llama's own names", ".wq", ".wk"), ("Llama's own names", ".wv", ".wo"), ("Llama's own names", ".w1", ".w3"),
    ("Llama's own names", ".w3", ".w2"), ("BERT's names", ".query", ".key"), ("BERT's names", ".value", ".out_proj"),
    ("BERT's names", ".up", ".down"), ("fused", ".qkv"), ("fused", ".qkv", ".proj"), ("fused", ".fc1", ".fc2"),
    ("gates", ".fc2", "gamma_1", "gamma_2"), ("gates", ".proj", "gamma_1", "gamma_2"),
    ("adapter", ".lora_A", ".lora_B"),
    ("convolutions", "conv2", "bn2"),
]  # fmt: skip

HARMLESS = [
    ("GELU", "head"), ("GELU", ".fc2"), ("GELU", ".o_proj"), ("GELU", ".o_proj", ".fc2"), ("GELU", ".q_proj"),
    ("GELU", ".k_proj"), ("GELU", ".v_proj"), ("GELU", ".k_proj", ".v_proj"), ("GELU", "head", ".o_proj", ".fc2"),
    ("SwiGLU", ".down_proj"), ("SwiGLU", ".gate_proj"), ("SwiGLU", ".up_proj"), ("fused", ".proj"),
    ("gates", "gamma_1", "gamma_2"), ("gates", ".proj", ".fc2"), ("adapter", ".lora_B"), ("adapter", ".lora_A"),
    ("convolutions", "bn2"), ("convolutions", "conv2"),
]  # fmt: skip


def named(case: tuple[str, ...]) -> str:
    return " ".join(case)


@pytest.mark.parametrize("case", FATAL, ids=named)
def test_zeros_that_never_get_a_gradient_are_an_error(case: tuple[str, ...], tmp_path: Path) -> None:
    model, zeroed = planted(*case)
    said, judged = said_of(model, tmp_path)
    reached = gets_gradients(model)
    dead = {name for name in zeroed if reached[name] is None} or zeroed  # of a fused matrix a part is dead
    assert fused_parts(model) or any(reached[name] is None for name in zeroed)
    errors = {name for name, severity in said.items() if severity == "error"}
    assert errors
    assert errors <= zeroed
    assert {reach_of(judged[name], judged).state for name in errors & dead} == {"dead"}


def fused_parts(model: nn.Module) -> bool:
    """Whether the queries and keys of a fused matrix stay where they are."""
    moved = [p for n, p in model.named_parameters() if n.endswith("qkv.weight")]
    return bool(moved) and all(not p[: 2 * WIDTH].any() for p in moved)


@pytest.mark.parametrize("case", HARMLESS, ids=named)
def test_zeros_that_learn_are_silent(case: tuple[str, ...], tmp_path: Path) -> None:
    model, zeroed = planted(*case)
    said, judged = said_of(model, tmp_path)
    assert all(gets_gradients(model)[name] is not None for name in zeroed)
    assert {name for name, severity in said.items() if severity != "info"} == set()
    assert {reach_of(judged[name], judged).state for name in zeroed} <= {"learns", "late"}


@pytest.mark.parametrize("case", [case for case in HARMLESS if len(case) == 2], ids=named)
def test_a_zero_in_one_block_where_its_kin_are_drawn_is_an_error(case: tuple[str, ...], tmp_path: Path) -> None:
    model, zeroed = planted(*case)
    torch.manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in zeroed and not name.startswith("blocks.1."):
                nn.init.ones_(parameter) if parameter.ndim == 1 else nn.init.uniform_(parameter, -0.17, 0.17)
    at = {name for name in zeroed if name.startswith("blocks.1.")}
    said, _ = said_of(model, tmp_path)
    assert {said.get(name) for name in at} <= {"error"}


@pytest.mark.parametrize(
    "case", [("GELU", ".fc1", ".fc2"), ("fused", ".fc1", ".fc2"), ("gates", ".fc2", "gamma_1", "gamma_2")], ids=named
)
def test_a_bias_that_is_not_zero_drives_what_reads_it(case: tuple[str, ...], tmp_path: Path) -> None:
    model, zeroed = planted(*case)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") and "norm" not in name:
                parameter.uniform_(-0.17, 0.17)
    said, _ = said_of(model, tmp_path)
    assert all(gets_gradients(model)[name] is not None for name in zeroed)
    assert {name for name, severity in said.items() if severity == "error"} == set()


def test_both_ends_are_named(tmp_path: Path) -> None:
    model, _ = planted("GELU", ".v_proj", ".o_proj")
    path = written(tmp_path / "model.safetensors", {n: p.detach().numpy() for n, p in model.state_dict().items()})
    (checkpoint,), _ = open_paths([path])
    found = [finding for finding in judge(read(checkpoint), RULES).findings if finding.rule == "IA101"]
    assert found
    assert all("v_proj" in f.message and "o_proj" in f.message and "never get a gradient" in f.message for f in found)


def lists(count: int) -> Iterator[tuple[str, torch.Tensor]]:
    for number in range(count):
        yield f"w.{number}.weight", torch.zeros(3, 3)


def test_a_hundred_thousand_zeros_in_one_module_are_no_riddle(tmp_path: Path) -> None:
    tensors = {name: value.numpy() for name, value in lists(3000)} | {"fc.weight": torch.randn(3, 3).numpy()}
    (checkpoint,), _ = open_paths([written(tmp_path / "model.safetensors", tensors)])
    model = read(checkpoint).model
    assert {reach_of(model[name], model).state for name in list(tensors)[:5]} == {"learns"}
