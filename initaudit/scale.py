"""The scale of weights in their context: what a gain means beside the rest of the model.

Gain is std·√fan_in. A plain chain of matrices multiplies its gains; a norm, a residual stream or a weight norm does
not, so the same gain is broken in one place and usual in another. Thresholds: knowledge of the recurrences (Poole et
al. 2016, Schoenholz et al. 2016) and the extremes of healthy fresh models of released libraries, each said beside it.
"""

import math
import re
from collections.abc import Iterator, Sequence

from initaudit.advice import scales_text
from initaudit.faults import Cause, Fault
from initaudit.layers.axes import input_axis
from initaudit.model import Model, Tensor
from initaudit.names.meanings import DIRECTION, LENGTH
from initaudit.names.segments import dotted, natural

LEAST_COUNT = 64
"""Fewer elements say too little about a deviation: at 64 the standard error of ln(std) is 9 %."""

RELU_LOSS = 0.5
"""E[f(z)²] of ReLU for a standard normal z: the share of the variance that survives a layer. Others lie nearby."""

LEAST_FEATURES = 16
"""Fewer channels than this are not flattened into a classifier; nearly every width is a multiple of 2 or 4."""

FARTHEST = 8.0
"""Deviations that no generator reaches: PyTorch's normal ends at 5.8 in float32, cuRAND's at 6.8, jax' at 5.3."""

HUGE = 5e3
"""No initialisation gives so large a weight, bias or scale; the largest in fresh released models is 100."""

UNSCALED = 0.05
"""How near to one, in its logarithm, a standard deviation is that was left as `randn` gives it."""

COLOURS = 4
"""Channels of a picture, or coordinates: what reads them is no head's match, and is scaled to their size, not to its
fan."""


def judged_weights(model: Model) -> tuple[Tensor, ...]:
    """The weights whose scale means something.

    Left out are those of few elements, of unknown fans or without spread, sparse and identity patterns, and weights
    whose scale is divided out: the parts of weight norm and spectral norm.
    """
    return model.remember(_judged)


def _judged(model: Model) -> tuple[Tensor, ...]:
    return tuple(
        tensor
        for tensor in model.weights
        if tensor.count >= LEAST_COUNT
        and tensor.part.fan_in
        and 0 < tensor.std < math.inf
        and not tensor.statistics.nonfinite
        and tensor.pattern is None
        and not is_divided(tensor, model)
    )


def is_divided(tensor: Tensor, model: Model) -> bool:
    """Whether the scale of a weight is divided out when it is used: the parts of weight norm and spectral norm."""
    return tensor.part.layer in model.remember(_divided_layers) or DIRECTION.search(tensor.name) is not None


def is_output(tensor: Tensor, model: Model) -> bool:
    """Whether no layer reads as many features as this one gives: a head, whose small scale is harmless.

    A multiple counts as well where it may be a flattened map of features, from `LEAST_FEATURES` of them on.
    """
    width = _width_out(tensor)
    read = model.remember(_widths_read)
    return width not in read and (width < LEAST_FEATURES or not any(other % width == 0 for other in read))


_OUTPUT = re.compile(
    r"(^|\.)(c_proj|o_proj|out_proj|wo|Wo|w2|down_proj|fc2|fc_out|dense_4h_to_h|attn_out|ff_out|linear2|linear_fc2"
    r"|linear_proj|output\.dense|attention\.dense|attn\.proj|to_out(\.0)?)\.(weight|kernel)$"
)
"""The matrices that end a residual branch, in the names of the field."""


def is_called_output(tensor: Tensor) -> bool:
    """Whether a matrix has a name of those that end a residual branch."""
    return _OUTPUT.search(dotted(tensor.name[-200:])) is not None


def farthest(tensor: Tensor) -> tuple[float, float]:
    """The value that lies farthest from the mean, and how many deviations it does; 0 of a constant."""
    values = tensor.statistics
    value = max(values.minimum, values.maximum, key=lambda value: abs(value - values.mean))
    return value, abs(value - values.mean) / tensor.std if tensor.std > 0 else 0.0


