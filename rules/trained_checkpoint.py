"""IA601: the checkpoint looks trained, not fresh."""

from collections.abc import Iterator

from initaudit.examples import Recipe, bad, constant, good, normal
from initaudit.rule import Cause, Fault, Model, Severity, Tensor, rule

FEWEST, LARGE = 3, 4096
"""So many weights of so many elements are needed to tell."""

SHARE = 0.5
"""The part of the large weights that follow no law, and of the norms, or biases, that are no longer constant. In 766
fresh released models no weight of 4096 elements is without a law; in a trained sentence encoder 33 of 37 are."""


def _trained(layer: int, *, trained: bool) -> dict[str, Recipe]:
    weight = normal(64, 96, std=0.1)
    if trained:
        weight = weight.scale(":, ::3", 1.7).scale("::4", 1.4)
    return {
        f"layers.{layer}.fc.weight": weight,
        f"layers.{layer}.norm.weight": normal(96, std=0.1).shift(1) if trained else constant(1, 96),
        f"layers.{layer}.norm.bias": normal(96, std=0.1) if trained else constant(0, 96),
    }


@rule(
    code="IA601",
    severity=Severity.WARNING,
    examples=[
        good("fresh", {k: v for i in range(3) for k, v in _trained(i, trained=False).items()}),
        bad(
            "weights of no law, norms that have moved",
            {k: v for i in range(3) for k, v in _trained(i, trained=True).items()},
            at=tuple(f"layers.{i}.fc.weight" for i in range(3)),
        ),
    ],
)
def trained_checkpoint(model: Model) -> Iterator[Fault]:
    """The weights follow no law and the norms have moved: this checkpoint was trained.

    ## Why is this doubtful?

    initaudit judges fresh weights. In a trained checkpoint scales, distributions, biases and norms are what training
    made of them, and no fault; if a fresh one was expected here, a run would start from somebody's weights. What it
    says of scale, distribution, bias and norm is left out then; zeros, copies and broken values are still reported.

    ## How is it decided?

    At least half of the weights of 4096 elements and more, three at least, follow none of the laws that draws follow
    (normal, cut normal, uniform, orthogonal, sparse, in blocks), and at least half of the norms' scales vary, or of the
    biases where there is no norm.

    ## When is it right?

    Where you meant to look at a trained model.

    ## What to do

    If it is to be fresh, find what loaded weights into it. Else `--ignore` the rule, and all others judge as well.
    """
    large = [tensor for tensor in model.weights if tensor.count >= LARGE and tensor.std > 0]
    lawless = [tensor for tensor in large if tensor.scheme is None]
    norms = [tensor for tensor in model.tensors if tensor.part.role == "norm_scale"]
    moved = _have_moved(norms or [t for t in model.tensors if t.part.role == "bias" and t.scheme is None])
    if len(lawless) >= max(FEWEST, SHARE * len(large)) and moved:
        message = (
            f"{len(lawless):,} of {len(large):,} large weights follow no law that draws follow, and norms or biases"
            " have moved; a fresh model has none such"
        )
        yield from Cause(lawless[0].name, message).faults(
            (tensor.name for tensor in lawless),
            advice="if it is to be fresh, find what loaded weights into it",
            evidence={"lawless": len(lawless), "large": len(large)},
            beyond_repair="its weights were trained, not drawn: start from a fresh checkpoint",
        )


def _have_moved(vectors: list[Tensor]) -> bool:
    """Whether at least half of some vectors hold several values."""
    varied = [tensor for tensor in vectors if not tensor.statistics.is_constant]
    return len(varied) >= max(FEWEST, SHARE * len(vectors))
