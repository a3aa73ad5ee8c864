"""On what to draw: a GPU where there is one and it draws as the host does, else the host."""

import ctypes
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from initaudit.draws.arrays import Arrays
from initaudit.draws.filling import Filling, drawn
from initaudit.draws.host import HOST
from initaudit.errors import InitauditError, is_want_of_memory

PROBED = 4096
"""Values at either end of a tensor that a GPU and the host both draw: the lanes of a few blocks of threads."""

PROBED_SIDE = 48
"""Rows and columns of a matrix that both draw where values hang on each other: more than one block of reflections."""

CUDA_DRIVERS = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1",)
ROCM = Path("/dev/kfd")
"""What the drivers of GPUs leave on a system: asked before torch is imported, which takes seconds."""


@dataclass(frozen=True, slots=True)
class Device:
    """What is drawn on, ``cpu`` or ``cuda``, and a note for the user where it is not what one might expect."""

    name: str
    arrays: Arrays
    note: str = ""


def device_of(asked: str) -> Device:
    """The device to draw on: ``auto`` is a GPU where there is one.

    Raises:
        InitauditError: ``asked`` is none of auto, cpu and cuda, or there is no GPU, or no torch to draw on it.

    """
    if asked not in ("auto", "cpu", "cuda"):
        raise InitauditError(f"device is auto, cpu or cuda, not {asked!r}")
    if asked == "cpu" or (asked == "auto" and not _is_gpu_here()):
        return Device("cpu", HOST)
    try:
        import torch
    except ImportError as error:
        if is_want_of_memory(error):
            raise InitauditError("there is not enough memory to load torch, with which fix draws on a GPU") from error
        if asked == "auto":
            return Device("cpu", HOST, "a GPU is there and was not drawn on: torch, which does that, is not installed")
        raise InitauditError(
            "on a GPU fix draws with torch, which is not installed: pip install 'initaudit[torch]'"
        ) from error
    if not torch.cuda.is_available():
        if asked == "cuda":
            raise InitauditError("no CUDA device was found")
        return Device("cpu", HOST, "a GPU is there and was not drawn on: torch does not see it")
    from initaudit.draws.torch_arrays import Torch

    return Device("cuda", Torch("cuda"))


def is_drawn_alike(arrays: Arrays, filling: Filling, seed: int, name: str) -> bool:
    """Whether a device gives the bytes of the host, by the first and the last values of a tensor.

    They are compared in float64, too, where the least difference shows that a cast hides in all but a few of many
    values. Where values hang on each other, a small matrix of the same law is drawn.
    """
    if filling.is_whole:
        side = min(PROBED_SIDE, *filling.shape[:2])
        shape = (side, side, *(1 for _ in filling.shape[2:]))
        laws = (next(law for law in filling.laws if law.family != "identity" or len(filling.laws) == 1),)
        filling = replace(filling, shape=shape, laws=laws, borders=(), stacked=False, groups=1, padding=None)
    count = filling.count
    ends = {(0, min(PROBED, count)), (max(0, count - PROBED), count)}
    return all(
        drawn(arrays, kind, seed, name, *span).tobytes() == drawn(HOST, kind, seed, name, *span).tobytes()
        for kind in (filling, replace(filling, dtype="F64"))
        for span in ends
    )


def _is_gpu_here() -> bool:
    """Whether a driver says that there is a GPU that may be used."""
    if ROCM.exists():
        return True
    for library in CUDA_DRIVERS:
        with suppress(OSError, AttributeError):
            driver, count = ctypes.CDLL(library), ctypes.c_int(0)
            if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
                return count.value > 0
    return False
