"""Schemes that are asked for by hand: ``[GLOB=]NAME[:parameter=value,...]``."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from initaudit.errors import InitauditError
from initaudit.model import Tensor
from initaudit.remedies.values import Law, Remedy, shrink

REASON = "asked for"

GAINS = {"linear": 1.0, "conv": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 0.75}
"""The factor by which each activation is made up for (`torch.nn.init.calculate_gain`); leaky_relu's has its slope."""


class AskedError(InitauditError):
    """A scheme that cannot be understood, or that a tensor has no fans for."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A scheme for the tensors that a glob matches."""

    glob: str
    name: str
    parameters: Mapping[str, str]

    def covers(self, tensor: Tensor) -> bool:
        """Whether it speaks of a tensor."""
        return fnmatchcase(tensor.name, self.glob)

    def remedy(self, tensor: Tensor) -> Remedy:
        """What it asks for a tensor, by the tensor's own fans.

        Raises:
            AskedError: the tensor has no fans to scale by.

        """
        law, build = _SCHEMES[self.name]
        return Remedy(self.name, law, build(self, tensor), REASON)

    def number(self, name: str, usual: float) -> float:
        """One of the parameters."""
        return float(self.parameters.get(name, usual))


def wish_of(text: str) -> Wish:
    """What ``--scheme`` asks for.

    Raises:
        AskedError: no scheme has this name, or it does not take such a parameter.

    """
    glob, found, rest = text.partition("=")
    if not found or ":" in glob or glob in _SCHEMES:
        glob, rest = "*", text
    name, _, described = rest.partition(":")
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

_SCHEMES: Mapping[str, tuple[Law, _Build]] = {
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
