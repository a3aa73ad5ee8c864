"""What deviates on purpose and would else be found: the few conventions that decide, each while its condition holds.

What is said of zeros, biases and norms is not decided here: gradients and kin do that, and names only caption it.
"""

from initaudit.conventions import biases, scales
from initaudit.conventions import conditions as when
from initaudit.conventions.row import Convention

TABLE = (
    Convention(
        "gate starts at one value",
        ("vanishing-weight",),
        "",
        biases.opens_a_gate,
        "Liu et al. 2021 (gMLP): weight near 0, bias 1",
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
        "weight tied to its embedding, or copied into a target network",
        ("equal-tensors", "shared-stream"),
        r"target|teacher|ema\b|_ema|momentum|shadow|original_module|modules_to_save|ref_model|online|averaged",
        when.always,
        "Mnih et al. 2015 (target networks); He et al. 2020 (momentum encoders)",
    ),
    Convention(
        "sinusoidal table",
        ("off-centre-weight", "equal-units", "few-valued-weight", "uneven-units", "common-direction"),
        "",
        scales.is_sinusoidal,
        "Vaswani et al. 2017: sin and cos of positions, kept as an embedding",
    ),
    Convention(
        "equalised learning rate",
        ("exploding-weight",),
        "",
        scales.is_equalised,
        "Karras et al. 2018: weights are N(0, 1) and scaled by 1/sqrt(fan_in) when they are used",
    ),
    Convention(
        "residual branch starts near zero",
        ("vanishing-weight",),
        "",
        scales.ends_near_zero,
        "Song et al. 2021 (score SDE: variance 1e-10); Durkan et al. 2019 (neural spline flows: U(±0.001))",
    ),
    Convention(
        "adapter starts near the identity",
        ("vanishing-weight",),
        r"adapter",
        scales.is_alike_in_scale,
        "Houlsby et al. 2019",
    ),
    Convention(
        "subpixel kernels start as nearest neighbours",
        ("equal-units",),
        "",
        scales.repeats_neighbours,
        "Aitken et al. 2017 (ICNR)",
    ),
)
