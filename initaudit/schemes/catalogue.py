"""The schemes of the field, as candidates for one tensor: name, family, deviation, formula.

Fans are taken as libraries take them. Sources: LeCun et al. 1998; Glorot & Bengio 2010 (Xavier); He et al. 2015
(Kaiming); PyTorch's modules (kaiming_uniform with a = √5); Radford et al. 2019 (GPT-2: 0.02, and 0.02/√(2L) where a
residual branch ends); Nguyen & Salazar 2019 (small init); Shoeybi et al. 2019, torchtitan (per-layer scaling).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from initaudit.layers.values import Part
from initaudit.names import Depth
from initaudit.schemes.families import NORMAL, TRUNCATED, TRUNCATED_3, UNIFORM, Family

FIXED = (0.02, 0.01, 1.0, 0.05, 0.006, 0.1, 0.001, 1e-4, 1e-5, 1e-6, 1e-10)
"""Deviations that are set by hand, whatever the fan: those of released libraries, the most common first."""

TELLING = ("mode", "gain", "nonlinearity", "layers", "base_std", "width")
"""The parameters that tell schemes of one name apart."""

LAYERED = "layer_scaled"
"""Per-layer scaling of residual outputs, 0.02/√(2(l + 1))."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One scheme for one tensor; ``rank`` 0 is common, 1 and 2 are looked for only where what is before them fails."""

    name: str
    family: Family
    std: float
    formula: str
    rank: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)


def candidates(part: Part, shape: tuple[int, ...], family: Family, depth: Depth | None) -> tuple[Candidate, ...]:
    """The schemes of one family that could have drawn a tensor, the more common first."""
    fans = Fans(part.layout, part.role, part.groups, part.fan_in, part.fan_out, shape)
    return (*_whatever_the_depth(fans, family), *_by_depth(fans, family, depth))


def scales_by_fan(part: Part, shape: tuple[int, ...]) -> frozenset[float]:
    """The deviations of all schemes that scale by a fan, of whatever family."""
    return _scales_by_fan(Fans(part.layout, part.role, part.groups, part.fan_in, part.fan_out, shape))


class Fans(NamedTuple):
    """What of a tensor decides by which fans it may have been drawn; blocks have many tensors alike in it."""

    layout: str
    role: str
    groups: int
    fan_in: int | None
    fan_out: int | None
    shape: tuple[int, ...]


@lru_cache(maxsize=4096)
def _whatever_the_depth(fans: Fans, family: Family) -> tuple[Candidate, ...]:
    suffix = {NORMAL: "normal", UNIFORM: "uniform"}.get(family, "trunc_normal")
    found = list(_by_fan(fans, family, suffix))
    if fans.layout == "embedding" and fans.shape:
        found.append(Candidate(f"lecun_{suffix}", family, fans.shape[-1] ** -0.5, "var = 1/width", 1))
    return (*found, *_fixed(family))


@lru_cache(maxsize=4096)
def _scales_by_fan(fans: Fans) -> frozenset[float]:
    families = ((NORMAL, "normal"), (UNIFORM, "uniform"))
    return frozenset(c.std for family, suffix in families for c in _by_fan(fans, family, suffix))


def _by_depth(fans: Fans, family: Family, depth: Depth | None) -> Iterator[Candidate]:
    """Residual outputs: smaller by the root of the number of blocks, or of those up to their own."""
    if depth is None or depth.count < 2:
        return
    if fans.fan_in and fans.fan_out:
        for fan in dict.fromkeys((fans.fan_in, fans.fan_out)):  # CLIP scales by the model's width, which may be either
            std, formula = (2 * depth.count * fan) ** -0.5, f"var = 1/(2·{depth.count}·{fan})"
            yield Candidate("residual_scaled", family, std, formula, 2, {"width": fan, "layers": depth.count})
    if family is not UNIFORM:
        base = FIXED[0]
        shrink = 1.0 if family is NORMAL else family.shrink
        residual, layered = (base * shrink / math.sqrt(2 * blocks) for blocks in (depth.count, depth.index + 1))
        formula = f"N(0, {base:g}²/(2·{depth.count}))"
        yield Candidate("residual_scaled", family, residual, formula, 0, {"base_std": base, "layers": depth.count})
        formula = f"N(0, {base:g}²/(2·{depth.index + 1}))"
        yield Candidate(LAYERED, family, layered, formula, 1, {"base_std": base, "layer": depth.index})


