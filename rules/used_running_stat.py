"""IA405: running statistics say that the model has already run."""

from collections.abc import Iterator

from initaudit.examples import bad, constant, good, normal
from initaudit.places import measured, value_of
from initaudit.rule import Cause, Expectation, Fault, Model, Severity, Tensor, rule

_NORM = {"norm.weight": constant(1, 64), "norm.bias": constant(0, 64)}


@rule(
    code="IA405",
    severity=Severity.INFO,
    examples=[
        good("0 and 1", _NORM | {"norm.running_mean": constant(0, 64), "norm.running_var": constant(1, 64)}),
        bad(
            "no variance at all",
            _NORM | {"norm.running_mean": constant(0, 64), "norm.running_var": constant(0, 64)},
            at="norm.running_var",
        ),
        bad(
            "a batch went through",
            _NORM | {"norm.running_mean": normal(64, std=0.02), "norm.running_var": constant(0.9, 64)},
            at=("norm.running_mean", "norm.running_var"),
        ),
    ],
)
def used_running_stat(model: Model) -> Iterator[Fault]:
    """Running means are not zero or running variances not one: the model has already seen data.

    ## Why is this doubtful?

    A fresh batch norm knows nothing: mean 0, variance 1. Other values say that a batch went through, a dry run to infer
    shapes perhaps, and the first evaluation will normalise by that batch. Or the checkpoint is not fresh.

    ## How is it decided?

    Running statistics hold one value, 0 for a mean and 1 for a variance; all that do not are reported together. A
    variance of zero or less is a warning: in evaluation its channel is divided by next to nothing.

    ## When is it right?

    A dry run in training mode does no harm to training.

    ## What to do

    Reset them (`reset_running_stats`), or run dry in evaluation mode.
    """
    running = [t for t in model.tensors if t.part.role == "running_stat" and not t.statistics.nonfinite]
    flat = [tensor for tensor in running if _is_variance(tensor) and tensor.statistics.minimum <= 0]
    for tensor in flat:
        yield tensor.fault(
            f"{measured(tensor)}; a variance is positive, and 1 before any data",
            advice="set it to 1",
            severity=Severity.WARNING,
            expectation=Expectation("a variance before any data", value=1.0),
            min=tensor.statistics.minimum,
            expected=1.0,
        )
    used = [tensor for tensor in running if tensor not in flat and value_of(tensor) != float(_is_variance(tensor))]
    if used:
        message = f"{measured(used[0])}; expected 0 (a mean) or 1 (a variance) throughout"
        yield from Cause(used[0].name, message).faults(
            (tensor.name for tensor in used),
            advice="reset them, or run dry in evaluation mode",
            evidence={"tensors": len(used)},
        )


def _is_variance(tensor: Tensor) -> bool:
    return "var" in tensor.leaf
