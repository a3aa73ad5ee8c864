"""IA108: a square weight equals its own transpose."""

from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, good, normal
from initaudit.rule import Fault, Model, Severity, Tensor, rule

FEWEST = 8
"""Rows of a matrix for its symmetry to be no accident: an orthogonal 2 by 2 is symmetric half of the time; 28 pairs of
values are equal by chance with a probability of 1e-77 in bfloat16."""


@rule(
    code="IA108",
    severity=Severity.WARNING,
    examples=[
        good("a square matrix drawn at random", {"fc1.weight": normal(64, 64, std=0.125)}),
        bad("the sum of a draw and its transpose", {"fc1.weight": normal(64, 64, std=0.09).mirror()}, at="fc1.weight"),
    ],
)
def symmetric_weight(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """A square weight equals its own transpose.

    ## Why is this bad?

    Half of its values repeat the other half. Its eigenvalues are real, so it can stretch and mirror but not rotate,
    which a recurrent or attention matrix is there to do, and its largest one is √2 times that of an independent draw.
    The usual causes are a covariance or an adjacency that was taken for a draw, and W + Wᵀ from a decomposition.

    ## How is it decided?

    Each row's product with a fixed random vector equals the column's of the same number, to the rounding of float32,
    in a matrix of at least 8 rows. An identity, and a weight with one value, are none.

    ## When is it right?

    A metric or an energy that must be symmetric; `--exclude` it.

    ## What to do

    Draw all of its values, each on its own.
    """
    if tensor.is_weight and tensor.width >= FEWEST and tensor.statistics.is_symmetric and tensor.pattern is None:
        yield tensor.fault(
            f"it equals its own transpose: {tensor.width:,} rows repeat its columns; expected independent values",
            advice=redraw_advice(tensor, model),
            width=tensor.width,
        )
