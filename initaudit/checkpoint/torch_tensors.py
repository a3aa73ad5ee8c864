"""Tensors of torch as entries: what safetensors would call their dtype, and where their elements lie."""

import torch

from initaudit.checkpoint import torch_dtypes
from initaudit.checkpoint.strided import strided_entry
from initaudit.checkpoint.values import Entry

_DTYPES: dict[str, torch.dtype] = {code: getattr(torch, name) for name, code in torch_dtypes.CODES.items()}


def code_of(dtype: torch.dtype) -> str:
    """The name of a dtype as safetensors spells it, or torch's own in capitals where it has none."""
    return torch_dtypes.code_of(str(dtype).removeprefix("torch."))


def dtype_of(code: str) -> torch.dtype:
    """The dtype that safetensors spells so; one that torch does not have is a `KeyError`."""
    return _DTYPES[code]


def entry_of(name: str, tensor: torch.Tensor, begin: int) -> Entry:
    """A strided tensor whose first element is at byte ``begin``; what cannot be read by strides has an obstacle."""
    code = code_of(tensor.dtype)
    obstacle = _why_unreadable(tensor)
    if obstacle:
        return Entry(name, code, () if tensor.is_nested else tuple(tensor.shape), obstacle=obstacle)
    return strided_entry(name, code, tensor.element_size(), tensor.shape, tensor.stride(), begin)


def _why_unreadable(tensor: torch.Tensor) -> str:
    """Why a tensor's elements do not lie in memory as numbers at strides, empty where they do."""
    if tensor.is_quantized:
        return "is quantised"
    if tensor.is_nested:
        return "is a nested tensor"
    return "" if tensor.layout == torch.strided else f"is sparse ({str(tensor.layout).removeprefix('torch.')})"
