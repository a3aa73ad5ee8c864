"""Which lines wrote the values of a model while it was built: each operation that writes is seen, with its callers."""

import os
import sys
from collections.abc import Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from initaudit.checkpoint.origins import Line
from initaudit.modules.origins import memory_of

MOST_LINES = 24
"""Callers that are kept of one operation: those beyond are of whoever builds the model."""

_TORCH = os.path.dirname(torch.__file__) + os.sep  # noqa: PTH120 (compared with the names of files as frames have them)
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120 (as above)


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it without types
    """While it lasts, remembers for each memory who wrote it last: in place, or as what a new tensor holds.

    It changes no value and draws no number.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.written: dict[int, tuple[Line, ...]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation, and see what it has written."""
        given = kwargs or {}
        result = func(*args, **given)
        touched = {*_memories(_targets(func, args, given))}
        touched |= {*_memories([result])} - {*_memories([args, given])}  # not the views, which write nothing
        if touched:
            lines = _callers(sys._getframe(1))
            for address in touched:
                self.written[address] = lines
        return result


def _targets(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """What an operation writes to in place, by its schema."""
    if not func._schema.is_mutable:
        return []
    found = []
    for number, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            found.append(kwargs.get(argument.name, args[number] if number < len(args) else None))
    return found


def _memories(values: Any) -> list[int]:
    return [address for value in tree_leaves(values) if (address := memory_of(value))]


def _callers(frame: FrameType | None) -> tuple[Line, ...]:
    """The lines outside of torch that are being run, the innermost first."""
    lines: list[Line] = []
    while frame is not None and len(lines) < MOST_LINES:
        file = frame.f_code.co_filename
        if not file.startswith((_TORCH, _OURS, "<")):
            lines.append(Line(file, frame.f_lineno, frame.f_code.co_qualname))
        frame = frame.f_back
    return tuple(lines)


def is_to_blame(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, went through what watches, which may have caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        trace: TracebackType | None = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code is Recording.__torch_dispatch__.__code__:
                return True
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    return False
