"""What a module or a state dict holds: each tensor with its owner and, of a sharded one, the part that is here."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What wrappers put into names, and take out of those of a state dict."""

FLAT = "_flat_param"
"""The leaf under which the first FSDP keeps the parameters of a module, laid end to end."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One tensor: its name in a state dict, the values that are here, and the shape of the whole.

    ``owner`` is the module whose ``leaf`` it is, seen through parametrisations; None in a state dict. ``part`` is
    what else a parametrisation makes of the leaf, such as its length. ``values`` is None where there are none:
    on the meta device, or before a lazy module has seen an input. ``obstacle`` says why there are none to read.
    ``is_flat`` says that the first FSDP may have left one dimension of whatever shape there was.
    """

    name: str
    values: torch.Tensor | None
    dtype: torch.dtype
    shape: tuple[int, ...]
    owner: nn.Module | None = None
    leaf: str = ""
    is_part: bool = False
    is_buffer: bool = False
    is_saved: bool = True
    is_trained: bool = False
    is_flat: bool = False
    obstacle: str = ""

    @property
    def is_sharded(self) -> bool:
        """Whether other processes hold the rest of it."""
        return self.values is not None and self.values.shape != self.shape


def holdings_of_dict(tensors: Mapping[str, torch.Tensor]) -> Iterator[Holding]:
    """The tensors of a state dict, of which nothing but the names is known."""
    for name, tensor in tensors.items():
        yield _holding(name, tensor)


def holdings_of_module(module: nn.Module) -> Iterator[Holding]:
    """The parameters and buffers of a module, in the order of its state dict; tied ones under each of their names.

    No hook of the state dict is run: those of sharded modules gather what would not fit.
    """
    modules = dict(module.named_modules(remove_duplicate=False))
    for path, owner in modules.items():
        prefix = f"{path}." if path else ""
        for leaf, parameter in owner.named_parameters(recurse=False, remove_duplicate=False):
            if leaf == FLAT:
                yield from _unflattened(prefix, parameter, modules)
                continue
            about = _owner(path, owner, leaf, modules)
            yield _holding(unwrapped(prefix + leaf), parameter, is_flat=WRAPPERS[0] in prefix, **about)
        unsaved = owner._non_persistent_buffers_set
        for leaf, buffer in owner.named_buffers(recurse=False, remove_duplicate=False):
            about = _owner(path, owner, leaf, modules)
            yield _holding(unwrapped(prefix + leaf), buffer, is_buffer=True, is_saved=leaf not in unsaved, **about)


def _owner(path: str, owner: nn.Module, leaf: str, modules: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Whose leaf a tensor is, whatever parametrisation stands between; both of torch's ways are looked through."""
    if isinstance(owner, ParametrizationList):
        above, _, leaf_above = path.rpartition(".")
        parent = modules[above.rpartition(".")[0]]
        is_length = leaf == "original0" and hasattr(owner, "original1")
        return {"owner": parent, "leaf": leaf_above, "is_part": is_length}
    base, _, ending = leaf.rpartition("_")
    own = owner._parameters
    is_normed = f"{base}_g" in own and f"{base}_v" in own
    if (ending == "orig" and base not in own and leaf in own) or (ending == "v" and is_normed):
        return {"owner": owner, "leaf": base}
    is_length = ending == "g" and is_normed
    return {"owner": owner, "leaf": base if is_length else leaf, "is_part": is_length}


def _holding(name: str, tensor: torch.Tensor, **about: Any) -> Holding:
    about["is_trained"] = tensor.requires_grad
    if is_lazy(tensor):
        return Holding(name, None, tensor.dtype, (), **about)
    shape = tuple(tensor.shape) if not tensor.is_nested else ()
    with torch.no_grad():
        local, obstacle = _local(tensor)
    if obstacle:
        return Holding(name, None, tensor.dtype, shape, obstacle=obstacle, **about)
    is_planned = local.is_meta or type(local).__name__ == "FakeTensor"
    return Holding(name, None if is_planned else local.detach(), tensor.dtype, shape, **about)


def _local(tensor: torch.Tensor) -> tuple[torch.Tensor, str]:
    """The values of a tensor that this process holds, or why they cannot be read."""
    distributed = sys.modules.get("torch.distributed.tensor")  # not imported, and there is none of its tensors
    if distributed is not None and isinstance(tensor, distributed.DTensor):
        if any(placement.is_partial() for placement in tensor.placements):
            return tensor, "is a DTensor of partial sums"
        return tensor.to_local(), ""
    if type(tensor) not in (torch.Tensor, nn.Parameter) and is_traceable_wrapper_subclass(tensor):
        return tensor, f"is a {type(tensor).__name__}, which packs its values"
    return tensor, ""


def _unflattened(prefix: str, flat: Any, modules: Mapping[str, nn.Module]) -> Iterator[Holding]:
    """The parameters that the first FSDP laid end to end, each with the values that this process has of it."""
    for number, name in enumerate(flat._fqns):
        shape, info = tuple(flat._shapes[number]), flat._shard_param_infos[number]
        values = flat.detach()[:0]
        if info.in_shard:
            values = flat.detach()[info.offset_in_shard : info.offset_in_shard + info.numel_in_shard]
        owner = modules.get(f"{prefix}{name.rpartition('.')[0]}".removesuffix("."))
        full = values.reshape(shape) if values.numel() == torch.Size(shape).numel() else values
        yield Holding(
            unwrapped(prefix + name), full, flat.dtype, shape, owner, name.rpartition(".")[2], is_trained=True
        )


def unwrapped(name: str) -> str:
    """The name of a parameter as a state dict has it, without what wrappers put into it."""
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name
