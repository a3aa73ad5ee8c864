"""The scales of the field: from a number to the formula that people write for it, and on to its name.

Sources: LeCun et al. 1998; Glorot & Bengio 2010 (Xavier); He et al. 2015; PyTorch's modules (kaiming_uniform with
a = √5); Nguyen & Salazar 2019 (small init); Radford et al. 2019 (GPT-2: residual outputs by 1/√(2L)).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from initaudit.errors import LawError
from initaudit.laws.expressions import Binary, Expression, Number, digits
from initaudit.laws.law import Law
from initaudit.laws.parsing import parse_expression
from initaudit.laws.settled import shrink

Base: TypeAlias = Literal["fixed", "fan_in", "fan_out", "fan_mean", "torch_fan_in", "torch_fan_out", "torch_fan_mean"]
"""What a deviation scales by: nothing, or the root of a fan, of the layer's own or of those that torch takes."""

DIGITS = 4
"""Significant digits of a number without a name."""

AS_NAMED = 0.5 * 10.0 ** (1 - DIGITS)
"""How near to a named constant another is taken for it: as near as rounding to `DIGITS` brings it."""

ROUND = 2
"""Significant digits of a number that somebody chose."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A scale by a fan that has a name: std·√fan, and how its deviation and its uniform bound are written."""

    by: Literal["fan", "mean"]
    constant: float
    std: str
    bound: str
    words: str
    only_in_variance: bool = False
    """Whether the name is that of a uniform law: a normal one has its variance."""

    @property
    def words_of_std(self) -> str:
        """What it is called where it is no bound."""
        return f"the variance of {self.words}" if self.only_in_variance else self.words

    def text(self, base: Base, *, bound: bool) -> str:
        """The formula of the deviation, or of the bound, for one base."""
        return _filled(self.bound if bound else self.std, base)


def _filled(template: str, base: Base) -> str:
    ins, outs = ("torch_fan_in", "torch_fan_out") if base.startswith("torch") else ("fan_in", "fan_out")
    return template.format(fan=base, mean=f"({ins} + {outs})")


SCALES = (
    Scale("fan", 1.0, "1 / sqrt({fan})", "sqrt(3 / {fan})", "LeCun"),
    Scale("fan", math.sqrt(2), "sqrt(2 / {fan})", "sqrt(6 / {fan})", "He"),
    Scale("fan", 1 / math.sqrt(3), "1 / sqrt(3 * {fan})", "1 / sqrt({fan})", "PyTorch's default", True),
    Scale("fan", math.sqrt(2 / 5), "sqrt(2 / (5 * {fan}))", "sqrt(6 / (5 * {fan}))", "small init"),
    Scale("fan", 1 / math.sqrt(2), "1 / sqrt(2 * {fan})", "sqrt(3 / (2 * {fan}))", "LeCun with gain 1/√2"),
    Scale("fan", 5 / 3, "5 / 3 / sqrt({fan})", "5 / 3 * sqrt(3 / {fan})", "LeCun with tanh's gain 5/3"),
    Scale("mean", 1.0, "sqrt(2 / {mean})", "sqrt(6 / {mean})", "Xavier"),
    Scale("mean", math.sqrt(2), "sqrt(2) * sqrt(2 / {mean})", "sqrt(2) * sqrt(6 / {mean})", "Xavier with gain √2"),
    Scale(
        "mean", 1 / math.sqrt(2), "sqrt(2 / {mean}) / sqrt(2)", "sqrt(6 / {mean}) / sqrt(2)", "Xavier with gain 1/√2"
    ),
    Scale("mean", 5 / 3, "5 / 3 * sqrt(2 / {mean})", "5 / 3 * sqrt(6 / {mean})", "Xavier with tanh's gain 5/3"),
)
"""Each scale by a fan that the field has a name for; ``fan`` and ``mean`` stand for the fan, and for both added."""

