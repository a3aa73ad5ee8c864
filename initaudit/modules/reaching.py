"""Which parameters of a live model are ever given a gradient: tried by backward passes with a batch of its user's.

The gradient of a random mixture of all outputs is taken. What was given one is moved a little, where it was given one,
as a training step would; then the pass is made again, until it reaches nothing new. What is left is moved as well: what
is reached only then is kept from learning by the model's own values. No gradient is kept, and a copy of a parameter
only where it is moved, which is never the case where the first pass reaches all.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.rnn import PackedSequence

from initaudit.errors import InitauditError, described
from initaudit.modules.holdings import FLAT, unwrapped
from initaudit.modules.keeping import kept_as_it_is
from initaudit.reach import Reach

STEP = 0.02
"""The deviation of the noise by which parameters are moved: as a weight of a transformer is drawn."""

PATIENCE = 2
"""Passes in a row that must reach nothing new: dropout, or a layer that is dropped, may hide something from one."""


class BatchError(InitauditError):
    """A batch does not go through its model, or nothing that it gives has a gradient."""


def reach(model: nn.Module, batch: Any) -> dict[str, Reach]:
    """When each trained parameter of a model is given a gradient, by its name in a state dict; the model is unchanged.

    Args:
        model: run in the mode in which it is (`train` or `eval`), on its devices.
        batch: a tensor, or a tuple or list of positional inputs; a mapping of keyword inputs; or a function without
            arguments that runs the model and returns its outputs or losses.

    Raises:
        BatchError: the model cannot be run on it, or gives no output with a gradient.
        TypeError: the batch is none of these.

    """
    run = _runner(model, batch)
    _require_values(model)
    with torch.inference_mode(False), torch.enable_grad(), kept_as_it_is(model), _Passes(model, run) as passes:
        return passes.settle()


def require_batch(source: Any, batch: Any) -> None:
    """See that a batch is one, and goes with a module.

    Raises:
        TypeError: it is not so.

    """
    if not isinstance(source, nn.Module):
        raise TypeError(f"batch goes with a torch.nn.Module, not with a {type(source).__name__}")
    _runner(source, batch)


def _runner(model: nn.Module, batch: Any) -> Callable[[], Any]:
    if isinstance(batch, torch.Tensor | PackedSequence):
        return lambda: model(_copied(batch))
    if isinstance(batch, Mapping):
        return lambda: model(**{name: _copied(value) for name, value in batch.items()})
    if isinstance(batch, tuple | list):
        return lambda: model(*map(_copied, batch))
    if callable(batch):
        run: Callable[[], Any] = batch
        return run
    raise TypeError(
        "batch takes a tensor, a tuple of positional inputs, a dict of keyword inputs or a function,"
        f" not {type(batch).__name__}"
    )


def _copied(given: Any) -> Any:
    """An input for one pass: models may write into what they are given."""
    if isinstance(given, torch.Tensor):
        return given.detach().clone().requires_grad_(given.requires_grad)
    if type(given) is dict:
        return {key: _copied(value) for key, value in given.items()}
    return type(given)(map(_copied, given)) if type(given) in (list, tuple) else given


def _require_values(model: nn.Module) -> None:
    """See that all parameters have their values here, and that some are trained.

    Raises:
        BatchError: it is not so.

    """
    distributed = sys.modules.get("torch.distributed.tensor")  # not imported, and there is none of its tensors
    some_trained = False
    for name, parameter in model.named_parameters():
        if is_lazy(parameter) or parameter.is_meta:
            raise BatchError(f"no batch goes through a model without values: {name} has none")
        if name.endswith(FLAT) or (distributed is not None and isinstance(parameter, distributed.DTensor)):
            raise BatchError(f"a batch goes through whole models alone, and {name} is sharded")
        some_trained = some_trained or parameter.requires_grad
    if not some_trained:
        raise BatchError("the model has no parameter that is trained")


class _Passes:
    """Backward passes through one model; the values of parameters are put back at the end."""

    def __init__(self, model: nn.Module, run: Callable[[], Any]) -> None:
        self._model, self._run = model, run
        self._parameters = dict(model.named_parameters())
        self._trained = {name: one for name, one in self._parameters.items() if one.requires_grad}
        self._originals: dict[str, torch.Tensor] = {}
        self._given: dict[str, torch.Tensor | bool] = {}
        """Where the last pass gave a gradient: everywhere, or a mask."""

    def __enter__(self) -> "_Passes":
        parameters: Mapping[str, Any] = self._trained  # torch gives the method below no types
        self._hooks = [one.register_post_accumulate_grad_hook(self._taker(name)) for name, one in parameters.items()]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        with torch.no_grad():
            for name, original in self._originals.items():
                self._parameters[name].copy_(original)

    def settle(self) -> dict[str, Reach]:
        """When each trained parameter is reached, under all of its names."""
        found, idle = dict.fromkeys(self._pass(), Reach.AT_ONCE), 0
        while len(found) < len(self._trained) and idle < PATIENCE:
            for name, where in self._given.items():
                self._move(name, where)
            new = self._pass() - found.keys()
            found |= dict.fromkeys(new, Reach.LATE)
            idle = 0 if new else idle + 1
        left = self._trained.keys() - found.keys()
        if left:
            zero = (name for name, one in self._parameters.items() if not one.requires_grad and not one.any())
            for name in (*left, *zero):
                self._move(name, where=True)
            reachable = self._pass()
            found |= {name: Reach.NEVER if name in reachable else Reach.UNSEEN for name in left}
        every = self._model.named_parameters(remove_duplicate=False)
        said = {id(self._trained[name]): when for name, when in found.items()}
        return {unwrapped(name): said[id(one)] for name, one in every if id(one) in said}

    def _pass(self) -> set[str]:
        """The parameters to which one pass gives a gradient."""
        self._given.clear()
        for parameter in self._trained.values():
            parameter.grad = None
        try:
            parts = [_mixture(output) for output in _outputs(self._run()) if output.requires_grad]
        except Exception as error:
            raise BatchError(f"the batch does not go through the model: {described(error)}") from error
        if not parts:
            raise BatchError("the batch gives no output that has a gradient")
        try:
            torch.autograd.backward(parts, inputs=list(self._trained.values()))
        except Exception as error:
            raise BatchError(f"no gradient comes back through the model: {described(error)}") from error
        return set(self._given)

    def _taker(self, name: str) -> Callable[[torch.Tensor], None]:
        """What notes where a parameter was given a gradient, and lets go of it at once."""

        def take(parameter: torch.Tensor) -> None:
            grad, parameter.grad = parameter.grad, None
            if grad is None:
                return
            where = (grad.to_dense() if grad.is_sparse else grad) != 0
            if where.any():
                self._given[name] = True if where.all() else where

        return take

    def _move(self, name: str, where: torch.Tensor | bool) -> None:
        """Move a parameter, or some of its elements, by a little noise."""
        parameter = self._parameters[name]
        with torch.no_grad():
            if name not in self._originals:
                self._originals[name] = parameter.detach().clone()
            parameter.add_(torch.randn_like(parameter) * where, alpha=STEP)


def _mixture(output: torch.Tensor) -> torch.Tensor:
    """A loss by itself; of anything larger the sum of its elements, each times a random number."""
    real = torch.view_as_real(output) if output.is_complex() else output
    return real if output.ndim == 0 else (real * torch.randn_like(real)).sum()


def _outputs(found: Any) -> Iterator[torch.Tensor]:
    """The tensors among what a model returned, however they are nested."""
    if isinstance(found, torch.Tensor):
        if found.is_floating_point() or found.is_complex():
            yield found
    elif isinstance(found, Mapping):
        for value in found.values():
            yield from _outputs(value)
    elif isinstance(found, Sequence) and not isinstance(found, str | bytes):
        for value in found:
            yield from _outputs(value)
    elif hasattr(found, "__dataclass_fields__"):
        for name in found.__dataclass_fields__:
            yield from _outputs(getattr(found, name))
