"""How a residual stream grows from block to block: two moments of it, its variance and the covariance of two tokens.

With x normalised before each branch, attention that starts uniform gives each token a mean over those it sees: of T
tokens of correlation c a variance of g²·(c + (1 - c)/T), and what two tokens share grows. A feed-forward branch passes
E[f(x)f(y)] on at that correlation. One moment alone, without the correlation, is too small by half for a Llama.
"""

import math
from dataclasses import dataclass

from initaudit.architectures import architecture_of
from initaudit.model import Model, Tensor
from initaudit.signal.activations import activation_of, product
from initaudit.signal.streams import Branches, Stream, stream_of, tables_of

TOKENS = 64
"""The length of the sequence for which growth is told: uniform attention over more averages more away."""


@dataclass(frozen=True, slots=True)
class Growth:
    """The root mean square of the stream before the first block and behind each, for so many tokens."""

    start: float
    signal: tuple[float, ...]
    tokens: int
    correlation: float
    """Of two tokens behind the last block: near one they can hardly be told apart."""
    activation: str
    is_assumed: bool
    """Whether no configuration names the activation."""

    @property
    def factor(self) -> float:
        """What is behind the last block over what is behind the first."""
        return self.signal[-1] / self.signal[0]


def growth_of(model: Model) -> Growth | None:
    """The growth of a model's residual stream; None where it has none, or its parts are not known."""
    return model.remember(_growth)


def _growth(model: Model) -> Growth | None:
    stream = stream_of(model)
    if stream is None or model.config.get("residual_multiplier", 1) != 1:
        return None
    tables = list(tables_of(model, stream.width))
    tokens = [tensor for tensor in tables if tensor.part.role == "embedding"]
    start = math.fsum(tensor.statistics.moments.rms**2 for tensor in tables)
    if not tokens:
        patches = _patches(model, stream.width)
        if patches is None:
            return None
        start += patches
    start *= _embedding_factor(model, stream.width) ** 2
    named = activation_of(model.config)
    activation = named or ("silu" if stream.blocks[0].is_gated else "gelu")
    if not 0 < start < math.inf:
        return None
    return _run(stream, start, activation, is_assumed=named is None, causal=bool(tokens))


_MULTIPLIED = frozenset(("gemma", "gemma2", "gemma3", "gemma3_text", "recurrent_gemma"))
"""Architectures of transformers that multiply what the table of tokens gives by √width."""


def _embedding_factor(model: Model, width: int) -> float:
    """The factor by which the forward scales the sum of its tables before the first block."""
    factor = model.config.get("embedding_multiplier")
    if isinstance(factor, int | float) and not isinstance(factor, bool) and 0 < factor < math.inf:
        return float(factor)
    return math.sqrt(width) if architecture_of(model.config) in _MULTIPLIED else 1.0


def _patches(model: Model, width: int) -> float | None:
    """The variance of patches of a picture whose pixels have a deviation of one, None where nothing reads any."""
    stems = [t for t in model.weights if t.part.kind == "conv" and len(t.shape) == 4 and t.part.fan_out is not None]
    stems = [tensor for tensor in stems if tensor.shape[0] == width and tensor.shape[1] <= 4]
    return _gain(stems[0]) ** 2 if len(stems) == 1 else None


def _run(stream: Stream, start: float, activation: str, *, is_assumed: bool, causal: bool) -> Growth | None:
    whole, shared, signal = start, 0.0, []
    own, common = _seen(TOKENS, causal=causal)
    for block in stream.blocks:
        at = shared / whole
        gain = (stream.norm * _value_gain(block) * _gain(block.output)) ** 2
        whole += gain * (at + (1 - at) * own)
        shared += gain * (at + (1 - at) * common)
        at = shared / whole
        whole += _fed(block, stream.norm, activation, 1.0)
        shared += _fed(block, stream.norm, activation, at)
        if not 0 < whole < math.inf:
            return None
        signal.append(math.sqrt(whole))
    return Growth(math.sqrt(start), tuple(signal), TOKENS, shared / whole, activation, is_assumed)


def _seen(tokens: int, *, causal: bool) -> tuple[float, float]:
    """The mean of 1/n over tokens that see n of them, and that of 1/max(n, m) over pairs of different tokens."""
    if not causal:
        return 1 / tokens, 1 / tokens
    pairs = math.fsum((late - 1) / late for late in range(2, tokens + 1))
    return math.fsum(1 / n for n in range(1, tokens + 1)) / tokens, pairs / (tokens * (tokens - 1) / 2)


def _fed(block: Branches, norm: float, activation: str, correlation: float) -> float:
    """What a feed-forward branch adds to the covariance of two signals of variance one that are correlated so."""
    gate = norm * _gain(block.rising[0])
    passed = product(activation, gate, min(correlation, 1.0))
    if block.is_gated:
        passed *= (norm * _gain(block.rising[-1])) ** 2 * correlation
    return passed * _gain(block.falling) ** 2


def _gain(tensor: Tensor) -> float:
    return tensor.statistics.moments.rms * math.sqrt(tensor.part.fan_in or 1)


def _value_gain(block: Branches) -> float:
    """The gain of the values: of the last third of a packed matrix, where its thirds are known."""
    tensor = block.value
    thirds = tensor.units.parts.get(3) if block.share == 3 and tensor.units is not None else None
    return math.sqrt(thirds[-1] * (tensor.part.fan_in or 1)) if thirds else _gain(tensor)
