"""Boxes of elements that fill a tensor: whether they do, each element once."""

from collections.abc import Iterable, Sequence

Box = tuple[tuple[int, ...], tuple[int, ...]]
"""Where a box begins in the whole along each axis, and how long it is."""

MOST_STEPS = 2_000_000
"""Pairs of a box and a cut that are looked at: a thousand by a thousand boxes take one million."""


class TilingError(ValueError):
    """Boxes that do not fill the whole, each element once; the message says how."""


def require_tiling(shape: tuple[int, ...], boxes: Sequence[Box]) -> None:
    """See that some boxes without any of no elements fill a shape, each element once.

    Raises:
        TilingError: they do not, or it takes too long to know.

    """
    for offsets, sizes in boxes:
        if len(offsets) != len(shape) or len(sizes) != len(shape):
            raise TilingError(f"has {len(shape)} dimensions, and a chunk of {len(sizes)} at {len(offsets)} offsets")
        if any(begin + size > whole for begin, size, whole in zip(offsets, sizes, shape, strict=True)):
            raise TilingError(f"has shape {list(shape)[:20]}, and a chunk that reaches out of it")
    if 0 not in shape:
        _require(shape, boxes, 0, [MOST_STEPS])


def _require(shape: tuple[int, ...], boxes: Sequence[Box], axis: int, left: list[int]) -> None:
    """The same along the axes from one on: cut at each begin and end, the boxes between must fill the other axes."""
    if axis == len(shape):
        if len(boxes) != 1:
            raise TilingError(_said(len(boxes)))
        return
    if axis == len(shape) - 1:  # nearly always all that there is to do
        _require_row(shape[axis], sorted((box[0][axis], box[1][axis]) for box in boxes))
        return
    begins = [box[0][axis] for box in boxes]
    ends = [box[0][axis] + box[1][axis] for box in boxes]
    to_begin = sorted(range(len(boxes)), key=begins.__getitem__, reverse=True)
    to_end = sorted(range(len(boxes)), key=ends.__getitem__, reverse=True)
    there: dict[int, Box] = {}
    at = 0
    while at < shape[axis]:
        while to_begin and begins[to_begin[-1]] <= at:
            number = to_begin.pop()
            there[number] = boxes[number]
        while to_end and ends[to_end[-1]] <= at:
            del there[to_end.pop()]
        left[0] -= len(there) + 1
        if left[0] < 0:
            raise TilingError(f"is cut into {len(boxes):,} chunks that lie across each other: save it again")
        _require(shape, list(there.values()), axis + 1, left)
        at = min(ends[to_end[-1]], begins[to_begin[-1]] if to_begin else shape[axis])


def _require_row(length: int, spans: Iterable[tuple[int, int]]) -> None:
    end = 0
    for begin, size in spans:
        if begin != end:
            raise TilingError(_said(2 if begin < end else 0))
        end += size
    if end != length:
        raise TilingError(_said(0))


def _said(times: int) -> str:
    return "lacks some of its elements: a chunk is missing" if times == 0 else "has elements that are in two chunks"
