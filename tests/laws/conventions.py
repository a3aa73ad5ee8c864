"""For each convention the smallest models: one that it excuses, and one in which its condition fails.

The two differ in nothing but the condition: a name, a value of a sibling, a number of the configuration.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.recipes import Array, Draw, Tensors, batch_norm, ones, zeros

BLOCKS, WIDTH = 3, 32


@dataclass(frozen=True)
class Pair:
    """What a convention excuses ``at`` a tensor, and what it does not excuse there, or ``beside`` it."""

    at: str
    excused: Tensors
    spoken: Tensors
    rule: str = "IA101"
    config: Mapping[str, Any] = field(default_factory=dict)
    otherwise: Mapping[str, Any] | None = None
    """The configuration in which the condition fails, where it is a matter of that."""
    beside: str = ""
    """Where the rule speaks once the condition fails, if it is another tensor."""


def normal(*shape: int, std: float = 0.0, seed: int = 0) -> Array:
    """A draw of its own for each shape, scaled to its fan-in where no deviation is given."""
    return Draw(sum(shape) + 97 * seed).normal(*shape, std=std or math.prod(shape[1:]) ** -0.5)


def uniform(*shape: int, bound: float, seed: int = 0) -> Array:
    """A draw of its own for each shape."""
    return Draw(sum(shape) + 97 * seed).uniform(*shape, bound=bound)


def full(value: float, *shape: int) -> Array:
    return np.full(shape, value, np.float32)


def blocks(one: Callable[[int], Tensors], name: str = "blocks", count: int = BLOCKS) -> Tensors:
    """Some blocks of the same kind."""
    return {f"{name}.{number}.{key}": values for number in range(count) for key, values in one(number).items()}


def only_one(name: str, before: Callable[[int], Tensors], shape: tuple[int, ...], container: str = "blocks") -> Pair:
    """A weight that is zero in all blocks, and one that is zero in the middle one alone."""

    def lone(number: int) -> Tensors:
        return before(number) | {name: zeros(*shape) if number == 1 else normal(*shape, seed=number + 5)}

    every = blocks(lambda number: before(number) | {name: zeros(*shape)}, container)
    return Pair(f"{container}.1.{name}", every, blocks(lone, container))


def layer(number: int) -> Tensors:
    """A layer that is drawn."""
    return {"fc.weight": normal(2 * WIDTH, WIDTH, seed=number)}


def beside(weight: Array, bias: Array, wrong: Array, *, layer: str = "fc1", rule: str = "IA401", **more: Array) -> Pair:
    """A bias beside its weight, and another one that nothing explains."""
    about = {f"{layer}.weight": weight, **more}
    return Pair(f"{layer}.bias", about | {f"{layer}.bias": bias}, about | {f"{layer}.bias": wrong}, rule)


def lora(*, a: Array | None = None) -> Tensors:
    return blocks(
        lambda number: {
            "q_proj.weight": normal(64, WIDTH, seed=number),
            "q_proj.lora_A.weight": normal(8, WIDTH, seed=number) if a is None else a,
            "q_proj.lora_B.weight": zeros(64, 8),
        }
    )


def offsets(bias: Array) -> Tensors:
    return blocks(
        lambda number: {
            "attn.value_proj.weight": normal(WIDTH, WIDTH, seed=number),
            "attn.sampling_offsets.weight": zeros(64, WIDTH),
            "attn.sampling_offsets.bias": bias,
        }
    )


def gated(*, closed: int | None = None) -> Tensors:
    """Attention with an output of zero behind a gate; the gate of one block may have lost its bias."""
    return blocks(
        lambda number: {
            "linear_q.weight": normal(WIDTH, WIDTH, seed=number),
            "linear_g.weight": zeros(WIDTH, WIDTH),
            "linear_g.bias": zeros(WIDTH) if number == closed else ones(WIDTH),
            "linear_o.weight": zeros(WIDTH, WIDTH),
        }
    )


def recurrence(*, decay: bool) -> Tensors:
    ramp = np.linspace(0.1, 1, WIDTH, dtype=np.float32)
    return blocks(
        lambda number: {
            **({"att.time_decay": ramp - 5} if decay else {}),
            "att.key.weight": zeros(WIDTH, WIDTH),
            "att.value.weight": normal(WIDTH, WIDTH, seed=number),
            "att.receptance.weight": zeros(WIDTH, WIDTH),
            "att.output.weight": zeros(WIDTH, WIDTH),
        }
    )


def written(bias: Array) -> Tensors:
    return {"loc.0.weight": normal(64, 90), "loc.2.weight": zeros(6, 64), "loc.2.bias": bias}


def branch(first: Array | None = None) -> Tensors:
    return blocks(
        lambda number: {
            "mlp.fc1.weight": normal(64, WIDTH, seed=number) if first is None else first,
            "mlp.fc2.weight": zeros(WIDTH, 64),
        }
    )


def empty_rows(*rows: int, seed: int = 0) -> Array:
    """A table of 512 rows, some of which are empty."""
    table = normal(512, WIDTH, std=0.02, seed=seed)
    table[list(rows)] = 0
    return table


def residual(count: int) -> Tensors:
    """Some blocks of a ResNet, the last norm of the first of which starts at zero."""

    def block(number: int) -> Tensors:
        found: Tensors = {}
        for part in (1, 2):
            found[f"conv{part}.weight"] = normal(WIDTH, WIDTH, 3, 3, seed=2 * number + part)
            found |= batch_norm(f"bn{part}", WIDTH, scale=0.0 if (number, part) == (0, 2) else 1.0)
        return found

    return blocks(block, "layer1", count)


def norms(scale: Callable[[int], Array], *, running: bool = True) -> Tensors:
    """Blocks of a convolution and a norm."""
    return blocks(
        lambda number: {
            "conv.weight": normal(64, 64, 3, 3, std=0.02, seed=number),
            **{f"norm.{key.removeprefix('x.')}": values for key, values in batch_norm("x", 64).items() if running},
            "norm.weight": scale(number),
            "norm.bias": zeros(64),
        }
    )


def copied(prefix: str) -> Tensors:
    network = {f"{n}.weight": normal(*shape) for n, shape in (("fc1", (64, WIDTH)), ("fc2", (WIDTH, 64)))}
    return {f"net.{name}": values for name, values in network.items()} | {
        f"{prefix}.{name}": values for name, values in network.items()
    }


def sinusoids(scale: float = 1.0) -> Array:
    places = np.arange(128)[:, None] / 10000 ** (np.arange(0, WIDTH, 2) / WIDTH)
    table = np.stack([np.sin(places), np.cos(places)], axis=-1).reshape(128, WIDTH)
    return (scale * table).astype(np.float32)


def unscaled(name: str) -> Tensors:
    """Layers that are N(0, 1), between norms."""
    return blocks(
        lambda number: {f"{name}.weight": normal(64, 64, std=1.0, seed=number), "norm.weight": ones(64)}, count=5
    )


def near_gates(values: tuple[float, ...]) -> Tensors:
    """A matrix over positions near zero, with a bias that opens its gate."""
    return {"to_embed.weight": normal(WIDTH, WIDTH, std=1.0)} | blocks(
        lambda number: {
            "sgu.weight": uniform(96, 96, bound=1e-3 / 96, seed=number),
            "sgu.bias": full(values[number], 1, 96),
            "proj_in.weight": normal(4 * WIDTH, WIDTH, seed=number),
        }
    )


def near_zero(*, first: float, second: float) -> Tensors:
    return blocks(
        lambda number: {
            "Conv_0.weight": normal(64, 64, 3, 3, seed=number) * np.float32(first),
            "Conv_1.weight": normal(64, 64, 3, 3, seed=number + 5) * np.float32(second),
            "GroupNorm_0.weight": ones(64),
            "GroupNorm_0.bias": zeros(64),
        }
    )


def adapters(stds: tuple[float, ...]) -> Tensors:
    return blocks(
        lambda number: {
            "fc.weight": normal(64, 64, seed=number),
            "adapter.down.weight": normal(64, 64, std=stds[number], seed=number + 5),
            "norm.weight": ones(64),
        }
    )


def skipped(name: str) -> Tensors:
    """Blocks drawn with 0.02, one kind of matrix still PyTorch's default."""
    return blocks(
        lambda number: {
            **{
                f"{part}.weight": normal(64, 64, std=0.02, seed=7 * number + at)
                for at, part in enumerate(("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.o_proj"))
            },
            f"{name}.weight": uniform(128, 64, bound=0.125, seed=number),
            "norm.weight": ones(64),
        },
        count=4,
    )


