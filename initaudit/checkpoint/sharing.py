"""Tensors that share their bytes: tied ones, and views of each other."""

from collections.abc import Iterable
from dataclasses import replace

from initaudit.checkpoint.values import Entry


def mark_shared(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The tensors sorted by offset; one whose bytes lie within another's of its dtype is marked as sharing these.

    Of two with the same bytes the first in the order given is the one that counts.
    """
    marked: list[Entry] = []
    owner: Entry | None = None
    for entry in sorted(entries, key=lambda entry: (entry.begin, -entry.end, bool(entry.strides))):
        if entry.begin == entry.end or entry.is_meta or entry.obstacle:
            marked.append(entry)
        elif owner is not None and _is_within(entry, owner):
            marked.append(replace(entry, shared_with=owner.name))
        else:
            marked.append(entry)
            if owner is None or entry.end > owner.end:
                owner = entry
    return tuple(marked)


def _is_within(entry: Entry, owner: Entry) -> bool:
    if entry.end > owner.end or entry.dtype != owner.dtype:
        return False
    if not owner.strides:
        return True
    return (entry.begin, entry.shape, entry.strides) == (owner.begin, owner.shape, owner.strides)
