"""The signal at the start in words, for people."""

from collections.abc import Iterator

from initaudit.model import Model
from initaudit.signal.growth import growth_of
from initaudit.signal.loss import loss_of


def told(model: Model) -> Iterator[str]:
    """A line on the loss at the start, and one on the growth of the residual stream, where these are known."""
    loss, growth = loss_of(model), growth_of(model)
    if loss is not None:
        tied = ", tied" if loss.is_tied else ""
        rescaled = f", scaled by {loss.rescaled_by}" if loss.rescaled_by else ""
        yield (
            f"loss at start: {loss.nats:.2f}, where ln({loss.vocabulary:,}) is {loss.least:.2f};"
            f" logits have a std of {loss.std:.3g} ({loss.head.name}{tied}{rescaled})"
        )
    if growth is not None:
        assumed = f"{growth.activation} assumed" if growth.is_assumed else growth.activation
        yield (
            f"residual stream: rms {growth.start:.3g} before, {growth.signal[0]:.3g} behind the first of"
            f" {len(growth.signal):,} blocks, {growth.signal[-1]:.3g} behind the last"
            f" ({growth.tokens} tokens, {assumed}; two tokens correlate by {growth.correlation:.2f})"
        )
