"""Faults of initialisation that released code has shipped, each re-enacted in a small model and found."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest

from initaudit.audit import audit
from initaudit.registry import load_rules
from tests.checkpoints import written
from tests.recipes import DEPTH, GPT2_CONFIG, WIDTH, Draw, Tensors, gpt2, llama, lora, mixture, ones, resnet, vit, zeros

RULES = tuple(load_rules().values())
HEADS = 6


class Shipped(NamedTuple):
    """A model with the fault, the tensors that have it, the rule that speaks, and the configuration beside it."""

    model: Tensors
    at: set[str]
    rule: str
    config: Mapping[str, Any] = MappingProxyType({})


def named(model: Tensors, *parts: str) -> set[str]:
    return {name for name in model if any(part in name for part in parts) and model[name].ndim > 1}


def residual_scaling_lost(draw: Draw) -> Shipped:
    """transformers #47458: a renamed attribute, and `c_proj` is no longer scaled in GPT-2."""
    model = gpt2(draw)
    at = named(model, "c_proj")
    model.update({name: draw.normal(*model[name].shape, std=0.02) for name in at})
    return Shipped(model, at, "IA205", GPT2_CONFIG)


def residual_scaling_misplaced(draw: Draw) -> Shipped:
    """llama2.c #579: `w3` is scaled by depth where `w2` should be."""
    model, scaled = llama(draw), 0.02 / math.sqrt(2 * DEPTH)
    for name in named(model, ".w2.", ".w3.", ".wo."):
        model[name] = draw.normal(*model[name].shape, std=0.02 if ".w2." in name else scaled)
    return Shipped(model, named(model, ".w2."), "IA205")


def doubled_norms(draw: Draw) -> Shipped:
    """transformers #40224: Gemma's norms, which add one, are filled with ones."""
    model = llama(draw)
    return Shipped(model, {name for name in model if "norm" in name}, "IA408", {"model_type": "gemma"})


def gated_delta_net(draw: Draw) -> Tensors:
    model: Tensors = {}
    for layer in range(3):
        name = f"layers.{layer}.attn"
        model[f"{name}.A_log"] = np.log(draw.uniform(16, bound=7.5) + np.float32(8.4))
        model[f"{name}.dt_bias"] = draw.uniform(16, bound=2.2) - np.float32(4.6)
        model |= {f"{name}.q_proj.weight": draw.normal(WIDTH, WIDTH, std=0.02), f"{name}.norm.weight": ones(WIDTH)}
    return model


def logarithm_of_zero(draw: Draw) -> Shipped:
    """transformers #47831: log(U(0, 16)) drawn in bfloat16 hits zero once in five hundred."""
    model = gated_delta_net(draw)
    model["layers.1.attn.A_log"][3] = -np.inf
    return Shipped(model, {"layers.1.attn.A_log"}, "IA501")


def state_left_at_zero(draw: Draw) -> Shipped:
    """flame #42: A_log and dt_bias stay zero on several GPUs."""
    model = gated_delta_net(draw)
    at = {name for name in model if name.endswith(("A_log", "dt_bias"))}
    model.update({name: np.zeros_like(model[name]) for name in at})
    return Shipped(model, at, "IA406")


def nothing_after_to_empty(draw: Draw) -> Shipped:
    """transformers #45902: modules that came from the meta device are never initialised: zeros."""
    model = gpt2(draw)
    at = named(model, ".h.4.mlp", ".h.5.mlp")
    model.update({name: np.zeros_like(model[name]) for name in at})
    return Shipped(model, at, "IA101")


def denormals_after_to_empty(draw: Draw) -> Shipped:
    """transformers #30953: the same, where the memory held small integers."""
    model = gpt2(draw)
    name = "transformer.h.4.mlp.c_fc.weight"
    integers = np.random.default_rng(0).integers(0, 1000, model[name].shape, dtype=np.uint32)
    model[name] = integers.view(np.float32)
    return Shipped(model, {name}, "IA502")


def rotary_garbage(draw: Draw) -> Shipped:
    """transformers #34234, torchtitan #4783: inv_freq is a buffer that nobody computes after the meta device."""
    model = llama(draw) | {"rotary_emb.inv_freq": np.abs(draw.normal(32, std=1e-3))}
    return Shipped(model, {"rotary_emb.inv_freq"}, "IA407")


