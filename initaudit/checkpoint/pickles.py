"""A reader of pickles that calls nothing: opcodes build plain values, and what a call would make is for others to say.

A pickle is looked through before anything of it is built: only opcodes that write data are taken, and what they could
build at most, in bytes, is added up. So a pickle that is meant to fill the memory or to take for ever ends there.
"""

import struct
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from initaudit.checkpoint.inert import Made, Name, Plain, key_of

MOST_OPCODES = 6_000_000
"""Of 100,000 tensors 3,800,000; they are read in two seconds."""

MOST_BUILT = 120_000_000
"""Bytes of memory that what is built may take: of 100,000 tensors 110,000,000, most of them for a moment."""

MOST_NAME = 1_000
"""Characters of a name that is to be imported."""

LONG_TEXT = 100_000
"""Bytes from which on a text is not kept: it is no tensor's name."""

KEY = 200
"""Bytes that a dictionary's key may take which is no string."""

PROTOCOLS = range(2, 6)


class PickleError(ValueError):
    """A pickle that is damaged, or not as data is written."""


class CutError(PickleError):
    """A pickle that does not end within the bytes that are there."""


class Meaning(Protocol):
    """What the calls in a pickle stand for."""

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """What stands for the outcome of a call, or for a new object of a class."""

    def set_state(self, thing: Any, state: Any) -> None:
        """Take note of what an object is to be filled with."""

    def refer(self, identity: Any) -> Any:
        """What a name stands for that leads out of the pickle."""


class Allowance:
    """What may still be read and built; several pickles of one file share it."""

    def __init__(self, opcodes: int = MOST_OPCODES, built: int = MOST_BUILT) -> None:
        self.opcodes, self.built = opcodes, built

    def spend(self, built: int, opcodes: int = 0) -> None:
        """Take so much of it.

        Raises:
            PickleError: there is not so much left.

        """
        self.built -= built
        self.opcodes -= opcodes
        if self.opcodes < 0:
            raise PickleError(f"its pickle has more than {MOST_OPCODES:,} opcodes, more than 100,000 tensors have")
        if self.built < 0:
            raise PickleError(f"its pickle builds more than {MOST_BUILT:,} bytes, more than 100,000 tensors need")


def unpickle(data: bytes, begin: int, meaning: Meaning, allowance: Allowance) -> tuple[Any, int]:
    """What the pickle at byte ``begin`` holds, and where it ends.

    Raises:
        CutError: it does not end.
        PickleError: it is damaged, has an opcode that no data needs, or would build more than the allowance.

    """
    end, wanted = _look_through(data, begin, allowance)
    machine = _Machine(data, begin, meaning, wanted, allowance)
    try:
        return machine.run(), end
    except PickleError:
        raise
    except (IndexError, ValueError, TypeError, OverflowError, AttributeError, RecursionError) as error:
        raise PickleError(f"its pickle is damaged ({type(error).__name__})") from error


def _look_through(data: bytes, begin: int, allowance: Allowance) -> tuple[int, bytearray]:
    """Where a pickle ends, and which of the things that it numbers it asks for again; nothing is built."""
    lengths, costs = _LENGTHS, _COSTS
    wanted = bytearray()
    at, size = begin, len(data)
    opcodes = built = numbered = first = 0
    while opcodes <= allowance.opcodes and built <= allowance.built:
        if at >= size:
            raise CutError("its pickle is cut short")
        opcode = data[at]
        at += 1
        opcodes += 1
        built += costs[opcode]
        if opcode == _STOP:
            allowance.spend(built, opcodes)
            wanted.extend(bytes(numbered - len(wanted)))
            return at, wanted
        end = at + lengths[opcode]
        if end < at:
            end, kept = _end_of_argument(data, opcode, at)
            built += 4 * kept
        if end > size:
            raise CutError("its pickle is cut short")
        if opcode in _NUMBERING:
            number = numbered if opcode == _MEMOIZE else int.from_bytes(data[at:end], "little")
            if not numbered:
                first = number
            if number > max(numbered, 1):  # Python 2 begins with 1
                raise PickleError(f"its pickle numbers {numbered:,} things and then one as {number:,}: damaged")
            numbered = max(numbered, number + 1)
        elif opcode in _FETCHING:
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
    """Where an argument ends that says its length, and how many of its bytes are kept as text."""
    length = _LENGTHS[opcode]
    if length == _NAMES:
        return _end_of_names(data, at), 0
    if length == _REFUSED:
        raise PickleError(f"its pickle has the opcode {bytes([opcode])!r}, which no data is written with")
    inner = int.from_bytes(data[at : at - length], "little")
    return at - length + inner, inner if inner < LONG_TEXT else 0


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


