"""Tensors of torch as entries: what safetensors would call their dtype, and where their elements lie."""

from collections.abc import Sequence

import torch

from initaudit.checkpoint.values import Entry

_CODES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ", torch.float8_e8m0fnu: "F8_E8M0",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8",
    torch.uint16: "U16", torch.uint32: "U32", torch.uint64: "U64", torch.bool: "BOOL", torch.complex64: "C64",
}  # fmt: skip
_DTYPES = {code: dtype for dtype, code in _CODES.items()}


def code_of(dtype: torch.dtype) -> str:
    """The name of a dtype as safetensors spells it, or torch's own in capitals where it has none."""
    return _CODES.get(dtype, str(dtype).removeprefix("torch.").upper())


def dtype_of(code: str) -> torch.dtype:
    """The dtype that safetensors spells so; one that torch does not have is a `KeyError`."""
    return _DTYPES[code]


def entry_of(name: str, tensor: torch.Tensor, begin: int) -> Entry:
    """A strided tensor whose first element is at byte ``begin``; what cannot be read by strides has an obstacle."""
    code, size = code_of(tensor.dtype), tensor.element_size()
    obstacle = why_unreadable(tensor)
    if obstacle:
        return Entry(name, code, () if tensor.is_nested else tuple(tensor.shape), obstacle=obstacle)
    shape = tuple(tensor.shape)
    if tensor.is_contiguous():
        return Entry(name, code, shape, begin, begin + tensor.numel() * size)
    strides = tensor.stride()
    spread = 1 + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if _overlaps(shape, strides):
        obstacle = f"is a view whose {tensor.numel():,} elements overlap in memory"
    return Entry(name, code, shape, begin, begin + spread * size, strides, obstacle=obstacle)


def why_unreadable(tensor: torch.Tensor) -> str:
    """Why a tensor's elements do not lie in memory as numbers at strides, empty where they do."""
    if tensor.is_quantized:
        return "is quantised"
    if tensor.is_nested:
        return "is a nested tensor"
    return "" if tensor.layout == torch.strided else f"is sparse ({str(tensor.layout).removeprefix('torch.')})"


def _overlaps(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether elements may share their place, as those of an expanded tensor do."""
    reach = 0
    for stride, length in sorted((stride, length) for stride, length in zip(strides, shape, strict=True) if length > 1):
        if stride <= reach:
            return True
        reach += stride * (length - 1)
    return False
