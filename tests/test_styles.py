"""Small fresh models in the styles of the field, by their own names and values: nothing is said of any of them."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from initaudit.audit import audit
from initaudit.registry import load_rules
from tests.checkpoints import written
from tests.recipes import Tensors

RULES = tuple(load_rules().values())
WIDTH, BLOCKS, TOKENS = 64, 4, 500

generator = np.random.default_rng(0)
STYLES: list[Callable[[], Tensors]] = []


def style(build: Callable[[], Tensors]) -> Callable[[], Tensors]:
    STYLES.append(build)
    return build


def drawn(*shape: int, std: float, mean: float = 0.0) -> np.ndarray:
    return (generator.standard_normal(shape) * std + mean).astype(np.float32)


def even(*shape: int, bound: float) -> np.ndarray:
    return generator.uniform(-bound, bound, shape).astype(np.float32)


def full(value: float, *shape: int) -> np.ndarray:
    return np.full(shape, value, np.float32)


def linear(outputs: int, inputs: int) -> Tensors:
    """As torch.nn.Linear fills itself."""
    return {"weight": even(outputs, inputs, bound=inputs**-0.5), "bias": even(outputs, bound=inputs**-0.5)}


def norm(width: int = WIDTH, *, running: bool = False) -> Tensors:
    found = {"weight": full(1, width), "bias": full(0, width)}
    return found | ({"running_mean": full(0, width), "running_var": full(1, width)} if running else {})


def at(place: str, tensors: Tensors) -> Tensors:
    return {f"{place}.{name}": values for name, values in tensors.items()}


def in_blocks(block: Callable[[int], Tensors], name: str = "blocks") -> Tensors:
    return {f"{name}.{i}.{key}": values for i in range(BLOCKS) for key, values in block(i).items()}


@style
def dcgan() -> Tensors:
    """Radford et al. 2016: convolutions N(0, 0.02²), batch norms N(1, 0.02²)."""
    found = {}
    for i in range(3):
        found |= {f"main.{3 * i}.weight": drawn(64 << i, 32 << i, 4, 4, std=0.02)}
        scale = {"weight": drawn(64 << i, std=0.02, mean=1)}
        found |= at(f"main.{3 * i + 1}", norm(64 << i, running=True) | scale)
    return found


@style
def equalised() -> Tensors:
    """Karras et al. 2020: N(0, 1) stored, scaled when it is used; the mapping at a hundredth of the rate."""
    found = {f"mapping.fc{i}.weight": drawn(WIDTH, WIDTH, std=100) for i in range(4)}
    for i in range(BLOCKS):
        found |= {
            f"synthesis.b{i}.conv.weight": drawn(WIDTH, WIDTH, 3, 3, std=1),
            f"synthesis.b{i}.conv.affine.weight": drawn(WIDTH, WIDTH, std=1),
            f"synthesis.b{i}.conv.affine.bias": full(1, WIDTH),
        }
    return found


@style
def gated_attention() -> Tensors:
    """Jumper et al. 2021: gates with weight 0 and bias 1 before an output of 0."""
    return in_blocks(
        lambda i: (
            {
                "mha.linear_q.weight": drawn(WIDTH, WIDTH, std=WIDTH**-0.5),
                "mha.linear_g.weight": full(0, WIDTH, WIDTH),
                "mha.linear_g.bias": full(1, WIDTH),
                "mha.linear_o.weight": full(0, WIDTH, WIDTH),
                "mha.linear_o.bias": full(0, WIDTH),
            }
            | at("norm", norm())
        )
    )


@style
def spatial_gating() -> Tensors:
    """Liu et al. 2021 (gMLP): a matrix over positions near zero, with a bias of one."""
    return {"to_embed.weight": drawn(TOKENS, WIDTH, std=1)} | in_blocks(
        lambda i: (
            {"sgu.weight": even(1, 96, 96, bound=1e-3 / 96), "sgu.bias": full(1, 1, 96)}
            | at("proj_in", linear(4 * WIDTH, WIDTH))
            | at("norm", norm())
            | at("proj_out", linear(WIDTH, 2 * WIDTH))
        )
    )


@style
def score_network() -> Tensors:
    """Song et al. 2021: the last convolution of a residual block has a variance of 1e-10."""
    bound = math.sqrt(3 / (9 * WIDTH))
    return in_blocks(
        lambda i: (
            {
                "Conv_0.weight": even(WIDTH, WIDTH, 3, 3, bound=bound),
                "Conv_0.bias": full(0, WIDTH),
                "Conv_1.weight": even(WIDTH, WIDTH, 3, 3, bound=bound * 1e-5),
                "Conv_1.bias": full(0, WIDTH),
            }
            | at("GroupNorm_0", norm())
        )
    )


@style
def spline_flow() -> Tensors:
    """Durkan et al. 2019: the second layer of each residual block U(±0.001), the first as torch leaves it."""
    return in_blocks(
        lambda i: (
            at("linear_layers.0", linear(WIDTH, WIDTH))
            | {"linear_layers.1.weight": even(WIDTH, WIDTH, bound=1e-3)}
            | {"linear_layers.1.bias": even(WIDTH, bound=1e-3)}
        )
    )


@style
def flow() -> Tensors:
    """Kingma & Dhariwal 2018 (Glow): couplings that start as the identity, behind a logarithm of a scale that is 0."""
    return in_blocks(
        lambda i: (
            at("coupling.net.0", {"weight": drawn(WIDTH, 6, 3, 3, std=0.05), "bias": full(0, WIDTH)})
            | {"coupling.net.2.conv.weight": full(0, 12, WIDTH, 3, 3), "coupling.net.2.conv.bias": full(0, 12)}
            | {"coupling.net.2.scale": full(0, 1, 12, 1, 1)}
        ),
        "flows",
    )


@style
def zero_outputs_and_narrow_gates() -> Tensors:
    """Jordan et al. 2024 (modded-nanogpt): zero output matrices beside zero gates of heads, as bare parameters too."""
    return {"embed.weight": drawn(TOKENS, WIDTH, std=1), "lm_head.weight": full(0, TOKENS, WIDTH)} | in_blocks(
        lambda i: {
            "attn.c_q.weight": even(WIDTH, WIDTH, bound=0.2),
            "attn.c_proj.weight": full(0, WIDTH, WIDTH),
            "attn.attn_gate.weight": full(0, 4, 12),
            "mlp.c_fc": even(4 * WIDTH, WIDTH, bound=0.2),
            "mlp.c_proj": full(0, 4 * WIDTH, WIDTH),
        }
    )


@style
def linear_recurrence() -> Tensors:
    """Peng et al. 2023 (RWKV-4): most matrices are zero, and the decay tells the features apart."""
    ramp = np.linspace(0.1, 1, WIDTH, dtype=np.float32)
    return {"emb.weight": even(TOKENS, WIDTH, bound=1e-4)} | in_blocks(
        lambda i: {
            "att.time_decay": ramp - 5,
            "att.time_mix_k": ramp[None, None],
            "att.key.weight": full(0, WIDTH, WIDTH),
            "att.value.weight": drawn(WIDTH, WIDTH, std=WIDTH**-0.5),
            "att.receptance.weight": full(0, WIDTH, WIDTH),
            "att.output.weight": full(0, WIDTH, WIDTH),
            "att.ln_x.weight": full(((i + 1) / BLOCKS) ** 0.7, WIDTH),
            "att.ln_x.bias": full(0, WIDTH),
        }
    )


@style
def recurrent_forget_gate() -> Tensors:
    """Jozefowicz et al. 2015: the bias of the forget gate is one half or one, the other gates' zero."""
    bias = np.repeat(np.array([0, 0.5, 0, 0], np.float32), WIDTH)
    found = {f"rnn.weight_{part}_l0": drawn(4 * WIDTH, WIDTH, std=0.1) for part in ("ih", "hh")}
    return found | {f"rnn.bias_{part}_l0": bias for part in ("ih", "hh")} | at("decoder", linear(TOKENS, WIDTH))