class _Machine:
    """The stack and memory of one pickle that was looked through."""

    def __init__(
        self, data: bytes, begin: int, meaning: Meaning, wanted: bytearray, allowance: Allowance
    ) -> None:
        self.data, self.at, self.meaning, self.wanted, self.allowance = data, begin, meaning, wanted, allowance
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memory: list[Any] = [None] * len(wanted)
        self.numbered = 0
        self.names: dict[tuple[str, str], Name] = {}

    def run(self) -> Any:
        """The value that is left at the end."""
        data, actions, lengths = self.data, _ACTIONS, _LENGTHS
        while True:
            opcode = data[self.at]
            self.at += 1
            if opcode == _STOP:
                return self.stack.pop()
            actions[opcode](self)
            if lengths[opcode] > 0:
                self.at += lengths[opcode]

    def argument(self, length: int) -> int:
        """The whole number in the next bytes."""
        return int.from_bytes(self.data[self.at : self.at + length], "little")

    def passed(self, length: int) -> slice:
        """Where the bytes lie that stand behind their length, once they are passed."""
        begin = self.at + length
        self.at = begin + self.argument(length)
        return slice(begin, self.at)

    def marked(self) -> list[Any]:
        """What was put on the stack since it was marked."""
        found, self.stack = self.stack, self.below.pop()
        return found

    def keep(self, number: int) -> None:
        """Remember what is on top, if it is asked for again."""
        self.numbered = max(self.numbered, number + 1)
        if self.wanted[number]:
            self.memory[number] = self.stack[-1]

    def named(self, module: str, name: str) -> Name:
        """What would be imported, by the names that it has in Python 3."""
        key = _RENAMED.get(module, module), name
        return self.names.setdefault(key, Name(*key))


def _protocol(machine: _Machine) -> None:
    if machine.argument(1) not in PROTOCOLS:
        raise PickleError(f"its pickle is of protocol {machine.argument(1)}, and 2 to 5 are read")


def _nothing(machine: _Machine) -> None:
    """What only helps other readers."""


def _mark(machine: _Machine) -> None:
    machine.below.append(machine.stack)
    machine.stack = []


