"""The recipe of a checkpoint: the schemes its own tensors show, in a few lines, and the tensors that differ."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from initaudit.model import Model, Tensor
from initaudit.recipes import scale_of

MOST_SCHEMES = 4
"""Schemes of one kind of tensor that are named: a checkpoint that shows more has no recipe."""

FEWEST = 1000
"""Weights of fewer elements do not say how scale follows the fans."""

LEAST_FANS = 4
"""Three coefficients need at least one pair of fans more."""

EXACT_LAW, ODD = 0.02, 0.1
"""How near most weights must lie to a law of scale, and how far off one differs from it, in logarithms."""

LEAST_SLOPE = 0.05
"""Exponents below this are no dependence on the fan."""

MINORITY = 0.1
"""A part of the tensors up to which they are said to differ from the recipe, not to be part of it."""


def describe(model: Model, intended: Counter[str]) -> tuple[str, ...]:
    """What weights, embeddings, norms and biases were drawn from, and the conventions that explain what deviates."""
    lines = [
        *_line("weights", (tensor for tensor in model.tensors if tensor.is_weight), model),
        *_line("embeddings", (tensor for tensor in model.tensors if tensor.part.role == "embedding"), model),
        *_line("norm scales", (tensor for tensor in model.tensors if tensor.part.role == "norm_scale"), model),
        *_line("biases", (t for t in model.tensors if t.is_bias or t.part.role == "norm_shift"), model),
    ]
    lines += _law(model)
    if intended:
        names = (
            f"{name} ({count:,})" for name, count in sorted(intended.items(), key=lambda item: (-item[1], item[0]))
        )
        lines.append(f"by convention: {'; '.join(names)}")
    return tuple(lines)


def _line(what: str, tensors: Iterable[Tensor], model: Model) -> Iterator[str]:
    """One kind of tensor: its schemes by how many show each, what is left over, and what shows none."""
    tensors = list(tensors)
    schemes = Counter(_words(tensor, model) for tensor in tensors)
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


def _law(model: Model) -> Iterator[str]:
    """How deviations follow the fans, where most weights show no scheme of a name: std = a·fan_in^b·fan_out^c.

    Least squares on logarithms, each weight counting for its number of elements (their errors are 1/√N).
    """
    weights = [t for t in model.weights if t.part.fan_in and t.part.fan_out and t.std > 0 and t.count >= FEWEST]
    unnamed = [t for t in weights if t.scheme is None or not t.scheme.is_named]
    fans = {(t.part.fan_in, t.part.fan_out) for t in weights}
    if len(fans) < LEAST_FANS or len(unnamed) <= len(weights) / 2 or len({t.std for t in weights}) < LEAST_FANS:
        return
    root = np.sqrt([t.count for t in weights])
    table = np.array([[1.0, math.log(t.part.fan_in or 1), math.log(t.part.fan_out or 1)] for t in weights])
    target = np.log([t.std for t in weights])
    (level, by_in, by_out), *_ = np.linalg.lstsq(table * root[:, None], target * root, rcond=None)
    off = np.abs(table @ np.array([level, by_in, by_out]) - target)
    if np.median(off) < EXACT_LAW:
        odd = int((off > ODD).sum())
        said = f"; {odd:,} differ" if odd else ""
        flat = max(abs(by_in), abs(by_out)) < LEAST_SLOPE
        law = f"{np.median([t.std for t in weights]):.3g}, whatever the fan" if flat else ""
        yield f"law of scale: std = {law or f'{math.exp(level):.3g}·fan_in^{by_in:.2f}·fan_out^{by_out:.2f}'}{said}"


def _words(tensor: Tensor, model: Model) -> str:
    scheme = tensor.scheme
    if scheme is None or not scheme.is_named:
        scale = scale_of(tensor, model)
        return f"{scheme.name if scheme is not None else 'drawn'}, std {scale}" if scale else ""
    if scheme.name in ("zeros", "ones"):
        return {"zeros": "0", "ones": "1"}[scheme.name]
    if scheme.name == "sparse" and tensor.pattern is not None:
        return tensor.pattern.description
    mode = f"({scheme.parameters['mode']})" if "mode" in scheme.parameters else ""
    if scheme.name in ("normal", "uniform", "trunc_normal"):
        return scheme.formula
    return f"{scheme.name} {scheme.formula}" if scheme.name.endswith("_scaled") else f"{scheme.name}{mode}"
