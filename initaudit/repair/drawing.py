"""Fresh values from `torch.nn.init`, in float32, cast once: the same for one seed and name, whatever else is drawn.

A tensor's stream is a hash of the seed, its name and the number of the piece, so that large tensors are drawn in pieces
and several in any order.
"""

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import init

from initaudit.checkpoint.torch_tensors import dtype_of
from initaudit.checkpoint.values import Entry
from initaudit.errors import InitauditError
from initaudit.laws import shrink
from initaudit.layers.axes import unit_axis
from initaudit.layers.values import Part
from initaudit.remedies import Remedy

PIECE = 1 << 24
"""Elements that are drawn at a time, 64 MB of float32: memory stays the same for any tensor."""


def device_of(asked: str) -> str:
    """The device to draw on, ``cpu`` or ``cuda``: ``auto`` is CUDA where there is one.

    Raises:
        InitauditError: it is none of these, or CUDA was asked for and there is none.

    """
    if asked not in ("auto", "cpu", "cuda"):
        raise InitauditError(f"device is auto, cpu or cuda, not {asked!r}")
    if asked == "cuda" and not torch.cuda.is_available():
        raise InitauditError("no CUDA device was found")
    return ("cuda" if torch.cuda.is_available() else "cpu") if asked == "auto" else asked


def draw(entry: Entry, part: Part, remedy: Remedy, *, seed: int, device: str = "cpu") -> Iterator[NDArray[np.uint8]]:
    """The bytes of a tensor, filled anew, in the order of memory and in pieces of up to `PIECE` elements."""
    for values in _pieces(entry, part, remedy, seed, device):
        cast = values.reshape(-1).contiguous().to(dtype_of(entry.dtype)).cpu()
        yield cast.view(torch.uint8).numpy()


def _pieces(entry: Entry, part: Part, remedy: Remedy, seed: int, device: str) -> Iterator[torch.Tensor]:
    match remedy.law:
        case "orthogonal" | "sparse":
            yield _structured(entry, part, remedy, _generator(seed, entry.name, 0, device))
        case "identity":
            values = torch.empty(entry.shape, device=device)
            yield init.eye_(values) if len(entry.shape) == 2 else init.dirac_(values, part.groups)
        case "formula":
            yield _by_formula(entry, remedy, _generator(seed, entry.name, 0, device))
        case "blocks":
            stds = list(remedy.parameters["stds"])
            for number, std in enumerate(stds):
                count = entry.count * (number + 1) // len(stds) - entry.count * number // len(stds)
                yield from _elements(
                    entry.name, count, Remedy("normal", "normal", {"std": std}, ""), seed, device, number
                )
        case _:
            yield from _without_padding(entry, remedy, _elements(entry.name, entry.count, remedy, seed, device))


def _elements(name: str, count: int, remedy: Remedy, seed: int, device: str, block: int = 0) -> Iterator[torch.Tensor]:
    """Independent elements, piece by piece."""
    for at in range(0, count, PIECE):
        piece = torch.empty(min(PIECE, count - at), device=device)
        yield _fill(piece, remedy, _generator(seed, name, (block << 32) + at // PIECE, device))


def _fill(values: torch.Tensor, remedy: Remedy, generator: torch.Generator) -> torch.Tensor:
    given = remedy.parameters
    match remedy.law:
        case "constant":
            return init.constant_(values, given["value"])
        case "uniform":
            bound = given["std"] * math.sqrt(3)
            low, high = given.get("low", -bound), given.get("high", bound)
            return init.uniform_(values, low, high, generator=generator)
        case "trunc_normal":
            parent = given["std"] / shrink(given["cut"])
            edge, mean = given["cut"] * parent, given.get("mean", 0.0)
            return init.trunc_normal_(values, mean, parent, mean - edge, mean + edge, generator=generator)
        case _:
            return init.normal_(values, given.get("mean", 0.0), given["std"], generator=generator)


def _without_padding(entry: Entry, remedy: Remedy, pieces: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
    """The pieces with the row of the padding token at zero."""
    row = remedy.parameters.get("padding")
    width = math.prod(entry.shape[1:])
    begin, end = (0, 0) if row is None else (row * width, (row + 1) * width)
    at = 0
    for piece in pieces:
        piece[max(begin - at, 0) : max(end - at, 0)] = 0
        at += len(piece)
        yield piece


def _structured(entry: Entry, part: Part, remedy: Remedy, generator: torch.Generator) -> torch.Tensor:
    """Matrices whose rows are units, drawn whole: each of a stack by itself, turned where units are last."""
    shape = entry.shape
    if part.layout == "expert_3d":
        slices = [_matrix(shape[-2:], remedy, generator) for _ in range(math.prod(shape[:-2]))]
        return torch.stack(slices)
    units_last = unit_axis(part, shape) == len(shape) - 1
    if units_last:
        inputs = math.prod(shape[:-1])
        return _matrix((shape[-1], inputs), remedy, generator).t().reshape(shape)
    return _matrix((shape[0], math.prod(shape[1:])), remedy, generator).reshape(shape)


def _matrix(shape: tuple[int, ...], remedy: Remedy, generator: torch.Generator) -> torch.Tensor:
    values = torch.empty(shape, device=generator.device)
    if remedy.law == "orthogonal":
        return init.orthogonal_(values, remedy.parameters["gain"], generator=generator)
    # `init.sparse_` fixes the zeros of each input; here each unit has the same number of inputs (Martens 2010).
    connections = min(remedy.parameters["connections"], shape[1])
    init.normal_(values, 0.0, remedy.parameters["std"], generator=generator)
    ranks = torch.rand(shape, generator=generator, device=generator.device).argsort(dim=1).argsort(dim=1)
    return values.masked_fill_(ranks >= connections, 0.0)


def _by_formula(entry: Entry, remedy: Remedy, generator: torch.Generator) -> torch.Tensor:
    """Tables that are computed, and parameters with a law of their own."""
    given: dict[str, Any] = dict(remedy.parameters)
    count, device = entry.count, generator.device
    match given["formula"]:
        case "rotary":
            return torch.pow(given["base"], -torch.arange(count, device=device, dtype=torch.float64) / count)
        case "log_arange":
            return torch.arange(1, entry.shape[-1] + 1, device=device).log().expand(entry.shape)
        case "log_uniform":
            return init.uniform_(
                torch.empty(count, device=device), given["low"], given["high"], generator=generator
            ).log()
        case _:
            low, high = math.log(given["low"]), math.log(given["high"])
            step = init.uniform_(torch.empty(count, device=device), low, high, generator=generator).exp()
            return step + torch.log(-torch.expm1(-step))


def _generator(seed: int, name: str, piece: int, device: str) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}\0{piece}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)
