"""IA201: the values of a weight are too small for its fan."""

from collections.abc import Iterator

from initaudit.examples import bad, good, normal
from initaudit.recipes import scale_fault, scale_verdicts
from initaudit.rule import Fault, Model, Severity, rule
from initaudit.scale import chain_faults, chain_growth, is_most, plain_chains

DEAD_GAIN = 0.002
"""Under this gain a layer passes on less than 1/500 of its input, and as little of the gradient."""
CHAIN_GAIN = 0.4
"""A chain is too small only if its layers are smaller than any textbook scheme: PyTorch's default is 0.577."""
WEAK_CHAIN = 1e-2
LONG_CHAIN = 3
"""Two layers may be a head that starts near zero, as those that regress sizes and offsets do: 0.001·randn twice."""
LOST_CHAIN = 1e-6
"""The same where the layers are PyTorch's default: its gain of 0.577 leaves so little behind 16 layers and ReLUs. Worth
knowing, not more: it is what everyone's `nn.Linear` does."""
BROKEN_CHAIN = 1e-3
"""What is left of a signal behind a plain chain: a thousandth is beyond what a learning rate makes up for."""

_MLP = {f"fc{i}.weight": (64, 64) for i in range(1, 6)}


@rule(
    code="IA201",
    severity=Severity.WARNING,
    takes_for_granted=["skipped-init", "mistaken-fan"],
    examples=[
        good("scaled by 1/sqrt(fan_in)", {name: normal(*shape, std=0.125) for name, shape in _MLP.items()}),
        good(
            "a small head harms nothing",
            {"fc.weight": normal(64, 64, std=0.18), "head.weight": normal(10, 64, std=1e-3)},
        ),
        bad(
            "0.0001 · randn",
            {"fc1.weight": normal(64, 64, std=1e-4), "fc2.weight": normal(64, 64, std=0.125)},
            at="fc1.weight",
        ),
        bad(
            "0.01 · randn in all of a deep net: each layer leaves 6 % of the signal",
            {name: normal(*shape, std=0.01) for name, shape in _MLP.items()},
            at=tuple(_MLP),
        ),
        bad(
            "one of five siblings a tenth of the others",
            {f"blocks.{i}.fc.weight": normal(64, 64, std=0.0125 if i == 3 else 0.125) for i in range(5)},
            at="blocks.3.fc.weight",
        ),
    ],
)
def vanishing_weight(model: Model) -> Iterator[Fault]:
    """The values of a weight are too small for its fan-in.

    ## Why is this bad?

    A layer multiplies the size of a signal by its gain, std·sqrt(fan_in), and the gradient on its way back by about as
    much: ∂J/∂a = Wᵀδ shrinks with W. Through many layers the factors multiply. With 0.01·randn and 64 inputs the gain
    is 0.08, and ten layers leave 1e-11 of the signal and of the gradient: the first layers do not learn. A variance of
    1/fan_in (2/fan_in before ReLU) keeps both. Where a norm follows, the signal is mended but the steps are not: the
    weight moves by far more than its own size at the first step.

    ## How is it decided?

    The gain is reported with what 1/sqrt(fan_in), Xavier and He would give. A weight is too small if

    - its deviation is below that of two or more siblings of the same fans, which agree: by 5 %, an error by 4 times,
      and by more than chance gives in one checkpoint of a thousand (`--alpha`); or below that of its one sibling, which
      is as other places are. From 3 % it is a note;
    - it widens, and the matrix beside it of the same fans is as other places are while it is not;
    - no law that other places follow explains it, it is inside the network, no residual output scaled by the depth, and
      3 to 30 times below the nearest law;
    - next to nothing passes: a gain below 0.015 and a deviation below 0.0014, an error below a gain of 0.002. For a
      head, whose small scale harms little, it is a warning, and only below 0.002, as for residual outputs scaled by the
      depth, and for a fixed deviation of 0.001 and more that other places have;
    - it stands in a chain of layers without norms, each with a gain below 0.4, that leaves less than 1 % of a signal
      (an error below 0.1 %, where it is most of the model, and there are three or more or one of a gain below 0.002).

    A place that has a scale of its own, in all blocks alike, is no finding: one healthy model of four has one.

    ## When is it right?

    A branch that is meant to start near zero, in every block alike; a weight whose scale is divided out later.

    ## What to do

    Scale the draw by the fan-in: std = 1/sqrt(fan_in), or sqrt(2/fan_in) before ReLU.
    """
    named: set[str] = set()
    for chain in plain_chains(model):
        left = chain_growth(chain)
        small = all((tensor.gain or 1.0) < CHAIN_GAIN for tensor in chain)
        if small and left < WEAK_CHAIN and len(chain) > 1:
            named |= {tensor.name for tensor in chain}
            short = len(chain) < LONG_CHAIN and all((tensor.gain or 0.0) > DEAD_GAIN for tensor in chain)
            severity = Severity.ERROR if left < BROKEN_CHAIN and not short and is_most(chain, model) else None
            yield from chain_faults(chain, f"leave {left:.3g} of a signal", severity)
        elif left < LOST_CHAIN and all((tensor.gain or 1.0) < 1 for tensor in chain):
            yield from chain_faults(chain, f"leave {left:.3g} of a signal", Severity.INFO)
    for verdict in scale_verdicts(model):
        if verdict.tensor.name not in named and verdict.ratio < 1:
            yield scale_fault(verdict, model)
