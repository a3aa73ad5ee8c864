"""The scale of weights in their context: what a gain means beside the rest of the model.

Gain is std·√fan_in. A plain chain of matrices multiplies its gains; a norm, a residual stream or a weight norm does
not, so the same gain is broken in one place and usual in another. Thresholds: knowledge of the recurrences (Poole et
al. 2016, Schoenholz et al. 2016) and the extremes of healthy fresh models of released libraries, each said beside it.
"""

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from initaudit.advice import lecun, scales_text
from initaudit.faults import Cause, Expectation, Fault
from initaudit.layers.axes import input_axis
from initaudit.model import Model, Tensor
from initaudit.names.meanings import DIRECTION, LENGTH
from initaudit.names.segments import dotted, natural
from initaudit.schemes import scales_by_fan
from initaudit.signatures import likely_cause
from initaudit.significance import HARD_Z, log_std_error

LEAST_COUNT = 64
"""Fewer elements say too little about a deviation: at 64 the standard error of ln(std) is 9 %."""

RELU_LOSS = 0.5
"""E[f(z)²] of ReLU for a standard normal z: the share of the variance that survives a layer. Others lie nearby."""

ODD_FACTOR = 1.5
"""How far the deviation of one of several alike may be off before it is odd, beside `HARD_Z` standard errors."""

AGREED, ODD_AMONG_AGREED = 1.05, 1.1
"""Where the siblings agree to a twentieth, beyond their errors, a tenth is odd. Of 35,000 weights of fresh released
models none is off by more than a twentieth there; what differs more by design goes with the depth, and spreads."""

LEAST_SCALED = 4
"""So many linear layers of a list of blocks, not square, must follow a scheme for it to be theirs."""

LEAST_FEATURES = 16
"""Fewer channels than this are not flattened into a classifier; nearly every width is a multiple of 2 or 4."""

LEAST_SIBLINGS = 2
"""Two that agree against one that does not are the fewest that can tell which of them is odd."""

FARTHEST = 8.0
"""Deviations that no generator reaches: PyTorch's normal ends at 5.8 in float32, cuRAND's at 6.8, jax' at 5.3."""

HUGE = 5e3
"""No initialisation gives so large a weight, bias or scale; the largest in fresh released models is 100."""

COLOURS = 4
"""Channels of a picture, or coordinates: what reads them is no head's match, and is scaled to their size, not to its
fan."""

SPARSE, FEW = 0.1, 256
"""Weights with more zeros and fewer elements have heavy tails, and a deviation that is known badly."""

TIGHT = 1.3
"""The middle half of a model's scales within this factor: then they follow one recipe, and a stray is a stray."""

EXACT, EXACT_SHARE = 1.1, 0.8
"""Four fifths of the scales within a tenth of their median: one scheme for the whole model, with its heads apart."""

STRAY_FACTOR = 1.75
"""How far a weight may be off a scheme that the rest follows exactly; by less than this schemes differ among each other
(√2 for ReLU, √3 for a bound taken for a deviation), and those that `is_textbook` knows are spared at any distance."""

LECUN, WRONG_FAN = 1.03, 1.3
"""Linear layers of a block whose gains are 1 to 3 % are scaled by 1/√fan_in, so one that is 1.3 times above took
another fan. In 766 fresh released models no linear layer of such blocks is; some are below, as T5's queries."""

LOOSE_FACTOR = 5.0
"""How far it may be off a recipe that only half of the weights share: schemes in use differ by 3.5 on one fan."""


def judged_weights(model: Model) -> tuple[Tensor, ...]:
    """The weights whose scale means something.

    Left out are those of few elements, of unknown fans or without spread, sparse and identity patterns, and weights
    whose scale is divided out: the parts of weight norm and spectral norm.
    """
    return model.remember(_judged)


def _judged(model: Model) -> tuple[Tensor, ...]:
    divided = _divided_layers(model)
    return tuple(
        tensor
        for tensor in model.weights
        if tensor.count >= LEAST_COUNT
        and tensor.part.fan_in
        and 0 < tensor.std < math.inf
        and not tensor.statistics.nonfinite
        and tensor.pattern is None
        and tensor.part.layer not in divided
        and not DIRECTION.search(tensor.name)
    )


def is_output(tensor: Tensor, model: Model) -> bool:
    """Whether no layer reads as many features as this one gives: a head, whose small scale is harmless.

    A multiple counts as well where it may be a flattened map of features, from `LEAST_FEATURES` of them on.
    """
    width = _width_out(tensor)
    read = model.remember(_widths_read)
    return width not in read and (width < LEAST_FEATURES or not any(other % width == 0 for other in read))


