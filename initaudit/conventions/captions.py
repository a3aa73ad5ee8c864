"""How the field calls what is no fault: captions for what gradients, kin and values have found to be harmless.

A caption decides nothing. It is looked up, by name and in part by values, once it is known that nothing is wrong.
"""

from initaudit.biases import is_drawn_as_its_weight, is_torch_default
from initaudit.conventions import biases
from initaudit.conventions import conditions as when
from initaudit.conventions.row import Convention

_ZERO = ("zero-weight",)
_BIAS = ("nonzero-bias",)

CAPTIONS = (
    Convention(
        "adapter starts as the identity",
        _ZERO,
        r"lora_?(B|up|E)\b|lora_embedding_A|lora_B|hada_w2_b|lokr_w1|vera_lambda|hra_|(^|[._])adapter",
        when.always,
        "Hu et al. 2021 (LoRA): B = 0 while A is random",
    ),
    Convention(
        "rotation starts as the identity",
        _ZERO,
        r"\bb?oft_|oft_R",
        when.always,
        "Qiu et al. 2023 (OFT): R = 0 is no rotation",
    ),
    Convention(
        "adaptive norm starts at zero",
        _ZERO,
        r"ada_?(ln|norm|rms|in)|modulation|modulate|film|to_(gamma|beta|scale|shift)\b|norm\w*\.(\w+\.)?linear\b",
        when.always,
        "Peebles & Xie 2022 (adaLN-zero)",
    ),
    Convention(
        "zero convolution",
        _ZERO,
        r"zero_?(conv|module|proj|linear)|control\w*net_|(^|\.)control_|cond_embedding\.conv_out|input_hint_block"
        r"|middle_block_out|(^|\.)input_block\b",
        when.always,
        "Zhang et al. 2023 (ControlNet)",
    ),
    Convention(
        "deformable attention starts from its bias",
        _ZERO,
        r"sampling_offsets?\b|(^|[._])offsets?\b",
        when.always,
        "Zhu et al. 2020 (Deformable DETR)",
    ),
    Convention(
        "attention starts uniform",
        _ZERO,
        r"attention_weights\b|(^|[._])attn_weights\b",
        when.always,
        "Zhu et al. 2020 (Deformable DETR)",
    ),
    Convention(
        "gate or router starts neutral",
        _ZERO,
        r"gat(e|es|ing)\b|gateway|_gate|gate_|router|preact",
        when.always,
        "Jumper et al. 2021 (AlphaFold gating); Beck et al. 2024 (xLSTM)",
    ),
    Convention(
        "coupling starts as the identity",
        _ZERO,
        r"coupling|(^|[._])flows?[._]|invconv|actnorm",
        when.always,
        "Kingma & Dhariwal 2018 (Glow)",
    ),
    Convention(
        "linear recurrence starts from its decay",
        _ZERO,
        r"(^|\.)(att|attention|ffn|feed_forward)\.(key|receptance|value|output|[wavg]1)\b",
        when.always,
        "Peng et al. 2023, 2025 (RWKV-4 to RWKV-7)",
    ),
    Convention(
        "recurrent part starts at zero",
        _ZERO,
        r"slstm",
        when.always,
        "Beck et al. 2024 (xLSTM): the recurrent kernels of sLSTM",
    ),
    Convention(
        "a bias for each user or item starts at zero",
        _ZERO,
        r"bias(es)?\.weight$",
        when.always,
        "Koren et al. 2009 (matrix factorisation)",
    ),
    Convention(
        "output layer starts at zero",
        _ZERO,
        r"(^|[._])(head|heads|classifier|cls|logits?|score|readout|unembed|final\w*|last\w*|out|output|out_layer"
        r"|out_conv|out_block|output_blocks?|embed_out|fc|policy\w*|value_head|action_net|weighting)"
        r"(\.\d+|\.(proj|linear|lin|fc|conv|dense|layer)\d*)*\.(weight|kernel)$",
        when.always,
        "Dhariwal & Nichol 2021 (zero_module); Yang & Hu 2022 (muP's readout)",
    ),
    Convention(
        "box regression starts at the anchor",
        _ZERO,
        r"(bbox|box|reg|coord|ctr|delta|point)\w*\.(.*\.)?\w*weight$",
        when.always,
        "Zhu et al. 2020 (Deformable DETR): last layer of the box head",
    ),
    Convention(
        "codebook is filled from the first batch",
        _ZERO,
        r"codebook|codevector|quantiz",
        when.always,
        "Zeghidour et al. 2021 (SoundStream): k-means initialisation",
    ),
    Convention(
        "residual branch starts at zero",
        _ZERO,
        r"(^|[._])(c_proj|o_proj|out_proj|w?o|w2|down_proj|down|fc2|proj\d*|conv\d|linear2|dense|to_out(\.\d)?|\d)\.(weight|kernel)$",
        when.always,
        "Goyal et al. 2017; Zhang et al. 2019 (Fixup)",
    ),
    Convention(
        "forget gate starts open",
        _BIAS,
        "",
        biases.is_forget_gate,
        "Jozefowicz et al. 2015; Tallec & Ollivier 2018 (chrono)",
    ),
    Convention(
        "softplus starts at one",
        _BIAS,
        "",
        biases.is_softplus_of_one,
        "Durkan et al. 2019 (neural spline flows); Jumper et al. 2021",
    ),
    Convention(
        "bias at the log-odds of its classes",
        _BIAS,
        "",
        biases.lies_at_log_odds,
        "Lin et al. 2017 (RetinaNet), as in YOLO's heads",
    ),
    Convention(
        "variational posterior starts scattered",
        _BIAS,
        r"(^|[._])(mu_bias|bias_mu)$",
        biases.is_small_and_random,
        "Blundell et al. 2015 (Bayes by backprop)",
    ),
    Convention(
        "input gate starts near its middle",
        _BIAS,
        r"(^|[._])i_?gate\b|input_?gate",
        biases.is_small_and_random,
        "Beck et al. 2024 (xLSTM): N(0, 0.1)",
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
        r"gat(e|es|ing)\b|gateway|_gate|gate_|preact|forget|highway|decay|ada_?ln|film",
        when.always,
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
        r"affine|scal(e|ing)|style|temperature|modulat|gamma",
        when.always,
        "Karras et al. 2019 (StyleGAN)",
    ),
    Convention(
        "PyTorch's default bias, U(±1/sqrt(fan_in))",
        _BIAS,
        "",
        is_torch_default,
        "torch.nn.Linear, ConvNd, Bilinear, RNNBase",
    ),
    Convention(
        "bias drawn as its weight",
        _BIAS,
        "",
        is_drawn_as_its_weight,
        "Kipf & Welling 2017 (GCN); Sitzmann et al. 2020 (SIREN): one uniform law for all parameters of a layer",
    ),
)