@style
def sinusoidal_network() -> Tensors:
    """Sitzmann et al. 2020 (SIREN): the first layer by its inputs, biases from the law of their weights."""
    bounds = (1 / 2, *[math.sqrt(6 / 256) / 30] * 3)
    shapes = ((256, 2), (256, 256), (256, 256), (3, 256))
    return {
        f"net.{i}.{name}": even(*shape, bound=bound)
        for i, (bound, sides) in enumerate(zip(bounds, shapes, strict=True))
        for name, shape in (("weight", sides), ("bias", sides[:1]))
    }


@style
def variational() -> Tensors:
    """Blundell et al. 2015: a mean, a spread before softplus, noise and prior for each weight."""
    found = {}
    for i, sides in enumerate(((96, 64), (64, 96))):
        for part, shape in (("weight", sides), ("bias", sides[:1])):
            found |= {
                f"fc{i}.mu_{part}": drawn(*shape, std=0.1),
                f"fc{i}.rho_{part}": drawn(*shape, std=0.1, mean=-3),
                f"fc{i}.eps_{part}": full(0, *shape),
                f"fc{i}.prior_{part}_mu": full(0, *shape),
            }
    return found


@style
def recommender() -> Tensors:
    """Tables keyed by feature, N(0, 0.0001²), with a column of offsets for each; biases of users and items at zero."""
    found = {f"embedding_dict.C{i}.weight": drawn(100 + 50 * i, 8, std=1e-4) for i in range(4)}
    found |= {f"linear.embedding_dict.C{i}.weight": drawn(100 + 50 * i, 1, std=1e-4) for i in range(4)}
    return found | {"item_biases.weight": full(0, 900, 1)} | at("dnn.0", linear(WIDTH, 32))