def _by_fan(fans: Fans, family: Family, suffix: str) -> Iterator[Candidate]:
    for ins, outs, rank in _pairs(fans):
        if family is UNIFORM:
            yield Candidate("torch_default", family, (3 * ins) ** -0.5, "U(±1/sqrt(fan_in))", rank)
            yield Candidate("uniform_fan_out", family, (3 * outs) ** -0.5, "U(±1/sqrt(fan_out))", 1)
        yield Candidate(f"xavier_{suffix}", family, (2 / (ins + outs)) ** 0.5, "var = 2/(fan_in + fan_out)", rank)
        for mode, fan in (("fan_in", ins), ("fan_out", outs)):
            chosen = {"mode": mode, "nonlinearity": "relu"}
            yield Candidate(f"kaiming_{suffix}", family, (2 / fan) ** 0.5, f"var = 2/{mode}", rank, chosen)
        yield Candidate(f"lecun_{suffix}", family, ins**-0.5, "var = 1/fan_in", rank)
        yield Candidate(f"lecun_{suffix}", family, outs**-0.5, "var = 1/fan_out", 1, {"mode": "fan_out"})
        yield Candidate("small_init", family, (2 / (5 * ins)) ** 0.5, "var = 2/(5·fan_in)", 1)
        for gain, word in ((5 / 3, "5/3"), (2**0.5, "sqrt(2)"), (0.5**0.5, "1/sqrt(2)")):
            std = gain * (2 / (ins + outs)) ** 0.5
            yield Candidate(f"xavier_{suffix}", family, std, f"var = {word}²·2/(fan_in + fan_out)", 1, {"gain": gain})


def _pairs(fans: Fans) -> Iterator[tuple[int, int, int]]:
    """Fan-in and fan-out as they are, and as `torch.nn.init` computes them from the shape where that differs."""
    shape, fan_in, fan_out = fans.shape, fans.fan_in, fans.fan_out
    if not fan_in or not fan_out:
        return
    yield fan_in, fan_out, 0
    if len(shape) < 2:
        return
    kernel = math.prod(shape[2:])
    torchs = shape[1] * kernel, shape[0] * kernel
    if torchs != (fan_in, fan_out):
        yield *torchs, 0
    if fans.groups > 1:  # timm and EfficientNet divide the fan-out by the groups
        yield fan_in, max(1, shape[0] * kernel // fans.groups), 1
    if fans.role == "rnn_weight":  # recurrent layers draw all by their hidden size
        yield from ((shape[0] // gates, shape[0] // gates, 0) for gates in (4, 3, 1) if shape[0] % gates == 0)
    if shape[0] == 3 * shape[1]:  # fused q, k, v, drawn as three
        yield fan_in, fan_out // 3, 1


def _fixed(family: Family) -> Iterator[Candidate]:
    for std in FIXED:
        rank = 0 if std in FIXED[:3] else 1
        if family in (TRUNCATED, TRUNCATED_3):
            # `std` is the parent's; jax and Keras correct for the cut, TensorFlow's and timm's do not.
            cut = family.edge * family.shrink
            chosen = {"parent_std": std, "cut": round(cut)}
            yield Candidate(
                "trunc_normal", family, std * family.shrink, f"TN(0, {std:g}², ±{cut:.0f} std)", rank, chosen
            )
            yield Candidate(
                "trunc_normal", family, std, f"TN(0, ±{cut:.0f} parent std) of std {std:g}", 1, {"cut": round(cut)}
            )
        elif family is UNIFORM:
            yield Candidate("uniform", family, std / 3**0.5, f"U(±{std:g})", rank, {"bound": std})
            yield Candidate("uniform", family, std, f"U(±{std:g}·sqrt(3))", 1, {"bound": std * 3**0.5})
        else:
            yield Candidate("normal", family, std, f"N(0, {std:g}²)", rank)
