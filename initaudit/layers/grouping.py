"""Layers from the names of tensors: who owns a tensor, what it is called there, and who its siblings are."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from initaudit.checkpoint.values import Entry
from initaudit.names import Blocks, meanings
from initaudit.names.segments import leaf_within, outline, owner_of, separator_of, stem_of

Path = tuple[str, ...]

_LONGEST_INDEX = 6  # digits
_PLACE = 4  # names that tell a place in a block, in whatever part of the model
_DEEPEST = 16  # enclosing modules that are looked at: names come from files, and files may be hostile
_FLOATING = ("F", "BF", "C")  # as safetensors begins them: F32, F8_E4M3, BF16, C64


@dataclass(frozen=True, slots=True)
class Member:
    """One tensor as a member of its layer; ``leaf`` is its name there, whatever parametrisation wraps it."""

    entry: Entry
    leaf: str
    meaning: meanings.Meaning

    @property
    def name(self) -> str:
        """The tensor's full name."""
        return self.entry.name

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return self.entry.shape

    @property
    def core(self) -> tuple[int, ...]:
        """The shape without its dimensions of 1: that of a vector that broadcasts has one dimension."""
        return tuple(size for size in self.entry.shape if size != 1)

    @property
    def is_floating(self) -> bool:
        """Whether the values are floating-point numbers."""
        return self.entry.dtype.startswith(_FLOATING)


@dataclass(frozen=True, slots=True)
class Layer:
    """Tensors that work together: those of one module, or of one stem (``in_proj``) within a module.

    ``path`` are the names from the outermost module to the layer's own, and ``words`` are those of its own name.
    """

    owner: str
    stem: str
    path: Path
    words: tuple[str, ...]
    place: str
    """How the layer is called, numbers aside: the same in every block, and of layers that are numbered."""
    is_numbered: bool
    """Whether a module around is one of a list of blocks."""
    members: list[Member] = field(default_factory=list)
    shapes: dict[meanings.Meaning, list[tuple[int, ...]]] = field(default_factory=dict)

    def add(self, member: Member) -> None:
        """Take a member in."""
        self.members.append(member)
        self.shapes.setdefault(member.meaning, []).append(member.shape)

    def has(self, *meanings: meanings.Meaning) -> bool:
        """Whether a member's leaf means one of these."""
        return any(meaning in self.shapes for meaning in meanings)

    def first(self, *meanings: meanings.Meaning) -> tuple[int, ...] | None:
        """The shape of the first member whose leaf means the first of these that occurs."""
        return next((self.shapes[meaning][0] for meaning in meanings if meaning in self.shapes), None)

    @property
    def meaning(self) -> meanings.Meaning:
        """What the layer's own name means."""
        return meanings.module(self.words)

    @property
    def surname(self) -> meanings.Meaning:
        """What the layer's own name means or, where it means nothing, as a key does, the name around it."""
        if self.meaning != "nothing":
            return self.meaning
        named = (meanings.words(segment) for segment in reversed(self.path) if not is_transparent(segment))
        next(named, None)
        return meanings.module(next(named, ()))

    @property
    def index(self) -> int | None:
        """The layer's place in a numbered sequence, if it is in one."""
        last = self.path[-1] if self.path else ""
        return int(last) if last.isdecimal() and len(last) <= _LONGEST_INDEX else None


def group(entries: Iterable[Entry], blocks: Blocks) -> list[Layer]:
    """The layers that these tensors make up."""
    layers: dict[tuple[str, str], Layer] = {}
    for entry in entries:
        owner, leaf = owner_of(entry.name), leaf_within(entry.name)
        path = tuple(owner.rsplit(separator_of(entry.name), _DEEPEST)[-_DEEPEST:]) if owner else ()
        if leaf == "weight_v" and len(entry.shape) > 1:
            leaf = "weight"
        stem = stem_of(leaf)
        layer = layers.get((owner, stem))
        if layer is None:
            inner = (*path, stem) if stem else path
            place, is_numbered = outline(".".join(inner[-_PLACE:])), bool(blocks.block(entry.name))
            layer = layers[owner, stem] = Layer(owner, stem, inner, _own_words(inner), place, is_numbered)
        layer.add(Member(entry, leaf, _meaning(leaf, path)))
    return list(layers.values())


def _meaning(leaf: str, path: Path) -> meanings.Meaning:
    """What a leaf means; one that says nothing (``0``, ``default``) goes by the name of the list that holds it."""
    meaning = meanings.leaf(leaf)
    if meaning == "nothing" and path and is_transparent(leaf):
        return meanings.leaf(path[-1])
    return meaning


def is_transparent(segment: str) -> bool:
    """Whether a name is a number or a wrapper's, so that the name around it counts."""
    own = meanings.words(segment)
    return not own or own in meanings.TRANSPARENT


def _own_words(path: Sequence[str]) -> tuple[str, ...]:
    """The words of the innermost name that says something."""
    return meanings.words(next((segment for segment in reversed(path) if not is_transparent(segment)), ""))
