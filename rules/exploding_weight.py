"""IA202: the values of a weight are too large for its fan."""

from collections.abc import Iterator

from initaudit.examples import bad, good, normal
from initaudit.recipes import scale_fault, scale_verdicts
from initaudit.rule import Fault, Model, Severity, rule
from initaudit.scale import chain_faults, chain_growth, is_unscaled, plain_chains

LARGE_GAIN = 3.5
"""Gains in use end at 3."""
BROKEN_CHAIN = 1e3
"""What a plain chain may make of a signal: a thousandfold saturates or overflows whatever reads it."""

_MLP = {f"fc{i}.weight": (64, 64) for i in range(1, 5)}


@rule(
    code="IA202",
    severity=Severity.WARNING,
    takes_for_granted=["skipped-init", "mistaken-fan"],
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

    - its deviation is above that of two or more siblings of the same fans, which agree: by 5 %, an error by 4 times,
      and by more than chance gives in one checkpoint of a thousand (`--alpha`); or above that of its one sibling, which
      is as other places are. From 3 % it is a note;
    - it widens, and the matrix beside it of the same fans is as other places are while it is not;
    - no law that other places follow explains it, and its gain is above 1.75, which no named scheme has (3 for a head
      or stem, 3.5 where the model has no law that several places share); an error above 10;
    - its law makes most weights too large, by a gain of 8: an error above 10, but a warning where they are N(0, 1)
      throughout, as with equalised learning rates;
    - it stands in a chain of layers without norms, each with a gain above 3.5, that multiplies a signal by more than
      1000, which is an error (a warning under N(0, 1)).

    A head is worth a warning at most.

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
            unscaled = " unless each is scaled when it is used" if is_unscaled(chain) else ""
            severity = Severity.WARNING if unscaled else Severity.ERROR
            yield from chain_faults(chain, f"multiply a signal by {growth:,.0f}{unscaled}", severity)
    for verdict in scale_verdicts(model):
        if verdict.tensor.name not in named and verdict.ratio > 1:
            yield scale_fault(verdict, model)