def odd_ratio(tensor: Tensor, model: Model) -> float | None:
    """The ratio of a weight's deviation to its siblings', if they agree with each other and it is odd; else None."""
    error = log_std_error(tensor.count, tensor.statistics.moments.kurtosis)
    peers = model.peers(tensor)
    if peers.count <= LEAST_SIBLINGS or (tensor.statistics.zeros > SPARSE * tensor.count and tensor.count < FEW):
        return None
    low, middle, high = peers.spread_of_others(tensor.std)
    spread = math.log(high / low) - 4 * error
    if spread > math.log(TIGHT) / 2:
        return None
    factor = ODD_AMONG_AGREED if spread < math.log(AGREED) else ODD_FACTOR
    ratio = tensor.std / middle
    return ratio if abs(math.log(ratio)) > max(math.log(factor), HARD_Z * math.sqrt(1.5) * error) else None


_OUTPUT = re.compile(
    r"(^|\.)(c_proj|o_proj|out_proj|wo|Wo|w2|down_proj|fc2|fc_out|dense_4h_to_h|attn_out|ff_out|linear2|linear_fc2"
    r"|linear_proj|output\.dense|attention\.dense|attn\.proj|to_out(\.0)?)\.(weight|kernel)$"
)
"""The matrices that end a residual branch, in the names of the field."""


def is_called_output(tensor: Tensor) -> bool:
    """Whether a matrix has a name of those that end a residual branch."""
    return _OUTPUT.search(dotted(tensor.name[-200:])) is not None


def may_end_a_branch(tensor: Tensor, model: Model) -> bool:
    """Whether its deviation is that of residual outputs, which is made smaller by the root of the depth on purpose."""
    scheme = tensor.scheme
    if scheme is not None and any("_scaled" in name for name in (scheme.name, *scheme.equivalent)):
        return True
    peers = model.peers(tensor)
    alike = peers.count > 1 and peers.values[-1] < TIGHT * peers.values[0]
    return alike and is_called_output(tensor) and _is_by_depth(tensor, peers.count)


def _is_by_depth(tensor: Tensor, blocks: int) -> bool:
    """Whether it is 1/√L or 1/√(2L) of a textbook scheme."""
    scales = {*scales_by_fan(tensor.part, tensor.shape), 0.02}
    return any(abs(math.log(tensor.std * math.sqrt(n * blocks) / one)) < 0.05 for n in (1, 2) for one in scales)


def stray_ratio(tensor: Tensor, model: Model) -> float | None:
    """The ratio of a weight's scale to that of the whole model, if that has one and the weight strays; else None."""
    recipe = model.remember(_recipe)
    if recipe is None or not tensor.gain or may_end_a_branch(tensor, model) or width_in(tensor) <= COLOURS:
        return None
    ratio = (tensor.gain if recipe.by_fan else tensor.std) / recipe.scale
    # A fixed deviation goes with residual outputs that are smaller by the root of the depth.
    strict = recipe.is_exact and (recipe.by_fan or ratio > 1)
    return ratio if abs(math.log(ratio)) > math.log(STRAY_FACTOR if strict else LOOSE_FACTOR) else None


def has_common_std(tensor: Tensor, model: Model) -> bool:
    """Whether half of the weights, four at least, have its deviation whatever their fan: a fixed one is the recipe."""
    stds = model.remember(_stds)
    low, high = bisect_left(stds, tensor.std / EXACT), bisect_right(stds, tensor.std * EXACT)
    return high - low >= max(LEAST_SCALED, len(stds) / 2)


def _stds(model: Model) -> list[float]:
    return sorted(tensor.std for tensor in judged_weights(model))


def wrong_fan_ratio(tensor: Tensor, model: Model) -> float | None:
    """How far a linear layer's gain is above those of its blocks, if most of these scale by 1/√fan_in; else None."""
    if tensor.part.kind != "linear" or not tensor.gain or not model.repeats(tensor):
        return None
    if model.blocks.stack(tensor.name) not in model.remember(_lists_by_fan):
        return None
    error = log_std_error(tensor.count, tensor.statistics.moments.kurtosis)
    above = math.log(tensor.gain) > max(math.log(WRONG_FAN), HARD_Z * error)
    return tensor.gain if above else None


def _lists_by_fan(model: Model) -> frozenset[str]:
    """The lists of blocks most of whose linear layers scale by 1/√fan_in."""
    lists: dict[str, list[Tensor]] = {}
    for tensor in judged_weights(model):
        if tensor.part.kind == "linear" and model.repeats(tensor):
            lists.setdefault(model.blocks.stack(tensor.name), []).append(tensor)
    found = set()
    for name, tensors in lists.items():
        scaled = [other for other in tensors if other.gain and abs(math.log(other.gain)) < math.log(LECUN)]
        # Of square matrices Xavier's scale is the same.
        told = sum(other.part.fan_in != other.part.fan_out for other in scaled)
        if 2 * len(scaled) > len(tensors) and told >= LEAST_SCALED:
            found.add(name)
    return frozenset(found)


