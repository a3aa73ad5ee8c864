"""Schemes that are asked for by hand: ``[GLOB=]NAME[:parameter=value,...]``, or ``[GLOB=]LAW``."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from initaudit.errors import InitauditError
from initaudit.laws import FAMILIES, Law, LawError, parse_law, shrink
from initaudit.model import Model, Tensor
from initaudit.remedies.laws import NOT_DRAWN, remedy_of
from initaudit.remedies.values import LawName, Remedy

REASON = "asked for"

GAINS = {"linear": 1.0, "conv": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}
"""The factor by which each activation is made up for (`torch.nn.init.calculate_gain`); leaky_relu's has its slope."""


_LAW = re.compile(r"(?:(?P<glob>[^=(]*)=)?\s*(?P<law>[A-Za-z_]\w*\s*\(.*)", re.DOTALL)
"""What has parentheses is a law: an equals sign before them ends the glob, those within are the law's."""


class AskedError(InitauditError):
    """A scheme that cannot be understood, or that a tensor has no fans for."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A scheme, or a law, for the tensors that a glob matches."""

    glob: str
    name: str
    parameters: Mapping[str, str]
    law: Law | None = None

    def covers(self, tensor: Tensor) -> bool:
        """Whether it speaks of a tensor."""
        return fnmatchcase(tensor.name, self.glob)

    def remedy(self, tensor: Tensor, model: Model) -> Remedy:
        """What it asks for a tensor of a model, by the tensor's own fans and, for a law, by its depth.

        Raises:
            AskedError: the tensor has no fans to scale by, or something that a law names is not known of it.

        """
        if self.law is not None:
            try:
                return remedy_of(self.law, tensor, model, f"{REASON}: {self.law}" if self.law.names else REASON)
            except LawError as error:
                raise AskedError(f"no {self.law} for {tensor.name}: {error}") from error
        law, build = _SCHEMES[self.name]
        return Remedy(self.name, law, build(self, tensor), REASON)

    def number(self, name: str, usual: float) -> float:
        """One of the parameters."""
        return float(self.parameters.get(name, usual))


def wish_of(text: str) -> Wish:
    """What ``--scheme`` asks for.

    Raises:
        AskedError: no scheme has this name, or it does not take such a parameter.
        LawError: it has parentheses as a law has, and is none.

    """
    match = _LAW.fullmatch(text)
    if match is not None:
        return _wish_of_law("*" if match["glob"] is None else match["glob"].strip(), parse_law(match["law"]))
    glob, found, rest = text.partition("=")
    if not found or ":" in glob or glob in _SCHEMES:
        glob, rest = "*", text
    name, _, described = rest.partition(":")
    if name in FAMILIES and name not in _SCHEMES:
        return _wish_of_law(glob, parse_law(rest))
    if name not in _SCHEMES:
        raise AskedError(f"no scheme is called {name!r}: there are {', '.join(sorted(_SCHEMES))}")
    parameters = dict[str, str]()
    for item in filter(None, described.split(",")):
        key, separator, value = item.partition("=")
        if key not in _TAKES[name] or not separator:
            takes = ", ".join(_TAKES[name]) or "no parameters"
            raise AskedError(f"scheme {name} does not take {item!r}: it takes {takes}")
        if key not in ("mode", "nonlinearity") and not _is_number(value):
            raise AskedError(f"scheme {name}: {key} is to be a number, not {value!r}")
        parameters[key] = value
    if parameters.get("mode", "fan_in") not in ("fan_in", "fan_out"):
        raise AskedError(f"scheme {name}: mode is fan_in or fan_out, not {parameters['mode']!r}")
    if parameters.get("nonlinearity", "relu") not in (*GAINS, "leaky_relu"):
        raise AskedError(f"scheme {name}: no gain is known for {parameters['nonlinearity']!r}")
    return Wish(glob, name, parameters)