def subpixels(*, in_a_row: bool) -> Tensors:
    kernels = normal(16, WIDTH, 3, 3)
    rows = np.repeat(kernels, 4, axis=0) if in_a_row else np.concatenate([kernels] * 4)
    return {"up.0.weight": rows, "up.1.weight": normal(64, 64, 3, 3)}


def forgetting(*gates: float) -> Tensors:
    return {
        "rnn.weight_ih_l0": normal(4 * WIDTH, WIDTH, std=0.1),
        "rnn.weight_hh_l0": normal(4 * WIDTH, WIDTH, std=0.1, seed=1),
        "rnn.bias_ih_l0": np.repeat(np.array(gates, np.float32), WIDTH),
    }


def gates(signs: tuple[float, ...]) -> Tensors:
    return blocks(
        lambda number: {
            "up_proj.weight": normal(64, WIDTH, seed=number),
            "gate_proj.weight": normal(64, WIDTH, seed=number + 5),
            "gate_proj.bias": full(signs[number], 64),
        }
    )


def styles(values: tuple[float, ...]) -> Tensors:
    return blocks(
        lambda number: {
            "conv.weight": normal(64, 64, 3, 3, seed=number),
            "affine.weight": normal(64, WIDTH, seed=number),
            "affine.bias": full(values[number], 64),
        }
    )


