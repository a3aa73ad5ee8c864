"""Tensors that share their bytes: tied ones, and views of each other."""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import accumulate

import numpy as np

from initaudit.checkpoint.values import Entry

MOST_PAIRS, MOST_WORK = 100_000, 1_000_000
"""Pairs whose ranges overlap that are looked at closely, and how closely; of any more it is taken that they share."""


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


def sharing(entries: Iterable[Entry], names: Collection[str]) -> Iterator[tuple[Entry, Entry]]:
    """Each of the named tensors with each other one that has some of its bytes; ties are one tensor, and left out."""
    placed = sorted((entry for entry in entries if entry.end > entry.begin), key=lambda entry: entry.begin)
    begins = [entry.begin for entry in placed]
    reaches = list(accumulate((entry.end for entry in placed), max))
    looked_at = 0
    for entry in placed:
        if entry.name not in names:
            continue
        for at in range(bisect_left(begins, entry.end) - 1, -1, -1):
            other = placed[at]
            if reaches[at] <= entry.begin:
                break
            if other is entry or other.end <= entry.begin or _is_one(entry, other):
                continue
            looked_at += 1
            if looked_at > MOST_PAIRS:
                yield entry, other
                break
            if _have_bytes_in_common(entry, other):
                yield entry, other


def _is_within(entry: Entry, owner: Entry) -> bool:
    if entry.end > owner.end or entry.dtype != owner.dtype:
        return False
    if not owner.strides:
        return True
    return (entry.begin, entry.shape, entry.strides) == (owner.begin, owner.shape, owner.strides)


def _is_one(one: Entry, other: Entry) -> bool:
    """Whether two names stand for the same elements, be it in another shape or order."""
    if (one.dtype, one.begin, one.end) != (other.dtype, other.begin, other.end):
        return False
    dense = all(entry.count == _spread(entry) for entry in (one, other))
    return (dense and one.count == other.count) or (one.shape, one.strides) == (other.shape, other.strides)


def _spread(entry: Entry) -> int:
    """How many elements fit where a tensor lies."""
    if not entry.strides:
        return entry.count
    return 1 + sum((length - 1) * stride for length, stride in zip(entry.shape, entry.strides, strict=True))


def _have_bytes_in_common(one: Entry, other: Entry) -> bool:
    """Whether two tensors whose ranges overlap do so in an element: two halves by columns do not."""
    if not one.strides and not other.strides:
        return True
    begin = min(one.begin, other.begin)
    try:
        room = np.empty(max(one.end, other.end) - begin, np.uint8)  # never written to, so that it takes no memory
        views = [
            np.ndarray(e.shape, f"V{e.size // _spread(e)}", room, e.begin - begin, _steps(e)) for e in (one, other)
        ]
        # ignored: numpy's own types take its two special values alone for max_work, its documentation any number
        return bool(np.shares_memory(views[0], views[1], max_work=MOST_WORK))  # type: ignore[arg-type]
    except (MemoryError, ValueError, np.exceptions.TooHardError):
        return True


def _steps(entry: Entry) -> tuple[int, ...] | None:
    """A tensor's strides in bytes."""
    width = entry.size // _spread(entry)
    return tuple(stride * width for stride in entry.strides) or None
