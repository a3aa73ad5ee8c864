"""One tree of all names of a checkpoint: its lists of blocks, and where in them each tensor stands.

A list is what numbered modules of one parent make up: ``h.0``, ``h.1``; the stages ``layer1.0``, ``layer2.0``, which
are lists themselves; ``h_0``, ``h_1`` as Flax and Keras count, who call the first one ``h``. Its items are blocks where
most of what they hold is held by several of them; a program of different steps (``0.h.3.fc``, ``1.head``) is no list of
blocks, nor does a number count that all names share.

Names come from files, and files may be hostile: the tree is built in time linear in their length, and is cut at
`DEEPEST` modules.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from initaudit.names.segments import LONGEST, natural, owner_of, separator_of

DEEPEST = 32
"""Modules around a tensor that are told apart, from the inside out; what lies around these counts as one."""

LONGEST_NUMBER = 5
"""Digits of a number that counts blocks; a longer one is a name."""

_COUNTED = re.compile(r"(\D{1,100}_)(\d{1,4})")
"""How Flax, Keras and Haiku name the modules of a list: ``encoderblock_3``, ``layer_._3``."""

_NUMBERED = re.compile(r"(.*?)(\d{1,5})")
"""How stages are named (``layer3`` before ``.0``), and layers of a sequence (``conv3``)."""

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Depth:
    """Where a tensor stands in a list of blocks: the number of its block from 0 on, and how many there are."""

    index: int
    count: int


@dataclass(frozen=True, slots=True)
class Seat:
    """A numbered layer: what stands before its number, which its neighbours share, and the number."""

    list: str
    number: int
    is_named: bool
    """Whether the number is part of a word (``conv2``), not all of it."""


@dataclass(eq=False, slots=True)
class _List:
    """Numbered modules of one parent; ``stem`` is what their names have before the number."""

    parent: "_Module"
    stem: str
    items: dict[int, "_Module"] = field(default_factory=dict)
    held: dict[int, int | None] = field(default_factory=dict)
    """Which item holds something, by what that is; None where several hold it."""
    is_alike: bool = False
    """Whether most of what its items hold is held by several, so that they are blocks, not the steps of a program."""
    before: dict[int, int] = field(default_factory=dict)
    """How many blocks stand before each item, those within its stages counted; filled by `_counted`."""
    size: int = 0

    @property
    def name(self) -> str:
        """What stands before the numbers."""
        return f"{self.parent.prefix}{self.stem}"


@dataclass(eq=False, slots=True)
class _Module:
    """One module of the tree; ``prefix`` is what the names of all that it holds begin with."""

    prefix: str
    holds_tensors: bool = False
    modules: dict[str, "_Module"] = field(default_factory=dict)
    lists: dict[str, _List] = field(default_factory=dict)

    @property
    def stage(self) -> _List | None:
        """The list of blocks that this module is, if it is nothing else.

        Layers alone are no blocks, nor are the parts of one, as its attention and what follows it.
        """
        only = self.lists.get("")
        if self.holds_tensors or only is None or len(only.items) < len(self.modules) or not _counts_blocks(only):
            return None
        return only if any(item.modules for item in only.items.values()) else None


@dataclass(eq=False, slots=True)
class _Item:
    """A step on the way to a tensor that is an item of a list; ``at`` is which of the segments it is."""

    at: int
    list: _List
    number: int


@dataclass(eq=False, slots=True)
class _Way:
    """The way from the outermost module to a layer: its segments, and which of them are items of lists."""

    segments: list[str]
    separator: str
    masked: list[str]
    items: list[_Item] = field(default_factory=list)
    place: str = ""
    """The masked segments as one name."""

    @property
    def blocks(self) -> list[_Item]:
        """Those of the items that are masked: all but that of the layer itself."""
        return [item for item in self.items if item.at < len(self.segments) - 1]

    def name(self, length: int) -> str:
        """The name of the module so many segments from the outside."""
        return self.separator.join(self.segments[:length])


class Blocks:
    """The tree of all names of a checkpoint; it answers for each of them where it stands, and never changes.

    A name that it was not built from is answered for as one that stands alone.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        owners = {name: owner_of(name) for name in names}
        self._owners = owners
        self._trees = {separator: _Module("") for separator in "./"}
        self._ways: dict[tuple[str, str], _Way] = {}
        for name, owner in owners.items():
            self._add(owner, separator_of(name))
        self._wrapper = _shared([way.segments for way in self._ways.values() if way.segments])
        for way in self._ways.values():
            self._number(way)
        self._compare()
        self._kin: dict[str, list[str]] = {}
        for name in owners:
            self._kin.setdefault(self.place(name), []).append(name)
        self._apart: dict[str, int] = {}

    def _add(self, owner: str, separator: str) -> None:
        """Make the modules around a layer known, and what they are called."""
        if (owner, separator) in self._ways:
            return
        segments = owner.rsplit(separator, DEEPEST - 1) if owner else []
        self._ways[owner, separator] = _Way(segments, separator, list(segments))
        module = self._trees[separator]
        for segment in segments:
            below = module.modules.get(segment)
            if below is None:
                below = module.modules[segment] = _Module(f"{module.prefix}{segment}{separator}")
            module = below
        module.holds_tensors = True

    def _number(self, way: _Way) -> None:
        """Find the lists that the way to a layer leads through, and mask what counts their items."""
        masked, items = way.masked, way.items
        module, last = self._trees[way.separator], len(way.segments) - 1
        is_counted = way.separator == "/"
        for at, segment in enumerate(way.segments):
            is_counted = is_counted or (at > 0 and way.segments[at - 1] == "params")
            found = None
            if segment.isdecimal():
                found = ("", segment)
                masked[at] = "#" if at < last else segment
            elif at < last and way.segments[at + 1].isdecimal():
                masked[at], found = _as_stage(segment)
            elif at < last and is_counted:
                found = _counted_in(segment, module)
                masked[at] = f"{found[0]}#" if found else segment
            below = module.modules[segment]
            if found and len(found[1]) <= LONGEST_NUMBER:
                stem, number = found[0], int(found[1])
                kind = module.lists.get(stem)
                if kind is None:
                    kind = module.lists[stem] = _List(module, stem)
                kind.items.setdefault(number, below)
                items.append(_Item(at, kind, number))
            module = below
        way.place = way.separator.join(masked)

    def _compare(self) -> None:
        """Find out in which lists several items hold the same, numbers aside."""
        known: dict[tuple[str, int], int] = {}
        for name, owner in self._owners.items():
            way = self._ways[owner, separator_of(name)]
            if not way.items:
                continue
            held = known.setdefault((name[len(owner) :], -1), len(known))
            inner = len(way.segments)
            for item in reversed(way.items):
                for segment in reversed(way.masked[item.at + 1 : inner]):
                    held = known.setdefault((segment, held), len(known))
                inner = item.at + 1
                if item.list.held.setdefault(held, item.number) != item.number:
                    item.list.held[held] = None
        for kind in {id(item.list): item.list for way in self._ways.values() for item in way.items}.values():
            kind.is_alike = 2 * sum(number is None for number in kind.held.values()) >= len(kind.held)

    def _way(self, name: str) -> _Way:
        separator = separator_of(name)
        known = self._ways.get((self._owner(name), separator))
        if known is not None:
            return known
        alone = Blocks((name,))
        return alone._ways[self._owner(name), separator]

    def _owner(self, name: str) -> str:
        found = self._owners.get(name)
        return owner_of(name) if found is None else found

    def place(self, name: str) -> str:
        """A name with the numbers masked that count blocks: list indices, and numbers of lists (``layer1.0``).

        Kept are those that tell layers of one block apart: of a layer itself (``fc1``, ``mlp.2``) and within words.
        """
        way = self._way(name)
        return way.place + name[len(self._owner(name)) :]

    def kin(self, name: str) -> tuple[str, ...]:
        """All names of the same place, this one among them."""
        return tuple(self._kin.get(self.place(name), ()))

    def numbers(self, name: str) -> tuple[int, ...]:
        """The numbers of the blocks that a tensor stands in, from the outside in: those that its place masks."""
        return tuple(item.number for item in self._way(name).blocks)

    def stack(self, name: str) -> str:
        """What stands before the number of the outermost block around a tensor; empty where it stands in none."""
        item = self._outermost(self._way(name))
        return item.list.name if item else ""

    def depth(self, name: str) -> Depth | None:
        """Where a tensor stands in its stack: which block it is in, and how many there are; None where it is in none.

        Those of all stages of a stack are counted through, whether the stages are lists or are themselves counted.
        """
        way = self._way(name)
        item = self._outermost(way)
        if item is None:
            return None
        index, count = 0, _counted(item.list).size
        for inner in way.items[way.items.index(item) :]:
            if inner is not item and item.list.items[item.number].stage is not inner.list:
                break
            index += _counted(inner.list).before[inner.number]
            item = inner
        return Depth(index, count)

    def innermost(self, name: str) -> Depth | None:
        """Where a tensor stands in the innermost list whose items hold the same as its own; None where it has no kin.

        An expert stands in the list of experts, and a stage is none of its blocks.
        """
        at = self._level(self.place(name))
        item = next((item for item in self._way(name).blocks if item.at == at), None)
        if item is None:
            return None
        first = min(item.list.items) if item.list.stem else 0
        return Depth(item.number - first, max(item.list.items) - first + 1)

    def _level(self, place: str) -> int:
        """Which of their segments, the last of them, tells the names of a place apart; -1 where none does."""
        found = self._apart.get(place)
        if found is None:
            numbers: dict[int, set[int]] = {}
            for name in self._kin.get(place, ()):
                for item in self._way(name).blocks:
                    numbers.setdefault(item.at, set()).add(item.number)
            found = max((at for at, several in numbers.items() if len(several) > 1), default=-1)
            self._apart[place] = found
        return found

    def block(self, name: str) -> str:
        """The name of the innermost block around a tensor, the layer itself aside; empty where there is none."""
        way = self._way(name)
        for item in reversed(way.blocks):
            is_stage = item.list.stem and way.segments[item.at + 1].isdecimal()
            if item.at >= len(self._wrapper) and _counts_blocks(item.list) and not is_stage:
                return way.name(item.at + 1)
        return ""

    def seat(self, name: str) -> Seat | None:
        """Which of several numbered layers a tensor's is; None where it has no number.

        A layer alone in a list (``net.3.0``, with an activation behind it) has the seat of that list.
        """
        way = self._way(name)
        if not way.segments:
            return None
        if way.items and way.items[-1].at == len(way.segments) - 1:
            found = way.items[-1]
            for item in reversed(way.items[:-1]):
                if item.at != found.at - 1 or item.list.stem or len(found.list.items) > 1:
                    break
                found = item
            return Seat(found.list.name, found.number, is_named=False)
        match = _NUMBERED.fullmatch(way.segments[-1][-100:])
        if match is None or not match[1]:
            return None
        return Seat(f"{way.name(len(way.segments) - 1)}{way.separator}{match[1]}", int(match[2]), is_named=True)

    def lists(self, name: str) -> Iterator[tuple[str, int]]:
        """Every list around a tensor, and the number that leads to it."""
        return ((item.list.name, item.number) for item in self._way(name).items)

    def sequence(self, name: str) -> str | None:
        """What the names of a sequence of layers share: all but one number; None where a name has none, or several.

        Wrappers and lists of one have none that counts, and a list of lists counts as one.
        """
        way = self._way(name)
        lists = {item.at: item.list for item in way.items}
        parts, numbers, before = [], 0, False
        for at, segment in enumerate((*way.segments, name[len(self._owner(name)) :])):
            if at < len(self._wrapper) or (at in lists and len(lists[at].items) == 1):
                continue
            if at in lists and not lists[at].stem:
                numbers += not before
                parts += [] if before else ["#"]
                before = True
                continue
            before = False
            pieces = natural(segment[-LONGEST:])
            numbers += sum(number >= 0 for number, _ in pieces)
            parts.append("".join("#" if number >= 0 else text for number, text in pieces))
        return way.separator.join(parts) if numbers == 1 else None

    def _outermost(self, way: _Way) -> _Item | None:
        """The item of the outermost list of blocks: one of those that hold the same, or else the only one of a list."""
        alike = next((item for item in way.items if item.list.is_alike), None)
        if alike is not None:
            return alike
        wrapped = len(self._wrapper)
        return next((item for item in way.items if item.at >= wrapped and len(item.list.items) == 1), None)


