"""IA101: a weight is zero everywhere, and that is no way to start."""

from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, constant, good, normal
from initaudit.gradients import Kinds, is_adapter_output, kinds_of_kin, reach_of
from initaudit.reach import Reach
from initaudit.rule import Fault, Model, Severity, Tensor, rule
from initaudit.scale import is_output

JUDGED = ("weight", "rnn_weight", "embedding", "other_param")
"""What a signal is multiplied by, norms aside."""

NEXT = 4
"""How far the number of the next layer of a sequence lies: behind an activation, a norm and a dropout."""

MOST_NAMED = 8
"""Tensors of the same path that the evidence names."""


@rule(
    code="IA101",
    severity=Severity.ERROR,
    takes_for_granted=["garbage-value"],
    examples=[
        good("a matrix drawn at random", {"fc1.weight": normal(64, 32, std=0.18)}),
        good("a zero bias, which is what a bias should be", {"fc1.bias": constant(0, 64)}),
        good(
            "the last matrix of every residual branch, so that each block starts as the identity",
            {
                "blocks.0.mlp.fc1.weight": normal(64, 16, std=0.25),
                "blocks.0.mlp.fc2.weight": constant(0, 16, 64),
                "blocks.1.mlp.fc1.weight": normal(64, 16, std=0.25),
                "blocks.1.mlp.fc2.weight": constant(0, 16, 64),
            },
        ),
        bad(
            "a matrix nobody initialised",
            {"fc1.weight": constant(0, 64, 32), "fc2.weight": normal(10, 64, std=0.13)},
            at="fc1.weight",
        ),
        bad(
            "one block of two, so it is no scheme",
            {
                "blocks.0.mlp.fc1.weight": normal(64, 16, std=0.25),
                "blocks.0.mlp.fc2.weight": constant(0, 16, 64),
                "blocks.1.mlp.fc1.weight": normal(64, 16, std=0.25),
                "blocks.1.mlp.fc2.weight": normal(16, 64, std=0.13),
            },
            at="blocks.0.mlp.fc2.weight",
        ),
    ],
)
def zero_weight(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """A weight is zero that never gets a gradient, or where its kin are drawn.

    ## Why is this bad?

    The gradient of a weight is the error of its unit times its input: ∂J/∂W_ij = a_j · δ_i. A zero matrix passes no
    error back, so what stands before it waits until it has moved; and it moves only if nothing else on its path is
    zero. Two zeros on one path get no gradient at all, ever; nor does one whose output goes straight into ReLU. A
    single one learns: so start LoRA's B, the end of a residual branch, a readout.

    ## How is it decided?

    All elements are exactly zero. It is an error where

    - most of its kin, the tensors at its place in other blocks, are not zero;
    - no matrix of the model is drawn;
    - another zero stands on the same path for certain: an up and a down matrix by an inner width that only they share,
      the factors of an adapter, the norm or all the gates behind it, and, by the names of the field, query and key,
      value and output, a gate and what it gates; where one matrix holds such a pair, that one alone;
    - it is the table of tokens, the head is the same table, and nothing adds positions.

    What is added (a bias, a shift, a table of positions), what scales as 1 + g, and a gate by a sigmoid is no zero on a
    path. It is a warning where it is the first matrix of a branch and the one that reads it is drawn: dead behind ReLU,
    alive behind GELU, unless `config.json` names the activation; an error in a model without norms, a plain chain, in
    which nothing before it gets a gradient either. So it is of one of a numbered sequence, as `fc2` of `fc1` to `fc3`,
    that is drawn but for it, unless it is the last. It is an info where zeros stand together and neither widths nor
    names say in what order, and of one inside the model that learns but stands alone. Everything else learns, and is
    listed by `--show-intended`.

    ## When is it right?

    Where two zeros are added and not multiplied, in spite of their names; `--exclude` them. Where a batch was given,
    its gradients decide: a zero that gets one is none of ours, unless its siblings are drawn, and one that never does
    is `no-gradient`.

    ## What to do

    Draw it as its siblings are drawn; of two on one path, one is enough.
    """
    if tensor.statistics.zeros < tensor.count or tensor.part.role not in JUDGED:
        return
    if model.reach_of(tensor) is Reach.NEVER:
        return  # as `no-gradient` says, which names all that is dead with it
    reach, kin = reach_of(tensor, model), kinds_of_kin(tensor, model)
    if tensor.is_weight and tensor.part.kind != "adapter" and not model.remember(_has_drawn):
        why, severity = "nothing in this checkpoint is drawn", None
    elif kin.are_not_zero:
        others = kin.total - kin.counts["zero"]
        why = f"{others:,} of {kin.total:,} at its place in other blocks are not"
        severity = Severity.WARNING if tensor.part.role == "other_param" and not kin.most_are("drawn") else None
    elif reach.state == "dead":
        why, severity = f"{reach.reason}, and never get a gradient" if reach.by else f"{reach.reason}", None
    elif reach.unless:
        why, severity = f"{reach.reason}: {reach.unless}", Severity.WARNING if model.has_norms else None
    elif reach.state == "cannot tell":
        why, severity = f"it gets no gradient if another zero is on its path; {reach.reason}", Severity.INFO
    elif not kin.most_are("zero") and _is_read_in_turn(tensor, model):
        why = "the layers before and behind it in its sequence are drawn: behind ReLU it never gets a gradient"
        severity = Severity.WARNING if model.has_norms else None
    elif _stands_alone(tensor, kin, model):
        why, severity = f"it learns, for {reach.reason}; no kin shows that it is meant", Severity.INFO
    else:
        yield tensor.intended(f"learns: {reach.reason}")
        return
    yield tensor.fault(
        f"all {tensor.count:,} elements are zero; {why}",
        advice=redraw_advice(tensor, model),
        severity=severity,
        zeros=tensor.statistics.zeros,
        count=tensor.count,
        reach=reach.state,
        by=reach.by[:MOST_NAMED],
    )


def _has_drawn(model: Model) -> bool:
    """Whether anything of a model was drawn, its buffers aside, or it may be but the adapters of one that was."""
    drawn = any(tensor.std > 0 and len(tensor.shape) > 1 for tensor in model.tensors if tensor.part.role != "buffer")
    return drawn or any(tensor.part.kind == "adapter" or "base_model." in tensor.name[:80] for tensor in model.tensors)


def _is_read_in_turn(tensor: Tensor, model: Model) -> bool:
    """Whether a weight is one of a numbered sequence, most of them drawn, and a drawn one comes behind it.

    The last of a sequence may be zero, so that a branch starts as the identity or a head with even odds.
    """
    seat = model.blocks.seat(tensor.name)
    if seat is None or not tensor.is_weight:
        return False
    beside = [(number, t.statistics.zeros < t.count) for number, t in model.remember(_sequences)[seat.list]]
    drawn = [number for number, is_drawn in beside if is_drawn]
    return 2 * len(drawn) >= len(beside) and any(seat.number < number <= seat.number + NEXT for number in drawn)


def _sequences(model: Model) -> dict[str, list[tuple[int, Tensor]]]:
    """The weights of each numbered sequence of layers, with their numbers."""
    found: dict[str, list[tuple[int, Tensor]]] = {}
    for tensor in model.weights:
        seat = model.blocks.seat(tensor.name)
        if seat is not None:
            found.setdefault(seat.list, []).append((seat.number, tensor))
    return found


def _stands_alone(tensor: Tensor, kin: Kinds, model: Model) -> bool:
    """Whether a zero weight inside the model has no kin, and is no factor of an adapter."""
    return tensor.is_weight and not kin.total and not is_output(tensor, model) and not is_adapter_output(tensor.name)
