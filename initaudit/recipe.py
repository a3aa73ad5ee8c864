"""The recipe of a checkpoint: the schemes its own tensors show, in a few lines, and the tensors that differ."""

from collections import Counter
from collections.abc import Iterable, Iterator

from initaudit.model import Model, Tensor

MOST_SCHEMES = 4
"""Schemes of one kind of tensor that are named: a checkpoint that shows more has no recipe."""

MINORITY = 0.1
"""A part of the tensors up to which they are said to differ from the recipe, not to be part of it."""


def describe(model: Model, intended: Counter[str]) -> tuple[str, ...]:
    """What weights, embeddings, norms and biases were drawn from, and the conventions that explain what deviates."""
    lines = [
        *_line("weights", (tensor for tensor in model.tensors if tensor.is_weight)),
        *_line("embeddings", (tensor for tensor in model.tensors if tensor.part.role == "embedding")),
        *_line("norm scales", (tensor for tensor in model.tensors if tensor.part.role == "norm_scale")),
        *_line("biases", (t for t in model.tensors if t.is_bias or t.part.role == "norm_shift")),
    ]
    if intended:
        names = (
            f"{name} ({count:,})" for name, count in sorted(intended.items(), key=lambda item: (-item[1], item[0]))
        )
        lines.append(f"by convention: {'; '.join(names)}")
    return tuple(lines)


def _line(what: str, tensors: Iterable[Tensor]) -> Iterator[str]:
    """One kind of tensor: its schemes by how many show each, what is left over, and what shows none."""
    tensors = list(tensors)
    schemes = Counter(_words(tensor) for tensor in tensors)
    unknown = schemes.pop("", 0)
    ranked = sorted(schemes.items(), key=lambda item: (-item[1], item[0]))
    if not ranked:
        return
    named = [(words, count) for words, count in ranked if count > MINORITY * len(tensors)][:MOST_SCHEMES] or ranked[:1]
    others = sum(count for _, count in ranked) - sum(count for _, count in named)
    parts = [f"{words} ({count:,})" for words, count in named]
    parts += [f"{others:,} differ"] if others else []
    parts += [f"{unknown:,} show none"] if unknown else []
    yield f"{what}: {'; '.join(parts)}"


def _words(tensor: Tensor) -> str:
    scheme = tensor.scheme
    if scheme is None:
        return ""
    if scheme.name in ("zeros", "ones"):
        return {"zeros": "0", "ones": "1"}[scheme.name]
    if scheme.name == "sparse" and tensor.pattern is not None:
        return tensor.pattern.description
    mode = f"({scheme.parameters['mode']})" if "mode" in scheme.parameters else ""
    if scheme.name in ("normal", "uniform", "trunc_normal"):
        return scheme.formula
    return f"{scheme.name} {scheme.formula}" if scheme.name.endswith("_scaled") else f"{scheme.name}{mode}"
