"""A reader of pickles that calls nothing: opcodes build plain values, and what a call would make is for others to say.

A pickle is looked through before anything of it is built: only opcodes that write data are taken, and what they could
build at most, in bytes, is added up. So a pickle that is meant to fill the memory or to take for ever ends there.
"""

from typing import Any

from initaudit.checkpoint.allowance import Allowance, CutError, PickleError
from initaudit.checkpoint.opcodes import (
    COSTS,
    FETCHING,
    LENGTHS,
    LONG_TEXT,
    MEMOIZE,
    MOST_NAME,
    NAMES,
    NUMBERING,
    REFUSED,
    SIMPLE,
    STOP,
    TEXTS,
    Machine,
    Meaning,
)


def unpickle(data: bytes, begin: int, meaning: Meaning, allowance: Allowance) -> tuple[Any, int]:
    """What the pickle at byte ``begin`` holds, and where it ends.

    Raises:
        CutError: it does not end.
        PickleError: it is damaged, has an opcode that no data needs, or would build more than the allowance.

    """
    end, wanted = _look_through(data, begin, allowance)
    machine = Machine(data, begin, meaning, wanted, allowance)
    try:
        return machine.run(), end
    except PickleError:
        raise
    except (LookupError, ValueError, TypeError, ArithmeticError, AttributeError, RecursionError) as error:
        raise PickleError(f"its pickle is damaged ({type(error).__name__})") from error


def _look_through(data: bytes, begin: int, allowance: Allowance) -> tuple[int, bytearray]:
    """Where a pickle ends, and which of the things that it numbers it asks for again; nothing is built."""
    lengths, costs, simple = LENGTHS, COSTS, SIMPLE
    most_opcodes, most_built = allowance.opcodes, allowance.built
    wanted = bytearray()
    at, size = begin, len(data)
    opcodes = built = numbered = first = 0
    while opcodes <= most_opcodes and built <= most_built:
        if at >= size:
            raise CutError("its pickle is cut short")
        opcode = data[at]
        opcodes += 1
        built += costs[opcode]
        at += 1
        end = at + lengths[opcode]
        if simple[opcode]:
            at = end
            continue
        if opcode == STOP:
            allowance.spend(built, opcodes)
            wanted.extend(bytes(numbered - len(wanted)))
            return at, wanted
        if end < at:
            end, kept = _end_of_argument(data, opcode, at)
            built += kept
        if end > size:
            raise CutError("its pickle is cut short")
        if opcode in NUMBERING:
            number = numbered if opcode == MEMOIZE else int.from_bytes(data[at:end], "little")
            if not numbered:
                first = number
            if number > max(numbered, 1):  # Python 2 begins with 1
                raise PickleError(f"its pickle numbers {numbered:,} things and then one as {number:,}: damaged")
            numbered = max(numbered, number + 1)
        elif opcode in FETCHING:
            number = int.from_bytes(data[at:end], "little")
            if not first <= number < numbered:
                raise PickleError(f"its pickle asks for thing {number:,} of {numbered:,}: damaged")
            if number >= len(wanted):
                wanted.extend(bytes(number + 1 - len(wanted)))
            wanted[number] = 1
        at = end
    allowance.spend(built, opcodes)
    raise AssertionError("there was enough left")


def _end_of_argument(data: bytes, opcode: int, at: int) -> tuple[int, int]:
    """Where an argument ends that says its length, and how much memory it takes where it is kept."""
    length = LENGTHS[opcode]
    if length == NAMES:
        end = _end_of_names(data, at)
        return end, 4 * (end - at)
    if length == REFUSED:
        raise PickleError(f"its pickle has the opcode {bytes([opcode])!r}, which no data is written with")
    begin = at - length
    end = begin + int.from_bytes(data[at:begin], "little")
    if opcode not in TEXTS or end - begin >= LONG_TEXT:
        return end, 0
    # One letter from beyond the first planes makes Python take four bytes for each.
    return end, end - begin if data[begin:end].isascii() else 4 * (end - begin)


def _end_of_names(data: bytes, at: int) -> int:
    """The end of two lines."""
    for _ in range(2):
        found = data.find(b"\n", at, at + MOST_NAME + 1)
        if found < 0:
            if at + MOST_NAME >= len(data):
                raise CutError("its pickle is cut short")
            raise PickleError(f"its pickle names something by more than {MOST_NAME:,} characters")
        at = found + 1
    return at
