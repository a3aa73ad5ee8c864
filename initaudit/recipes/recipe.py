"""One recipe: the laws that a checkpoint's own tensors follow, and what each tensor should hold by them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from initaudit.model import Model, Tensor
from initaudit.recipes.cells import Cell, cells_of
from initaudit.recipes.fits import CLAIM, MEMBER, Fit, Fitter
from initaudit.recipes.observations import Ids, Observations, observations_of

OTHERS = 2
"""Places besides a tensor's own that must follow a law for it to be one of the model."""

MOST = 0.5
"""The part of a model's weights from which on a law is the model's."""

MOST_LAWS = 40
"""Laws of one model that are looked for; what is left then follows none that many share."""


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """A law that tensors of several places follow."""

    fit: Fit
    places: frozenset[str]


class Recipe:
    """The places of a model with their laws, and the laws that several places share."""

    def __init__(self, model: Model) -> None:
        self.seen: Observations = observations_of(model)
        self.blocks = model.blocks
        self.fitter = Fitter(self.seen)
        self.cells: tuple[Cell, ...] = tuple(
            cell for place, ids in self.seen.places.items() for cell in cells_of(self.fitter, place, ids)
        )
        self._cell = {int(i): cell for cell in self.cells for i in cell.ids}

    def id_of(self, tensor: Tensor) -> int | None:
        """The number of a tensor's observation, None where it has none of its own."""
        return self.seen.ids.get((tensor.name, -1))

    def cell(self, number: int) -> Cell:
        """The cell that an observation is in."""
        return self._cell[number]

    @cached_property
    def laws(self) -> tuple[Shared, ...]:
        """The laws of the model's weights, the one with the most evidence first, each of the tensors left by those."""
        found: list[Shared] = []
        left = np.flatnonzero(self.seen.is_weight)
        while len(left) and len(found) < MOST_LAWS:
            fit = self.fitter.of_many(left)
            if fit.evidence < CLAIM or len(fit.members) < 2:
                break
            found.append(Shared(fit, frozenset(self.seen.rows[i].place for i in fit.members)))
            left = np.setdiff1d(left, fit.members, assume_unique=True)
        return tuple(found)

    @cached_property
    def weights(self) -> int:
        """The number of weights whose scale is known."""
        return int(self.seen.is_weight.sum())

    def shared(self, place: str, others: int = OTHERS) -> list[Fit]:
        """The laws that at least so many other places follow, the most followed first."""
        counted = [(len(law.places - {place}), law.fit) for law in self.laws]
        return [fit for count, fit in sorted(counted, key=lambda pair: -pair[0]) if count >= others]

    @cached_property
    def _modules(self) -> dict[str, list[int]]:
        """The weights of each module: what stands around their layers."""
        found: dict[str, list[int]] = {}
        for number, row in enumerate(self.seen.rows):
            if row.tensor.is_weight:
                found.setdefault(row.tensor.parent, []).append(number)
        return found

    def beside(self, number: int) -> list[int]:
        """The other weights of the module that an observation's layer is in."""
        return [i for i in self._modules.get(self.seen.rows[number].tensor.parent, ()) if i != number]

    def meets(self, fit: Fit, ids: Ids) -> bool:
        """Whether some observations all follow a law."""
        return bool(np.all(np.abs(self.fitter.off(fit, ids)) < MEMBER))

    @cached_property
    def _widths(self) -> tuple[dict[str, set[float]], dict[str, set[float]]]:
        """The numbers of features that the weights of each place read, and write."""
        seen = self.seen
        reads, writes = seen.fan_in / seen.area * seen.groups, seen.fan_out / seen.area * seen.groups
        sides: tuple[dict[str, set[float]], dict[str, set[float]]] = {}, {}
        for number in np.flatnonzero(seen.is_weight):
            for side, widths in zip(sides, (reads, writes), strict=True):
                side.setdefault(seen.rows[number].place, set()).add(float(widths[number]))
        return sides

    @cached_property
    def _users(self) -> tuple[dict[float, int], dict[float, int]]:
        """By how many places each width is read, and written."""
        counts: tuple[dict[float, int], dict[float, int]] = {}, {}
        for side, count in zip(self._widths, counts, strict=True):
            for widths in side.values():
                for width in widths:
                    count[width] = count.get(width, 0) + 1
        return counts

    def is_inside(self, place: str) -> bool:
        """Whether other places write all widths that this one reads, and read all that it writes: no stem or head."""
        reads, writes = self._widths[0].get(place, set()), self._widths[1].get(place, set())
        read_by, written_by = self._users
        written = all(written_by.get(width, 0) > (width in writes) for width in reads)
        return written and all(read_by.get(width, 0) > (width in reads) for width in writes)


def recipe_of(model: Model) -> Recipe:
    """The recipe of a model, worked out once."""
    return model.remember(Recipe)
