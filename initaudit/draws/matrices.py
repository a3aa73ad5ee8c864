"""Matrices whose values hang on each other: orthogonal ones, sparse ones, identities.

No routine of LAPACK's has a part in them, whose last bits differ between builds. Where a library multiplies matrices it
is given whole numbers so small that every sum is exact, in any order and with any contraction (as in the scheme of
Ozaki, Ogita, Oishi & Rump 2012): so these, too, are the same bytes everywhere.
"""

import math

from initaudit.draws.arrays import Array, Arrays
from initaudit.draws.families import centred
from initaudit.draws.functions import normal_quantile
from initaudit.draws.words import Stream

HIGH_BITS, LOW_BITS = 22, 20
"""A factor is rounded to a part of 22 bits and one of 20 after these. Of vectors of length one, with up to 2^20
elements, all sums of products stay below 2^53. What is left out of a factor is 2^-43 at most: what is orthogonal is
so to 1e-11."""

REFLECTORS = 32
"""Reflections that are applied together, by products of matrices."""


def orthogonal(arrays: Arrays, shape: tuple[int, int], stream: Stream) -> Array:
    """A matrix whose shorter side is orthonormal, evenly distributed over all of these.

    It is Q of the QR decomposition of a normal matrix, with R's diagonal positive, as `torch.nn.init.orthogonal_` has
    it; but the vector of each Householder reflection is drawn as what it is, an independent normal one (Stewart 1980).
    """
    rows, columns = max(shape), min(shape)
    found = arrays.zeros((rows, columns))
    for at in range(columns):
        found[at, at] = 1.0
    signs = arrays.zeros((columns,))
    for begin in range((columns - 1) // REFLECTORS * REFLECTORS, -1, -REFLECTORS):
        end = min(begin + REFLECTORS, columns)
        vectors, signs[begin:end] = _reflectors(arrays, rows, begin, end, stream)
        _reflect(arrays, found[begin:, begin:], vectors)
    found *= signs
    return found if shape[0] >= shape[1] else arrays.turned(found)


def sparse(
    arrays: Arrays, shape: tuple[int, int], connections: int, std: float, stream: Stream, order: Stream
) -> Array:
    """A matrix in which each row has so many normal values, and zeros elsewhere (Martens 2010).

    `torch.nn.init.sparse_` fixes the zeros of each input; here each unit has the same number of inputs.
    """
    count = shape[0] * shape[1]
    values = normal_quantile(arrays, centred(arrays, stream, 0, count))
    values *= std
    ranks = (centred(arrays, order, 0, count).reshape(shape) + 0.5) * 2.0**32 - 0.5
    columns = arrays.to_integers(arrays.to_floats(arrays.counters(0, count) % shape[1])).reshape(shape)
    keys = arrays.to_integers(ranks) * (1 << 31) + columns  # no two of a row are equal
    last = arrays.sorted_rows(keys)[:, connections - 1 : connections]
    return arrays.where(keys <= last, values.reshape(shape), 0.0)


def identity(arrays: Arrays, shape: tuple[int, ...], groups: int) -> Array:
    """Ones on the diagonal of a matrix; of a kernel, in its middle for each group (`torch.nn.init.dirac_`)."""
    found = arrays.zeros(shape)
    if len(shape) == 2:
        for at in range(min(shape)):
            found[at, at] = 1.0
        return found
    middle = tuple(size // 2 for size in shape[2:])
    outputs = shape[0] // groups
    for group in range(groups):
        for at in range(min(outputs, shape[1])):
            found[(group * outputs + at, at, *middle)] = 1.0
    return found


def _reflectors(arrays: Arrays, rows: int, begin: int, end: int, stream: Stream) -> tuple[Array, Array]:
    """The unit vectors of reflections ``[begin, end)`` as rows, from element ``begin`` on, and the signs of columns."""
    count, length = end - begin, rows - begin
    values = normal_quantile(arrays, centred(arrays, stream, begin * rows, end * rows)).reshape(count, rows)
    vectors = arrays.zeros((count, length))
    for at in range(count):
        vectors[at, at:] = values[at, begin + at :]
    norms = arrays.root(_sums_of_squares(arrays, vectors))
    signs = arrays.zeros((count,))
    for at in range(count):
        first = float(vectors[at, at])
        sign = 1.0 if first >= 0 else -1.0
        vectors[at, at] = first + sign * float(norms[at])
        signs[at] = -sign
    lengths = arrays.root(_sums_of_squares(arrays, vectors))
    vectors /= lengths.reshape(count, 1)
    return vectors, signs


def _reflect(arrays: Arrays, matrix: Array, vectors: Array) -> None:
    """Apply (1 - 2·u₁u₁ᵀ)...(1 - 2·uₖuₖᵀ) to a matrix with columns of length one: 1 - UTUᵀ in compact form.

    The inverse of T is 1/2 on the diagonal and UᵀU above it (Schreiber & Van Loan 1989): solved from below.
    """
    count = len(vectors)
    upright = arrays.turned(vectors)
    overlaps = product(arrays, vectors, upright)
    found = product(arrays, vectors, matrix)
    for at in range(count - 1, -1, -1):
        for after in range(at + 1, count):
            found[at] -= found[after] * float(overlaps[at, after])
        found[at] *= 2.0
    size = arrays.largest(arrays.where(found < 0, -found, found))
    scale = 2.0 ** math.frexp(size)[1]
    found /= scale
    change = product(arrays, upright, found)
    change *= scale
    matrix -= change


def product(arrays: Arrays, one: Array, other: Array) -> Array:
    """The product of two matrices with values up to one, without any rounding that hangs on an order.

    The rows of the one and the columns of the other are vectors of length one at most, or of few elements.
    """
    high, low = _parts(arrays, one)
    other_high, other_low = _parts(arrays, other)
    found = arrays.product(high, other_low)
    found += arrays.product(low, other_high)
    found *= 2.0**-LOW_BITS
    found += arrays.product(high, other_high)
    found *= 2.0 ** (-2 * HIGH_BITS)
    return found


def _parts(arrays: Arrays, values: Array) -> tuple[Array, Array]:
    """The first bits of values as whole numbers, and those that follow."""
    scaled = values * 2.0**HIGH_BITS
    high = arrays.floor(scaled + 0.5)
    scaled -= high
    return high, arrays.floor(scaled * 2.0**LOW_BITS + 0.5)


def _sums_of_squares(arrays: Arrays, rows: Array) -> Array:
    """The sum of squares of each row, by halves: the order is the same everywhere."""
    count, length = rows.shape
    size = 1 << max(length - 1, 0).bit_length()
    squares = arrays.zeros((count, size))
    squares[:, :length] = rows * rows
    while size > 1:
        size //= 2
        squares = squares[:, :size] + squares[:, size:]
    return squares[:, 0]