@style
def numbers_embedded() -> Tensors:
    """Gorishniy et al. 2021: each number has a vector and an offset of its own; attention fills itself by Xavier."""
    bound = WIDTH**-0.5
    found = {"cont.weight": even(24, WIDTH, bound=bound), "cont.bias": even(24, WIDTH, bound=bound)}
    return found | in_blocks(
        lambda i: (
            {
                f"attention.{name}.{part}": values
                for name in ("W_q", "W_k", "W_v", "W_out")
                for part, values in (
                    ("weight", even(WIDTH, WIDTH, bound=math.sqrt(3 / WIDTH))),
                    ("bias", full(0, WIDTH)),
                )
            }
            | at("ffn.linear_first", linear(2 * WIDTH, WIDTH))
            | at("ffn.linear_second", linear(WIDTH, 2 * WIDTH))
        )
    )


@style
def spatial_transformer() -> Tensors:
    """Jaderberg et al. 2015: the last layer has weight 0 and the identity for its bias."""
    return at("fc_loc.0", linear(64, 90)) | {
        "fc_loc.2.weight": full(0, 6, 64),
        "fc_loc.2.bias": np.array([1, 0, 0, 0, 1, 0], np.float32),
    }


@style
def policy_and_reference() -> Tensors:
    """A network that is kept as it was beside the one that is trained."""
    network = in_blocks(lambda i: at("fc1", linear(128, WIDTH)) | at("fc2", linear(WIDTH, 128)))
    return at("policy", network) | at("reference", network) | at("policy.value", linear(1, WIDTH))


@style
def flax_transformer() -> Tensors:
    """Names joined by slashes and blocks counted by `_0`, with a head of zeros."""
    found = {"params/Embed_0/embedding": drawn(TOKENS, WIDTH, std=0.125), "params/head/kernel": full(0, WIDTH, 10)}
    for i in range(BLOCKS):
        block = f"params/encoderblock_{i}"
        found |= {
            f"{block}/MlpBlock_0/Dense_0/kernel": drawn(WIDTH, 4 * WIDTH, std=0.125),
            f"{block}/MlpBlock_0/Dense_0/bias": full(0, 4 * WIDTH),
            f"{block}/MlpBlock_0/Dense_1/kernel": full(0, 4 * WIDTH, WIDTH),
            f"{block}/MlpBlock_0/Dense_1/bias": full(0, WIDTH),
            f"{block}/LayerNorm_0/scale": full(1, WIDTH),
            f"{block}/LayerNorm_0/bias": full(0, WIDTH),
        }
    return found


