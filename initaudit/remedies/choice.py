"""What a faulty tensor is drawn from: as its siblings are, else as its model is, else as its kind is.

Sources of what is usual for a kind: PyTorch's modules, and the papers named in the table of conventions.
"""

import math
import re

from initaudit.advice import he, lecun
from initaudit.architectures import ZERO_CENTRED_NORMS, architecture_of
from initaudit.model import Expectation, Model, Tensor
from initaudit.remedies.siblings import Healthy, as_siblings, as_the_model
from initaudit.remedies.values import Remedy, constant, normal
from initaudit.scale import is_output

USUAL_STD = 0.02
"""What embeddings, positions and learned tokens are drawn with where nothing else says so (GPT-2, BERT)."""

AS_STATED = 0.1
"""How near to the stated deviation a weight is drawn by it: the standard error of a hundred values is 7 %."""

RELU_LIKE = re.compile(r"relu|gelu|silu|swish|mish|elu")
ACTIVATION_KEYS = ("hidden_act", "activation_function", "hidden_activation", "act_fn", "activation")

ROTARY_BASE = 10000.0


def choose(tensor: Tensor, healthy: Healthy, expected: Expectation | None = None) -> Remedy | None:
    """What a faulty tensor should hold instead, None where nothing says so; ``expected`` is what its finding says."""
    model = healthy.model
    if expected is not None and expected.value is not None:
        return constant(expected.value, _reason(tensor, expected, healthy))
    match tensor.part.role:
        case "weight" | "embedding" | "positional" | "token" | "rnn_weight":
            return _drawn(tensor, healthy, expected)
        case "bias" | "rnn_bias" | "norm_shift":
            return as_siblings(tensor, healthy) or _bias(tensor, healthy)
        case "norm_scale":
            return as_siblings(tensor, healthy) or _norm_scale(model)
        case "running_stat":
            variance = "var" in tensor.leaf
            return constant(float(variance), f"a fresh running {'variance is 1' if variance else 'mean is 0'}")
        case _:
            return _by_formula(tensor, model) or as_siblings(tensor, healthy)


def _reason(tensor: Tensor, expected: Expectation, healthy: Healthy) -> str:
    """The words for a value that a finding expects: those of the siblings where they hold it, else its own source."""
    found = as_siblings(tensor, healthy)
    return found.reason if found is not None and found.parameters.get("value") == expected.value else expected.source


def _drawn(tensor: Tensor, healthy: Healthy, expected: Expectation | None) -> Remedy | None:
    found = as_siblings(tensor, healthy)
    if found is None and expected is not None and expected.std:
        found = normal(expected.std, expected.source)
    if found is None and tensor.part.role in ("weight", "rnn_weight"):
        found = as_the_model(tensor, healthy) or _as_stated(healthy) or _by_kind(tensor, healthy.model)
    found = found or normal(USUAL_STD, f"usual for a table of kind {tensor.part.role}")
    padding = _padding_row(tensor, healthy.model)
    if padding is None:
        return found
    return Remedy(found.scheme, found.law, {**found.parameters, "padding": padding}, found.reason)


def _as_stated(healthy: Healthy) -> Remedy | None:
    """The deviation that ``config.json`` states, unless the healthy weights were drawn and none of them has it."""
    stated = healthy.model.config.get("initializer_range")
    if not isinstance(stated, float) or not 0 < stated < 1:
        return None
    drawn = [other.std for other in healthy.tensors if other.is_weight and other.std > 0]
    if drawn and not any(math.isclose(std, stated, rel_tol=AS_STATED) for std in drawn):
        return None
    return normal(stated, "config.json states it as initializer_range")


def _by_kind(tensor: Tensor, model: Model) -> Remedy | None:
    fan_in = tensor.part.fan_in
    if tensor.part.role == "rnn_weight":
        hidden = min(tensor.shape[0] // gates for gates in (1, 3, 4) if tensor.shape[0] % gates == 0)
        hidden = tensor.shape[-1] if "hh" in tensor.name else hidden
        return _uniform("torch_default", (3 * hidden) ** -0.5, "PyTorch's default for recurrent layers")
    if not fan_in:
        return normal(USUAL_STD, "usual where no fan is known")
    if tensor.part.kind == "adapter":
        return _uniform("torch_default", (3 * fan_in) ** -0.5, "the first factor of an adapter (Hu et al. 2021)")
    activation = next((str(model.config[key]) for key in ACTIVATION_KEYS if key in model.config), "")
    if not is_output(tensor, model) and (RELU_LIKE.search(activation) or tensor.part.kind == "conv"):
        chosen = {"mode": "fan_in", "nonlinearity": "relu", "std": he(fan_in)}
        return Remedy("kaiming_normal", "normal", chosen, f"{activation or 'ReLU'} follows a {tensor.part.kind} layer")
    return Remedy("lecun_normal", "normal", {"std": lecun(fan_in)}, "keeps the variance of its input")


def _uniform(scheme: str, std: float, reason: str) -> Remedy:
    return Remedy(scheme, "uniform", {"std": std}, reason)


def _bias(tensor: Tensor, healthy: Healthy) -> Remedy:
    """Zero, or PyTorch's default where that is what the biases of the model are."""
    if tensor.is_bias:
        biases = [other for other in healthy.tensors if other.is_bias and other.count > 1]
        drawn = [other for other in biases if not other.statistics.is_constant]
        fan = next((other.part.fan_in for other in healthy.model.partners(tensor) if other.is_weight), None)
        if fan and 2 * len(drawn) > len(biases):
            return _uniform("torch_default", (3 * fan) ** -0.5, f"as {len(drawn):,} of {len(biases):,} biases are")
    return constant(0.0, "a bias starts at zero" if tensor.is_bias else "the shift of a norm starts at zero")


def _norm_scale(model: Model) -> Remedy:
    if architecture_of(model.config) in ZERO_CENTRED_NORMS:
        return constant(0.0, "the norms of this architecture add one")
    return constant(1.0, "the scale of a norm starts at one")


def _padding_row(tensor: Tensor, model: Model) -> int | None:
    """The row of a table of tokens that stays zero."""
    row = model.config.get("pad_token_id")
    is_table = tensor.part.role == "embedding" and model.config.get("vocab_size") == tensor.shape[0]
    return row if is_table and isinstance(row, int) and 0 <= row < tensor.shape[0] else None


def _by_formula(tensor: Tensor, model: Model) -> Remedy | None:
    """What is computed, or drawn by a law of its own: rotary frequencies, and state-space rates and steps."""
    leaf = tensor.leaf
    if leaf.endswith("inv_freq") and len(tensor.shape) == 1:
        stated = model.config.get("rope_theta")
        base = float(stated) if isinstance(stated, int | float) and stated > 1 else ROTARY_BASE
        return _formula("rotary", f"base^(-2i/d), base {base:g}", base=base)
    if leaf == "A_log" and len(tensor.shape) == 2:
        return _formula("log_arange", "Gu & Dao 2023 (Mamba): ln(1 ... N) in each row")
    if leaf == "A_log":
        return _formula("log_uniform", "Dao & Gu 2024 (Mamba-2): ln U(1, 16)", low=1.0, high=16.0)
    if leaf == "dt_bias":
        return _formula("time_step", "Gu & Dao 2023 (Mamba): steps of 0.001 to 0.1", low=1e-3, high=0.1)
    return None


def _formula(formula: str, reason: str, **parameters: float) -> Remedy:
    return Remedy(formula, "formula", {"formula": formula, **parameters}, reason)
