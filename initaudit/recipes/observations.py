"""What the recipe is told by: the scale of every tensor that was drawn, with its error, fans and place.

A scale is ln of the root mean square about zero. Constant, sparse, identity and orthogonal-free tensors have none:
nobody drew them from a law of scale alone. A packed weight whose blocks differ is one observation a block.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from initaudit.model import Model, Tensor
from initaudit.scale import is_divided
from initaudit.schemes import Family, family_of

Numbers = NDArray[np.float64]
Ids = NDArray[np.int64]

FLOORS = {"F64": 0.002, "F32": 0.002, "BF16": 0.003, "F16": 0.003}
"""Below this no standard error of ln(std) goes, in one tensor: generators, clamps and rounding differ by as much.
`normal_` of BF16 is 0.2 % narrow, and rounding adds up to 0.1 %."""

COARSE_FLOOR = 0.02
"""The same for 8-bit floats."""

FEWEST = 32
"""Fewer values have an ln(std) whose law is too skewed for a test by its standard error."""

MOSTLY = 0.3
"""A mean under so many deviations is a draw's own error or a shift; the scale is then that about zero."""

LARGEST_INDEX = 9
"""Digits of a block's number that are read: names may hold any number of them."""

LONGEST = 400
"""Characters of a name, from its end, that place it: some are a megabyte long."""

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Observation:
    """One scale: of a tensor, or of one block of a packed one (``block`` is its number, else -1)."""

    tensor: Tensor
    place: str
    indices: tuple[int, ...]
    scale: float
    error: float
    fan_in: int
    fan_out: int
    family: Family | None
    block: int = -1
    blocks: int = 1

    @property
    def area(self) -> int:
        """The number of positions of a convolution's kernel; 1 of a matrix."""
        shape = self.tensor.shape
        return math.prod(shape[2:]) if self.tensor.part.kind == "conv" and len(shape) > 2 else 1

    @property
    def last_axis(self) -> int:
        """The length of the kernel's last axis; 1 of a matrix."""
        shape = self.tensor.shape
        return shape[-1] if self.tensor.part.kind == "conv" and len(shape) > 2 else 1

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """What kin must share for their scales to be one under any law: fans, rank and groups."""
        return self.fan_in, self.fan_out, len(self.tensor.shape), self.tensor.part.groups


class Observations:
    """All of a model, as columns."""

    def __init__(self, rows: Iterable[Observation]) -> None:
        self.rows = tuple(rows)
        self.scale = self._column(lambda row: row.scale)
        self.error = self._column(lambda row: row.error)
        self.fan_in = self._column(lambda row: row.fan_in)
        self.fan_out = self._column(lambda row: row.fan_out)
        self.groups = self._column(lambda row: row.tensor.part.groups or 1)
        self.area = self._column(lambda row: row.area)
        self.last_axis = self._column(lambda row: row.last_axis)
        self.is_weight = np.array([row.tensor.is_weight for row in self.rows], bool)
        self.ids = {(row.tensor.name, row.block): number for number, row in enumerate(self.rows)}

    def _column(self, of: object) -> Numbers:
        return np.array([of(row) for row in self.rows], np.float64)  # type: ignore[operator]  # a function of a row

    @cached_property
    def places(self) -> dict[str, Ids]:
        """The observations of each place, in the order of their indices."""
        found: dict[str, list[int]] = {}
        for number, row in enumerate(self.rows):
            found.setdefault(row.place, []).append(number)
        ordered = {at: sorted(ids, key=lambda i: self.rows[i].indices) for at, ids in found.items()}
        return {at: np.array(ids, np.int64) for at, ids in ordered.items()}


def observations_of(model: Model) -> Observations:
    """The scales of all tensors of a model that were drawn."""
    return Observations(row for tensor in model.tensors if not is_divided(tensor, model) for row in _rows(tensor))


def placed(tensor: Tensor) -> Observation | None:
    """A tensor as an observation whose scale is unknown: where it stands, and its fans; None where it has none."""
    fans = _fans(tensor)
    return Observation(tensor, *_place(tensor), 0.0, 1.0, *fans, None) if fans is not None else None


def _place(tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    """A name with its numbers masked, and the numbers."""
    name = tensor.name[-LONGEST:]
    return _NUMBER.sub("#", name), tuple(int(digits[:LARGEST_INDEX]) for digits in _NUMBER.findall(name))


def _rows(tensor: Tensor) -> Iterator[Observation]:
    values, part = tensor.statistics, tensor.part
    fans = _fans(tensor)
    sparse = tensor.pattern is not None or 2 * values.zeros > tensor.count
    if fans is None or values.nonfinite or tensor.count < FEWEST or not 0 < tensor.std < math.inf or sparse:
        return
    if values.is_constant or (
        tensor.scheme is not None and tensor.scheme.name == "uniform" and "low" in tensor.scheme.parameters
    ):
        return
    place, indices = _place(tensor)
    floor = FLOORS.get(tensor.dtype, COARSE_FLOOR)
    stds = tensor.scheme.parameters["stds"] if tensor.scheme is not None and tensor.scheme.name == "blocks" else None
    if stds is not None and part.role in ("weight", "rnn_weight"):
        for block, std in enumerate(stds):
            if std > 0:
                error = math.hypot(math.sqrt(len(stds) / (2 * tensor.count)), floor)
                at = f"{place}[{block}/{len(stds)}]"
                yield Observation(
                    tensor, at, indices, math.log(std), error, fans[0], fans[1] // len(stds), None, block, len(stds)
                )
        return
    family = family_of(values)
    rms = values.moments.rms if abs(values.mean) < MOSTLY * values.std else values.std
    kurtosis = values.moments.kurtosis or 3.0
    kurtosis = kurtosis if math.isfinite(kurtosis) else 3.0  # fourth powers may overflow
    if not 0 < rms < math.inf:
        return
    error = math.sqrt(max(kurtosis - 1, 0.1) / (4 * tensor.count))
    yield Observation(tensor, place, indices, math.log(rms), math.hypot(error, floor), *fans, family)


def _fans(tensor: Tensor) -> tuple[int, int] | None:
    """What a law of scale may read of a tensor: its fans; of a table its width and its rows."""
    part = tensor.part
    if part.role in ("weight", "rnn_weight"):
        return (part.fan_in, part.fan_out) if part.fan_in and part.fan_out else None
    if part.role in ("embedding", "positional", "token") and tensor.shape and tensor.shape[-1]:
        return tensor.shape[-1], max(1, tensor.count // tensor.shape[-1])
    return None
