"""From a remedy to the bytes of a tensor: what is to stand in it, and who draws that."""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from initaudit.draws import HOST, Filling, drawn, pieces_of
from initaudit.draws.devices import device_of, is_drawn_alike
from initaudit.layers.axes import unit_axis
from initaudit.layers.values import Part
from initaudit.remedies import Remedy, laws_of
from initaudit.workers import Team

DEVICE_PIECE = 1 << 24
"""Values that a GPU draws at a time, 128 MB for each array of the half a dozen that there are."""

WORTH_A_TEAM = 1 << 23
"""Values from which on several processes, which take some tenths of a second to start, are sooner done than one."""


def filling_of(dtype: str, shape: tuple[int, ...], part: Part, remedy: Remedy) -> Filling:
    """What a remedy puts into a tensor.

    Raises:
        LawError: it cannot fill such a tensor, or one of its numbers is not finite.

    """
    return Filling(
        dtype,
        shape,
        laws_of(remedy),
        units_last=len(shape) > 1 and unit_axis(part, shape) == len(shape) - 1,
        stacked=part.layout == "expert_3d" and len(shape) > 2,
        groups=part.groups,
        padding=remedy.parameters.get("padding"),
    )


class Draftsman:
    """Draws tensors on a device, by one seed; on the host with several processes where there is enough to draw."""

    def __init__(self, seed: int, asked: str, workers: int, fillings: Iterable[Filling]) -> None:
        self.seed = seed
        self._device = device_of(asked)
        self._unlike: list[str] = []
        much = sum(filling.count for filling in fillings) >= WORTH_A_TEAM
        self._team = Team(workers - 1 if much and self._device.name == "cpu" else 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._team.close()

    @property
    def device(self) -> str:
        """What was drawn on: ``cpu`` where a GPU gave other bytes."""
        return "cpu" if self._unlike else self._device.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the device."""
        notes = [self._device.note] if self._device.note else []
        if self._unlike:
            first = self._unlike[0]
            more = f" and {len(self._unlike) - 1:,} more" if len(self._unlike) > 1 else ""
            notes.append(f"the GPU draws other bytes than the host, so the host drew {first}{more}")
        return tuple(notes)

    def draw(self, name: str, filling: Filling) -> Iterator[NDArray[np.uint8]]:
        """The bytes of a tensor, in order and in pieces."""
        arrays = self._device.arrays
        if arrays is not HOST:
            if is_drawn_alike(arrays, filling, self.seed, name):
                for span in pieces_of(filling, DEVICE_PIECE):
                    yield drawn(arrays, filling, self.seed, name, *span, chunk=DEVICE_PIECE)
                return
            self._unlike.append(name)
        tasks = ((filling, self.seed, name, *span) for span in pieces_of(filling))
        yield from self._team.each(_drawn_on_host, tasks)


def _drawn_on_host(task: tuple[Filling, int, str, int, int]) -> NDArray[np.uint8]:
    return drawn(HOST, *task)