@style
def masks_and_ranges() -> Tensors:
    """Infinities that are meant: what a mask adds, and the end of a range that has none."""
    ends = {"IGNORE": np.float32(-np.inf), "range.upper_bound": np.float32(np.inf)}
    return at("fc", linear(64, 64)) | {f"attn.{name}": np.array(value) for name, value in ends.items()}


@pytest.mark.parametrize("build", STYLES, ids=lambda build: build.__name__)
def test_nothing_is_said_of_a_fresh_model_in_the_style_of(build: Callable[[], Tensors], tmp_path: Path) -> None:
    tensors = {name: np.ascontiguousarray(values) for name, values in build().items()}
    report = audit([written(tmp_path / "model.safetensors", tensors)], RULES)
    assert [(f.rule, f.tensor, f.message) for f in report.findings if f.severity != "info"] == []


def found(tensors: Tensors, folder: Path) -> dict[str, set[str]]:
    """The rules that speak at warning or above of each tensor."""
    said: dict[str, set[str]] = {}
    for finding in audit([written(folder / "model.safetensors", tensors)], RULES).findings:
        if finding.severity != "info":
            for name in finding.tensors:
                said.setdefault(name, set()).add(finding.rule)
    return said


def test_one_gate_of_several_that_lost_its_bias_is_found(tmp_path: Path) -> None:
    tensors = gated_attention() | {"blocks.2.mha.linear_g.bias": full(0, WIDTH)}
    assert found(tensors, tmp_path) == {"blocks.2.mha.linear_g.bias": {"IA401"}}  # where it differs from its kin


def test_every_filter_the_same_is_no_subpixel_kernel(tmp_path: Path) -> None:
    row = drawn(1, 32, 3, 3, std=0.06)
    tensors = {"up.0.weight": np.repeat(row, 64, axis=0), "up.1.weight": drawn(64, 64, 3, 3, std=0.04)}
    assert "IA103" in found(tensors, tmp_path)["up.0.weight"]
    kernels = np.repeat(drawn(16, 32, 3, 3, std=0.06), 4, axis=0)
    assert found({**tensors, "up.0.weight": kernels}, tmp_path) == {}


def test_twins_that_differ_in_a_number_alone_are_meant_to_differ(tmp_path: Path) -> None:
    network = at("0", linear(128, WIDTH)) | at("2", linear(WIDTH, 128))
    assert "critic1.0.weight" in found(at("critic1", network) | at("critic2", network), tmp_path)


def test_every_weight_left_unscaled_is_a_warning_that_names_the_other_reading(tmp_path: Path) -> None:
    tensors = in_blocks(lambda i: {"fc.weight": drawn(128, 128, std=1)} | at("norm", norm(128)))
    (finding,) = audit([written(tmp_path / "model.safetensors", tensors)], RULES).groups
    assert (finding.rule, finding.severity, len(finding.tensors)) == ("IA202", "warning", BLOCKS)
    assert "scaled when it is used" in finding.message


def test_a_bias_is_not_blamed_for_its_weight_where_all_are_drawn_as_theirs(tmp_path: Path) -> None:
    layers = in_blocks(lambda i: {"conv.weight": even(96, 16, 3, bound=0.1), "conv.bias": even(96, bound=0.1)})
    assert found(layers, tmp_path) == {}
    said = found(layers | {"blocks.1.conv.weight": full(0.05, 96, 16, 3)}, tmp_path)
    assert set(said) == {"blocks.1.conv.weight"}
    said = found(layers | {"blocks.1.conv.bias": full(1, 96)}, tmp_path)
    assert said == {"blocks.1.conv.bias": {"IA401"}}


def test_a_constant_in_one_layer_of_its_own_is_only_noted(tmp_path: Path) -> None:
    assert found(variational() | {"fc0.mu_bias": full(1, 96)}, tmp_path) == {}


def test_a_bias_at_random_beside_a_weight_of_another_law_is_found(tmp_path: Path) -> None:
    tensors = {"fc.weight": even(96, 64, bound=0.125), "fc.bias": even(96, bound=0.25)}
    assert found(tensors, tmp_path) == {"fc.bias": {"IA401"}}
