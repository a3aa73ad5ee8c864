"""IA104: some units of a weight are zero throughout."""

from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, good, normal, sparse
from initaudit.rule import Fault, Model, Severity, Tensor, rule
from initaudit.schemes import chance_dead
from initaudit.significance import chance_zeros, exceeds_poisson

FEWEST = 64
"""In a smaller weight most of which is dead, the living units say nothing of how zeros were placed."""


@rule(
    code="IA104",
    severity=Severity.ERROR,
    takes_for_granted=["equal-units"],
    examples=[
        good("every row drawn", {"fc1.weight": normal(64, 32, std=0.18)}),
        good("sparse: many zeros, but each unit has its ten inputs", {"fc1.weight": sparse(64, 100, connections=10)}),
        bad("the last rows were never filled", {"fc1.weight": normal(64, 32, std=0.18).put("48:", 0)}, at="fc1.weight"),
        good("one row for the padding token", {"embed.weight": normal(500, 32, std=0.02).put("0", 0)}),
        bad(
            "a third of the vocabulary was never filled",
            {"embed.weight": normal(500, 32, std=0.02).put("333:", 0)},
            at="embed.weight",
        ),
        bad("inputs that no unit reads", {"fc1.weight": normal(64, 32, std=0.18).put(":, :4", 0)}, at="fc1.weight"),
        bad(
            "a sparse weight with a dead unit",
            {"fc1.weight": sparse(64, 100, connections=10).put("5", 0)},
            at="fc1.weight",
        ),
    ],
)
def dead_units(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """Some units of a weight have only zeros, while others do not.

    ## Why is this bad?

    A unit without incoming weights gives a constant, whatever the input; several of them are equal and receive equal
    gradients wherever they are read alike. Behind ReLU, with a zero bias, such a unit never wakes up. An input that no
    unit reads passes nothing on, and nothing is passed back to it. The usual cause is memory that was filled in part.

    ## How is it decided?

    Rows (filters; columns of an [in, out] weight), then inputs, with no element other than zero are counted, unless
    the whole weight is zero. In a sparse weight some units may be empty by chance: it is reported only where a Poisson
    law gives so many with a probability below 1e-9, or where all other units have one and the same number of inputs.
    In an embedding one empty row is a padding token's; more are a warning: such tokens all start as the same one.

    ## When is it right?

    Identity and Dirac initialisation leave surplus units empty, which is intended, as is a row for padding, and the
    rows behind the vocabulary that make its size a round number.

    ## What to do

    Fill the whole tensor: draw it again.
    """
    values, table = tensor.statistics, tensor.part.role == "embedding"
    if not (tensor.is_weight or table) or values.zeros in (0, values.count):
        return
    rounded = chance_zeros(1, tensor.dtype, tensor.std)
    units, inputs = tensor.units, tensor.inputs
    if table and units is not None and units.dead == 1:
        return
    pairs = [(units, inputs, "rows" if table else "units"), *([] if table else [(inputs, units, "inputs")])]
    for units, others, noun in pairs:
        if units is None or not units.dead or units.count < 2:
            continue
        if 2 * units.dead > units.count and tensor.count < FEWEST:
            continue
        by_chance = chance_dead(units, others, rounded)
        if not exceeds_poisson(units.dead, by_chance):
            continue
        at = ", ".join(map(str, units.dead_at)) + (", ..." if units.dead > len(units.dead_at) else "")
        chance = f"; by chance {by_chance:.2g} would be" if by_chance > 1e-9 else ""
        yield tensor.fault(
            f"{units.dead:,} of {units.count:,} {noun} are zero throughout ({at}){chance}",
            advice=redraw_advice(tensor, model),
            severity=Severity.WARNING if table else None,
            dead=units.dead,
            units=units.count,
            along=noun,
        )
        return
