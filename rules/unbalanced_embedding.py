"""IA204: of two embeddings that are added one drowns the other."""

from collections.abc import Iterator

from initaudit.examples import bad, good, normal
from initaudit.rule import Expectation, Fault, Model, Severity, Tensor, rule

FACTOR = 10.0
"""How far the deviations of tables that are summed may lie apart. In 250 fresh released models with drawn token and
position tables side by side none is further apart than 3."""

LARGEST = 5.0
"""The largest deviation of 444 embeddings in fresh released models is 1.03; what is drawn smaller and scaled up is
scaled when it is used."""


@rule(
    code="IA204",
    severity=Severity.WARNING,
    examples=[
        good("GPT-2's tables", {"wte.weight": normal(500, 64, std=0.02), "wpe.weight": normal(128, 64, std=0.01)}),
        bad(
            "tokens left at PyTorch's N(0, 1) beside positions of 0.02",
            {"wte.weight": normal(500, 64, std=1), "wpe.weight": normal(128, 64, std=0.02)},
            at="wte.weight",
        ),
        bad("ten times larger than any in use", {"embed.weight": normal(500, 64, std=20)}, at="embed.weight"),
    ],
)
def unbalanced_embedding(model: Model) -> Iterator[Fault]:
    """Token embeddings are many times larger than what they are added to, or than any table in use.

    ## Why is this bad?

    The sum of the two is what the first block sees, and behind its norm the smaller one is gone: the model starts blind
    to positions. A table of deviation 1 that also serves as the head gives logits of √width, and a first loss far above
    ln(vocabulary). The usual cause is `nn.Embedding`, which draws N(0, 1), left as it was.

    ## How is it decided?

    A token table and a position table of one width stand in one module, both drawn from a normal law, and the tokens'
    deviation is more than ten times the positions'; or any embedding has a deviation above 5.

    ## When is it right?

    Where the forward scales one of them before they meet.

    ## What to do

    Draw both alike: std 0.02 is usual.
    """
    positions = [tensor for tensor in model.tensors if tensor.part.role == "positional" and _is_drawn(tensor)]
    for tokens in model.tensors:
        if tokens.part.role != "embedding" or not _is_drawn(tokens):
            continue
        if tokens.std > LARGEST:
            yield tokens.fault(
                f"std {tokens.std:.3g}; tables are drawn with 0.02 to 1, and what is added to this one drowns in it",
                advice="draw it with std 0.02",
                expectation=Expectation("usual", 0.02),
                std=tokens.std,
                expected_std=0.02,
            )
            continue
        for table in positions:
            beside = table.parent == tokens.parent and table.shape[-1] == tokens.shape[-1]
            if beside and tokens.std > FACTOR * table.std:
                yield tokens.fault(
                    f"std {tokens.std:.3g}, {tokens.std / table.std:.0f} times that of {table.name} ({table.std:.3g}),"
                    " to which it is added; expected both alike",
                    advice=f"draw it with std {table.std:.3g}",
                    expectation=Expectation(f"as {table.name} has", table.std),
                    std=tokens.std,
                    expected_std=table.std,
                )
                break


def _is_drawn(tensor: Tensor) -> bool:
    return tensor.scheme is not None and "normal" in tensor.scheme.name and len(tensor.shape) > 1
