"""IA501: a value is NaN or infinite."""

from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, good, normal
from initaudit.rule import Fault, Model, Severity, Tensor, rule


@rule(
    code="IA501",
    severity=Severity.ERROR,
    examples=[
        good("finite throughout", {"fc1.weight": normal(64, 32, std=0.18)}),
        bad("one NaN", {"fc1.weight": normal(64, 32, std=0.18).put("3, 4", float("nan"))}, at="fc1.weight"),
        bad(
            "an infinity, in a tensor of any kind",
            {"norm.running_var": normal(64, std=0.18).put("3", float("inf"))},
            at="norm.running_var",
        ),
    ],
)
def non_finite(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """A value is NaN or infinite.

    ## Why is this bad?

    One NaN reaches every output that depends on it, the loss, and with the first backward pass every weight before it.
    The usual causes are memory from `torch.empty` that nobody filled, and the logarithm of a draw that was zero.

    ## How is it decided?

    Every element of every tensor is looked at. There is no chance in it.

    ## When is it right?

    A mask that is added to scores holds -inf on purpose, and a range without an end is bounded by an infinity; they are
    not judged by this rule where they are recognised as buffers, or where such a number stands alone.

    ## What to do

    Find the initialisation that did not run, or ran in too low a precision.
    """
    values = tensor.statistics
    if not values.nonfinite or _is_meant(tensor):
        return
    kinds = {"NaN": values.nan, "+inf": values.positive_infinite, "-inf": values.negative_infinite}
    found = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
    yield tensor.fault(
        f"{found} among {values.count:,} elements; expected none",
        advice=redraw_advice(tensor, model) if tensor.is_weight else "initialise it; something did not run",
        nan=values.nan,
        positive_infinite=values.positive_infinite,
        negative_infinite=values.negative_infinite,
        count=values.count,
    )


def _is_meant(tensor: Tensor) -> bool:
    """Whether an infinity is what a mask adds to scores, or the end of a range that has none."""
    values = tensor.statistics
    if tensor.part.role == "buffer":
        return not values.nan and (not values.positive_infinite or values.count == 1)
    return values.count == 1 and tensor.part.role == "other_param" and values.negative_infinite == 1
