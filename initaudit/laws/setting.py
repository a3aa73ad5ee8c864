"""The names in which laws are written, and what they stand for at one tensor."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from initaudit.errors import LawError

NAMES = (
    "fan_in",
    "fan_out",
    "torch_fan_in",
    "torch_fan_out",
    "rows",
    "groups",
    "block",
    "blocks",
    "width",
)
"""What a law may name besides the keys of ``config.json``, which it names as ``config.KEY``."""

CONFIG = "config."

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True, slots=True)
class Setting:
    """What the names of a law stand for at one tensor; None is unknown, or has no meaning there.

    ``fan_in`` and ``fan_out`` are those of the tensor's true layout, of one block of a packed tensor;
    ``torch_fan_in`` and ``torch_fan_out`` are what ``torch.nn.init`` takes from the shape alone (shape[1] and shape[0],
    times the kernel). ``rows`` is the length of the first axis. ``block`` counts from 0 in the innermost list, of
    ``blocks`` items. ``width`` is the number of columns of the table of tokens, else the most common last axis.
    ``config`` is what ``config.json`` holds. ``units``, which no law names, is the number of output units: how many
    vectors of ``fan_in`` an orthogonal matrix holds.
    """

    fan_in: float | None = None
    fan_out: float | None = None
    torch_fan_in: float | None = None
    torch_fan_out: float | None = None
    rows: float | None = None
    groups: float | None = None
    block: float | None = None
    blocks: float | None = None
    width: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    units: float | None = None

    def number(self, name: str) -> float:
        """What a name stands for.

        Raises:
            LawError: nothing here has this name, or it is no number.

        """
        value = self._stated(name) if name.startswith(CONFIG) else getattr(self, name) if name in NAMES else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return number
        raise LawError(
            f"config.json holds no number {name.removeprefix(CONFIG)}"
            if name.startswith(CONFIG)
            else f"{name} is not known here"
        )

    def _stated(self, name: str) -> object:
        found: object = self.config
        for key in name.removeprefix(CONFIG).split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        return found


def is_name(text: str) -> bool:
    """Whether laws may be written in terms of a name."""
    return text in NAMES or (text.startswith(CONFIG) and _KEY.fullmatch(text.removeprefix(CONFIG)) is not None)
