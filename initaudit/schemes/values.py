"""What a tensor was drawn from, as far as its numbers tell."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from initaudit.checkpoint.values import Entry
from initaudit.layers.axes import input_axis, unit_axis
from initaudit.layers.values import Part
from initaudit.statistics.values import Statistics, Units

Certainty = Literal["is", "consistent with"]


@dataclass(frozen=True, slots=True)
class Scheme:
    """A scheme and how sure it is.

    ``name`` is a word of the field (`kaiming_normal`), ``parameters`` hold what else it takes, the deviation ``std`` of
    the draw among them. ``equivalent`` names the schemes that would have drawn the same numbers. *is*: another scheme
    would look like this with a probability below 1 %; *consistent with*: below 20 %.
    """

    name: str
    formula: str
    certainty: Certainty
    parameters: Mapping[str, Any] = field(default_factory=dict)
    equivalent: tuple[str, ...] = ()
    is_named: bool = True
    """False where only the family is known and the deviation is what was measured."""

    @property
    def is_uniform(self) -> bool:
        """Whether it draws from a uniform law."""
        return "uniform" in self.name or self.name == "torch_default"


@dataclass(frozen=True, slots=True)
class Draw:
    """A tensor that was understood and measured: what a scheme is looked for in."""

    entry: Entry
    part: Part
    statistics: Statistics

    @property
    def units(self) -> Units | None:
        """The output units, None where unknown."""
        return self.statistics.units.get(unit_axis(self.part, self.entry.shape))

    @property
    def inputs(self) -> Units | None:
        """The inputs, None where unknown."""
        return self.statistics.units.get(input_axis(self.part, self.entry.shape))
