"""IA409: a table of tokens has fewer rows than the vocabulary."""

from collections.abc import Iterator

from initaudit.examples import bad, good, normal
from initaudit.rule import Fault, Model, Severity, rule


@rule(
    code="IA409",
    severity=Severity.ERROR,
    examples=[
        good(
            "a row for each token, and some to make the number round",
            {"embed_tokens.weight": normal(512, 32, std=0.02)},
            config={"vocab_size": 500},
        ),
        bad(
            "a tokenizer that has grown",
            {"embed_tokens.weight": normal(480, 32, std=0.02)},
            config={"vocab_size": 500},
            at="embed_tokens.weight",
        ),
    ],
)
def short_vocabulary(model: Model) -> Iterator[Fault]:
    """The largest table of tokens has fewer rows than the vocabulary that the configuration states.

    ## Why is this bad?

    The first batch with a token beyond the table stops the run with an index error or, on a GPU, with an assertion that
    names no line; where the index wraps or is clamped, tokens share rows without a word.

    ## How is it decided?

    ``config.json`` states a `vocab_size`, no matrix is as long, and the embedding with most rows has at least half as
    many (smaller ones are no tables of tokens). More rows are padding.

    ## When is it right?

    Embeddings that are split over several tables, or factorised otherwise.

    ## What to do

    Make the table for the vocabulary that the tokenizer has, or correct the configuration.
    """
    stated = model.config.get("vocab_size")
    matrices = [tensor for tensor in model.tensors if len(tensor.shape) == 2]
    tables = [tensor for tensor in matrices if tensor.part.role == "embedding"]
    if not isinstance(stated, int) or not tables or any(max(tensor.shape) >= stated for tensor in matrices):
        return
    largest = max(tables, key=lambda table: table.shape[0])
    if largest.shape[0] >= stated / 2:
        yield largest.fault(
            f"{largest.shape[0]:,} rows for a vocabulary of {stated:,}; expected a row for each token",
            advice="make the table for the tokenizer's vocabulary",
            beyond_repair="no values make up for rows that are not there",
            rows=largest.shape[0],
            vocabulary=stated,
        )
