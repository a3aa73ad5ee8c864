"""Words of 32 random bits, any of which can be had alone: Philox4x32-10 (Salmon, Moraes, Dror & Shaw, SC 2011).

A stream is the 128 bits to which seed and name are hashed: 64 are the key, and 64 the upper half of the counter, whose
lower half counts from zero. Two names share a stream with a chance of 2^-128.
"""

import hashlib
from dataclasses import dataclass

from initaudit.draws.arrays import Array, Arrays

FACTORS, STEPS = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
"""By what two words are multiplied in a round, and what is added to the halves of the key after it."""

ROUNDS, MASK, LANES = 10, 0xFFFFFFFF, 4


@dataclass(frozen=True, slots=True)
class Stream:
    """The random words of one purpose: a key, and the upper half of the counter."""

    key: tuple[int, int]
    upper: tuple[int, int]

    @classmethod
    def of(cls, version: int, seed: int, name: str, purpose: str = "") -> "Stream":
        """The stream of a seed and a tensor's name; what needs several has a ``purpose`` for each, without a NUL."""
        text = f"initaudit {version}\0{seed}\0{purpose}\0{name}".encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(text).digest()
        first, second, third, fourth = (int.from_bytes(digest[at : at + 4], "little") for at in range(0, 16, 4))
        return cls((first, second), (third, fourth))


def words(arrays: Arrays, stream: Stream, begin: int, end: int) -> Array:
    """The words ``[begin, end)`` of a stream as float64: number i is lane i % 4 of counter i // 4."""
    first, last = begin // LANES, -(-end // LANES)
    counters = arrays.counters(first, last)
    lanes = mixed(counters & MASK, counters >> 32, stream.upper, stream.key)
    return arrays.interleaved(lanes)[begin - first * LANES : end - first * LANES]


def mixed(
    lower: Array, middle: Array, upper: tuple[int, int], key: tuple[int, int]
) -> tuple[Array, Array, Array, Array]:
    """The four words of each counter ``(lower, middle, *upper)``; those below the upper two are arrays."""
    third = upper[0] * FACTORS[1]
    first = lower * FACTORS[0]
    # The first round by hand: half of it is the same for all counters.
    a, b = middle ^ ((third >> 32) ^ key[0]), lower * 0 + (third & MASK)
    c, d = ((first >> 32) ^ (upper[1] ^ key[1])) & MASK, first
    for number in range(1, ROUNDS):
        keys = [(part + number * step) & MASK for part, step in zip(key, STEPS, strict=True)]
        first, third = a * FACTORS[0], c * FACTORS[1]
        # Of a product the lower 32 bits are the word that follows: what stands above them is only masked where it
        # would count, in the next product. A shift that copies the sign is masked as well.
        high, other = third >> 32, first >> 32
        high ^= b
        high ^= keys[0]
        high &= MASK
        other ^= d
        other ^= keys[1]
        other &= MASK
        a, b, c, d = high, third, other, first
    b &= MASK
    d &= MASK
    return a, b, c, d