def _pop(machine: _Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.marked()


def _pop_mark(machine: _Machine) -> None:
    machine.marked()


def _again(machine: _Machine) -> None:
    machine.stack.append(machine.stack[-1])


def _put(width: int) -> "Action":
    return lambda machine: machine.keep(machine.argument(width))


def _memoize(machine: _Machine) -> None:
    machine.keep(machine.numbered)


def _get(width: int) -> "Action":
    return lambda machine: machine.stack.append(machine.memory[machine.argument(width)])


def _constant(value: Any) -> "Action":
    return lambda machine: machine.stack.append(value)


def _fresh(make: Callable[[], Any]) -> "Action":
    return lambda machine: machine.stack.append(make())


def _natural(width: int) -> "Action":
    return lambda machine: machine.stack.append(machine.argument(width))


def _integer(machine: _Machine) -> None:
    machine.stack.append(int.from_bytes(machine.data[machine.at : machine.at + 4], "little", signed=True))


def _long(machine: _Machine) -> None:
    machine.stack.append(int.from_bytes(machine.data[machine.passed(1)], "little", signed=True))


def _float(machine: _Machine) -> None:
    machine.stack.append(struct.unpack_from(">d", machine.data, machine.at)[0])


def _string(width: int) -> "Action":
    def push(machine: _Machine) -> None:
        where = machine.passed(width)
        is_long = where.stop - where.start >= LONG_TEXT
        machine.stack.append(Plain("str") if is_long else machine.data[where].decode("utf-8", "backslashreplace"))

    return push


def _bytes(width: int, kind: str) -> "Action":
    def push(machine: _Machine) -> None:
        machine.passed(width)
        machine.stack.append(Plain(kind))

    return push


def _tuple(machine: _Machine) -> None:
    items = machine.marked()
    machine.stack.append(tuple(items))


def _tuple_of(count: int) -> "Action":
    def push(machine: _Machine) -> None:
        if len(machine.stack) < count:
            raise IndexError(count)
        machine.stack[-count:] = [tuple(machine.stack[-count:])]

    return push


def _frozenset(machine: _Machine) -> None:
    machine.marked()
    machine.stack.append(Plain("frozenset"))


def _append(machine: _Machine) -> None:
    item = machine.stack.pop()
    _extend(machine, [item])


def _appends(machine: _Machine) -> None:
    _extend(machine, machine.marked())


def _extend(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, Made):
        machine.meaning.set_state(target, items)
    else:
        raise TypeError(target)


def _add_items(machine: _Machine) -> None:
    items = machine.marked()
    target = machine.stack[-1]
    if isinstance(target, Made):
        machine.meaning.set_state(target, items)
    elif not isinstance(target, Plain):
        raise TypeError(target)


def _set_item(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _update(machine, [key, value])


def _set_items(machine: _Machine) -> None:
    _update(machine, machine.marked())


def _update(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if len(items) % 2:
        raise IndexError(len(items))
    if isinstance(target, dict):
        for number in range(0, len(items), 2):
            key = items[number]
            if type(key) is not str:
                machine.allowance.spend(KEY)
                key = key_of(key)
            target[key] = items[number + 1]
    elif isinstance(target, Made):
        machine.meaning.set_state(target, items)
    else:
        raise TypeError(target)


def _global(machine: _Machine) -> None:
    line = machine.data.index(b"\n", machine.at)
    end = machine.data.index(b"\n", line + 1)
    module = machine.data[machine.at : line].decode("utf-8", "backslashreplace")
    name = machine.data[line + 1 : end].decode("utf-8", "backslashreplace")
    machine.at = end + 1
    machine.stack.append(machine.named(module, name))


def _stack_global(machine: _Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if type(name) is not str or type(module) is not str or len(name) + len(module) > MOST_NAME:
        raise TypeError(name)
    machine.stack.append(machine.named(module, name))


def _reduce(machine: _Machine) -> None:
    arguments, function = machine.stack.pop(), machine.stack.pop()
    if type(arguments) is not tuple:
        raise TypeError(arguments)
    machine.stack.append(machine.meaning.call(function, arguments))


def _new_with_names(machine: _Machine) -> None:
    names, arguments, function = machine.stack.pop(), machine.stack.pop(), machine.stack.pop()
    if type(arguments) is not tuple or type(names) is not dict:
        raise TypeError(arguments)
    machine.stack.append(machine.meaning.call(function, (*arguments, names) if names else arguments))


def _build(machine: _Machine) -> None:
    state = machine.stack.pop()
    machine.meaning.set_state(machine.stack[-1], state)


def _refer(machine: _Machine) -> None:
    machine.stack.append(machine.meaning.refer(machine.stack.pop()))


def _refuse(machine: _Machine) -> NoReturn:
    raise PickleError("its pickle is damaged")


Action = Callable[[_Machine], Any]

_NAMES, _REFUSED = -100, -101
_STOP, _MEMOIZE = ord("."), 0x94
_NUMBERING, _FETCHING = frozenset(b"qr\x94"), frozenset(b"hj")

# Of each opcode: the bytes of its argument, or less than 0 the bytes of the length that its argument begins with; the
# bytes of memory that it may take at most, an argument aside; and what it does.
_OPCODES: dict[bytes, tuple[int, int, Action]] = {
    b"\x80": (1, 0, _protocol),
    b"\x95": (8, 0, _nothing),
    b".": (0, 0, _nothing),
    b"(": (0, 80, _mark),
    b"0": (0, 0, _pop),
    b"1": (0, 0, _pop_mark),
    b"2": (0, 16, _again),
    b"q": (1, 16, _put(1)),
    b"r": (4, 16, _put(4)),
    b"\x94": (0, 16, _memoize),
    b"h": (1, 24, _get(1)),
    b"j": (4, 24, _get(4)),
    b"N": (0, 16, _constant(None)),
    b"\x88": (0, 16, _constant(True)),
    b"\x89": (0, 16, _constant(False)),
    b"J": (4, 48, _integer),
    b"K": (1, 16, _natural(1)),
    b"M": (2, 48, _natural(2)),
    b"\x8a": (-1, 48, _long),
    b"G": (8, 48, _float),
    b"X": (-4, 80, _string(4)),
    b"\x8c": (-1, 80, _string(1)),
    b"\x8d": (-8, 80, _string(8)),
    b"T": (-4, 80, _string(4)),
    b"U": (-1, 80, _string(1)),
    b"B": (-4, 64, _bytes(4, "bytes")),
    b"C": (-1, 64, _bytes(1, "bytes")),
    b"\x8e": (-8, 64, _bytes(8, "bytes")),
    b"\x96": (-8, 64, _bytes(8, "bytearray")),
    b")": (0, 16, _constant(())),
    b"t": (0, 72, _tuple),
    b"\x85": (0, 72, _tuple_of(1)),
    b"\x86": (0, 80, _tuple_of(2)),
    b"\x87": (0, 88, _tuple_of(3)),
    b"]": (0, 88, _fresh(list)),
    b"}": (0, 96, _fresh(dict)),
    b"\x8f": (0, 64, _fresh(lambda: Plain("set"))),
    b"\x91": (0, 64, _frozenset),
    b"a": (0, 16, _append),
    b"e": (0, 16, _appends),
    b"\x90": (0, 16, _add_items),
    b"s": (0, 120, _set_item),
    b"u": (0, 120, _set_items),
    b"c": (_NAMES, 200, _global),
    b"\x93": (0, 200, _stack_global),
    b"R": (0, 300, _reduce),
    b"\x81": (0, 300, _reduce),
    b"\x92": (0, 300, _new_with_names),
    b"b": (0, 16, _build),
    b"Q": (0, 200, _refer),
}
_LENGTHS = [_REFUSED] * 256
_COSTS = [0] * 256
_ACTIONS: list[Action] = [_refuse] * 256
for _opcode, (_length, _cost, _action) in _OPCODES.items():
    _LENGTHS[_opcode[0]], _COSTS[_opcode[0]], _ACTIONS[_opcode[0]] = _length, _cost, _action

_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Modules of Python 2 by the names that they have now, as far as data needs them."""
