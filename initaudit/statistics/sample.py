"""What the first elements of a tensor say by themselves: how many values there are, and the stream of their signs."""

import numpy as np
from numpy.typing import NDArray

from initaudit.statistics.dtypes import decode, width
from initaudit.statistics.values import Sample

SAMPLED = 4096
"""Elements among which different values are counted: enough to tell a draw from a list of values."""

SIGNS = 256
"""Elements whose signs are kept. They are those of the random stream, whatever it was scaled by and rounded to: two
draws agree in all of them with a probability of 2^-256, and in 64 with one of 5e-20."""


def sample_of(raw: NDArray[np.uint8], dtype: str, *, constant: float | None = None) -> Sample:
    """What the first elements of a tensor show; ``raw`` are their bytes, ``constant`` the one value that all hold."""
    words = raw.view(f"<u{width(dtype)}")
    if constant is not None:  # most tensors of a fresh model are ones or zeros, and small
        signs = (b"\xff" if constant < 0 else b"\0") * (min(len(words), SIGNS) // 8)
        return Sample(len(words), 1, constant, len(words) if constant else 0, signs)
    values, counts = np.unique(words, return_counts=True)
    sign = 8 * width(dtype) - 1
    filled = np.flatnonzero(values & values.dtype.type((1 << sign) - 1))  # without the two zeros
    at = filled[counts[filled].argmax()] if filled.size else None
    return Sample(
        sampled=len(words),
        distinct=len(values),
        common_value=float(decode(values[at : at + 1].view(np.uint8), dtype)[0]) if at is not None else 0.0,
        commonest=int(counts[at]) if at is not None else 0,
        signs=np.packbits((words[:SIGNS] >> sign).astype(bool)).tobytes(),
    )