def _counts_blocks(kind: _List) -> bool:
    """Whether the items of a list are blocks: they hold the same, or there is only one."""
    return kind.is_alike or len(kind.items) == 1


def _as_stage(segment: str) -> tuple[str, tuple[str, str] | None]:
    """The name of a module that is a list with its numbers masked, and its stem and number if it ends in one."""
    match = _NUMBERED.fullmatch(segment[-LONGEST:])
    return _NUMBER.sub("#", segment), (segment[: -len(match[2])], match[2]) if match else None


def _counted_in(segment: str, parent: _Module) -> tuple[str, str] | None:
    """The stem and the number of a counted module; the first of several has none in Keras and Haiku."""
    match = _COUNTED.fullmatch(segment)
    if match is not None:
        return match[1], match[2]
    return (f"{segment}_", "0") if f"{segment}_1" in parent.modules and f"{segment}_0" not in parent.modules else None


def _shared(ways: Sequence[list[str]]) -> list[str]:
    """The segments with which all of these ways begin."""
    if not ways:
        return []
    first, last = min(ways), max(ways)
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    return first[:shared]


def _counted(kind: _List) -> _List:
    """A list whose blocks were counted, those within its stages one by one."""
    if not kind.size:
        numbers = sorted(kind.items)
        stages = [kind.items[number].stage for number in numbers]
        if any(stages):
            sizes = [_counted(stage).size if stage else 1 for stage in stages]
            kind.before.update(zip(numbers, accumulate(sizes, initial=0), strict=False))
            kind.size = sum(sizes)
        else:
            first = int(numbers[0] == 1)
            kind.before.update((number, number - first) for number in numbers)
            kind.size = numbers[-1] - first + 1
    return kind
