"""Central moments of pieces, and how they merge.

Sources: Chan, Golub & LeVeque 1979 for the mean and the variance, Pébay 2008 for the third and fourth moment.
"""

import numpy as np

from initaudit.statistics.dtypes import Floats
from initaudit.statistics.grid import PIECE_ELEMENTS, fixed_ones
from initaudit.statistics.values import Moments

CENTRED = 0.01
"""The squared mean over the mean square up to which sums about zero lose no digit that matters: one in a hundred."""


def moments_of(values: Floats, squares: Floats | None = None, sums: tuple[float, float] | None = None) -> Moments:
    """The moments of a piece of finite values, one-dimensional; ``squares`` and ``sums`` are theirs, if at hand.

    Sums run over the distance from a rough mean in the piece's own precision, or from zero where the mean is as good as
    that: in float32 and pieces of up to 2^17 elements they are exact to 3e-6 of the deviation (1e-7 but for bfloat16,
    whose squares all round alike). Raw power sums of norm scales (1 ± 1e-3) would be lost altogether.

    Args:
        values: the piece.
        squares: the square of each.
        sums: of the values, and of their squares.

    """
    count = values.size
    if count == 0:
        return Moments()
    s1, s2 = sums if sums is not None else _sums(values)
    mean, pivot = s1 / count, 0.0
    if count * mean * mean > CENTRED * s2:
        # The sums about a pivot near the mean, which is not quite the mean ...
        values, squares = values - values.dtype.type(mean), None
        pivot = float(values.dtype.type(mean))
        s1, s2 = _sums(values)
    if squares is None:
        squares = values * values
    s3, s4 = float(np.dot(squares, values)), float(np.dot(squares, squares))
    # ... and about the mean, which lies `shift` beside it.
    shift = s1 / count
    return Moments(
        count,
        pivot + shift,
        s2 - count * shift * shift,
        s3 - 3 * shift * s2 + 2 * count * shift * shift * shift,
        s4 - 4 * shift * s3 + 6 * shift * shift * s2 - 3 * count * shift * shift * shift * shift,
    )


def _sums(values: Floats) -> tuple[float, float]:
    count = values.size
    ones = fixed_ones(values.dtype)[:count] if count <= PIECE_ELEMENTS else np.ones(count, values.dtype)
    return float(np.dot(values, ones)), float(np.dot(values, values))


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of two sets of values together."""
    if not a.count or not b.count:
        return a if a.count else b
    n = a.count + b.count
    delta = b.mean - a.mean
    r = delta / n
    ab = a.count * b.count
    return Moments(
        n,
        a.mean + r * b.count,
        a.m2 + b.m2 + delta * r * ab,
        a.m3 + b.m3 + delta * r * r * ab * (a.count - b.count) + 3 * r * (a.count * b.m2 - b.count * a.m2),
        a.m4
        + b.m4
        + delta * r * r * r * ab * (a.count * a.count - ab + b.count * b.count)
        + 6 * r * r * (a.count * a.count * b.m2 + b.count * b.count * a.m2)
        + 4 * r * (a.count * b.m3 - b.count * a.m3),
    )
