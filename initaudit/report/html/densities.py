"""The density of what a tensor should hold, or is drawn from: the curve that its histogram is laid beside."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from initaudit.depth import std_of
from initaudit.laws import shrink
from initaudit.model import Tensor
from initaudit.remedies import LawName, Remedy
from initaudit.schemes import Scheme

Floats = NDArray[np.float64]

NORMAL_REACH = 4.0
"""Deviations up to which a normal density is drawn: beyond them it is not to be told from the axis."""


@dataclass(frozen=True, slots=True)
class Component:
    """A share of the values, drawn by one law about zero with this deviation; ``cut`` in parent deviations."""

    share: float
    law: LawName
    std: float
    cut: float = math.inf

    @property
    def edge(self) -> float:
        """How far from zero its density is worth drawing."""
        if self.law == "uniform":
            return math.sqrt(3) * self.std
        return min(NORMAL_REACH, self.cut) * self._parent

    @property
    def peak(self) -> float:
        """The highest density."""
        return float(self.at(np.zeros(1))[0])

    def at(self, values: Floats) -> Floats:
        """The density at some values, times its share."""
        inside = np.abs(values) <= self.edge
        if self.law == "uniform":
            return np.where(inside, self.share / (2 * self.edge), 0.0)
        parent = self._parent
        mass = math.erf(self.cut / math.sqrt(2)) if math.isfinite(self.cut) else 1.0
        density = np.exp(-0.5 * (values / parent) ** 2) / (math.sqrt(2 * math.pi) * parent * mass)
        return np.where(inside | (self.cut == math.inf), self.share * density, 0.0)

    @property
    def _parent(self) -> float:
        return self.std / shrink(self.cut) if math.isfinite(self.cut) else self.std


@dataclass(frozen=True, slots=True)
class Density:
    """A law as a sum of components, or all at one value."""

    components: tuple[Component, ...]
    value: float | None = None

    @property
    def edge(self) -> float:
        """How far from zero it is worth drawing."""
        return max((part.edge for part in self.components), default=0.0)

    @property
    def peak(self) -> float:
        """The highest density."""
        return math.fsum(part.peak for part in self.components)

    def at(self, values: Floats) -> Floats:
        """The density at some values."""
        with np.errstate(over="ignore"):  # the square of what lies that far out: its density is zero
            return sum((part.at(values) for part in self.components), np.zeros(len(values)))


def of_remedy(remedy: Remedy, tensor: Tensor) -> Density | None:
    """The density of what a tensor should be filled with; None for formulas and for what is no number."""
    parameters = remedy.parameters
    if remedy.law == "constant":
        return Density((), float(parameters["value"]))
    std = std_of(remedy, tensor)
    if std is None or not 0 < std < math.inf:
        return None
    match remedy.law:
        case "blocks":
            stds = [part for part in parameters["stds"] if part > 0]
            return Density(tuple(Component(1 / len(stds), "normal", part) for part in stds))
        case "sparse":  # its zeros stand at one place, and are no density
            share = min(1.0, parameters["connections"] / (tensor.part.fan_in or 1))
            return Density((Component(share, "normal", float(parameters["std"])),))
        case "trunc_normal":
            return Density((Component(1.0, "trunc_normal", std, float(parameters.get("cut", 2.0))),))
        case "uniform":
            return Density((Component(1.0, "uniform", std),))
        case _:  # the entries of an orthogonal matrix are near normal (Borel)
            return Density((Component(1.0, "normal", std),))


def of_scheme(tensor: Tensor) -> Density | None:
    """The density of the scheme that a tensor shows; None where it shows none, or no law about zero."""
    scheme = tensor.scheme
    if scheme is None or scheme.name == "identity" or {"low", "value"} & set(scheme.parameters):
        return None
    return of_remedy(Remedy(scheme.name, _law(scheme), scheme.parameters, ""), tensor)


def _law(scheme: Scheme) -> LawName:
    """The law by which a scheme draws."""
    for law in _OWN_LAWS:
        if scheme.name == law:
            return law
    if scheme.is_uniform:
        return "uniform"
    return "trunc_normal" if "trunc_normal" in scheme.name else "normal"


_OWN_LAWS: tuple[LawName, ...] = ("orthogonal", "sparse", "blocks")
