"""The one pass over a tensor: from bytes to a summary of fixed size."""

from initaudit.statistics.dtypes import JUDGED, why_not_judged
from initaudit.statistics.measuring import PIECE_BYTES, Scratch, exact_key, measure
from initaudit.statistics.values import Moments, Statistics, Units

__all__ = [
    "JUDGED",
    "PIECE_BYTES",
    "Moments",
    "Scratch",
    "Statistics",
    "Units",
    "exact_key",
    "measure",
    "why_not_judged",
]
