"""What deviates on purpose: the field's conventions, one row each, the first that fits is the one named."""

from initaudit.conventions import conditions as when
from initaudit.conventions.row import Convention

_ZERO = ("zero-weight",)
_BIAS = ("nonzero-bias", "positive-bias")

TABLE = (
    Convention(
        "adapter starts as the identity",
        _ZERO,
        r"lora_?(B|up|E)\b|lora_embedding_A|lora_B|hada_w2_b|lokr_w1|vera_lambda|hra_|(^|[._])adapter",
        when.has_a_nonzero_partner,
        "Hu et al. 2021 (LoRA): B = 0 while A is random",
    ),
    Convention(
        "rotation starts as the identity",
        _ZERO,
        r"\bb?oft_|oft_R",
        when.alike,
        "Qiu et al. 2023 (OFT): R = 0 is no rotation",
    ),
    Convention(
        "adaptive norm starts at zero",
        _ZERO,
        r"ada_?(ln|norm|rms|in)|modulation|modulate|to_(gamma|beta|scale|shift)\b|norm\w*\.(\w+\.)?linear\b",
        when.alike,
        "Peebles & Xie 2022 (adaLN-zero)",
    ),
    Convention(
        "zero convolution",
        _ZERO,
        r"zero_?(conv|module|proj|linear)|control\w*net_|(^|\.)control_|cond_embedding\.conv_out|input_hint_block"
        r"|middle_block_out|(^|\.)input_block\b",
        when.alike,
        "Zhang et al. 2023 (ControlNet)",
    ),
    Convention(
        "deformable attention starts from its bias",
        _ZERO,
        r"sampling_offsets?\b|(^|[._])offsets?\b",
        when.is_driven_by_its_bias,
        "Zhu et al. 2020 (Deformable DETR)",
    ),
    Convention(
        "attention starts uniform",
        _ZERO,
        r"attention_weights\b|(^|[._])attn_weights\b",
        when.alike,
        "Zhu et al. 2020 (Deformable DETR)",
    ),
    Convention(
        "gate or router starts neutral",
        _ZERO,
        r"gat(e|es|ing)\b|gateway|_gate|gate_|router|preact",
        when.alike,
        "Jumper et al. 2021 (AlphaFold gating); Beck et al. 2024 (xLSTM)",
    ),
    Convention(
        "output layer starts at zero",
        _ZERO,
        r"(^|[._])(head|heads|classifier|cls|logits?|score|readout|unembed|final\w*|last\w*|out|output|out_layer"
        r"|out_conv|out_block|output_blocks?|embed_out|fc|policy\w*|value_head|action_net|weighting)"
        r"(\.\d+|\.(proj|linear|lin|fc|conv|dense|layer)\d*)*\.(weight|kernel)$",
        when.is_zero_head,
        "Dhariwal & Nichol 2021 (zero_module); Yang & Hu 2022 (muP's readout)",
    ),
    Convention(
        "box regression starts at the anchor",
        _ZERO,
        r"(bbox|box|reg|coord|ctr|delta|point)\w*\.(.*\.)?\w*weight$",
        when.is_zero_head,
        "Zhu et al. 2020 (Deformable DETR): last layer of the box head",
    ),
    Convention(
        "residual branch starts at zero",
        _ZERO,
        "",
        when.closes_a_branch,
        "Goyal et al. 2017; Zhang et al. 2019 (Fixup)",
    ),
    Convention(
        "codebook is filled from the first batch",
        _ZERO,
        r"codebook|codevector|quantiz",
        when.alike,
        "Zeghidour et al. 2021 (SoundStream): k-means initialisation",
    ),
    Convention(
        "averaging filter",
        ("constant-weight",),
        "",
        when.averages,
        "a fixed mean, as in WaveRNN's upsampling",
    ),
    Convention(
        "identity initialisation",
        ("unfilled-block", "dead-units", "equal-units"),
        "",
        when.is_identity,
        "Le et al. 2015; torch.nn.init.eye_, dirac_",
    ),
    Convention(
        "padding row",
        ("dead-units",),
        "",
        when.is_padding,
        "torch.nn.Embedding(padding_idx=...), and heads copied from it",
    ),
    Convention(
        "rows behind the vocabulary",
        ("dead-units",),
        "",
        when.pads_the_vocabulary,
        "Shoeybi et al. 2019 (Megatron-LM): --make-vocab-size-divisible-by 128",
    ),
    Convention(
        "state-space mixer keeps PyTorch's default",
        ("skipped-init",),
        r"dt_proj|mamba|mixer|ssm",
        when.always,
        "Gu & Dao 2023 (Mamba): only embeddings and in-projections are drawn anew",
    ),
    Convention(
        "last norm of a residual block starts at zero",
        ("odd-norm-scale",),
        "",
        when.closes_its_block,
        "Goyal et al. 2017 (zero-gamma)",
    ),
    Convention(
        "weight tied to its embedding, or copied into a target network",
        ("equal-tensors", "shared-stream"),
        r"target|teacher|ema\b|_ema|momentum|shadow|original_module|modules_to_save|ref_model|online",
        when.always,
        "Mnih et al. 2015 (target networks); He et al. 2020 (momentum encoders)",
    ),
    Convention(
        "subpixel kernels start as nearest neighbours",
        ("equal-units",),
        r"upsampl|subpixel|shuffle|icnr",
        when.repeats_each,
        "Aitken et al. 2017 (ICNR)",
    ),
    Convention(
        "PyTorch's default bias, U(±1/sqrt(fan_in))",
        _BIAS,
        "",
        when.is_torch_default,
        "torch.nn.Linear, ConvNd, Bilinear, RNNBase",
    ),
    Convention(
        "bias a hair off zero",
        _BIAS,
        "",
        when.is_tiny,
        "Dosovitskiy et al. 2020 (ViT): N(0, 1e-6)",
    ),
    Convention(
        "bias at the prior probability",
        _BIAS,
        r"cls|class|logit|score|objectness|heatmap|head|pred|hm\b",
        when.is_a_prior,
        "Lin et al. 2017 (RetinaNet): the log-odds of a rare class",
    ),
    Convention(
        "gate starts open or closed",
        _BIAS,
        r"gat(e|es|ing)\b|gateway|_gate|gate_|preact|forget|highway|decay",
        when.has_one_sign,
        "Jozefowicz et al. 2015; Jumper et al. 2021; Liu et al. 2021 (gMLP)",
    ),
    Convention(
        "gate or identity starts at one",
        _BIAS,
        "",
        when.is_zero_or_one,
        "Jaderberg et al. 2015 (spatial transformer); gated linear units whose gate half is one",
    ),
    Convention(
        "deformable attention's ray grid",
        _BIAS,
        r"sampling_offsets?\.bias",
        when.always,
        "Zhu et al. 2020 (Deformable DETR)",
    ),
    Convention(
        "state-space time step",
        _BIAS,
        r"(^|[._])dt(_|\b)|delta",
        when.is_time_step,
        "Gu & Dao 2023 (Mamba)",
    ),
    Convention(
        "style or softmax scale starts at one",
        _BIAS,
        r"affine|scal(e|ing)|style|temperature",
        when.alike,
        "Karras et al. 2019 (StyleGAN)",
    ),
)