def plain_chains(model: Model) -> Iterator[tuple[Tensor, ...]]:
    """Runs of weights of which each reads what the one before gives, in a model that normalises nowhere.

    Their names differ in one number, as those of a sequence do (``fc1``, ``fc2``; ``net.0``, ``net.2``): layers that
    stand side by side (q, k, v) or in a block with a residual have other names.
    """
    if model.has_norms:
        return
    run: list[Tensor] = []
    for tensor in sorted(judged_weights(model), key=lambda tensor: natural(tensor.name)):
        if run and not (_same_sequence(run[-1], tensor, model) and _width_out(run[-1]) == width_in(tensor)):
            yield tuple(run)
            run = []
        run.append(tensor)
    if run:
        yield tuple(run)


def chain_growth(chain: Sequence[Tensor]) -> float:
    """By what factor a plain chain with ReLU between its layers scales a signal: ∏ gain·√`RELU_LOSS`."""
    return math.prod((tensor.gain or 1.0) * math.sqrt(RELU_LOSS) for tensor in chain)


def is_most(chain: Sequence[Tensor], model: Model) -> bool:
    """Whether a plain chain is most of its model, so that nothing that is not in it can make up for what it does."""
    return 2 * len(chain) > len(judged_weights(model))


def is_unscaled(chain: Sequence[Tensor]) -> bool:
    """Whether a chain is N(0, 1) throughout, as it is where each weight is scaled when it is used."""
    return all(abs(math.log(tensor.std)) < UNSCALED for tensor in chain)


def chain_faults(chain: Sequence[Tensor], effect: str, severity: str | None = None) -> Iterator[Fault]:
    """A fault of each layer of a plain chain, with one cause; ``effect`` says what the chain does to a signal."""
    low, high = min(tensor.gain or 0.0 for tensor in chain), max(tensor.gain or 0.0 for tensor in chain)
    gains = f"gains of {low:.3g} to {high:.3g}" if f"{low:.3g}" != f"{high:.3g}" else f"a gain of {low:.3g} each"
    cause = Cause(
        chain[0].name,
        f"{gains} in a chain of {len(chain)} layers without norms {effect};"
        f" expected a gain of 1, or sqrt(2) before ReLU, in each: {scales_text(chain[0])} for the first",
    )
    yield from cause.faults(
        (tensor.name for tensor in chain),
        advice="scale each draw by its fan-in: std 1/sqrt(fan_in), or sqrt(2/fan_in) before ReLU",
        severity=severity,
        evidence={"growth": chain_growth(chain), "gains": tuple(tensor.gain for tensor in chain)},
    )


def _divided_layers(model: Model) -> frozenset[str]:
    """The layers that keep a weight's length apart (weight norm) or divide it out (spectral norm)."""
    return frozenset(tensor.part.layer for tensor in model.tensors if LENGTH.search(tensor.name))


def _widths_read(model: Model) -> frozenset[int]:
    widths = (width_in(tensor) for tensor in model.weights if tensor.part.kind != "conv" or width_in(tensor) > COLOURS)
    return frozenset(widths) - {0}


def width_in(tensor: Tensor) -> int:
    """The number of features a weight reads; a convolution stores those of one group."""
    axis = input_axis(tensor.part, tensor.shape)
    groups = 1 if tensor.part.layout == "conv_transposed" else tensor.part.groups
    return tensor.shape[axis] * groups if axis >= 0 else 0


def _width_out(tensor: Tensor) -> int:
    """The number of features a weight gives; a transposed convolution stores those of one group."""
    groups = tensor.part.groups if tensor.part.layout == "conv_transposed" else 1
    return tensor.width * groups


def _same_sequence(a: Tensor, b: Tensor, model: Model) -> bool:
    """Whether the names of two layers have one number each, and are alike but for it."""
    sequence = model.blocks.sequence(a.name)
    return sequence is not None and sequence == model.blocks.sequence(b.name)