def farthest(tensor: Tensor) -> tuple[float, float]:
    """The value that lies farthest from the mean, and how many deviations it does; 0 of a constant."""
    values = tensor.statistics
    value = max(values.minimum, values.maximum, key=lambda value: abs(value - values.mean))
    return value, abs(value - values.mean) / tensor.std if tensor.std > 0 else 0.0


def is_textbook(tensor: Tensor, tolerance: float = 0.1) -> bool:
    """Whether the deviation is one in use: that of a scheme by some fan, in or out, as libraries take them, or 0.02."""
    scales = {*scales_by_fan(tensor.part, tensor.shape), 0.02}
    error = log_std_error(tensor.count, tensor.statistics.moments.kurtosis)
    return any(abs(math.log(tensor.std / scale)) < max(tolerance, HARD_Z * error) for scale in scales)


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


TEXTBOOK = Expectation("scaled by its fan-in")
"""What is expected where nothing in the model says more."""


@dataclass(frozen=True, slots=True)
class Offence:
    """Why a scale is wrong, in words, and what it was held to: the textbook's where no deviation is expected."""

    reason: str
    expected: Expectation = TEXTBOOK


def unlike_siblings(tensor: Tensor, model: Model, ratio: float) -> Offence:
    """That a weight is off its siblings by a ratio."""
    count = model.peers(tensor).count - 1
    error = log_std_error(tensor.count, tensor.statistics.moments.kurtosis) / math.sqrt(count)
    expected = Expectation(f"as its {count:,} siblings have", tensor.std / ratio, error=error)
    return Offence(_off(ratio, f"its {count:,} siblings"), expected)


def unlike_model(tensor: Tensor, ratio: float) -> Offence:
    """That a weight is off the scheme of the whole model by a ratio."""
    expected = Expectation("by the scheme of the model", tensor.std / ratio)
    return Offence(_off(ratio, "most weights of this model"), expected)


def unlike_its_blocks(tensor: Tensor, ratio: float) -> Offence:
    """That a linear layer is off 1/√fan_in by a ratio, by which those around it are scaled."""
    expected = Expectation("1/sqrt(fan_in), as these have", lecun(tensor.part.fan_in or 1))
    return Offence(_off(ratio, "the linear layers of its blocks"), expected)


def _off(ratio: float, what: str) -> str:
    return f"{max(ratio, 1 / ratio):.1f} times {'above' if ratio > 1 else 'below'} {what}"


def scale_fault(tensor: Tensor, model: Model, offence: Offence, severity: str | None = None) -> Fault:
    """A fault of one weight's scale: what was measured, why it is wrong, what it was held to, and the likely cause."""
    fan_in, expected = tensor.part.fan_in or 1, offence.expected
    error = log_std_error(tensor.count, tensor.statistics.moments.kurtosis)
    unscaled = " (an unscaled randn)" if abs(math.log(tensor.std)) < HARD_Z * error else ""
    wanted = scales_text(tensor) if expected.std is None else f"std {expected.std:.3g}, {expected.source}"
    likely = "" if unscaled else likely_cause(tensor, expected.std or lecun(fan_in), model)
    return tensor.fault(
        f"std {tensor.std:.3g} (± {tensor.std * error:.1g}){unscaled} with fan_in {fan_in:,} is a gain of"
        f" {tensor.gain:.3g}, {offence.reason}; expected {wanted}" + (f"; it is as if {likely}" if likely else ""),
        advice="scale the draw by its fan-in" if expected.std is None else f"draw it with std {expected.std:.3g}",
        severity=severity,
        expectation=expected,
        std=tensor.std,
        std_error=tensor.std * error,
        expected_std=expected.std,
        fan_in=fan_in,
        gain=tensor.gain,
    )


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


@dataclass(frozen=True, slots=True)
class _Recipe:
    """One gain (``by_fan``) or one deviation for most weights; exact where nearly all have it to a tenth."""

    by_fan: bool
    scale: float
    is_exact: bool


def _recipe(model: Model) -> _Recipe | None:
    """The gain or the deviation that the weights of a model share, whichever more of them do; None where none is."""
    weights = [tensor for tensor in judged_weights(model) if tensor.part.role == "weight"]
    if len(weights) < 3:
        return None
    gains, stds = sorted(tensor.gain or 0.0 for tensor in weights), sorted(tensor.std for tensor in weights)
    by_fan = _near_median(gains) >= _near_median(stds)
    scales = gains if by_fan else stds
    middle, quarter = scales[len(scales) // 2], len(scales) // 4
    # The weight that is asked about may be the one that strays, so all but one count as all.
    exact = _near_median(scales) >= max(2, EXACT_SHARE * (len(scales) - 1))
    if not exact and (len(scales) < 4 or scales[-1 - quarter] > TIGHT * scales[quarter]):
        return None
    return _Recipe(by_fan, middle, exact)


def _near_median(scales: Sequence[float]) -> int:
    middle = scales[len(scales) // 2]
    return sum(abs(math.log(scale / middle)) < math.log(EXACT) for scale in scales)


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
