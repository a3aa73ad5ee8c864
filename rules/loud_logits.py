"""IA210: logits that are certain of something before anything was learned."""

import math
from collections.abc import Iterator

from initaudit.examples import bad, constant, good, normal
from initaudit.rule import Expectation, Fault, Model, Severity, rule
from initaudit.scale import judged_weights
from initaudit.signal import StartLoss, loss_of

LOUDEST = 3.0
"""The deviation of logits from which on the loss starts more than 4 nats above ln(vocabulary). With what is in use,
0.02·√width, it is 0.3 to 2.2 (GPT-3 at a width of 12,288)."""

SCALED = 3.0
"""The gain up to which weights are scaled at all: gains in use end there, while N(0, 1) gives √fan_in."""

ALIKE = 1.1
"""Deviations within a tenth of their median are one fixed deviation for all fans."""

_SMALL = {
    "model.embed_tokens.weight": normal(500, 128, std=0.02),
    **{
        f"model.layers.{i}.mlp.{name}.weight": normal(*shape, std=0.02)
        for i in range(2)
        for name, shape in (("up_proj", (256, 128)), ("down_proj", (128, 256)))
    },
    "model.norm.weight": constant(1, 128),
}


@rule(
    code="IA210",
    severity=Severity.WARNING,
    takes_for_granted=["garbage-value"],
    examples=[
        good("a small table that is also the head", _SMALL, config={"tie_word_embeddings": True}),
        good(
            "a table of N(0, 1) that is read alone, beside a head that is scaled",
            _SMALL
            | {
                "model.embed_tokens.weight": normal(500, 128, std=1),
                "lm_head.weight": normal(500, 128, std=0.02),
            },
        ),
        bad(
            "a table of N(0, 1) that is also the head: the loss starts near 64 instead of 6.2",
            _SMALL | {"model.embed_tokens.weight": normal(500, 128, std=1)},
            at="model.embed_tokens.weight",
            config={"tie_word_embeddings": True},
        ),
    ],
)
def loud_logits(model: Model) -> Iterator[Fault]:
    """The logits of a fresh model of tokens are so large that its loss starts far above ln(vocabulary).

    ## Why is this bad?

    A model that knows nothing does best to say so: equal logits, and a loss of ln V. With logits of deviation s it
    starts at ln V + s²/2, certain of things that are wrong. The first steps then shrink the head instead of learning,
    with gradients that are large and all of one kind, and clipping or warm-up hides it. The usual cause is a table left
    at PyTorch's N(0, 1) that also serves as the head.

    ## How is it decided?

    The deviation of the logits is std·sqrt(width) of the head, or of the table that is tied to it, times the root mean
    square of the last norm's scale. It is reported above 3, unless config.json names a factor that makes it smaller. It
    is a warning where half of the other weights are scaled, with gains up to 3, and an info where they are not either,
    as in models that scale everything in the forward pass. Whether a model without a head is tied is taken from
    config.json.

    ## When is it right?

    Where the forward pass divides the logits and config.json does not say so.

    ## What to do

    Draw the head as the other weights are drawn, or with 1/sqrt(width) and less.
    """
    loss = loss_of(model)
    if loss is None or loss.std <= LOUDEST:
        return
    others = [tensor for tensor in judged_weights(model) if tensor.name != loss.head.name]
    gains = sorted(tensor.gain or 0.0 for tensor in others)
    scaled = bool(gains) and gains[len(gains) // 2] <= SCALED
    tied = ", which is also the table of tokens," if loss.is_tied else ""
    std, source = _usual(sorted(tensor.std for tensor in others), loss)
    yield loss.head.fault(
        f"std {loss.head.std:.3g}{tied} gives logits of deviation {loss.std:.3g}: the loss starts near {loss.nats:.3g}"
        f" instead of ln({loss.vocabulary:,}) = {loss.least:.3g}; expected logits below 1",
        advice=f"draw it with std {std:.3g} ({source})",
        severity=None if scaled else Severity.INFO,
        expectation=Expectation(source, std),
        logit_std=loss.std,
        loss=loss.nats,
        least=loss.least,
        vocabulary=loss.vocabulary,
    )


def _usual(stds: list[float], loss: StartLoss) -> tuple[float, str]:
    """What the head is to be drawn with, and why: the one deviation of most other weights, if it is quiet enough."""
    width = loss.head.shape[-1] if loss.head.shape[0] == loss.vocabulary else loss.head.shape[0]
    if stds:
        middle = stds[len(stds) // 2]
        alike = sum(middle / ALIKE < std < middle * ALIKE for std in stds)
        if 2 * alike >= len(stds) and middle * math.sqrt(width) <= LOUDEST:
            return middle, "as most weights have"
    return 1 / math.sqrt(width), "1/sqrt(width)"
