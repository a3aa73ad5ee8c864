"""IA202: the values of a weight are too large for its fan."""

import math
from collections.abc import Iterator

from initaudit.examples import bad, good, normal
from initaudit.rule import Fault, Model, Severity, rule
from initaudit.scale import (
    Offence,
    chain_faults,
    chain_growth,
    has_common_std,
    is_textbook,
    judged_weights,
    odd_ratio,
    plain_chains,
    scale_fault,
    stray_ratio,
    unlike_its_blocks,
    unlike_model,
    unlike_siblings,
    wrong_fan_ratio,
)

LARGE_GAIN = 3.5
"""Gains in use end at 3: 0.02·sqrt(12288) = 2.2 for the widest fixed scale. Beyond are textbook schemes by the other
fan, which are spared at any size."""
BROKEN_GAIN = 10.0
"""From here on ten layers multiply a signal by 10^10, and one saturates whatever it feeds."""
UNSCALED = 0.05
"""How near to one, in its logarithm, a deviation is that was left as `randn` gives it."""
BROKEN_CHAIN = 1e3
"""What a plain chain may make of a signal: a thousandfold saturates or overflows whatever reads it."""

_MLP = {f"fc{i}.weight": (64, 64) for i in range(1, 5)}


@rule(
    code="IA202",
    severity=Severity.WARNING,
    takes_for_granted=["skipped-init"],
    examples=[
        good("scaled by sqrt(2/fan_in)", {name: normal(*shape, std=0.177) for name, shape in _MLP.items()}),
        good("He by fan_out where few outputs meet many inputs", {"se.fc1.weight": normal(8, 256, 1, 1, std=0.5)}),
        bad("randn, unscaled", {"fc1.weight": normal(64, 256, std=1.0)}, at="fc1.weight"),
        bad(
            "one of five siblings three times the others",
            {f"blocks.{i}.fc.weight": normal(64, 64, std=0.375 if i == 3 else 0.125) for i in range(5)},
            at="blocks.3.fc.weight",
        ),
    ],
)
def exploding_weight(model: Model) -> Iterator[Fault]:
    """The values of a weight are too large for its fan-in.

    ## Why is this bad?

    A layer multiplies the size of a signal by its gain, std·sqrt(fan_in). An unscaled randn with 256 inputs has a gain
    of 16: sums of many terms are large, tanh and sigmoid saturate, softmax picks one, and the factors of several layers
    multiply until the loss starts at a thousand or overflows. Where a norm follows, the signal is mended, but each step
    changes the weight by far less than its size, and it hardly learns.

    ## How is it decided?

    The gain is reported with what 1/sqrt(fan_in), Xavier and He would give. A weight is too large if

    - its gain is above 3.5, an error above 10, and fits no textbook scheme by any fan; it stays a warning where half
      of all weights are N(0, 1), as with equalised learning rates;
    - its deviation is 1.5 times above that of two or more siblings that agree, at six standard errors;
    - it is off the scheme of the whole model, 1.75 times where nearly all weights follow one, 5 times where half do,
      and fits no textbook scheme by any fan;
    - it stands in a chain of layers without norms, each with such a gain, that multiplies a signal by more than 1000,
      which is an error.

    ## When is it right?

    With equalised learning rates the weight is stored as N(0, 1) and scaled when it is used.

    ## What to do

    Scale the draw by the fan-in: std = 1/sqrt(fan_in), or sqrt(2/fan_in) before ReLU.
    """
    named: set[str] = set()
    for chain in plain_chains(model):
        growth = chain_growth(chain)
        large = all((tensor.gain or 1.0) > LARGE_GAIN for tensor in chain)
        if large and growth > BROKEN_CHAIN and len(chain) > 1:
            named |= {tensor.name for tensor in chain}
            yield from chain_faults(chain, f"multiply a signal by {growth:,.0f}", Severity.ERROR)
    yield from _large(model, named)


def _large(model: Model, named: set[str]) -> Iterator[Fault]:
    """The weights that are too large by themselves, beside their siblings, or beside the model."""
    for tensor in judged_weights(model):
        if tensor.name in named:
            continue
        gain, textbook = tensor.gain or 0.0, is_textbook(tensor)
        odd, stray, fan = odd_ratio(tensor, model), stray_ratio(tensor, model), wrong_fan_ratio(tensor, model)
        common = abs(math.log(tensor.std)) < UNSCALED and has_common_std(tensor, model)
        severity = Severity.ERROR if gain > BROKEN_GAIN and not textbook and not common else None
        if odd is not None and odd > 1:
            yield scale_fault(tensor, model, unlike_siblings(tensor, model, odd), severity)
        elif gain > LARGE_GAIN and not textbook:
            scaled = ", unless it is scaled when it is used, as most weights are drawn so" if common else ""
            yield scale_fault(tensor, model, Offence(f"a signal grows {gain:.3g}-fold{scaled}"), severity)
        elif stray is not None and stray > 1 and not textbook:
            yield scale_fault(tensor, model, unlike_model(tensor, stray), severity)
        elif fan is not None:
            yield scale_fault(tensor, model, unlike_its_blocks(tensor, fan), severity)
