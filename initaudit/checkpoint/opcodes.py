"""What each opcode of a pickle does to the stack of a machine that calls nothing, and what it may take at most."""

import struct
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from initaudit.checkpoint.allowance import Allowance, PickleError
from initaudit.checkpoint.inert import Made, Name, Plain, key_of

MOST_NAME = 1_000
"""Characters of a name that is to be imported."""

LONG_TEXT = 100_000
"""Bytes from which on a text is not kept: it is no tensor's name."""

KEY = 200
"""Bytes that a dictionary's key may take which is no string."""

PROTOCOLS = range(2, 6)


class Meaning(Protocol):
    """What the calls in a pickle stand for."""

    def look_up(self, name: Name) -> Name:
        """Take note of what would be imported."""

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """What stands for the outcome of a call, or for a new object of a class."""

    def set_state(self, thing: Any, state: Any) -> None:
        """Take note of what an object is to be filled with."""

    def refer(self, identity: Any) -> Any:
        """What a name stands for that leads out of the pickle."""


class Machine:
    """The stack and memory of one pickle that was looked through."""

    def __init__(self, data: bytes, begin: int, meaning: Meaning, wanted: bytearray, allowance: Allowance) -> None:
        self.data, self.at, self.meaning, self.wanted, self.allowance = data, begin, meaning, wanted, allowance
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memory: list[Any] = [None] * len(wanted)
        self.numbered = 0
        self.names: dict[tuple[str, str], Name] = {}

    def run(self) -> Any:
        """The value that is left at the end."""
        data, actions, lengths = self.data, _ACTIONS, LENGTHS
        while True:
            opcode = data[self.at]
            self.at += 1
            if opcode == STOP:
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
        if not f"{module}{name}".isprintable():
            raise PickleError("its pickle names something by what cannot be printed: damaged")
        if key not in self.names:
            self.names[key] = self.meaning.look_up(Name(*key))
        return self.names[key]


def _protocol(machine: Machine) -> None:
    if machine.argument(1) not in PROTOCOLS:
        raise PickleError(f"its pickle is of protocol {machine.argument(1)}, and 2 to 5 are read")


def _nothing(machine: Machine) -> None:
    """What only helps other readers."""


def _mark(machine: Machine) -> None:
    machine.below.append(machine.stack)
    machine.stack = []


def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.marked()


def _pop_mark(machine: Machine) -> None:
    machine.marked()


def _again(machine: Machine) -> None:
    machine.stack.append(machine.stack[-1])


def _put(width: int) -> "Action":
    return lambda machine: machine.keep(machine.argument(width))


def _memoize(machine: Machine) -> None:
    machine.keep(machine.numbered)


def _get(width: int) -> "Action":
    return lambda machine: machine.stack.append(machine.memory[machine.argument(width)])


def _constant(value: Any) -> "Action":
    return lambda machine: machine.stack.append(value)


def _fresh(make: Callable[[], Any]) -> "Action":
    return lambda machine: machine.stack.append(make())


def _natural(width: int) -> "Action":
    return lambda machine: machine.stack.append(machine.argument(width))


def _integer(machine: Machine) -> None:
    machine.stack.append(int.from_bytes(machine.data[machine.at : machine.at + 4], "little", signed=True))


def _long(machine: Machine) -> None:
    machine.stack.append(int.from_bytes(machine.data[machine.passed(1)], "little", signed=True))


def _float(machine: Machine) -> None:
    machine.stack.append(struct.unpack_from(">d", machine.data, machine.at)[0])


def _string(width: int) -> "Action":
    def push(machine: Machine) -> None:
        where = machine.passed(width)
        is_long = where.stop - where.start >= LONG_TEXT
        machine.stack.append(Plain("str") if is_long else _text(machine.data[where]))

    return push