HEAD = {"fc1.weight": normal(64, WIDTH), "head.weight": zeros(10, 64)}
LOG_ODDS = uniform(64, bound=WIDTH**-0.5) - np.float32(4.6) * np.repeat([0, 1], 32).astype(np.float32)
RAY_GRID = np.tile(np.array([1, 0, 0, 1, -1, 0, 0, -1], np.float32), 8)
POSTERIOR = normal(96, std=0.1)
MU = {"fc0.mu_weight": normal(96, 64, std=0.1), "fc0.rho_weight": normal(96, 64, std=0.1) - 3}

PAIRS: Mapping[str, Pair] = {
    "gate starts at one value": Pair("blocks.1.sgu.weight", near_gates((1, 1, 1)), near_gates((0, 0, 0)), "IA201"),
    "averaging filter": Pair(
        "up.weight", {"up.weight": full(1 / 9, 1, 1, 3, 3)}, {"up.weight": full(0.3, 1, 1, 3, 3)}, "IA102"
    ),
    "identity initialisation": Pair(
        "fc2.weight",
        {"fc1.weight": normal(64, WIDTH), "fc2.weight": np.eye(96, 64, dtype=np.float32)},
        {"fc1.weight": normal(64, WIDTH), "fc2.weight": np.concatenate([normal(64, 64), zeros(32, 64)])},
        "IA104",
    ),
    "padding row": Pair(
        "lm_head.weight",
        {"embed.weight": empty_rows(7), "lm_head.weight": empty_rows(7, seed=1)},
        {"embed.weight": empty_rows(8), "lm_head.weight": empty_rows(7, seed=1)},
        "IA104",
    ),
    "rows behind the vocabulary": Pair(
        "embed.weight",
        {"embed.weight": empty_rows(*range(500, 512)), "fc.weight": normal(64, WIDTH)},
        {"embed.weight": empty_rows(*range(500, 512)), "fc.weight": normal(64, WIDTH)},
        "IA104",
        config={"vocab_size": 500},
        otherwise={"vocab_size": 511},
    ),
    "state-space mixer keeps PyTorch's default": Pair(
        "blocks.1.mixer.in_proj.weight",
        skipped("mixer.in_proj"),
        skipped("mlp.in_proj"),
        "IA206",
        beside="blocks.1.mlp.in_proj.weight",
    ),
    "weight tied to its embedding, or copied into a target network": Pair(
        "target.fc1.weight", copied("target"), copied("other"), "IA105", beside="other.fc1.weight"
    ),
    "sinusoidal table": Pair(
        "embed.weight",
        {"embed.weight": sinusoids(), "fc.weight": normal(64, WIDTH)},
        {"embed.weight": sinusoids(1.1), "fc.weight": normal(64, WIDTH)},
        "IA302",
    ),
    "equalised learning rate": Pair(
        "blocks.1.modulated.weight",
        unscaled("modulated"),
        unscaled("linear"),
        "IA202",
        beside="blocks.1.linear.weight",
    ),
    "residual branch starts near zero": Pair(
        "blocks.1.Conv_1.weight",
        near_zero(first=1, second=1e-5),
        near_zero(first=1e-5, second=1),
        "IA201",
        beside="blocks.1.Conv_0.weight",
    ),
    "adapter starts near the identity": Pair(
        "blocks.1.adapter.down.weight", adapters((1e-4,) * 3), adapters((0.125, 1e-4, 0.125)), "IA201"
    ),
    "subpixel kernels start as nearest neighbours": Pair(
        "up.0.weight", subpixels(in_a_row=True), subpixels(in_a_row=False), "IA103"
    ),
}
"""By the name of the convention."""

