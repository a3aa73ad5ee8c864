"""Putting a live model back as it was: what a forward or backward pass may change of it, kept and restored."""

import random
import sys
from collections import deque
from collections.abc import Iterator, MutableMapping, MutableSequence, MutableSet
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def kept_as_it_is(model: nn.Module) -> Iterator[None]:
    """Whatever is done to a model inside, it leaves as it was, an exception included.

    Kept are the attributes of all modules (modes, counters, caches), with the contents of their tables (parameters,
    buffers, children, hooks), the values of buffers and other tensors that modules hold, gradients, flags, and the
    state of all random generators. The values of parameters are the business of who changes them.
    """
    kept = [_Kept(module) for module in model.modules()]
    parameters = [(one, one.grad, one.requires_grad) for one in model.parameters()]
    states = random.getstate(), sys.modules["numpy"].random.get_state() if "numpy" in sys.modules else None
    try:
        with torch.random.fork_rng(_devices(model)):
            yield
    finally:
        for one in kept:
            one.put_back()
        for parameter, grad, is_trained in parameters:
            parameter.requires_grad_(is_trained)
            parameter.grad = grad
        random.setstate(states[0])
        if states[1] is not None:
            sys.modules["numpy"].random.set_state(states[1])


def _devices(model: nn.Module) -> list[torch.device]:
    """The CUDA devices whose generators a pass may use: those of the model, and the current one."""
    tensors = [*model.parameters(), *model.buffers()]
    found = {tensor.device for tensor in tensors if tensor.device.type == "cuda"}
    if found or torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        found.add(torch.device("cuda", torch.cuda.current_device()))
    return sorted(found, key=str)


class _Kept:
    """The attributes of one module, and copies of what may be changed in place."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._attributes = dict(module.__dict__)
        self._contents = [(held, _copied(held)) for held in self._attributes.values() if _is_container(held)]
        inner = (value for held, _ in self._contents if isinstance(held, dict) for value in held.values())
        tensors = {id(held): held for held in (*self._attributes.values(), *inner) if _is_plain_tensor(held)}
        self._values = [(tensor, tensor.detach().clone()) for tensor in tensors.values()]
        held = self._attributes.values()
        self._generators = [(one, one.get_state()) for one in held if isinstance(one, torch.Generator)]

    def put_back(self) -> None:
        """Undo what was done to the module since."""
        attributes = self._module.__dict__
        for name in attributes.keys() - self._attributes.keys():
            del attributes[name]
        attributes.update(self._attributes)
        for container, contents in self._contents:
            container.clear()
            container.extend(contents) if isinstance(container, list | deque) else container.update(contents)
        with torch.no_grad():
            for tensor, values in self._values:
                if tensor.shape != values.shape:
                    tensor.resize_(values.shape)
                tensor.copy_(values)
        for generator, state in self._generators:
            generator.set_state(state)


def _is_container(held: Any) -> bool:
    return isinstance(held, dict | list | set | deque)


def _copied(held: "MutableMapping[Any, Any] | MutableSequence[Any] | MutableSet[Any]") -> Any:
    return dict(held) if isinstance(held, dict) else list(held)


def _is_plain_tensor(held: Any) -> bool:
    """Whether it is a tensor with values of its own that is no parameter: a buffer, or an attribute."""
    return isinstance(held, torch.Tensor) and not isinstance(held, nn.Parameter) and held.is_leaf and not held.is_meta