def _wish_of_law(glob: str, law: Law) -> Wish:
    if law.family in NOT_DRAWN:
        raise AskedError(f"{law} cannot be drawn: {NOT_DRAWN[law.family]}")
    return Wish(glob, law.family, {}, law)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _fans(tensor: Tensor) -> tuple[int, int]:
    fan_in, fan_out = tensor.part.fan_in, tensor.part.fan_out
    if not fan_in or not fan_out:
        raise AskedError(f"{tensor.name} has no fans to scale by: name a scheme with a fixed std for it")
    return fan_in, fan_out


def _lecun(wish: Wish, tensor: Tensor) -> dict[str, object]:
    return {"std": _fans(tensor)[0] ** -0.5}


def _xavier(wish: Wish, tensor: Tensor) -> dict[str, object]:
    gain = wish.number("gain", 1.0)
    return {"gain": gain, "std": gain * math.sqrt(2 / sum(_fans(tensor)))}


def _kaiming(wish: Wish, tensor: Tensor) -> dict[str, object]:
    mode, nonlinearity = wish.parameters.get("mode", "fan_in"), wish.parameters.get("nonlinearity", "relu")
    slope = wish.number("a", 0.01)
    gain = GAINS.get(nonlinearity) or math.sqrt(2 / (1 + slope**2))
    fan = _fans(tensor)[mode == "fan_out"]
    return {"mode": mode, "nonlinearity": nonlinearity, "std": gain / math.sqrt(fan)}


def _fixed(wish: Wish, tensor: Tensor) -> dict[str, object]:
    return {"std": wish.number("std", 0.02)}


def _uniform(wish: Wish, tensor: Tensor) -> dict[str, object]:
    return {"std": wish.number("bound", 0.05) / math.sqrt(3)}


def _truncated(wish: Wish, tensor: Tensor) -> dict[str, object]:
    cut = wish.number("cut", 2.0)
    return {"std": wish.number("std", 0.02) * shrink(cut), "cut": cut}


def _orthogonal(wish: Wish, tensor: Tensor) -> dict[str, object]:
    if len(tensor.shape) < 2:
        raise AskedError(f"{tensor.name} is no matrix, which orthogonal needs")
    return {"gain": wish.number("gain", 1.0)}


def _sparse(wish: Wish, tensor: Tensor) -> dict[str, object]:
    if len(tensor.shape) < 2 or not tensor.part.fan_in:
        raise AskedError(f"{tensor.name} is no matrix with inputs, which sparse needs")
    connections = min(max(1, int(wish.number("connections", 10))), tensor.part.fan_in)
    return {"connections": connections, "std": wish.number("std", connections**-0.5)}


def _constant(wish: Wish, tensor: Tensor) -> dict[str, object]:
    return {"value": {"zeros": 0.0, "ones": 1.0}.get(wish.name, wish.number("value", 0.0))}


_Build = Callable[[Wish, Tensor], dict[str, object]]

_SCHEMES: Mapping[str, tuple[LawName, _Build]] = {
    "lecun_normal": ("normal", _lecun),
    "lecun_uniform": ("uniform", _lecun),
    "xavier_normal": ("normal", _xavier),
    "xavier_uniform": ("uniform", _xavier),
    "kaiming_normal": ("normal", _kaiming),
    "kaiming_uniform": ("uniform", _kaiming),
    "normal": ("normal", _fixed),
    "uniform": ("uniform", _uniform),
    "trunc_normal": ("trunc_normal", _truncated),
    "orthogonal": ("orthogonal", _orthogonal),
    "sparse": ("sparse", _sparse),
    "zeros": ("constant", _constant),
    "ones": ("constant", _constant),
    "constant": ("constant", _constant),
}

_TAKES: Mapping[str, tuple[str, ...]] = {
    "lecun_normal": (),
    "lecun_uniform": (),
    "xavier_normal": ("gain",),
    "xavier_uniform": ("gain",),
    "kaiming_normal": ("mode", "nonlinearity", "a"),
    "kaiming_uniform": ("mode", "nonlinearity", "a"),
    "normal": ("std",),
    "uniform": ("bound",),
    "trunc_normal": ("std", "cut"),
    "orthogonal": ("gain",),
    "sparse": ("connections", "std"),
    "zeros": (),
    "ones": (),
    "constant": ("value",),
}
