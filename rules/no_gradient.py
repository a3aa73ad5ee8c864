"""IA110: a parameter that no training step moves, shown by backward passes."""

from collections.abc import Iterator

from initaudit.examples import bad, constant, good, normal
from initaudit.names.segments import segments
from initaudit.reach import Reach
from initaudit.rule import Cause, Fault, Model, Severity, Tensor, rule

MOST_NAMED = 4
"""Tensors that a message names."""

_DRAWN = {"q.weight": normal(16, 16, std=0.25), "o.weight": normal(16, 16, std=0.25)}


@rule(
    code="IA110",
    severity=Severity.ERROR,
    examples=[
        good("every parameter gets a gradient", _DRAWN, reach=dict.fromkeys(_DRAWN, Reach.AT_ONCE)),
        good(
            "a zero output matrix: it moves first, and then what is before it",
            {"v.weight": normal(16, 16, std=0.25), "o.weight": constant(0, 16, 16)},
            reach={"v.weight": Reach.LATE, "o.weight": Reach.AT_ONCE},
        ),
        good("an expert to which the batch leads no token", _DRAWN, reach=dict.fromkeys(_DRAWN, Reach.UNSEEN)),
        bad(
            "two zero matrices on one path: each is all that the other's gradient passes through",
            {"v.weight": constant(0, 16, 16), "o.weight": constant(0, 16, 16), "head.weight": normal(10, 16, std=0.25)},
            at=("o.weight", "v.weight"),
            reach={"v.weight": Reach.NEVER, "o.weight": Reach.NEVER, "head.weight": Reach.AT_ONCE},
        ),
    ],
)
def no_gradient(model: Model) -> Iterator[Fault]:
    """A parameter never gets a gradient, however long the model is trained.

    ## Why is this bad?

    The gradient of a weight is the error that comes back to its layer times what goes into it. Where two factors of one
    path are zero, each takes the other's gradient away, and what lies between them gets none either; where all that
    goes into ReLU is zero, nothing comes back through it. No step moves such parameters, so they stay as they are, and
    the model is trained without them.

    ## How is it decided?

    On the live model, with the batch that was given to `initaudit.check`: a backward pass from a random mixture of all
    outputs, after which all elements that got a gradient are moved a little; this is repeated until nothing new gets
    one. A parameter that is still left, but gets a gradient once those that are left are moved, too, is kept from it by
    its model's own values. One that gets none even then is not reached by the batch, and is only noted.

    ## When is it right?

    Where the zeros are filled before training starts, as those of adapters that are loaded later.

    ## What to do

    Draw one of the zeros that are named: a branch needs one zero factor at most to start as nothing and learn.
    """
    dead: dict[str, list[Tensor]] = {}
    for tensor in model.tensors:
        if model.reach_of(tensor) is Reach.NEVER:
            dead.setdefault(_blocks_of(tensor), []).append(tensor)
    for tensors in dead.values():
        zeros = [tensor for tensor in tensors if _is_zero_factor(tensor)]
        others = [tensor for tensor in tensors if not _is_zero_factor(tensor)]
        cause = Cause(tensors[0].name, _told(tensors, zeros))
        for some, why in ((zeros, ""), (others, "its own values are not at fault" if zeros else "")):
            yield from cause.faults(
                (tensor.name for tensor in some),
                advice="draw all but one of the zeros of each path" if zeros else "look for what lies before it",
                evidence={"never": len(tensors), "zeros": tuple(tensor.name for tensor in zeros)},
                beyond_repair=why,
            )


def _blocks_of(tensor: Tensor) -> str:
    """The outermost list of blocks around a tensor, or the outermost module: what is dead there has one cause."""
    path = segments(tensor.name)
    return next((".".join(path[:at]) for at, name in enumerate(path) if name.isdecimal()), path[0])


def _is_zero_factor(tensor: Tensor) -> bool:
    """Whether it multiplies by zero; a bias or a shift of zero, which is added, takes no gradient away."""
    return tensor.statistics.zeros == tensor.count and not tensor.is_bias and tensor.part.role != "norm_shift"


def _told(tensors: list[Tensor], zeros: list[Tensor]) -> str:
    """How many parameters are dead, and which of them are zero."""
    named = ", ".join(tensor.name for tensor in zeros[:MOST_NAMED])
    more = f" and {len(zeros) - MOST_NAMED:,} more" if len(zeros) > MOST_NAMED else ""
    lone = len(tensors) == 1
    why = f"; zero are {named}{more}" if len(zeros) > 1 else f"; zero is {named}" if zeros and not lone else ""
    subject = "it never gets" if lone else f"{len(tensors):,} parameters here never get"
    return f"{subject} a gradient, however long it is trained{why}"
