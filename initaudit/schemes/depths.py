"""Where tensors stand in the lists of blocks of a model, by their names."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_BLOCK = re.compile(r"(?:^|[./])(\d+)[./]")
_LONGEST_NAME, _LONGEST_NUMBER = 500, 5  # characters and digits that are looked at: names come from files


@dataclass(frozen=True, slots=True)
class Depth:
    """Where a tensor stands in its stack of blocks: its block's number from 0 on, and how many there are."""

    index: int
    count: int


def depths_of(names: Iterable[str]) -> dict[str, Depth]:
    """The block of each tensor: the first number in its name, and the number of blocks in that list."""
    found: dict[str, tuple[str, int]] = {}
    counts: dict[str, int] = {}
    for name in names:
        match = _BLOCK.search(name[:_LONGEST_NAME])
        if match and len(match[1]) <= _LONGEST_NUMBER:
            stack, index = name[: match.start(1)], int(match[1])
            found[name] = stack, index
            counts[stack] = max(counts.get(stack, 0), index + 1)
    return {name: Depth(index, counts[stack]) for name, (stack, index) in found.items()}
