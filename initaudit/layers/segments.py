"""How a tensor's name is put together: torch joins by dots, Flax and Keras by slashes, and Keras ends in ``:0``.

Names come from files, and files may be hostile: every function is linear in the length of the name.
"""

from collections.abc import Iterator

__all__ = ["dotted", "enclosing", "leaf_of", "parent_of", "segments", "separator_of"]


def separator_of(name: str) -> str:
    """What stands between the segments of a name: a slash where there is one, for then dots belong to the words."""
    return "/" if "/" in name else "."


def segments(name: str) -> list[str]:
    """The segments of a name, from the outermost module to the leaf."""
    return name.split(separator_of(name))


def leaf_of(name: str) -> str:
    """The last segment of a name, without the number of Keras's variable (``kernel:0``)."""
    return name.rpartition(separator_of(name))[2].partition(":")[0]


def parent_of(name: str) -> str:
    """All of a name but its last segment; empty where it has but one."""
    return name.rpartition(separator_of(name))[0]


def dotted(name: str) -> str:
    """A name as torch would write it, for patterns that know its dots alone."""
    return name.partition(":")[0].replace("/", ".")


def enclosing(name: str, most: int) -> Iterator[str]:
    """The modules around a name, at most so many, from the inside out; the last is the model itself, the empty name."""
    separator = separator_of(name)
    for _ in range(most):
        name = name.rpartition(separator)[0]
        yield name
        if not name:
            return
