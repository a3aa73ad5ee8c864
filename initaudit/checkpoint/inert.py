"""What a pickle says, as values that do nothing: no class of it is looked up, and nothing of it is called."""

from dataclasses import dataclass
from typing import Any, ClassVar

MOST_TEXT, MOST_PARTS = 200, 20
"""Characters of a dictionary's key that is no string, and the parts of one that is a tuple."""


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """What a pickle would import."""

    module: str
    name: str

    @property
    def dotted(self) -> str:
        """The module and what is taken of it, joined by a dot."""
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Plain:
    """Something harmless of which nobody needs more than its type, such as bytes, a set or a device."""

    type: str


@dataclass(slots=True, eq=False)
class Made:
    """What a call would make that is never made; what it is handed may be tensors, and then it may be one."""

    by: str
    holds_tensors: bool = False

    @property
    def type(self) -> str:
        """What the call or class is called, without its module."""
        return self.by.rpartition(".")[2]

    def is_floating_point(self) -> bool:
        """As of a tensor: nothing says so."""
        return False

    def dim(self) -> int:
        """As of a tensor: nothing says how many."""
        return 0


@dataclass(slots=True, eq=False)
class Filled:
    """An object of a class of a closed format: what it is called, and what it was filled with."""

    kind: str
    state: Any = None


@dataclass(frozen=True, slots=True)
class Key:
    """A dictionary's key that is no string, by its text, whose hash is one that nobody can aim at.

    Objects of one text differ by their ``identity``.
    """

    text: str
    identity: int = 0

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Storage:
    """The data that one or several tensors share: ``count`` elements at ``offset`` bytes of what ``key`` names."""

    type: ClassVar[str] = "Storage"
    key: str
    dtype: str
    """As torch calls it; that of bytes without a type is ``untyped``."""
    count: int
    size: int
    """How many bytes it has."""
    offset: int = 0
    part_of: int = 0
    """The bytes of the storage that it is a part of, if it is one."""

    @property
    def whole(self) -> int:
        """The bytes of what its key names."""
        return self.part_of or self.size


@dataclass(frozen=True, slots=True, eq=False)
class SavedTensor:
    """A tensor as ``torch.save`` describes it; ``dtype`` is torch's name, lengths and offset are in elements."""

    type: ClassVar[str] = "Tensor"
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] = ()
    storage: Storage | None = None
    offset: int = 0
    is_meta: bool = False
    obstacle: str = ""

    def is_floating_point(self) -> bool:
        """As torch has it of the dtype."""
        return self.dtype.startswith(("float", "bfloat"))

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)


def key_of(value: Any) -> "str | Key | Filled":
    """What a value is as the key of a dictionary: equal ones are equal, as far as Python has it so.

    Raises:
        ValueError: it is none, or too long to be one.

    """
    if isinstance(value, str | Filled):  # each object is a key of its own: nobody can aim at where it lies
        return value
    if isinstance(value, tuple):
        if len(value) > MOST_PARTS or any(isinstance(part, tuple) for part in value):
            raise ValueError("has a key that is a long or nested tuple")
        return Key(f"({', '.join(_text(part) for part in value)})", sum(map(_identity, value)))
    return Key(_text(value), _identity(value))


def _text(value: Any) -> str:
    if value is None or isinstance(value, int | float):
        # 1, 1.0 and True are one key.
        value = int(value) if isinstance(value, bool | float) and value == value // 1 else value
        return repr(value)
    if isinstance(value, str):
        return repr(value[:MOST_TEXT]) if len(value) <= MOST_TEXT else f"{value[:MOST_TEXT]!r}... ({hash(value)})"
    if isinstance(value, Name):
        return value.dotted
    if isinstance(value, list | dict):
        raise ValueError(f"has a key that is a {type(value).__name__}")
    return str(getattr(value, "type", type(value).__name__))


def _identity(value: Any) -> int:
    return 0 if value is None or isinstance(value, int | float | str | Name) else id(value)