GAINS: Mapping[str, float] = {"sqrt(2)": math.sqrt(2), "5 / 3": 5 / 3, "1 / sqrt(2)": 1 / math.sqrt(2)}
"""Gains of orthogonal matrices that are no round numbers."""

DEPTHS: Mapping[str, str] = {
    "sqrt(blocks)": "1/√L",
    "sqrt(2 * blocks)": "1/√(2L)",
    "sqrt(3 * blocks)": "1/√(3L)",
    "blocks": "1/L",
    "sqrt(block + 1)": "1/√(l + 1)",
    "sqrt(2 * (block + 1))": "1/√(2(l + 1))",
    "block + 1": "1/(l + 1)",
}
"""What residual outputs are divided by, in words for L blocks, of which this is number l from 0 on."""

BASES: Mapping[Base, str] = {
    "fan_in": "",
    "fan_out": " by fan_out",
    "fan_mean": "",
    "torch_fan_in": " by torch's fan_in",
    "torch_fan_out": " by torch's fan_out",
    "torch_fan_mean": " by torch's fans",
}
"""What is said of the fan that a named scale goes by; nothing of the usual one."""


def named_scale(base: Base, constant: float, *, depth: str = "", bound: bool = False) -> Expression:
    """The formula of a deviation of ``constant`` / √base, as the field writes it; a number has four digits.

    Args:
        base: what it scales by; ``fixed`` is nothing, and ``fan_mean`` half of both fans together.
        constant: the deviation times √base, above zero.
        depth: what it is divided by besides, one of `DEPTHS` or another expression; empty for nothing.
        bound: give the bound of a uniform draw of this deviation, √3 times as much.

    Raises:
        LawError: the constant is no finite number above zero, or ``depth`` no expression.

    """
    if not 0 < constant < math.inf:
        raise LawError(f"a scale is a finite number above zero, not {constant!r}")
    text = _fixed(constant, bound=bound) if base == "fixed" else _by_fan(base, constant, bound=bound)
    return _divided(_parsed(text), depth)


def named_law(family: str, base: Base, constant: float, *, depth: str = "", cut: float = 2.0) -> Law:
    """The law of a draw that deviates by ``constant`` / √base, as the field writes it.

    Args:
        family: ``normal``, ``uniform``, ``trunc_normal`` or, with base ``fixed``, ``orthogonal``.
        base: what it scales by, as for `named_scale`.
        constant: the deviation *of what is drawn* times √base; of an orthogonal matrix its gain.
        depth: what it is divided by besides, as for `named_scale`.
        cut: where a ``trunc_normal`` is cut, in deviations before the cut.

    Raises:
        LawError: there is no such law.

    """
    match family:
        case "uniform":
            return Law.of(family, bound=named_scale(base, constant, depth=depth, bound=True))
        case "trunc_normal":
            return Law.of(family, std=_before_the_cut(base, constant, depth, cut), cut=cut)
        case "orthogonal":
            if base != "fixed":
                raise LawError("orthogonal has a gain, which goes by no fan")
            gain = next((text for text, value in GAINS.items() if _is_near(constant, value)), "")
            return Law.of(
                family, gain=_divided(_parsed(gain), depth) if gain else named_scale(base, constant, depth=depth)
            )
        case _:
            return Law.of(family, std=named_scale(base, constant, depth=depth))


def words(law: Law) -> str:
    """A law as people say it: "normal, He", "uniform, PyTorch's default", "normal, std 0.0417", "zeros"."""
    if law.family == "constant":
        return f"constant {law.get('value')}"
    said = dict[str, str]()
    for name in ("std", "bound"):
        scale = law.get(name)
        if scale is not None and law.family != "sparse":
            said[name] = _said(scale, name, law)
    rest = [said.get(name) or f"{name} {given}" for name, given in law.parameters if (name, given) != _NO_MEAN]
    return ", ".join((_FAMILY_WORDS.get(law.family, law.family), *rest))