def ranks_of_one_seed(draw: Draw) -> Shipped:
    """torchtitan #3106, ms-swift #7944: every tensor-parallel rank draws with the same seed."""
    model = llama(draw)
    at = named(model, ".w1.", ".w3.")
    for name in at:
        model[name] = np.concatenate([model[name][: len(model[name]) // 4]] * 4)
    return Shipped(model, at, "IA103")


def fan_of_a_head(draw: Draw) -> Shipped:
    """einygpt #3: queries, keys and values are scaled by the width of a head."""
    model = fan_scaled(draw)
    at = named(model, "q_proj", "k_proj", "v_proj")
    model.update({name: draw.normal(WIDTH, WIDTH, std=(WIDTH / HEADS) ** -0.5) for name in at})
    return Shipped(model, at, "IA202", {"num_attention_heads": HEADS})


def fan_scaled(draw: Draw) -> Tensors:
    """A transformer that scales every matrix by 1/√fan_in."""
    shapes = {f"self_attn.{name}_proj": (WIDTH, WIDTH) for name in "qkvo"}
    shapes |= {
        "mlp.up_proj": (4 * WIDTH, WIDTH),
        "mlp.gate_proj": (4 * WIDTH, WIDTH),
        "mlp.down_proj": (WIDTH, 4 * WIDTH),
    }
    model: Tensors = {}
    for block in (f"layers.{layer}" for layer in range(DEPTH)):
        model |= {f"{block}.{n}.weight": draw.normal(*shape, std=shape[1] ** -0.5) for n, shape in shapes.items()}
        model |= {f"{block}.norm1.weight": ones(WIDTH), f"{block}.norm2.weight": ones(WIDTH)}
    return model


def kernel_added(draw: Draw) -> Shipped:
    """lczero-training #43: the fan of a convolution adds the kernel's edge instead of multiplying by its area."""
    model: Tensors = {}
    for layer in range(6):
        model[f"tower.{layer}.conv.weight"] = draw.normal(64, 64, 3, 3, std=math.sqrt(2 / (64 + 3)))
        model |= {f"tower.{layer}.bn.weight": ones(64), f"tower.{layer}.bn.bias": zeros(64)}
    return Shipped(model, named(model, "conv"), "IA202")


def width_for_every_fan(draw: Draw) -> Shipped:
    """tt-metal #48716: the down-projection is scaled by the model's width, not by its own inputs."""
    model = fan_scaled(draw)
    at = named(model, "down_proj")
    model.update({name: draw.normal(*model[name].shape, std=WIDTH**-0.5) for name in at})
    return Shipped(model, at, "IA207")


def fan_of_a_shard(draw: Draw) -> Shipped:
    """Megatron-Bridge #5840: row-parallel matrices take the fan of one of eight shards."""
    model = fan_scaled(draw)
    at = named(model, "o_proj", "down_proj")
    model.update({name: model[name] * np.float32(8**0.5) for name in at})
    return Shipped(model, at, "IA202")


def clamped_truncation(draw: Draw) -> Shipped:
    """pytorch #155588: `trunc_normal_` in bfloat16 leaves values of exactly -2, a hundred deviations off."""
    model = vit(draw)
    name = "blocks.1.mlp.fc1.weight"
    model[name].ravel()[::512] = -2.0
    return Shipped(model, {name}, "IA303")


def dead_adapter(draw: Draw) -> Shipped:
    """litgpt #1229: LoRA's A is zero as well as its B."""
    model = lora(draw)
    model.update({name: np.zeros_like(model[name]) for name in model})
    return Shipped(model, set(model), "IA101")


def tiny_experts(draw: Draw) -> Shipped:
    """PaddleFleet #991: the experts are drawn from U(±0.001)."""
    model = mixture(draw)
    at = named(model, ".experts.")
    model.update({name: draw.uniform(*model[name].shape, bound=1e-3) for name in at})
    return Shipped(model, at, "IA201")


def skipped(draw: Draw) -> Shipped:
    """DeepSpeed #2650, transformers #43847: the initialisation passes some linear layers by."""
    model = gpt2(draw)
    at = named(model, "mlp.c_fc")
    for name in at:
        bias = name.replace("weight", "bias")
        model |= {name: draw.uniform(*model[name].shape, bound=WIDTH**-0.5)}
        model |= {bias: draw.uniform(*model[bias].shape, bound=WIDTH**-0.5)}
    return Shipped(model, at, "IA206")


def factor_for_deviation(draw: Draw) -> Shipped:
    """transformers: `initializer_factor`, a multiplier of 1, is taken for the deviation of uncovered layers."""
    model = vit(draw) | {f"box_head.dense{i}.weight": draw.normal(WIDTH, WIDTH, std=1.0) for i in range(2)}
    return Shipped(model, named(model, "box_head"), "IA202")


def numerically_zero(draw: Draw) -> Shipped:
    """transformers: vision configurations with initializer_range = 1e-10."""
    model = vit(draw)
    at = named(model, "blocks.")
    model.update({name: draw.normal(*model[name].shape, std=1e-10) for name in at})
    return Shipped(model, at, "IA201")


def norms_drawn_as_weights(draw: Draw) -> Shipped:
    """transformers: `_init_weights` of EfficientNet draws batch norms like convolutions."""
    model = resnet(draw)
    at = {name for name in model if name.endswith("weight") and model[name].ndim == 1}
    model.update({name: draw.normal(*model[name].shape, std=0.02) for name in at})
    return Shipped(model, at, "IA403")


def equal_registers(draw: Draw) -> Shipped:
    """transformers: the registers of DINOv2 start at zero, and have no position."""
    return Shipped(vit(draw) | {"register_tokens": zeros(1, 4, WIDTH)}, {"register_tokens"}, "IA107")


def copied_layers(draw: Draw) -> Shipped:
    """torch.nn.TransformerEncoder deep-copies one layer."""
    model: Tensors = {}
    for name, shape in (("self_attn.in_proj_weight", (3 * WIDTH, WIDTH)), ("linear1.weight", (512, WIDTH))):
        drawn = draw.uniform(*shape, bound=math.sqrt(6 / sum(shape)))
        model |= {f"encoder.layers.{layer}.{name}": drawn for layer in range(4)}
    return Shipped(model, set(model), "IA105")


def never_filled(draw: Draw) -> Shipped:
    """torch_geometric `RGATConv.l2`: `torch.full(...)` throws its result away, and `torch.empty` stays."""
    model = gpt2(draw)
    words = np.random.default_rng(0).integers(0, 1 << 32, (64, 32), dtype=np.uint32)
    model["conv.l2"] = np.nan_to_num(words.view(np.float32), nan=1.0, posinf=1.0, neginf=1.0)
    return Shipped(model, {"conv.l2"}, "IA502")


SHIPPED: tuple[Callable[[Draw], Shipped], ...] = (
    residual_scaling_lost, residual_scaling_misplaced, doubled_norms, logarithm_of_zero, state_left_at_zero,
    nothing_after_to_empty, denormals_after_to_empty, rotary_garbage, ranks_of_one_seed, fan_of_a_head, kernel_added,
    width_for_every_fan, fan_of_a_shard, clamped_truncation, dead_adapter, tiny_experts, skipped, factor_for_deviation,
    numerically_zero, norms_drawn_as_weights, equal_registers, copied_layers, never_filled,
)  # fmt: skip


@pytest.mark.parametrize("enact", SHIPPED, ids=lambda enact: enact.__name__)
def test_a_fault_that_was_shipped_is_found_at_its_tensors(enact: Callable[[Draw], Shipped], tmp_path: Path) -> None:
    shipped = enact(Draw())
    written(tmp_path / "model.safetensors", shipped.model)
    (tmp_path / "config.json").write_text(json.dumps(dict(shipped.config)), encoding="utf-8")
    found = audit([tmp_path], RULES).failing("warning")
    assert {name for finding in found for name in finding.tensors if finding.rule == shipped.rule} == shipped.at
    assert {name for finding in found for name in finding.tensors} == shipped.at
