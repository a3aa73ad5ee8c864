"""IA401: a bias does not start at zero."""

from collections.abc import Iterator

from initaudit.advice import is_small_positive
from initaudit.biases import are_scattered, breaks_a_recipe_of_zeros, ignores_its_fan, why_intended
from initaudit.examples import bad, constant, good, normal, uniform
from initaudit.gradients import Kind, kind_of, kinds_of_kin
from initaudit.places import measured
from initaudit.rule import Fault, Model, Severity, Tensor, rule
from initaudit.scale import HUGE

KINDS: tuple[Kind, ...] = ("zero", "constant", "drawn")


@rule(
    code="IA401",
    severity=Severity.WARNING,
    takes_for_granted=["garbage-value"],
    examples=[
        good("a zero bias", {"fc1.weight": normal(64, 32, std=0.18), "fc1.bias": constant(0, 64)}),
        good(
            "PyTorch's default, which goes with the fan of its weight",
            {"fc1.weight": uniform(64, 32, bound=0.177), "fc1.bias": uniform(64, bound=0.177)},
        ),
        bad(
            "a detector's prior, which is a choice and an info",
            {"cls_logits.weight": normal(91, 64, std=0.1), "cls_logits.bias": constant(-4.59, 91)},
            at="cls_logits.bias",
        ),
        bad(
            "one in one block, where the others are zero",
            {f"blocks.{i}.fc.weight": normal(64, 32, std=0.18) for i in range(3)}
            | {f"blocks.{i}.fc.bias": constant(1 if i == 1 else 0, 64) for i in range(3)},
            at="blocks.1.fc.bias",
        ),
        bad(
            "a bias drawn like a weight",
            {"fc1.weight": normal(64, 32, std=0.18), "fc1.bias": normal(64, std=1.0)},
            at="fc1.bias",
        ),
        bad(
            "a bias of one",
            {"fc1.weight": normal(64, 32, std=0.18), "fc1.bias": constant(1, 64)},
            at="fc1.bias",
        ),
    ],
)
def nonzero_bias(tensor: Tensor, model: Model) -> Iterator[Fault]:
    """A bias starts at other values than zero.

    ## Why is this bad?

    Random weights tell units apart; a bias need not. At zero it leaves the signal centred and its variance as the
    weights were scaled for. A large one saturates the unit or keeps it dead whatever the input.

    ## How is it decided?

    It is a warning where

    - most of two or more kin, the biases at its place in other blocks, are of another kind: zero, constant, drawn. So
      it is of a bias that is zero where they are drawn;
    - more than half of a model's biases are drawn about zero, wider than 0.3 and than the signal (std·√fan_in > 1.5);
    - it is drawn and has no kin, and two thirds of the other biases are zero;
    - it is uniform by another fan than that by which its own weight is PyTorch's default.

    Heads, gates and priors are choices, and what all blocks have in common is a recipe: PyTorch's default, a bias that
    is drawn as its weight, and one that is as in the other blocks are listed by `--show-intended`; any other is an
    info. Small positive constants have a rule of their own.

    ## When is it right?

    Where a prior is known (the log-odds of a rare class) or a gate is to start open.

    ## What to do

    Set it to zero, or let the reason show in a `--exclude`.
    """
    values, kin = tensor.statistics, kinds_of_kin(tensor, model)
    if not tensor.is_bias or values.largest > HUGE or values.nonfinite:  # what nobody filled is another fault
        return
    own = kind_of(tensor)
    other = next((kind for kind in KINDS if kin.most_are(kind)), None)
    bound = None
    if other is not None and other != own:
        why, severity = f"{kin.counts[other]:,} of {kin.total:,} at its place in other blocks are {other}", None
    elif values.zeros == values.count or is_small_positive(tensor):
        return
    elif tensor.name in are_scattered(model):
        why, severity = "as large as the signal, like most biases of the model; expected 0", None
    elif (bound := ignores_its_fan(tensor, model)) is not None:
        why, severity = f"U(±{bound:.3g}) beside a weight by PyTorch's default, which goes by another fan", None
    elif breaks_a_recipe_of_zeros(tensor, model):
        why, severity = "the biases of the model are zero, and no kin shows that it is meant; expected 0", None
    elif reason := why_intended(tensor, model):
        yield tensor.intended(reason)
        return
    else:
        why, severity = "usual is 0", Severity.INFO
    yield tensor.fault(
        f"{measured(tensor)}; {why}",
        advice="set it to zero" if own != "zero" else "draw it as the others of its place are",
        severity=severity,
        mean=values.mean,
        std=values.std,
        min=values.minimum,
        max=values.maximum,
    )
