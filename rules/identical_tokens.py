"""IA107: learned tokens that stand side by side are all the same."""

import math
from collections.abc import Iterator

from initaudit.examples import bad, constant, good, normal
from initaudit.rule import Fault, Severity, Tensor, rule

MOST_TOKENS = 1024
"""More than this stand in no sequence beside the others: a table that is filled later."""


@rule(
    code="IA107",
    severity=Severity.WARNING,
    examples=[
        good("four registers, each its own draw", {"register_tokens": normal(1, 4, 64, std=0.02)}),
        good("one class token at zero has nobody to be told from", {"cls_token": constant(0, 1, 1, 64)}),
        bad("four registers at zero", {"register_tokens": constant(0, 1, 4, 64)}, at="register_tokens"),
    ],
)
def identical_tokens(tensor: Tensor) -> Iterator[Fault]:
    """Learned tokens of one table are all the same.

    ## Why is this bad?

    Registers, queries and latents are told apart by what they hold and by nothing else: attention treats equal tokens
    alike, so they get equal gradients and stay equal. N of them act as one. A tiny draw, N(0, 1e-6), is enough.

    ## How is it decided?

    A table of 2 to 1024 learned tokens (registers, queries, latents, masks) holds one value, or some of its rows are
    equal bit for bit.

    ## When is it right?

    Where the forward adds a position to each, or where something random behind them breaks the tie.

    ## What to do

    Draw them: N(0, 0.02²) is usual, and N(0, 1e-6) where they are to start near zero.
    """
    if tensor.part.role != "token" or len(tensor.shape) < 2:
        return
    tokens, values = math.prod(tensor.shape[:-1]), tensor.statistics
    rows = values.units.get(len(tensor.shape) - 2)
    copies = tokens if values.is_constant else rows.equal if rows is not None else 0
    if 1 < tokens <= MOST_TOKENS and copies > 1:
        what = f"all hold {values.minimum:.4g}" if values.is_constant else f"{copies:,} are copies of others"
        yield tensor.fault(
            f"of {tokens:,} tokens {what}; expected each its own draw",
            advice="draw them at random: std 0.02 is usual, 1e-6 is enough",
            tokens=tokens,
            equal=copies,
        )
