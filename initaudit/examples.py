"""Examples of a rule: small models described in a line, drawn only when they are tested or shown.

A recipe's ``repr`` is its source. Draws come from numpy's legacy generator, whose streams are frozen, so an example
is the same on every machine.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Family = Literal["normal", "uniform", "constant", "sparse", "powers", "meta"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the values of one example tensor are drawn, and what is done to them afterwards.

    ``blocks`` are pieces that are overwritten: an index expression in numpy's notation and the value put there.
    """

    family: Family
    shape: tuple[int, ...]
    parameter: float
    blocks: tuple[tuple[str, float | str], ...] = ()
    scaled: tuple[tuple[str, float], ...] = ()
    dtype: str = "float32"
    grid: float = 0.0
    dead_zone: float = 0.0
    offset: float = 0.0
    bound: float = 0.0
    mirrored: bool = False
    shared: float = 0.0
    stream: str = ""

    def __repr__(self) -> str:
        word = {"normal": "std", "uniform": "bound", "sparse": "connections", "powers": "base"}.get(self.family)
        shape = ", ".join(map(str, self.shape))
        if self.family == "meta":
            return f"meta({shape})"
        base = (
            f"{self.family}({shape}, {word}={self.parameter:g})" if word else f"constant({self.parameter:g}, {shape})"
        )
        base += "".join(f".scale({where!r}, {factor:g})" for where, factor in self.scaled)
        base += ".mirror()" if self.mirrored else ""
        base += f".lean({self.shared:g})" if self.shared else ""
        base += f".clamp({self.bound:g})" if self.bound else ""
        base += f".round({self.grid:g})" if self.grid else ""
        base += f".cut({self.dead_zone:g})" if self.dead_zone else ""
        base += f".shift({self.offset:g})" if self.offset else ""
        base += f".of({self.stream!r})" if self.stream else ""
        return base + "".join(f".put({where!r}, {value!r})" for where, value in self.blocks)

    @property
    def is_planned(self) -> bool:
        """Whether it has a shape and no values."""
        return self.family == "meta"

    def put(self, where: str, value: float | str) -> "Recipe":
        """The same with ``[where]`` set to a number, or to a copy of the values at another place."""
        return replace(self, blocks=(*self.blocks, (where, value)))

    def scale(self, where: str, factor: float) -> "Recipe":
        """The same with ``[where]`` multiplied by a factor."""
        return replace(self, scaled=(*self.scaled, (where, factor)))

    def mirror(self) -> "Recipe":
        """The same, square, with its transpose added."""
        return replace(self, mirrored=True)

    def lean(self, share: float) -> "Recipe":
        """The same with so much of its first row added to every row."""
        return replace(self, shared=share)

    def clamp(self, bound: float) -> "Recipe":
        """The same with all values that are farther from zero than a bound set to it."""
        return replace(self, bound=bound)

    def round(self, grid: float) -> "Recipe":
        """The same rounded to multiples of a number."""
        return replace(self, grid=grid)

    def cut(self, dead_zone: float) -> "Recipe":
        """The same with all values nearer to zero than this lost."""
        return replace(self, dead_zone=dead_zone)

    def shift(self, offset: float) -> "Recipe":
        """The same with a constant added throughout."""
        return replace(self, offset=offset)

    def of(self, stream: str) -> "Recipe":
        """The same drawn from a stream that other tensors may share."""
        return replace(self, stream=stream)

    def draw(self, name: str) -> Any:
        """The values as an array; their stream is that of the tensor's name, unless another one is given."""
        import numpy as np

        generator = np.random.RandomState(zlib.crc32((self.stream or name).encode()))
        values = np.full(self.shape, self.parameter, np.float64)
        if self.family == "normal":
            values = generator.standard_normal(self.shape) * self.parameter
        elif self.family == "uniform":
            values = generator.uniform(-self.parameter, self.parameter, self.shape)
        elif self.family == "sparse":
            inputs, connections = self.shape[1], int(self.parameter)
            mask = np.argsort(np.argsort(generator.uniform(size=self.shape), axis=1), axis=1) < min(connections, inputs)
            values = generator.standard_normal(self.shape) * mask / np.sqrt(connections)
        elif self.family == "powers":
            values = self.parameter ** (-np.arange(self.shape[0]) / self.shape[0])
        for where, factor in self.scaled:
            values[_index(where)] *= factor
        if self.mirrored:
            values = values + values.T
        if self.shared:
            values = values + self.shared * values[:1]
        if self.bound:
            values = np.clip(values, -self.bound, self.bound)
        if self.grid:
            values = np.round(values / self.grid) * self.grid
        values = np.where(np.abs(values) < self.dead_zone, 0.0, values) + self.offset
        for where, value in self.blocks:
            place = _index(where)
            values[place] = values[_index(value)] if isinstance(value, str) else value
        return values.astype(self.dtype)


@dataclass(frozen=True, slots=True)
class Example:
    """A small model and the tensors at which the rule speaks, in order; none for a good example."""

    caption: str
    tensors: Mapping[str, Recipe]
    at: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    reach: Mapping[str, str] = field(default_factory=dict)
    """When a batch gives each tensor a gradient, in the words of `initaudit.reach`; empty where none is tried."""

    @property
    def is_good(self) -> bool:
        """Whether the rule is to be silent."""
        return not self.at


def good(
    caption: str,
    tensors: Mapping[str, Recipe],
    *,
    config: Mapping[str, Any] | None = None,
    reach: Mapping[str, str] | None = None,
) -> Example:
    """A model on which the rule is silent, and why; ``config`` is what its ``config.json`` holds."""
    return Example(caption, tensors, (), config or {}, reach or {})


def bad(
    caption: str,
    tensors: Mapping[str, Recipe],
    *,
    at: str | tuple[str, ...],
    config: Mapping[str, Any] | None = None,
    reach: Mapping[str, str] | None = None,
) -> Example:
    """A model on which the rule speaks, at the tensors named."""
    return Example(caption, tensors, (at,) if isinstance(at, str) else at, config or {}, reach or {})


def normal(*shape: int, std: float) -> Recipe:
    """Normal with mean 0."""
    return Recipe("normal", shape, std)


def uniform(*shape: int, bound: float) -> Recipe:
    """Uniform between ``-bound`` and ``bound``."""
    return Recipe("uniform", shape, bound)


def constant(value: float, *shape: int) -> Recipe:
    """One value everywhere."""
    return Recipe("constant", shape, value)


def sparse(out: int, inputs: int, *, connections: int) -> Recipe:
    """Each of ``out`` units joined to the same number of inputs, chosen at random (Martens 2010)."""
    return Recipe("sparse", (out, inputs), connections)


def powers(count: int, *, base: float) -> Recipe:
    """A falling geometric series from one: base^(-i/count)."""
    return Recipe("powers", (count,), base)


def meta(*shape: int) -> Recipe:
    """No values at all: planned on the meta device."""
    return Recipe("meta", shape, 0)


def _index(where: str) -> tuple[int | slice, ...]:
    """``"3, :4"`` as numpy would take it between brackets."""

    def part(text: str) -> int | slice:
        bounds = [int(bound) if bound.strip() else None for bound in text.split(":")]
        if len(bounds) == 1 and bounds[0] is not None:
            return bounds[0]
        return slice(*bounds)

    return tuple(part(text) for text in where.split(","))
