"""The table of all tensors, as the compact data that the page's script draws rows from when they are looked at."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from initaudit.model import Tensor
from initaudit.outcome import Audited
from initaudit.report.escaping import printable
from initaudit.report.inspection import scheme_text, shape_text
from initaudit.statistics.histogram import Histogram

DIGITS = 4
"""Significant digits: what a reader compares by eye."""

LEVELS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""A bin's height as one character: 36 of them are as many pixels as a small multiple is high."""


@dataclass(slots=True)
class _Words:
    """Words that many rows share, each kept once."""

    all: dict[str, int] = field(default_factory=dict)

    def index(self, word: str) -> int:
        return self.all.setdefault(word, len(self.all))


def table_of(one: Audited, severities: Mapping[str, str], anchors: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """All tensors of a checkpoint, sorted by name.

    ``severities`` hold the worst that was found at a tensor, ``anchors`` where on the page its findings stand. A row
    has, in this order: name, kind, dtype, shape, mean, std, gain, scheme, severity, anchors and the shape of its
    values; kinds, dtypes, schemes and severities are indices into lists of words.
    """
    judged = {tensor.name: tensor for tensor in one.model.tensors}
    kinds, dtypes, schemes, ranks = _Words(), _Words(), _Words(), _Words()
    rows = []
    for entry in sorted(one.checkpoint.entries, key=lambda entry: entry.name):
        tensor = judged.get(entry.name)
        about = [printable(entry.name), kinds.index(_kind(tensor)), dtypes.index(entry.dtype), shape_text(entry.shape)]
        numbers = (
            [None, None, None]
            if tensor is None
            else [_short(v) for v in (tensor.statistics.mean, tensor.std, tensor.gain)]
        )
        scheme = "not judged" if tensor is None else _scheme(tensor)
        found = [ranks.index(severities.get(entry.name, "")), list(anchors.get(entry.name, ()))]
        rows.append([*about, *numbers, schemes.index(scheme), *found, _outline(tensor)])
    words = {"kinds": kinds, "dtypes": dtypes, "schemes": schemes, "severities": ranks}
    return {**{name: list(several.all) for name, several in words.items()}, "rows": rows}


def _kind(tensor: Tensor | None) -> str:
    if tensor is None:
        return ""
    kind, role = tensor.part.kind, tensor.part.role.replace("_", " ")
    return role if kind in role or kind in ("other", "unknown") else f"{kind} {role}"


def _scheme(tensor: Tensor) -> str:
    return "" if tensor.scheme is None else scheme_text(tensor.scheme)


def _short(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{DIGITS}g}")


def _outline(tensor: Tensor | None) -> str:
    """The heights of the bins, one character each; ``|`` alone where all values are one, empty where none is known."""
    measured = None if tensor is None else tensor.statistics.histogram
    if measured is None:
        return ""
    return "|" if len(measured.counts) == 1 else _levels(measured)


def _levels(measured: Histogram) -> str:
    top = max(measured.counts) or 1
    # Rounded up, so that a bin with a single value is seen.
    return "".join(LEVELS[-(-count * (len(LEVELS) - 1) // top)] for count in measured.counts)