def _text(data: bytes) -> str:
    """Text as Python pickles it; what no file may hold of it, halves of letters, is spelt out."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogatepass").encode("utf-8", "backslashreplace").decode()


def _bytes(width: int, kind: str) -> "Action":
    def push(machine: Machine) -> None:
        machine.passed(width)
        machine.stack.append(Plain(kind))

    return push


def _tuple(machine: Machine) -> None:
    items = machine.marked()
    machine.stack.append(tuple(items))


def _tuple_of(count: int) -> "Action":
    def push(machine: Machine) -> None:
        if len(machine.stack) < count:
            raise IndexError(count)
        machine.stack[-count:] = [tuple(machine.stack[-count:])]

    return push


def _frozenset(machine: Machine) -> None:
    machine.marked()
    machine.stack.append(Plain("frozenset"))


def _append(machine: Machine) -> None:
    item = machine.stack.pop()
    _extend(machine, [item])


def _appends(machine: Machine) -> None:
    _extend(machine, machine.marked())


def _extend(machine: Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, list):
        target.extend(items)
    elif isinstance(target, Made):
        machine.meaning.set_state(target, items)
    else:
        raise TypeError(target)


def _add_items(machine: Machine) -> None:
    items = machine.marked()
    target = machine.stack[-1]
    if isinstance(target, Made):
        machine.meaning.set_state(target, items)
    elif not isinstance(target, Plain):
        raise TypeError(target)


def _set_item(machine: Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _update(machine, [key, value])


def _set_items(machine: Machine) -> None:
    _update(machine, machine.marked())


def _update(machine: Machine, items: list[Any]) -> None:
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


def _global(machine: Machine) -> None:
    line = machine.data.index(b"\n", machine.at)
    end = machine.data.index(b"\n", line + 1)
    module = _text(machine.data[machine.at : line])
    name = _text(machine.data[line + 1 : end])
    machine.at = end + 1
    machine.stack.append(machine.named(module, name))


def _stack_global(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if type(name) is not str or type(module) is not str or len(name) + len(module) > MOST_NAME:
        raise TypeError(name)
    machine.stack.append(machine.named(module, name))


def _reduce(machine: Machine) -> None:
    arguments, function = machine.stack.pop(), machine.stack.pop()
    if type(arguments) is not tuple:
        raise TypeError(arguments)
    machine.stack.append(machine.meaning.call(function, arguments))


def _new_with_names(machine: Machine) -> None:
    names, arguments, function = machine.stack.pop(), machine.stack.pop(), machine.stack.pop()
    if type(arguments) is not tuple or type(names) is not dict:
        raise TypeError(arguments)
    machine.stack.append(machine.meaning.call(function, (*arguments, names) if names else arguments))


def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    machine.meaning.set_state(machine.stack[-1], state)


def _refer(machine: Machine) -> None:
    machine.stack.append(machine.meaning.refer(machine.stack.pop()))


def _refuse(machine: Machine) -> NoReturn:
    raise PickleError("its pickle is damaged")


Action = Callable[[Machine], Any]

NAMES, REFUSED = -100, -101
STOP, MEMOIZE = ord("."), 0x94
NUMBERING, FETCHING, TEXTS = frozenset(b"qr\x94"), frozenset(b"hj"), frozenset(b"X\x8c\x8dTU\x8a")

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
    b"c": (NAMES, 360, _global),
    b"\x93": (0, 360, _stack_global),
    b"R": (0, 120, _reduce),
    b"\x81": (0, 120, _reduce),
    b"\x92": (0, 120, _new_with_names),
    b"b": (0, 16, _build),
    b"Q": (0, 180, _refer),
}
LENGTHS = [REFUSED] * 256
COSTS = [0] * 256
SIMPLE = [False] * 256
_ACTIONS: list[Action] = [_refuse] * 256
for _opcode, (_length, _cost, _action) in _OPCODES.items():
    LENGTHS[_opcode[0]], COSTS[_opcode[0]], _ACTIONS[_opcode[0]] = _length, _cost, _action
    SIMPLE[_opcode[0]] = _length == 0 and _opcode[0] not in (STOP, MEMOIZE)

_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Modules of Python 2 by the names that they have now, as far as data needs them."""
