"""Small models in the style of real ones, and faults that are planted in them."""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional


class Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, 96), nn.Linear(96, 64), nn.Linear(64, 10)


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = Attention(width), Mlp(width)


class Transformer(nn.Module):
    """A language model whose head is tied to its embedding, drawn as GPT-2 is."""

    def __init__(self, width: int = 48, depth: int = 4, vocabulary: int = 200) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(32, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.wte.weight
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                residual = name.endswith(("proj", "fc2"))
                nn.init.normal_(module.weight, std=0.02 / math.sqrt(2 * depth) if residual else 0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, bias=False), nn.BatchNorm2d(outputs)


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 7, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Residual(16, 16), Residual(16, 16))
        self.layer2 = nn.Sequential(Residual(16, 32), Residual(32, 32))
        self.fc = nn.Linear(32, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(100, 32), nn.LSTM(32, 48, num_layers=2)
        self.decoder = nn.Linear(48, 100)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(32, 4, 64) for _ in range(3))


class RmsNorm(nn.Module):
    """A norm of a library's own make."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class Projection(nn.Module):
    """A layer of a library's own make, whose type says nothing."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / math.sqrt(inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))


class Misnamed(nn.Module):
    """Layers whose names say what they are not."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Linear(64, 96)
        self.embed = nn.Linear(96, 64, bias=False)
        self.pos_embed = nn.Conv1d(64, 64, 1, bias=False)
        self.conv_transpose = nn.Conv2d(16, 8, 4)
        self.conv = nn.ConvTranspose2d(16, 8, 4, groups=4)
        self.linear = nn.Embedding(50, 64)
        self.head = RmsNorm(64)
        self.proj = nn.LayerNorm(64)
        self.register_buffer("kernel", torch.randn(5, 5))


MODELS: list[Callable[[], nn.Module]] = [Perceptron, Transformer, Convolutional, Recurrent, Encoder]


@torch.no_grad()
def harmed(model: nn.Module, name: str, harm: Callable[[torch.Tensor], object]) -> nn.Module:
    """The model with something done to one of its tensors."""
    harm(model.get_parameter(name))
    return model


def equal_rows(weight: torch.Tensor) -> None:
    weight[len(weight) // 2 :] = weight[: len(weight) // 2].clone()


FAULTS: dict[str, Callable[[], nn.Module]] = {
    "zero weight": lambda: harmed(Perceptron(), "fc2.weight", torch.Tensor.zero_),
    "equal units": lambda: harmed(Transformer(), "blocks.2.mlp.fc1.weight", equal_rows),
    "exploding block": lambda: harmed(Transformer(), "blocks.1.attn.qkv.weight", lambda w: w.mul_(50)),
    "dead filters": lambda: harmed(Convolutional(), "layer1.1.conv1.weight", lambda w: w[:4].zero_()),
    "norm at random": lambda: harmed(Convolutional(), "layer2.1.bn1.weight", lambda w: w.normal_(0, 0.02)),
    "nan": lambda: harmed(Recurrent(), "lstm.weight_hh_l1", lambda w: w[3, 3].fill_(math.nan)),
    "constant": lambda: harmed(Encoder(), "layers.1.linear1.weight", lambda w: w.fill_(0.1)),
    "memory": lambda: harmed(Perceptron(), "fc2.weight", lambda w: w[0, 0].fill_(3e16)),
    "unfilled": lambda: harmed(Recurrent(), "decoder.weight", lambda w: w[50:, 24:].zero_()),
}


def normalised(make: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """A perceptron with one layer under a parametrisation."""
    model = Perceptron()
    model.fc2 = make(model.fc2)  # type: ignore[assignment]
    return model


def orthogonal(module: nn.Module) -> nn.Module:
    return nn.utils.parametrizations.orthogonal(module)


class Scaled(nn.Module):
    """A parametrisation of one's own."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return functional.normalize(weight, dim=1)


def of_ones_own(module: nn.Module) -> nn.Module:
    nn.utils.parametrize.register_parametrization(module, "weight", Scaled())
    return module
