"""IA402: a bias is a small positive constant."""

from collections.abc import Iterator

from initaudit.advice import is_small_positive
from initaudit.examples import bad, constant, good, normal
from initaudit.rule import Cause, Fault, Model, Severity, rule


@rule(
    code="IA402",
    severity=Severity.INFO,
    examples=[
        good("a zero bias", {"fc1.weight": normal(64, 32, std=0.25), "fc1.bias": constant(0, 64)}),
        bad(
            "0.01 before a ReLU",
            {"fc1.weight": normal(64, 32, std=0.25), "fc1.bias": constant(0.01, 64)},
            at="fc1.bias",
        ),
    ],
)
def positive_bias(model: Model) -> Iterator[Fault]:
    """All values of a bias are one small positive number.

    ## Why is this doubtful?

    0.01 or 0.1 was meant to keep every ReLU awake at the start. It is not clear that it helps: half of the units are
    awake anyway where the weights are scaled by sqrt(2/fan_in), and some find that it does worse than zero.

    ## How is it decided?

    One value throughout, of two units or more, above 0 and at most 0.1.

    ## When is it right?

    It is a known practice, so it is only noted.

    ## What to do

    Prefer zero, with weights scaled for ReLU.
    """
    same: dict[float, list[str]] = {}
    for tensor in model.tensors:
        if tensor.is_bias and tensor.count > 1 and is_small_positive(tensor):
            same.setdefault(tensor.statistics.minimum, []).append(tensor.name)
    for value, names in same.items():
        yield from Cause(names[0], f"all values are {value:.3g}; usual is 0").faults(
            names, advice="prefer zero, with weights scaled by sqrt(2/fan_in) before ReLU", evidence={"value": value}
        )