CAPTIONED: Mapping[str, Pair] = {
    "adapter starts as the identity": Pair("blocks.1.q_proj.lora_B.weight", lora(), lora(a=zeros(8, WIDTH))),
    "rotation starts as the identity": only_one("q_proj.oft_R.weight", layer, (64, 64)),
    "adaptive norm starts at zero": only_one("adaLN_modulation.1.weight", layer, (192, WIDTH)),
    "zero convolution": only_one("zero_conv.weight", layer, (WIDTH, WIDTH, 1, 1)),
    "attention starts uniform": only_one("attn.attention_weights.weight", layer, (64, WIDTH)),
    "gate or router starts neutral": only_one("gate.weight", layer, (64, WIDTH)),
    "coupling starts as the identity": only_one("coupling.net.2.weight", layer, (12, 64), "flows"),
    "recurrent part starts at zero": only_one("slstm.recurrent.weight", layer, (64, 64)),
    "residual branch starts at zero": Pair("blocks.1.mlp.fc2.weight", branch(), branch(zeros(64, WIDTH))),
    "codebook is filled from the first batch": only_one("codebook.weight", layer, (256, WIDTH), "quantizers"),
    "last norm of a residual block starts at zero": Pair("layer1.0.bn2.weight", residual(2), residual(3), "IA403"),
    "norm scales drawn by one law": Pair(
        "blocks.1.norm.weight",
        norms(lambda number: normal(64, std=0.02, seed=number) + 1),
        norms(lambda number: normal(64, std=0.02 if number != 1 else 0.2, seed=number) + 1),
        "IA403",
    ),
    "norm scale by depth": Pair(
        "blocks.1.norm.weight",
        norms(lambda number: full(0.3 + 0.2 * number, 64), running=False),
        norms(lambda number: full((0.3, 0.7, 0.5)[number], 64), running=False),
        "IA403",
    ),
}
"""What gradients and kin find harmless, and what they do not, by the name that the field has for the former."""
