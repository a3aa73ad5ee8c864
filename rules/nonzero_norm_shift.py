"""IA404: the shift of a norm does not start at zero."""

from collections.abc import Iterator

from initaudit.examples import bad, constant, good, normal
from initaudit.places import places_of
from initaudit.rule import Fault, Model, Severity, rule

_SCALES = {f"blocks.{i}.norm.weight": constant(1, 64) for i in range(3)}


@rule(
    code="IA404",
    severity=Severity.WARNING,
    takes_for_granted=["odd-norm-scale"],
    examples=[
        good("zeros", {f"blocks.{i}.norm.bias": constant(0, 64) for i in range(3)} | _SCALES),
        bad(
            "drawn at random in one block",
            {f"blocks.{i}.norm.bias": normal(64, std=0.5) if i == 1 else constant(0, 64) for i in range(3)} | _SCALES,
            at="blocks.1.norm.bias",
        ),
    ],
)
def nonzero_norm_shift(model: Model) -> Iterator[Fault]:
    """The shift of a norm starts at other values than zero.

    ## Why is this bad?

    A norm centres its features, and a shift moves them off again: by a random amount in each, which the layer behind
    sees as a bias that nobody chose. The usual cause is scale and shift swapped, or an initialisation that takes all
    vectors called `bias` for those of linear layers.

    ## How is it decided?

    Any value other than zero counts. Norms of one place in several blocks are reported together.

    ## When is it right?

    Where the forward adds a constant that the shift takes back; `--exclude` it.

    ## What to do

    Set it to zero.
    """
    for at in places_of(model, "norm_shift", usual=0.0):
        odd = tuple(t for t in at.tensors if t.statistics.zeros < t.count)
        if odd:
            yield from at.faults(odd, 0.0, "the shift of a norm starts at zero")
