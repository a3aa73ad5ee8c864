"""What a law draws at one tensor, in numbers: its deviation, its mean, its bounds."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from initaudit.errors import LawError
from initaudit.laws.expressions import evaluate
from initaudit.laws.law import Law
from initaudit.laws.setting import Setting

DRAWN = frozenset(("normal", "uniform", "trunc_normal", "orthogonal", "sparse", "log_uniform", "time_step"))
"""The families of draws; the others hold the same numbers each time."""

ABOVE_ZERO = ("std", "bound", "cut", "gain", "base")

LEAST_LOW = {"log_uniform": 0.0, "time_step": math.ulp(0.0)}
"""Where the lower end goes through a logarithm: of a uniform draw, zero itself has a probability of zero."""

SMALL_CUT = 0.01
"""A normal cut so near to its mean is flat: the formula for its deviation would lose its digits to cancellation."""

NEAR, FAR = 1e-4, 300.0
"""Half of ln(high/low), below which the variance loses its digits, and beyond which low is as good as zero."""

STEPS = 512
"""Into how many parts an interval is split to integrate over it: the error is under 1e-9 for steps of 1e-4 to 1."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A law in a setting.

    ``values`` are its parameters. ``std`` and ``mean`` are those of what is drawn, all of a tensor's values taken
    together (the zeros of a sparse one too), None where the law does not say. No value lies outside of ``low`` and
    ``high``.
    """

    family: str
    values: Mapping[str, float]
    std: float | None
    mean: float | None
    low: float = -math.inf
    high: float = math.inf

    @property
    def is_draw(self) -> bool:
        """Whether it is random: another seed gives other values."""
        return self.family in DRAWN

    @property
    def rms(self) -> float | None:
        """The root of the mean square, which is the deviation about zero."""
        return None if self.std is None or self.mean is None else math.hypot(self.std, self.mean)


def settle(law: Law, setting: Setting) -> Settled:
    """What a law draws in a setting.

    Raises:
        LawError: a name is not known there, or the law cannot be drawn with what its formulas give.

    """
    values = {name: evaluate(expression, setting) for name, expression in law.parameters}
    _require_drawable(law, values)
    try:
        settled = _PROPERTIES.get(law.family, _unknown)(law.family, values, setting)
    except OverflowError as error:
        raise LawError(f"{law}: it overflows") from error
    if not all(map(math.isfinite, (settled.std or 0.0, settled.mean or 0.0))):
        raise LawError(f"{law}: it overflows")
    return settled


def _require_drawable(law: Law, values: Mapping[str, float]) -> None:
    """See that parameters are such as their family can be drawn with.

    Raises:
        LawError: they are not.

    """
    for name, value in values.items():
        if name in ABOVE_ZERO and value <= 0:
            raise LawError(f"{law}: {name} is to be above zero, not {value:.4g}")
        if name == "connections" and value < 1:
            raise LawError(f"{law}: connections are to be one or more, not {value:.4g}")
        if name == "low" and value >= values["high"]:
            raise LawError(f"{law}: low is to be below high, and is {value:.4g}")
        if name == "low" and value < LEAST_LOW.get(law.family, -math.inf):
            raise LawError(f"{law}: low is {value:.4g}, which has no logarithm")


def shrink(cut: float) -> float:
    """The deviation of a standard normal cut at ±``cut``: √(1 - 2c·φ(c)/(2Φ(c) - 1)) (Johnson & Kotz 1970)."""
    if cut < SMALL_CUT:
        return cut / math.sqrt(3) * (1 - cut * cut / 15)
    density = math.exp(-cut * cut / 2) / math.sqrt(2 * math.pi)
    return math.sqrt(1 - 2 * cut * density / math.erf(cut / math.sqrt(2)))


def _normal(family: str, values: Mapping[str, float], setting: Setting) -> Settled:
    return Settled(family, values, values["std"], values["mean"])


def _uniform(family: str, values: Mapping[str, float], setting: Setting) -> Settled:
    low, high = values.get("low", -values.get("bound", 0.0)), values.get("high", values.get("bound", 0.0))
    return Settled(family, values, (high - low) / math.sqrt(12), (low + high) / 2, low, high)


def _trunc_normal(family: str, values: Mapping[str, float], setting: Setting) -> Settled:
    std, cut, mean = values["std"], values["cut"], values["mean"]
    return Settled(family, values, std * shrink(cut), mean, mean - cut * std, mean + cut * std)


def _orthogonal(family: str, values: Mapping[str, float], setting: Setting) -> Settled:
    """The shorter side of the matrix is orthonormal, so that each value has variance gain²/(longer side)."""
    std = values["gain"] / math.sqrt(max(setting.units, setting.fan_in)) if setting.units and setting.fan_in else None
    return Settled(family, values, std, 0.0, -values["gain"], values["gain"])


def _sparse(family: str, values: Mapping[str, float], setting: Setting) -> Settled:
    share = min(1.0, values["connections"] / setting.fan_in) if setting.fan_in else None
    return Settled(family, values, None if share is None else values["std"] * math.sqrt(share), 0.0)


def _constant(family: str, values: Mapping[str, float], setting: Setting) -> Settled:
    value = values.get("value", float(family == "ones"))
    return Settled(family, values, 0.0, value, value, value)


def _log_uniform(family: str, values: Mapping[str, float], setting: Setting) -> Settled:
    """With 2y = ln(high/low): mean ln high - 1 + 2y/(e^2y - 1), variance 1 - (y/sinh y)²; with low = 0, y infinite."""
    low, high = values["low"], values["high"]
    half = math.log(high / low) / 2 if low else math.inf
    mean, std = math.log(high) - 1, 1.0
    if half < FAR:
        mean += 2 * half / math.expm1(2 * half)
        std = math.sqrt(1 - (half / math.sinh(half)) ** 2) if half > NEAR else half / math.sqrt(3)
    return Settled(family, values, std, mean, math.log(low) if low else -math.inf, math.log(high))


def _time_step(family: str, values: Mapping[str, float], setting: Setting) -> Settled:
    """The moments of softplus⁻¹(exp U(ln low, ln high)), by Simpson's rule."""
    low, high = math.log(values["low"]), math.log(values["high"])
    weights = [1 if at in (0, STEPS) else 2 + 2 * (at % 2) for at in range(STEPS + 1)]
    points = [_inverse_softplus(math.exp(low + (high - low) * at / STEPS)) for at in range(STEPS + 1)]
    mean = math.fsum(w * p for w, p in zip(weights, points, strict=True)) / (3 * STEPS)
    variance = math.fsum(w * (p - mean) ** 2 for w, p in zip(weights, points, strict=True)) / (3 * STEPS)
    return Settled(family, values, math.sqrt(variance), mean, points[0], points[-1])


def _inverse_softplus(step: float) -> float:
    return step + math.log(-math.expm1(-step))


def _unknown(family: str, values: Mapping[str, float], setting: Setting) -> Settled:
    bounds = {"sinusoidal": (-1.0, 1.0), "identity": (0.0, 1.0)}
    return Settled(family, values, None, None, *bounds.get(family, (-math.inf, math.inf)))


_PROPERTIES: Mapping[str, Callable[[str, Mapping[str, float], Setting], Settled]] = {
    "normal": _normal,
    "uniform": _uniform,
    "trunc_normal": _trunc_normal,
    "orthogonal": _orthogonal,
    "sparse": _sparse,
    "constant": _constant,
    "zeros": _constant,
    "ones": _constant,
    "log_uniform": _log_uniform,
    "time_step": _time_step,
}
