import cProfile
import random

import pytest

from initaudit.checkpoint.values import Entry
from initaudit.layers import understand
from initaudit.layers.values import Part
from initaudit.names.segments import natural
from initaudit.statistics.values import Moments, Statistics


def parts(shapes, *, values=None, config=None, dtypes=None):
    """Understand tensors of these shapes; ``values`` gives (mean, std) of those whose values are known."""
    entries = [Entry(name, (dtypes or {}).get(name, "F32"), tuple(shape)) for name, shape in shapes.items()]
    statistics = {name: drawn(*moments) for name, moments in (values or {}).items()}
    return understand(entries, statistics, config or {})


def drawn(mean, std, count=4096):
    """Statistics of values with this mean and standard deviation; a constant where that is 0."""
    reach = 4 * std
    return Statistics(count, Moments(count, mean, std * std * count), mean - reach, mean + reach)


def fans(part: Part):
    return part.role, part.layout, part.fan_in, part.fan_out


WEIGHTS = {
    "torch linear": (
        {"fc.weight": (10, 20), "fc.bias": (10,)},
        {"fc.weight": ("weight", "out_in", 20, 10)},
    ),
    "a linear layer's bias decides against the usual layout": (
        {"h.0.attn.c_attn.weight": (64, 192), "h.0.attn.c_attn.bias": (192,)},
        {"h.0.attn.c_attn.weight": ("weight", "in_out", 64, 192)},
    ),
    "a square matrix is laid out as its non-square kin": (
        {
            "h.0.attn.c_attn.weight": (64, 192), "h.0.attn.c_attn.bias": (192,),
            "h.0.attn.c_proj.weight": (64, 64), "h.0.attn.c_proj.bias": (64,),
        },
        {"h.0.attn.c_proj.weight": ("weight", "in_out", 64, 64)},
    ),
    "the nearest kin count, not the most": (
        {
            "vision.0.fc1.weight": (256, 64), "vision.0.fc1.bias": (256,),
            "vision.0.fc2.weight": (64, 256), "vision.0.fc2.bias": (64,),
            "vision.0.proj.weight": (64, 64), "vision.0.proj.bias": (64,),
            "text.0.c_fc.weight": (64, 256), "text.0.c_fc.bias": (256,),
            "text.0.c_proj.weight": (64, 64), "text.0.c_proj.bias": (64,),
        },
        {
            "vision.0.proj.weight": ("weight", "out_in", 64, 64),
            "text.0.c_proj.weight": ("weight", "in_out", 64, 64),
        },
    ),
    "kin without bias say nothing about a head": (
        {
            "h.0.mlp.c_fc.weight": (64, 256), "h.0.mlp.c_fc.bias": (256,),
            "lm_head.weight": (500, 64),
        },
        {"lm_head.weight": ("weight", "out_in", 64, 500)},
    ),
    "a projection that is a bare parameter is multiplied from the right": (
        {"visual.ln_post.weight": (64,), "visual.ln_post.bias": (64,), "visual.proj": (64, 32)},
        {"visual.proj": ("weight", "in_out", 64, 32)},
    ),
    "packed projections of torch's attention": (
        {
            "attn.in_proj_weight": (192, 64), "attn.in_proj_bias": (192,),
            "attn.out_proj.weight": (64, 64), "attn.out_proj.bias": (64,),
        },
        {
            "attn.in_proj_weight": ("weight", "out_in", 64, 192),
            "attn.out_proj.weight": ("weight", "out_in", 64, 64),
        },
    ),
    "separate projections of torch's attention": (
        {"attn.q_proj_weight": (64, 64), "attn.k_proj_weight": (64, 32), "attn.in_proj_bias": (192,)},
        {"attn.k_proj_weight": ("weight", "out_in", 32, 64)},
    ),
    "convolutions of one, two and three dimensions": (
        {"a.weight": (8, 4, 5), "b.weight": (8, 4, 3, 3), "c.weight": (8, 4, 3, 3, 3)},
        {
            "a.weight": ("weight", "out_in", 20, 40),
            "b.weight": ("weight", "out_in", 36, 72),
            "c.weight": ("weight", "out_in", 108, 216),
        },
    ),
    "a transposed convolution shows in its bias": (
        {"features.weight": (32, 16, 4, 4), "features.bias": (16,)},
        {"features.weight": ("weight", "conv_transposed", 512, 256)},
    ),
    "a transposed convolution in groups": (
        {"c.weight": (32, 4, 3, 3), "c.bias": (16,)},
        {"c.weight": ("weight", "conv_transposed", 72, 36)},
    ),
    "a generator without biases shows in its norms": (
        {
            "main.0.weight": (100, 512, 4, 4), "main.1.weight": (512,), "main.1.bias": (512,),
            "main.3.weight": (512, 256, 4, 4), "main.4.weight": (256,), "main.4.bias": (256,),
            "main.6.weight": (256, 3, 4, 4),
        },
        {
            "main.0.weight": ("weight", "conv_transposed", 1600, 8192),
            "main.6.weight": ("weight", "conv_transposed", 4096, 48),
        },
    ),
    "a name decides where a square kernel leaves it open": (
        {"up.deconv.weight": (16, 16, 3, 3), "up.deconv.bias": (16,), "upsamplers.0.conv.weight": (16, 16, 3, 3)},
        {
            "up.deconv.weight": ("weight", "conv_transposed", 144, 144),
            "upsamplers.0.conv.weight": ("weight", "out_in", 144, 144),
        },
    ),
    "an even kernel that enlarges is transposed, one that shrinks is not": (
        {"decoder.up.weight": (16, 16, 2, 2), "encoder.down.weight": (16, 16, 2, 2)},
        {
            "decoder.up.weight": ("weight", "conv_transposed", 64, 64),
            "encoder.down.weight": ("weight", "out_in", 64, 64),
        },
    ),
    "a square transposed kernel follows its kin at other depths": (
        {
            "net.0.x.weight": (32, 16, 4, 4), "net.0.x.bias": (16,),
            "net.1.x.weight": (16, 16, 4, 4), "net.1.x.bias": (16,),
        },
        {"net.1.x.weight": ("weight", "conv_transposed", 256, 256)},
    ),
    "a bilinear form": (
        {"bilinear.weight": (5, 24, 40), "bilinear.bias": (5,), "b.weight": (5, 32, 32), "b.bias": (5,)},
        {"bilinear.weight": ("weight", "out_in", 960, 5), "b.weight": ("weight", "out_in", 1024, 5)},
    ),
    "dense and convolution of Flax": (
        {
            "params/Dense_0/kernel": (20, 10), "params/Dense_0/bias": (10,),
            "params/Conv_0/kernel": (3, 3, 16, 32), "params/Conv_0/bias": (32,),
        },
        {
            "params/Dense_0/kernel": ("weight", "in_out", 20, 10),
            "params/Conv_0/kernel": ("weight", "in_out", 144, 288),
        },
    ),
    "a separable convolution of Keras": (
        {
            "sep/depthwise_kernel:0": (3, 3, 16, 1), "sep/pointwise_kernel:0": (1, 1, 16, 32), "sep/bias:0": (32,),
        },
        {
            "sep/depthwise_kernel:0": ("weight", "in_out", 9, 9),
            "sep/pointwise_kernel:0": ("weight", "in_out", 16, 32),
        },
    ),
    "attention of Flax splits its kernels into heads": (
        {
            "attn/query/kernel": (64, 4, 16), "attn/query/bias": (4, 16),
            "attn/out/kernel": (4, 16, 64), "attn/out/bias": (64,),
        },
        {
            "attn/query/kernel": ("weight", "in_out", 64, 64),
            "attn/out/kernel": ("weight", "in_out", 64, 64),
        },
    ),
    "heads show in a table of biases, too": (
        {"attn.r_kernel": (64, 4, 16), "attn.r_w_bias": (4, 16)},
        {"attn.r_kernel": ("weight", "in_out", 64, 64)},
    ),
    "Haiku": (
        {"mlp/linear/w": (20, 20), "mlp/linear/b": (20,)},
        {"mlp/linear/w": ("weight", "in_out", 20, 20), "mlp/linear/b": ("bias", "none", None, None)},
    ),
    "recurrent layers of torch": (
        {
            "rnn.weight_ih_l0": (128, 16), "rnn.weight_hh_l0_reverse": (128, 32), "rnn.weight_hr_l0": (8, 32),
            "rnn.bias_ih_l0": (128,), "cell.weight_hh": (96, 32), "cell.bias_hh": (96,),
        },
        {
            "rnn.weight_ih_l0": ("rnn_weight", "out_in", 16, 128),
            "rnn.weight_hh_l0_reverse": ("rnn_weight", "out_in", 32, 128),
            "rnn.weight_hr_l0": ("rnn_weight", "out_in", 32, 8),
            "rnn.bias_ih_l0": ("rnn_bias", "none", None, None),
            "cell.weight_hh": ("rnn_weight", "out_in", 32, 96),
            "cell.bias_hh": ("rnn_bias", "none", None, None),
        },
    ),
    "recurrent layers of Keras": (
        {
            "lstm/lstm_cell/kernel:0": (16, 128), "lstm/lstm_cell/recurrent_kernel:0": (32, 128),
            "lstm/lstm_cell/bias:0": (128,),
        },
        {
            "lstm/lstm_cell/kernel:0": ("rnn_weight", "in_out", 16, 128),
            "lstm/lstm_cell/recurrent_kernel:0": ("rnn_weight", "in_out", 32, 128),
            "lstm/lstm_cell/bias:0": ("rnn_bias", "none", None, None),
        },
    ),
    "experts as [in, out], by the shapes that meet": (
        {"mlp.experts.gate_up_proj": (8, 64, 96), "mlp.experts.down_proj": (8, 48, 64)},
        {
            "mlp.experts.gate_up_proj": ("weight", "expert_3d", 64, 96),
            "mlp.experts.down_proj": ("weight", "expert_3d", 48, 64),
        },
    ),
    "experts as [out, in], by the shapes that meet": (
        {"mlp.experts.gate_up_proj": (8, 96, 64), "mlp.experts.down_proj": (8, 64, 48)},
        {
            "mlp.experts.gate_up_proj": ("weight", "expert_3d", 64, 96),
            "mlp.experts.down_proj": ("weight", "expert_3d", 48, 64),
        },
    ),
    "experts without gate meet either way, so the model's width decides": (
        {"moe.w1": (8, 64, 48), "moe.w2": (8, 48, 64), "norm.weight": (64,), "norm.bias": (64,)},
        {"moe.w1": ("weight", "expert_3d", 64, 48), "moe.w2": ("weight", "expert_3d", 48, 64)},
    ),
    "experts with biases": (
        {
            "experts.gate_up_proj": (4, 64, 64 * 2), "experts.gate_up_proj_bias": (4, 128),
            "experts.down_proj": (4, 64, 64), "experts.down_proj_bias": (4, 64),
        },
        {"experts.gate_up_proj": ("weight", "expert_3d", 64, 128)},
    ),
    "a stack of matrices with one bias": (
        {"conv1.weight": (5, 64, 128), "conv1.root": (64, 128), "conv1.bias": (128,)},
        {
            "conv1.weight": ("weight", "expert_3d", 64, 128),
            "conv1.root": ("weight", "in_out", 64, 128),
        },
    ),
    "weight norm of either generation": (
        {
            "a.weight_g": (8, 1, 1), "a.weight_v": (8, 4, 3), "a.bias": (8,),
            "b.parametrizations.weight.original0": (8, 1, 1), "b.parametrizations.weight.original1": (8, 4, 3),
            "b.bias": (8,),
        },
        {
            "a.weight_v": ("weight", "out_in", 12, 24),
            "a.weight_g": ("other_param", "none", None, None),
            "b.parametrizations.weight.original1": ("weight", "out_in", 12, 24),
            "b.parametrizations.weight.original0": ("other_param", "none", None, None),
        },
    ),
    "a weight-normed transposed convolution has its bias outside the parametrisation": (
        {"ups.0.parametrizations.weight.original1": (32, 16, 4), "ups.0.bias": (16,)},
        {"ups.0.parametrizations.weight.original1": ("weight", "conv_transposed", 128, 64)},
    ),
    "spectral norm of either generation": (
        {
            "a.weight_orig": (8, 4), "a.weight_u": (8,), "a.weight_v": (4,), "a.bias": (8,),
            "b.parametrizations.weight.original": (8, 4), "b.parametrizations.weight.0._u": (8,),
            "c.parametrizations.weight.0.lora_A": (2, 4),
        },
        {
            "a.weight_orig": ("weight", "out_in", 4, 8),
            "a.weight_u": ("buffer", "none", None, None),
            "a.weight_v": ("buffer", "none", None, None),
            "b.parametrizations.weight.original": ("weight", "out_in", 4, 8),
            "b.parametrizations.weight.0._u": ("buffer", "none", None, None),
            "c.parametrizations.weight.0.lora_A": ("weight", "out_in", 4, 2),
        },
    ),
    "LoRA, as modules, parameters and in a dictionary": (
        {
            "q.lora_A.default.weight": (4, 64), "q.lora_B.default.weight": (64, 4), "q.base_layer.weight": (64, 64),
            "k.lora_A": (4, 64), "v.lora_embedding_A.default": (4, 500), "unet_o.lora_down.weight": (4, 64),
        },
        {
            "q.lora_A.default.weight": ("weight", "out_in", 64, 4),
            "q.lora_B.default.weight": ("weight", "out_in", 4, 64),
            "q.base_layer.weight": ("weight", "out_in", 64, 64),
            "k.lora_A": ("weight", "out_in", 64, 4),
            "v.lora_embedding_A.default": ("weight", "out_in", 500, 4),
            "unet_o.lora_down.weight": ("weight", "out_in", 64, 4),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WEIGHTS)
def test_shapes_kin_and_names_settle_layouts_and_fans(case):
    shapes, expected = WEIGHTS[case]
    found = parts(shapes)
    assert {name: fans(found[name]) for name in expected} == expected


CHANNELS = {
    "a depthwise kernel between pointwise ones": (
        {"blocks.0.dw.weight": (32, 1, 3, 3), "blocks.0.pw.weight": (64, 32, 1, 1)},
        "blocks.0.dw.weight", 32,
    ),
    "unnamed depthwise kernels that repeat across depth": (
        {
            "b.0.c1.weight": (32, 16, 1, 1), "b.0.c2.weight": (32, 1, 3, 3), "b.0.c3.weight": (16, 32, 1, 1),
            "b.1.c1.weight": (32, 16, 1, 1), "b.1.c2.weight": (32, 1, 3, 3), "b.1.c3.weight": (16, 32, 1, 1),
        },
        "b.1.c2.weight", 32,
    ),
    "a state-space model's kernel, which nobody reads whole": (
        {"mixer.conv1d.weight": (96, 1, 4), "mixer.conv1d.bias": (96,), "mixer.in_proj.weight": (200, 32)},
        "mixer.conv1d.weight", 96,
    ),
    "the first layer of a plain network on grey images": (
        {"conv1.weight": (32, 1, 3, 3), "conv1.bias": (32,), "conv2.weight": (64, 32, 3, 3), "conv2.bias": (64,)},
        "conv1.weight", 1,
    ),
    "the first layer on waveforms, one of many later kernels": (
        {"layers.0.conv.weight": (512, 1, 10), "layers.1.conv.weight": (512, 512, 3)},
        "layers.0.conv.weight", 1,
    ),
    "the first of two one-channel kernels in a sequence": (
        {
            "pre.0.weight": (64, 1, 3, 3), "pre.2.weight": (64, 1, 3, 3), "pre.3.weight": (64, 64, 1, 1),
            "layers.0.conv.weight": (64, 1, 9), "layers.1.conv.weight": (64, 1, 9),
        },
        "pre.0.weight", 1,
    ),
    "the second of two one-channel kernels in a sequence": (
        {"pre.0.weight": (64, 1, 3, 3), "pre.2.weight": (64, 1, 3, 3), "pre.3.weight": (64, 64, 1, 1)},
        "pre.2.weight", 64,
    ),
    "a discriminator goes on in groups": (
        {
            "d.0.convs.0.weight": (128, 1, 15), "d.0.convs.1.weight": (128, 32, 41),
            "d.1.convs.0.weight": (128, 1, 15), "d.1.convs.1.weight": (128, 32, 41),
        },
        "d.1.convs.0.weight", 1,
    ),
    "a patch embedding of one channel": (
        {"patch_embed.proj.weight": (64, 1, 16, 16), "blocks.0.fc.weight": (128, 64)},
        "patch_embed.proj.weight", 1,
    ),
    "filters that read what nothing writes": (
        {
            "l.0.conv1.weight": (128, 256, 1, 1), "l.0.conv2.weight": (128, 4, 3, 3),
            "l.0.conv3.weight": (256, 128, 1, 1),
            "l.1.conv2.weight": (128, 4, 3, 3), "l.2.conv2.weight": (128, 4, 3, 3),
        },
        "l.0.conv2.weight", 32,
    ),
    "the first layer on images of four channels": (
        {"l.0.conv1.weight": (128, 4, 3, 3), "l.0.conv2.weight": (128, 128, 3, 3)},
        "l.0.conv1.weight", 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANNELS)
def test_groups_are_inferred_from_the_surroundings(case):
    shapes, name, groups = CHANNELS[case]
    part, shape = parts(shapes)[name], shapes[name]
    field = 1
    for size in shape[2:]:
        field *= size
    assert (part.groups, part.fan_in, part.fan_out) == (groups, shape[1] * field, shape[0] // groups * field)


ROLES = {
    "layer norm": ({"a.weight": (8,), "a.bias": (8,)}, {"a.weight": "norm_scale", "a.bias": "norm_shift"}),
    "batch norm": (
        {
            "a.weight": (8,), "a.bias": (8,), "a.running_mean": (8,), "a.running_var": (8,),
            "a.num_batches_tracked": (),
        },
        {
            "a.weight": "norm_scale", "a.bias": "norm_shift", "a.running_mean": "running_stat",
            "a.running_var": "running_stat", "a.num_batches_tracked": "running_stat",
        },
    ),
    "batch norm of Keras": (
        {"bn/gamma:0": (8,), "bn/beta:0": (8,), "bn/moving_mean:0": (8,), "bn/moving_variance:0": (8,)},
        {"bn/gamma:0": "norm_scale", "bn/beta:0": "norm_shift", "bn/moving_mean:0": "running_stat"},
    ),
    "batch norm of Flax": (
        {
            "params/BatchNorm_0/scale": (8,), "params/BatchNorm_0/bias": (8,),
            "batch_stats/BatchNorm_0/mean": (8,), "batch_stats/BatchNorm_0/var": (8,),
        },
        {"params/BatchNorm_0/scale": "norm_scale", "batch_stats/BatchNorm_0/var": "running_stat"},
    ),
    "a norm that broadcasts": (
        {"x.g": (1, 64, 1, 1), "x.b": (1, 64, 1, 1)},
        {"x.g": "norm_scale", "x.b": "norm_shift"},
    ),
    "a norm over two dimensions": (
        {"x.weight": (80, 128), "x.bias": (80, 128)},
        {"x.weight": "norm_scale", "x.bias": "norm_shift"},
    ),
    "a norm inside a linear layer": (
        {
            "qkv.layer_norm_weight": (64,), "qkv.layer_norm_bias": (64,), "qkv.weight": (192, 64), "qkv.bias": (192,),
        },
        {
            "qkv.layer_norm_weight": "norm_scale", "qkv.layer_norm_bias": "norm_shift", "qkv.weight": "weight",
            "qkv.bias": "bias",
        },
    ),
    "a matrix with one row is no norm": (
        {"norm.weight": (1, 64), "norm.bias": (1,)},
        {"norm.weight": "weight", "norm.bias": "bias"},
    ),
    "an affine pair of one element has nothing to normalise": (
        {"lab.scale": (1,), "lab.bias": (1,)},
        {"lab.scale": "other_param", "lab.bias": "bias"},
    ),
    "Snake has an alpha and a beta": (
        {"act.alpha": (1, 64, 1), "act.beta": (1, 64, 1)},
        {"act.alpha": "other_param", "act.beta": "other_param"},
    ),
    "a layer scale beside a block": (
        {"blocks.0.gamma": (64,), "blocks.0.fc.weight": (64, 64), "ls1": (64,)},
        {"blocks.0.gamma": "other_param", "ls1": "other_param"},
    ),
    "a weight-standardised convolution's gain": (
        {"conv.weight": (8, 4, 3, 3), "conv.gain": (8, 1, 1, 1), "conv.bias": (8,)},
        {"conv.weight": "weight", "conv.gain": "other_param", "conv.bias": "bias"},
    ),
    "lookup tables by name": (
        {
            "embed_tokens.weight": (500, 64), "embeddings.position_embeddings.weight": (128, 64),
            "decoder.embed.0.weight": (500, 64), "emb_g.weight": (10, 64), "wpe.weight": (128, 64),
        },
        {
            "embed_tokens.weight": "embedding", "embeddings.position_embeddings.weight": "positional",
            "decoder.embed.0.weight": "embedding", "emb_g.weight": "embedding", "wpe.weight": "positional",
        },
    ),
    "lookup tables of Flax": (
        {"wte/embedding": (500, 64), "wpe/embedding": (128, 64)},
        {"wte/embedding": "embedding", "wpe/embedding": "positional"},
    ),
    "what is called an embedding but has a bias is multiplied": (
        {
            "time_embed.0.weight": (256, 64), "time_embed.0.bias": (256,),
            "pos_embed.weight": (64, 4), "pos_embed.bias": (64,),
        },
        {"time_embed.0.weight": "weight", "pos_embed.weight": "weight"},
    ),
    "what is called an embedding but leads from a new width into a known one is multiplied": (
        {"feature_embedding.weight": (64, 1200), "norm.weight": (64,), "norm.bias": (64,)},
        {"feature_embedding.weight": "weight"},
    ),
    "a relative bias that few heads read from many offsets is multiplied": (
        {"rel_pos_bias.weight": (8, 32), "relative_attention_bias.weight": (32, 8), "q.weight": (64, 32)},
        {"rel_pos_bias.weight": "weight", "relative_attention_bias.weight": "positional"},
    ),
    "a key in a dictionary of tables is one": (
        {"embedding_dict.user.weight": (300, 16), "linear.weight": (8, 16), "linear.bias": (8,)},
        {"embedding_dict.user.weight": "embedding"},
    ),
    "the projections of an attention to positions are none": (
        {"position_attn.key.weight": (64, 64), "relative_attn.query.weight": (64, 64), "norm.weight": (64,)},
        {"position_attn.key.weight": "weight", "relative_attn.query.weight": "weight"},
    ),
    "what leads to an embedding is no table": (
        {"patch_to_embedding.weight": (64, 768), "to_tokens.weight": (64, 32)},
        {"patch_to_embedding.weight": "weight", "to_tokens.weight": "weight"},
    ),
    "a nameless table shows in its widths": (
        {"transformer.w.weight": (5003, 64), "ln.weight": (64,), "ln.bias": (64,), "lm_head.weight": (5003, 64)},
        {"transformer.w.weight": "embedding", "lm_head.weight": "weight"},
    ),
    "a packed matrix without bias is no table": (
        {"blocks.0.attn.x.weight": (192, 64), "blocks.0.ln.weight": (64,), "blocks.0.ln.bias": (64,)},
        {"blocks.0.attn.x.weight": "weight"},
    ),
    "positions and tokens that are bare parameters": (
        {
            "pos_embed": (1, 197, 64), "attn.relative_position_bias_table": (169, 4), "attn.pos_bias_u": (4, 16),
            "cls_token": (1, 1, 64), "class_embedding": (64,), "latents": (32, 64), "attn.bias_k": (1, 1, 64),
        },
        {
            "pos_embed": "positional", "attn.relative_position_bias_table": "positional",
            "attn.pos_bias_u": "positional", "cls_token": "token", "class_embedding": "token", "latents": "token",
            "attn.bias_k": "token",
        },
    ),
    "tables that are computed": (
        {
            "rotary.inv_freq": (32,), "attn.bias": (1, 1, 128, 128), "alphas_cumprod": (1000,), "pixel_mean": (3, 1, 1),
            "anchor_generator.cell_anchors.0": (3, 4),
        },
        dict.fromkeys(
            ("rotary.inv_freq", "attn.bias", "alphas_cumprod", "pixel_mean", "anchor_generator.cell_anchors.0"),
            "buffer",
        ),
    ),
    "a codebook that is a moving average": (
        {"codebook.embed": (64, 8), "codebook.cluster_size": (64,), "vq.embed": (64, 8)},
        {"codebook.embed": "buffer", "codebook.cluster_size": "buffer", "vq.embed": "embedding"},
    ),
    "what modulates": (
        {
            "logit_scale": (), "attn.sinks": (8,), "scale_shift_table": (6, 64), "ia3_l.default": (64, 1),
            "lora_magnitude_vector.default": (64,), "conv1.att_src": (1, 4, 32),
        },
        dict.fromkeys(
            (
                "logit_scale", "attn.sinks", "scale_shift_table", "ia3_l.default", "lora_magnitude_vector.default",
                "conv1.att_src",
            ),
            "other_param",
        ),
    ),
    "state-space parameters": (
        {"mixer.A_log": (128, 16), "mixer.D": (128,), "mixer.dt_bias": (8,), "att.time_mix_k": (1, 1, 64)},
        dict.fromkeys(("mixer.A_log", "mixer.D", "mixer.dt_bias", "att.time_mix_k"), "other_param"),
    ),
    "a router's correction is a bias": (
        {"mlp.gate.weight": (8, 64), "mlp.gate.e_score_correction_bias": (8,)},
        {"mlp.gate.weight": "weight", "mlp.gate.e_score_correction_bias": "bias"},
    ),
    "noisy linear layers": (
        {"fc.weight_mu": (8, 64), "fc.weight_sigma": (8, 64), "fc.bias_mu": (8,), "fc.weight_epsilon": (8, 64)},
        {
            "fc.weight_mu": "weight", "fc.weight_sigma": "other_param", "fc.bias_mu": "bias",
            "fc.weight_epsilon": "buffer",
        },
    ),
    "a copy whose names lost their dots": (
        {
            "model_ema.out0weight": (64,), "model_ema.out0bias": (64,),
            "model_ema.out2weight": (4, 64, 3, 3), "model_ema.out2bias": (4,),
        },
        {
            "model_ema.out0weight": "norm_scale", "model_ema.out0bias": "norm_shift",
            "model_ema.out2weight": "weight", "model_ema.out2bias": "bias",
        },
    ),
    "nothing is made of a matrix about which nothing is known": ({"thing": (7, 9)}, {"thing": "unknown"}),
}  # fmt: skip


@pytest.mark.parametrize("case", ROLES)
def test_siblings_rank_and_names_settle_roles(case):
    shapes, expected = ROLES[case]
    found = parts(shapes)
    assert {name: found[name].role for name in expected} == expected


@pytest.mark.parametrize(
    ("shapes", "values", "role"),
    [
        pytest.param({"net.1.weight": (64,)}, (1.0, 0.0), "norm_scale", id="ones alone are a norm's scale"),
        pytest.param({"net.1.weight": (64,)}, (0.0, 0.0), "norm_scale", id="zeros may be a norm's scale that adds 1"),
        pytest.param({"net.1.weight": (64,)}, (0.25, 0.0), "other_param", id="a constant slope is an activation's"),
        pytest.param({"net.1.weight": (1,)}, (0.25, 0.0), "other_param", id="one slope for all channels"),
        pytest.param({"norm.weight": (64,)}, (0.25, 0.0), "norm_scale", id="a norm stays one, whatever its values"),
        pytest.param({"net.1.weight": (64,)}, (1.0, 0.02), "norm_scale", id="values near 1 are a norm's"),
        pytest.param({"net.1.weight": (64,)}, (0.0, 0.5), "other_param", id="scattered values are not"),
        pytest.param({"layers.0.gamma": (64, 1, 1)}, (1e-5, 0.0), "other_param", id="a small constant is a gate"),
        pytest.param({"x.weight": (300, 64)}, (0.0, 1.0), "embedding", id="a standard normal is a lookup table"),
        pytest.param({"blocks.0.x.weight": (300, 64)}, (0.0, 0.02), "weight", id="a scaled one is not"),
    ],
)
def test_values_tell_apart_what_shapes_cannot(shapes, values, role):
    (name,) = shapes
    assert parts(shapes, values={name: values})[name].role == role


def test_a_pair_of_vectors_whose_shift_is_not_zero_is_no_norm():
    shapes = {"scaling.weight": (32,), "scaling.bias": (32,)}
    found = parts(shapes, values={"scaling.weight": (0.0, 0.0), "scaling.bias": (1.0, 0.0)})
    assert {part.role for part in found.values()} == {"other_param", "bias"}


def test_a_faulty_shift_does_not_unmake_a_norm_that_is_called_one():
    shapes = {"norm.weight": (32,), "norm.bias": (32,)}
    found = parts(shapes, values={"norm.weight": (1.0, 0.0), "norm.bias": (1.0, 0.0)})
    assert found["norm.bias"].role == "norm_shift"


def test_a_config_names_the_vocabulary():
    shapes = {"x.weight": (96, 64), "y.weight": (64, 64)}
    assert parts(shapes)["x.weight"].role == "weight"
    assert parts(shapes, config={"text_config": {"vocab_size": 96}})["x.weight"].role == "embedding"


@pytest.mark.parametrize(
    "config", [{"vocab_size": "96"}, {"vocab_size": None}, {"text_config": []}, {"vocab_size": -1}]
)
def test_a_config_of_other_types_is_only_ignored(config):
    assert parts({"x.weight": (96, 64)}, config=config)["x.weight"].role == "weight"


@pytest.mark.parametrize(("name", "role"), [("a.num_batches_tracked", "running_stat"), ("position_ids", "buffer")])
def test_what_is_not_floating_is_not_trained(name, role):
    assert parts({name: (4,)}, dtypes={name: "I64"})[name].role == role


@pytest.mark.parametrize(
    ("shapes", "kind"),
    [
        ({"a.weight": (4, 8), "a.bias": (4,)}, "linear"),
        ({"a.weight": (4, 8, 3, 3), "a.bias": (4,)}, "conv"),
        ({"a.weight": (8, 4, 3, 3), "a.bias": (4,)}, "conv_transposed"),
        ({"a.weight": (4,), "a.bias": (4,), "a.running_mean": (4,)}, "norm"),
        ({"embed.weight": (100, 8)}, "embedding"),
        ({"a.weight_ih_l0": (32, 8), "a.bias_ih_l0": (32,)}, "recurrent"),
        ({"a.in_proj_weight": (24, 8), "a.in_proj_bias": (24,)}, "attention"),
        ({"bilinear.weight": (4, 8, 6), "bilinear.bias": (4,)}, "bilinear"),
        ({"experts.up_proj": (4, 8, 16)}, "experts"),
        ({"a.A_log": (4, 8)}, "ssm"),
        ({"q.lora_A.weight": (4, 8)}, "adapter"),
        ({"gate": (4,)}, "other"),
        ({"thing": (4, 8)}, "unknown"),
    ],
)
def test_all_members_of_a_layer_have_its_kind(shapes, kind):
    assert {part.kind for part in parts(shapes).values()} == {kind}


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("h.0.mlp.c_fc.weight", "h.0.mlp.c_fc"),
        ("weight", ""),
        ("params/Dense_0/kernel", "params/Dense_0"),
        ("conv.parametrizations.weight.original1", "conv"),
        ("attn.in_proj_weight", "attn"),
    ],
)
def test_a_layer_is_the_module_that_owns_the_tensor(name, layer):
    assert parts({name: (4, 8)})[name].layer == layer


def test_the_order_of_the_tensors_does_not_matter():
    shapes = {name: shape for case, _ in WEIGHTS.values() for name, shape in case.items()}
    shuffled = list(shapes.items())
    random.Random(0).shuffle(shuffled)
    assert parts(dict(shuffled)) == parts(shapes)


HOSTILE_NAMES = [
    "", ".", "..", "/", "a..weight", ".weight", "weight.", "\n", "a\nb.weight", "é.weight", "x" * 1_000_000,
    "." * 5_000, "a." * 5_000 + "weight", "1." * 5_000 + "weight", "/" * 5_000, "a/" * 5_000 + "weight", "a/./b.",
    "parametrizations", "parametrizations.weight",
    "a.parametrizations", "²", "a.².weight", "a.99999999999999999999.weight", "_" * 10_000 + "weight",
    "aB" * 100_000, "a.parametrizations.parametrizations.original1", ":0", "weight:0",
]  # fmt: skip
HOSTILE_SHAPES = [(), (0,), (0, 0), (0, 4, 3), (4, 0, 3), (4, 4, 0), (1,) * 200, (2,) * 200, (1, 1, 1), (2**62, 2**62)]


@pytest.mark.parametrize("shape", HOSTILE_SHAPES, ids=lambda shape: f"{len(shape)}d")
def test_hostile_names_and_shapes_are_survived(shape):
    shapes = {f"{name}{ending}": shape for name in HOSTILE_NAMES for ending in ("", ".weight", ".kernel", ".lora_A")}
    shapes |= {f"{name}.bias": shape[:1] for name in HOSTILE_NAMES}
    assert parts(shapes).keys() == shapes.keys()


@pytest.mark.parametrize("seed", range(20))
def test_hostile_mixtures_are_survived(seed):
    draw = random.Random(seed)
    sizes = [0, 1, 1, 2, 4, 8, 16, 64]
    leaves = ["weight", "bias", "kernel", "scale", "w1", "W", "running_mean", "original0", "lora_A", "proj", "0", "x"]
    shapes = {}
    for _ in range(300):
        path = [draw.choice(["a", "norm", "experts", "up", "0", "1", "2", "embed"]) for _ in range(draw.randrange(3))]
        shapes[".".join([*path, draw.choice(leaves)])] = tuple(draw.choices(sizes, k=draw.randrange(6)))
    assert parts(shapes).keys() == shapes.keys()


@pytest.mark.parametrize("name", ["embed.weight", "wpe.weight", "wte/embedding", "wpe/embedding"])
def test_a_lookup_table_has_a_width_but_no_fan_in(name):
    part = parts({name: (500, 64), "fc.weight": (256, 64), "fc.bias": (256,)})[name]
    assert (part.kind, part.layout, part.fan_in, part.fan_out) == ("embedding", "embedding", None, 64)


def test_an_empty_matrix_has_no_fans():
    assert fans(parts({"fc.weight": (0, 8), "fc.bias": (0,)})["fc.weight"]) == ("weight", "none", None, None)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("model.layers.{}.mlp.fc.weight", id="blocks"),
        pytest.param("{}.weight", id="one sequence"),
        pytest.param("w{}", id="one module"),
        pytest.param("x{}weight", id="names without dots"),
        pytest.param("a{}.b{}.c.weight", id="modules of their own"),
        pytest.param("params/layers_{}/mlp/fc/kernel", id="blocks of Flax"),
        pytest.param("{}" + "x" * 200, id="names that end alike"),
    ],
)
@pytest.mark.parametrize("shape", [(64, 64), (64, 1, 3, 3), (64,), (8, 64, 32)], ids=str)
def test_the_work_is_linear_in_the_number_of_tensors(name, shape):
    def calls(count):
        profile = cProfile.Profile()
        profile.runcall(parts, {name.format(index, index): shape for index in range(count)})
        return sum(entry.callcount for entry in profile.getstats())

    assert calls(4000) < 5 * calls(1000)


def test_names_are_ordered_as_a_person_counts_whatever_signs_they_hold():
    names = ["layers.10.b", "layers.2.b", "layers.2.a", "layers", "layers.2²", "9" * 5000]
    assert sorted(names, key=natural) == ["9" * 5000, "layers", "layers.2.a", "layers.2.b", "layers.2²", "layers.10.b"]