_NO_MEAN = ("mean", Number(0.0))
_FAMILY_WORDS = {
    "trunc_normal": "truncated normal",
    "log_uniform": "logarithm of a uniform draw",
    "time_step": "time steps",
    "sinusoidal": "sinusoidal table",
    "rotary": "rotary table",
    "log_arange": "ln 1, ln 2, … in each row",
}


def _said(scale: Expression, name: str, law: Law) -> str:
    """What a scale is called, with what depth and a correction for the cut do to it; empty where it has no name."""
    depth = correction = ""
    if isinstance(scale, Binary) and scale.operator == "/":
        depth = next((said for text, said in DEPTHS.items() if _parsed(text) == scale.right), "")
        scale = scale.left if depth else scale
    cut = law.get("cut")
    if isinstance(scale, Binary) and isinstance(cut, Number) and scale.right == _parsed(_correction(cut.value)):
        correction, scale = ", corrected for its cut", scale.left
    found = _names().get((scale, name == "bound"), "")
    if not (found or depth or correction):
        return ""
    return f"{found or f'{name} {scale}'}{correction}{f', by depth {depth}' if depth else ''}"


@lru_cache(maxsize=1)
def _names() -> Mapping[tuple[Expression, bool], str]:
    """The name of each formula that has one, by whether it is the bound of a uniform draw."""
    return {
        (_parsed(scale.text(base, bound=bound)), bound): f"{scale.words if bound else scale.words_of_std}{by}"
        for scale in SCALES
        for base, by in BASES.items()
        if base.endswith("mean") == (scale.by == "mean")
        for bound in (True, False)
    }


def _fixed(constant: float, *, bound: bool) -> str:
    """A number; a bound as √3 times a deviation where that, and not the bound, is what somebody chose."""
    value = constant * math.sqrt(3) if bound else constant
    return (
        f"{_rounded(constant)} * sqrt(3)" if bound and _is_round(constant) and not _is_round(value) else _rounded(value)
    )


def _by_fan(base: Base, constant: float, *, bound: bool) -> str:
    named = _named(base, constant)
    if named is not None:
        return named.text(base, bound=bound)
    if base.endswith("mean"):
        return _filled(f"{_rounded(constant)} * sqrt({6 if bound else 2} / {{mean}})", base)
    value = constant * math.sqrt(3) if bound else constant
    if bound and _is_round(constant) and not _is_round(value):
        return f"{_rounded(constant)} * sqrt(3 / {base})"
    return f"{_rounded(value)} / sqrt({base})"


def _before_the_cut(base: Base, constant: float, depth: str, cut: float) -> Expression:
    """The parent's deviation; where only that of what is drawn has a name, with the correction that jax makes."""
    parent = constant / shrink(cut)
    if _is_known(base, constant) and not _is_known(base, parent):
        corrected = Binary("/", named_scale(base, constant), _parsed(_correction(cut)))
        return _divided(corrected, depth)
    return named_scale(base, parent, depth=depth)


def _is_known(base: Base, constant: float) -> bool:
    """Whether a constant is one that somebody writes down."""
    return _is_round(constant) or _named(base, constant) is not None


def _named(base: Base, constant: float) -> Scale | None:
    by = "mean" if base.endswith("mean") else "fan"
    return next((s for s in SCALES if base != "fixed" and s.by == by and _is_near(constant, s.constant)), None)


def _divided(scale: Expression, depth: str) -> Expression:
    return Binary("/", scale, _parsed(depth)) if depth else scale


def _correction(cut: float) -> str:
    """What a cut leaves of a deviation of 1, with the eight digits that libraries have for it."""
    return digits(float(f"{shrink(cut):.8g}"))


def _rounded(value: float) -> str:
    return digits(float(f"{value:.{DIGITS}g}"))


def _is_round(value: float) -> bool:
    return _is_near(value, float(f"{value:.{ROUND}g}"))


def _is_near(value: float, named: float) -> bool:
    return math.isclose(value, named, rel_tol=AS_NAMED)


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Expression:
    return parse_expression(text)
