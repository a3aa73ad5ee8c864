"""Twelve healthy recipes as fresh checkpoints: the schemes that the field trains with, in their own names."""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Tensors = dict[str, Array]

WIDTH, DEPTH, VOCABULARY = 192, 6, 1000

GPT2_CONFIG = {
    "model_type": "gpt2",
    "n_embd": WIDTH,
    "n_layer": DEPTH,
    "n_head": 6,
    "vocab_size": VOCABULARY,
    "initializer_range": 0.02,
}


class Draw:
    """A generator with the laws that recipes draw from, in float32."""

    def __init__(self, seed: int = 0) -> None:
        self._generator = np.random.default_rng(seed)

    def normal(self, *shape: int, std: float) -> Array:
        """N(0, std²)."""
        return (self._generator.standard_normal(shape, np.float32) * std).astype(np.float32)

    def uniform(self, *shape: int, bound: float) -> Array:
        """U(±bound)."""
        return self._generator.uniform(-bound, bound, shape).astype(np.float32)

    def truncated(self, *shape: int, std: float, cut: float) -> Array:
        """A normal of parent deviation ``std``, cut at ``cut`` of them."""
        values = self._generator.standard_normal(shape)
        while (out := np.abs(values) > cut).any():
            values[out] = self._generator.standard_normal(int(out.sum()))
        return (values * std).astype(np.float32)

    def orthogonal(self, rows: int, columns: int, *, gain: float = 1.0) -> Array:
        """A gain times a matrix whose rows, or columns where they are fewer, are orthonormal."""
        q, r = np.linalg.qr(self._generator.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.sign(np.diag(r))
        return np.ascontiguousarray((q if rows >= columns else q.T) * gain, dtype=np.float32)


def ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def norm(name: str, width: int = WIDTH) -> Tensors:
    return {f"{name}.weight": ones(width), f"{name}.bias": zeros(width)}


def batch_norm(name: str, width: int, *, scale: float = 1.0) -> Tensors:
    return {
        f"{name}.weight": ones(width) * np.float32(scale),
        f"{name}.bias": zeros(width),
        f"{name}.running_mean": zeros(width),
        f"{name}.running_var": ones(width),
    }


def torch_default(draw: Draw, name: str, outputs: int, inputs: int) -> Tensors:
    bound = inputs**-0.5
    return {
        f"{name}.weight": draw.uniform(outputs, inputs, bound=bound),
        f"{name}.bias": draw.uniform(outputs, bound=bound),
    }


def gpt2(draw: Draw) -> Tensors:
    """GPT-2 as nanoGPT names it: 0.02, and 0.02/√(2L) where a residual branch ends."""
    model = {"transformer.wte.weight": draw.normal(VOCABULARY, WIDTH, std=0.02)}
    model["transformer.wpe.weight"] = draw.normal(128, WIDTH, std=0.02)
    residual = 0.02 / math.sqrt(2 * DEPTH)
    for block in (f"transformer.h.{layer}" for layer in range(DEPTH)):
        model |= norm(f"{block}.ln_1") | norm(f"{block}.ln_2")
        for name, outputs, inputs, std in (
            ("attn.c_attn", 3 * WIDTH, WIDTH, 0.02),
            ("attn.c_proj", WIDTH, WIDTH, residual),
            ("mlp.c_fc", 4 * WIDTH, WIDTH, 0.02),
            ("mlp.c_proj", WIDTH, 4 * WIDTH, residual),
        ):
            model |= {
                f"{block}.{name}.weight": draw.normal(outputs, inputs, std=std),
                f"{block}.{name}.bias": zeros(outputs),
            }
    return model | norm("transformer.ln_f")


def llama(draw: Draw) -> Tensors:
    """Llama by torchtitan: TN(0.02), per-layer scaling of wo, w2 and w3, embeddings N(0, 1), a head cut at three."""
    model = {"tok_embeddings.weight": draw.normal(VOCABULARY, WIDTH, std=1.0)}
    for layer in range(DEPTH):
        block, residual = f"layers.{layer}", 0.02 / math.sqrt(2 * (layer + 1))
        for name in ("wq", "wk", "wv"):
            model[f"{block}.attention.{name}.weight"] = draw.normal(WIDTH, WIDTH, std=0.02)
        model[f"{block}.attention.wo.weight"] = draw.normal(WIDTH, WIDTH, std=residual)
        model[f"{block}.feed_forward.w1.weight"] = draw.normal(512, WIDTH, std=0.02)
        model[f"{block}.feed_forward.w2.weight"] = draw.normal(WIDTH, 512, std=residual)
        model[f"{block}.feed_forward.w3.weight"] = draw.normal(512, WIDTH, std=residual)
        model |= {f"{block}.attention_norm.weight": ones(WIDTH), f"{block}.ffn_norm.weight": ones(WIDTH)}
    model["norm.weight"] = ones(WIDTH)
    return model | {"output.weight": draw.truncated(VOCABULARY, WIDTH, std=WIDTH**-0.5, cut=3)}


def olmo(draw: Draw) -> Tensors:
    """OLMo's fan-in scheme: every matrix cut at three deviations of 1/√fan_in."""
    model = {"transformer.wte.weight": draw.truncated(VOCABULARY, WIDTH, std=1.0, cut=3)}
    for block in (f"transformer.blocks.{layer}" for layer in range(DEPTH)):
        for name, outputs, inputs in (
            ("att_proj", 3 * WIDTH, WIDTH),
            ("attn_out", WIDTH, WIDTH),
            ("ff_proj", 4 * WIDTH, WIDTH),
            ("ff_out", WIDTH, 4 * WIDTH),
        ):
            model[f"{block}.{name}.weight"] = draw.truncated(outputs, inputs, std=inputs**-0.5, cut=3)
        model |= {f"{block}.attn_norm.weight": ones(WIDTH), f"{block}.ff_norm.weight": ones(WIDTH)}
    return model | {"transformer.ln_f.weight": ones(WIDTH)}


def mlp(draw: Draw) -> Tensors:
    """A multilayer perceptron by PyTorch's default."""
    widths = (784, 256, 256, 256, 10)
    model: Tensors = {}
    for layer, (inputs, outputs) in enumerate(pairwise(widths)):
        model |= torch_default(draw, f"net.{2 * layer}", outputs, inputs)
    return model


def resnet(draw: Draw, *, last_gamma: float = 1.0) -> Tensors:
    """A ResNet of basic blocks: He by fan_out, batch norms 1 and 0, PyTorch's default head."""

    def conv(name: str, outputs: int, inputs: int, edge: int) -> Tensors:
        return {f"{name}.weight": draw.normal(outputs, inputs, edge, edge, std=math.sqrt(2 / (outputs * edge**2)))}

    model = conv("conv1", 32, 3, 7) | batch_norm("bn1", 32)
    inputs = 32
    for stage, outputs in enumerate((32, 64, 128), start=1):
        for number in range(2):
            block = f"layer{stage}.{number}"
            model |= conv(f"{block}.conv1", outputs, inputs, 3) | batch_norm(f"{block}.bn1", outputs)
            model |= conv(f"{block}.conv2", outputs, outputs, 3)
            model |= batch_norm(f"{block}.bn2", outputs, scale=last_gamma)
            if inputs != outputs:
                model |= conv(f"{block}.downsample.0", outputs, inputs, 1) | batch_norm(
                    f"{block}.downsample.1", outputs
                )
            inputs = outputs
    return model | torch_default(draw, "fc", 10, inputs)


def zero_gamma_resnet(draw: Draw) -> Tensors:
    """The same with the last norm of each block at zero."""
    return resnet(draw, last_gamma=0.0)


def vit(draw: Draw) -> Tensors:
    """A vision transformer with a zero head and layer scales of 1e-5."""
    model = {"cls_token": draw.normal(1, 1, WIDTH, std=0.02), "pos_embed": draw.normal(1, 197, WIDTH, std=0.02)}
    model |= {"patch_embed.proj.weight": draw.normal(WIDTH, 3, 16, 16, std=768**-0.5)}
    model["patch_embed.proj.bias"] = zeros(WIDTH)
    for block in (f"blocks.{layer}" for layer in range(DEPTH)):
        model |= norm(f"{block}.norm1") | norm(f"{block}.norm2")
        model |= {
            f"{block}.ls1.gamma": ones(WIDTH) * np.float32(1e-5),
            f"{block}.ls2.gamma": ones(WIDTH) * np.float32(1e-5),
        }
        for name, outputs, inputs in (
            ("attn.qkv", 3 * WIDTH, WIDTH),
            ("attn.proj", WIDTH, WIDTH),
            ("mlp.fc1", 4 * WIDTH, WIDTH),
            ("mlp.fc2", WIDTH, 4 * WIDTH),
        ):
            model |= {
                f"{block}.{name}.weight": draw.normal(outputs, inputs, std=0.02),
                f"{block}.{name}.bias": zeros(outputs),
            }
    return model | norm("norm") | {"head.weight": zeros(100, WIDTH), "head.bias": zeros(100)}


def mup(draw: Draw) -> Tensors:
    """muP with a zero readout and zero queries: hidden 1/√fan_in, embeddings of order one."""
    model = {"embed.weight": draw.normal(VOCABULARY, WIDTH, std=1.0)}
    for block in (f"layers.{layer}" for layer in range(DEPTH)):
        model |= {f"{block}.attn.{name}.weight": draw.normal(WIDTH, WIDTH, std=WIDTH**-0.5) for name in "qkvo"}
        model[f"{block}.mlp.up.weight"] = draw.normal(4 * WIDTH, WIDTH, std=WIDTH**-0.5)
        model[f"{block}.mlp.down.weight"] = draw.normal(WIDTH, 4 * WIDTH, std=(4 * WIDTH) ** -0.5)
        model |= {f"{block}.norm1.weight": ones(WIDTH), f"{block}.norm2.weight": ones(WIDTH)}
    return model | {"norm.weight": ones(WIDTH), "readout.weight": zeros(VOCABULARY, WIDTH)}


def lora(draw: Draw) -> Tensors:
    """LoRA adapters of rank 8: A by PyTorch's default, B zero."""
    model: Tensors = {}
    for layer in range(DEPTH):
        for name in ("q_proj", "v_proj"):
            stem = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            model[f"{stem}.lora_A.weight"] = draw.uniform(8, WIDTH, bound=WIDTH**-0.5)
            model[f"{stem}.lora_B.weight"] = zeros(WIDTH, 8)
    return model


def dit(draw: Draw) -> Tensors:
    """A diffusion transformer: Xavier, and adaptive norms that start at zero."""

    def linear(name: str, outputs: int, inputs: int) -> Tensors:
        bound = math.sqrt(6 / (outputs + inputs))
        return {f"{name}.weight": draw.uniform(outputs, inputs, bound=bound), f"{name}.bias": zeros(outputs)}

    model: Tensors = {}
    for name, inputs in (("t_embedder.mlp.0", 256), ("t_embedder.mlp.2", WIDTH)):
        model |= {f"{name}.weight": draw.normal(WIDTH, inputs, std=0.02), f"{name}.bias": zeros(WIDTH)}
    for block in (f"blocks.{layer}" for layer in range(DEPTH)):
        model |= linear(f"{block}.attn.qkv", 3 * WIDTH, WIDTH) | linear(f"{block}.attn.proj", WIDTH, WIDTH)
        model |= linear(f"{block}.mlp.fc1", 4 * WIDTH, WIDTH) | linear(f"{block}.mlp.fc2", WIDTH, 4 * WIDTH)
        name = f"{block}.adaLN_modulation.1"
        model |= {f"{name}.weight": zeros(6 * WIDTH, WIDTH), f"{name}.bias": zeros(6 * WIDTH)}
    return model | {
        "final_layer.adaLN_modulation.1.weight": zeros(2 * WIDTH, WIDTH),
        "final_layer.adaLN_modulation.1.bias": zeros(2 * WIDTH),
        "final_layer.linear.weight": zeros(32, WIDTH),
        "final_layer.linear.bias": zeros(32),
    }


def rnn(draw: Draw) -> Tensors:
    """A recurrent network with orthogonal recurrent weights and a zero bias."""
    model = {"embed.weight": draw.normal(VOCABULARY, WIDTH, std=0.02)}
    for layer in range(2):
        model[f"rnn.weight_ih_l{layer}"] = draw.uniform(WIDTH, WIDTH, bound=math.sqrt(6 / (2 * WIDTH)))
        model[f"rnn.weight_hh_l{layer}"] = draw.orthogonal(WIDTH, WIDTH)
        model |= {f"rnn.bias_ih_l{layer}": zeros(WIDTH), f"rnn.bias_hh_l{layer}": zeros(WIDTH)}
    return model | torch_default(draw, "decoder", VOCABULARY, WIDTH)


def mixture(draw: Draw) -> Tensors:
    """A mixture of eight experts a block, each a tensor of its own; 0.02 throughout."""
    model = {"model.embed_tokens.weight": draw.normal(VOCABULARY, WIDTH, std=0.02)}
    for layer in range(3):
        block = f"model.layers.{layer}"
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            model[f"{block}.self_attn.{name}.weight"] = draw.normal(WIDTH, WIDTH, std=0.02)
        model[f"{block}.block_sparse_moe.gate.weight"] = draw.normal(8, WIDTH, std=0.02)
        for expert in (f"{block}.block_sparse_moe.experts.{number}" for number in range(8)):
            model[f"{expert}.w1.weight"] = draw.normal(256, WIDTH, std=0.02)
            model[f"{expert}.w2.weight"] = draw.normal(WIDTH, 256, std=0.02)
            model[f"{expert}.w3.weight"] = draw.normal(256, WIDTH, std=0.02)
        model |= {
            f"{block}.input_layernorm.weight": ones(WIDTH),
            f"{block}.post_attention_layernorm.weight": ones(WIDTH),
        }
    model["model.norm.weight"] = ones(WIDTH)
    return model | {"lm_head.weight": draw.normal(VOCABULARY, WIDTH, std=0.02)}


RECIPES: Mapping[str, Callable[[Draw], Tensors]] = {
    "gpt2": gpt2,
    "llama": llama,
    "olmo": olmo,
    "mlp": mlp,
    "resnet": resnet,
    "zero-gamma resnet": zero_gamma_resnet,
    "vit": vit,
    "mup": mup,
    "lora": lora,
    "dit": dit,
    "rnn": rnn,
    "mixture": mixture,
}
