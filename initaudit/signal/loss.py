"""The loss at the start of a model of tokens: what the scale of its logits makes of ln(vocabulary).

Logits are head times what the last norm gives, so their deviation is s = std·√width·rms(norm), and over V of them the
expected cross-entropy is ln V + s²/2 as long as s is small; beyond that the largest of them rules, and the mean of
ln Σ exp is worked out for independent normal logits. In a head that is tied to the table of tokens the token that was
just read has a logit of its own, by as much as its row is still in the stream.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from initaudit.model import Model, Tensor
from initaudit.signal.activations import NODES
from initaudit.signal.growth import growth_of
from initaudit.signal.streams import block_of, final_scale

LEAST_TOKENS = 64
"""Fewer rows than this are no vocabulary: classes of a sentence, or kinds of tokens."""

_GENERATES = ("LMHead", "CausalLM", "MaskedLM", "ConditionalGeneration", "ForPreTraining")
"""Parts of the names of transformers' classes that have a head over the vocabulary, tied unless told otherwise."""

_SCALES = {"logit_scale": 1, "lm_head_multiplier": 1, "logits_scaling": -1}
"""Keys of configurations by which logits are multiplied, or divided: Cohere, Falcon-H1, Granite."""

_CAPS = ("final_logit_softcapping", "final_logit_softcap", "logits_soft_cap", "logit_softcapping")


@dataclass(frozen=True, slots=True)
class StartLoss:
    """The loss that a model of tokens starts with, and what it follows from."""

    head: Tensor
    """The matrix of the head, or the table to which it is tied."""
    is_tied: bool
    vocabulary: int
    std: float
    """The deviation of the logits, as the loss sees them."""
    nats: float
    rescaled_by: str = ""
    """The key of the configuration by which logits are scaled, empty where there is none."""

    @property
    def least(self) -> float:
        """The loss of one that knows nothing and says so: ln(vocabulary)."""
        return math.log(self.vocabulary)


def loss_of(model: Model) -> StartLoss | None:
    """The loss at the start; None where a model has no head over a vocabulary behind a norm, or none that is known."""
    return model.remember(_loss)


def _loss(model: Model) -> StartLoss | None:
    table, head = _ends(model)
    if table is None or head is None or head.statistics.nonfinite:
        return None
    vocabulary, width = head.shape if head.part.layout != "in_out" else head.shape[::-1]
    norm = final_scale(model, width)
    if norm is None or not 0 < norm < math.inf:
        return None
    std = head.statistics.moments.rms * math.sqrt(width) * norm
    own = 0.0
    growth = growth_of(model)
    if head is table and growth is not None:
        own = std * math.sqrt(width) * min(1.0, head.statistics.moments.rms / growth.signal[-1])
    factor, key = _rescaling(model.config, width, tied=head is table)
    spread = math.hypot(std * factor, math.fsum(t.std for t in model.partners(head) if t.is_bias and t is not table))
    cap = next((model.config[name] for name in _CAPS if _is_positive(model.config.get(name))), None)
    if cap is not None:
        key, own, spread = key or "a cap on logits", cap * math.tanh(own * factor / cap), _capped(spread, cap)
    else:
        own *= factor
    if not math.isfinite(spread):
        return None
    return StartLoss(head, head is table, vocabulary, spread, _entropy(vocabulary, spread, own), key)


def _ends(model: Model) -> tuple[Tensor | None, Tensor | None]:
    """The largest table of tokens, and the head that gives as many logits: the table itself where they are tied."""
    tables = [
        t for t in model.tensors if t.part.role == "embedding" and len(t.shape) == 2 and block_of(t, model) is None
    ]
    tables = [tensor for tensor in tables if tensor.shape[0] >= LEAST_TOKENS]
    if not tables:
        return None, None
    table = max(tables, key=lambda tensor: tensor.shape[0])
    heads = [
        tensor
        for tensor in model.weights
        if (tensor.part.fan_out, tensor.part.fan_in) == table.shape
        and len(tensor.shape) == 2
        and block_of(tensor, model) is None
    ]
    if heads:
        return table, heads[0] if len(heads) == 1 else None
    return table, table if _is_tied(model.config) else None


def _is_tied(config: Mapping[str, Any]) -> bool:
    """Whether a model without a head of its own has its table for one; transformers ties unless told otherwise."""
    names = config.get("architectures")
    classes = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    said = config.get("tie_word_embeddings")
    if classes:
        return said is not False and any(word in name for name in classes for word in _GENERATES)
    return said is True


def _rescaling(config: Mapping[str, Any], width: int, *, tied: bool) -> tuple[float, str]:
    """The factor by which a forward scales logits once more, and the key that says so."""
    for key, power in _SCALES.items():
        if _is_positive(config.get(key)):
            return float(config[key]) ** power, key
    if tied and config.get("model_type") in _DIVIDED and config.get("scale_decoder_outputs", True):
        return width**-0.5, "model_type"
    return 1.0, ""


_DIVIDED = frozenset(("t5", "mt5", "umt5", "longt5", "switch_transformers", "pop2piano", "udop"))
"""Models of transformers that divide by √width before a tied head, as Mesh TensorFlow does (Raffel et al. 2020)."""


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _capped(std: float, cap: float) -> float:
    """The deviation of cap·tanh(z/cap) for normal logits z."""
    points, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return cap * math.sqrt(float(np.square(np.tanh(std * points / cap)) @ weights / weights.sum()))


def _entropy(vocabulary: int, std: float, own: float) -> float:
    """E[ln Σ exp z] over independent normal logits of mean zero, and one that is ``own`` by itself.

    ln S = ∫ (e^(-t) - e^(-tS)) dt/t, and the mean of e^(-tS) is the V-th power of that of one summand. With t = e^(-u)
    the integrand is 1 from zero up to about E[ln S], and falls there.
    """
    if std == 0:
        return math.log(vocabulary - 1 + math.exp(min(own, 700.0))) if own < 700 else own
    z = np.linspace(-8.0, 8.0, 801)
    density = np.exp(-z * z / 2)
    density /= density.sum()
    top = max(math.log(vocabulary) + std * std / 2, std * math.sqrt(2 * math.log(vocabulary)), own) + 20
    top = min(top, max(std * 8.0 + math.log(vocabulary), own) + 20)
    u = np.linspace(-20.0, top, 4001)
    with np.errstate(over="ignore", under="ignore"):
        one = np.exp(-np.exp(std * z[None, :] - u[:, None])) @ density
        whole = np.power(one, vocabulary - 1) * np.exp(-np.exp(own - u))
        return float(np.trapezoid(np.exp(-np.exp(-u)) - whole, u))
