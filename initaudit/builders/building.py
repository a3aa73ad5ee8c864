"""From a name to a model: import the module, find what it names, and call that with what it is given."""

import importlib
import inspect
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from initaudit.builders.naming import Builder
from initaudit.errors import CheckpointError, is_want_of_memory
from initaudit.suggestions import suggestion


def build(builder: Builder) -> nn.Module:
    """The model that some code gives.

    Raises:
        CheckpointError: it gives none; the error of its own, if there was one, is the cause.

    """
    sow(builder.seed)
    if builder.configured:
        from initaudit.builders.configured import build_configured

        return _is_module(builder, _guarded(builder, "failed", lambda: build_configured(builder)))
    found = _named(builder)
    if isinstance(found, nn.Module):
        if builder.arguments:
            raise CheckpointError(str(builder), "is a model and not what builds one: it takes no --args")
        return found
    if not callable(found):
        raise CheckpointError(str(builder), f"is {_a(found)}, and neither a model nor what builds one")
    return _is_module(builder, _called(builder, found))


def sow(seed: int) -> None:
    """Seed what models are drawn with; numpy's as well, which some libraries use."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _named(builder: Builder) -> Any:
    """What a builder names. The user's folder is looked at first, but only now: nothing of ours is taken from it."""
    sys.path.insert(0, str(builder.folder))
    try:
        module = _guarded(builder, "its module cannot be imported", lambda: importlib.import_module(builder.module))
    except CheckpointError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and missing.name and _begins(builder.module, missing.name):
            why = f"there is no module {missing.name} here, and no file of this name either"
            raise CheckpointError(str(builder), why) from missing
        raise
    found: Any = module
    for name in builder.attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            names = [one for one in vars(found) if not one.startswith("_")] if hasattr(found, "__dict__") else []
            more = f": {suggestion(name, names)}" if names else ""
            raise CheckpointError(str(builder), f"{builder.module} has no {name}{more}") from error
    return found


def _begins(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.")


def _called(builder: Builder, found: Callable[..., Any]) -> Any:
    given = builder.arguments
    named: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    listed = () if isinstance(given, Mapping) else tuple(given)
    _require_fitting(builder, found, listed, named)
    return _guarded(builder, "failed", lambda: found(*listed, **named))


def _require_fitting(
    builder: Builder, found: Callable[..., Any], listed: tuple[Any, ...], named: Mapping[str, Any]
) -> None:
    """See that a builder is given what it asks for.

    Raises:
        CheckpointError: it is not.

    """
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # of what is written in C nothing is known before it is called
        return
    try:
        signature.bind(*listed, **named)
    except TypeError as error:
        asked = [one.name for one in signature.parameters.values() if one.default is one.empty and one.kind in _ASKED]
        given = set(named) | set(list(signature.parameters)[: len(listed)])
        missing = [name for name in asked if name not in given]
        way = ", ".join(f'"{name}": …' for name in missing)
        why = f"asks for {', '.join(missing)}: give it by --args '{{{way}}}'" if missing else f"does not take: {error}"
        raise CheckpointError(str(builder), why) from error


_ASKED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _guarded(builder: Builder, what: str, run: Callable[[], Any]) -> Any:
    """What some code of the user's returns.

    Raises:
        CheckpointError: it raised, or wanted to leave.

    """
    try:
        return run()
    except CheckpointError:
        raise
    except SystemExit as left:
        code = "" if left.code is None else left.code
        raise CheckpointError(str(builder), f"{what}: it called sys.exit({code})") from left
    except BaseException as error:
        raise CheckpointError(str(builder), f"{what}: {last_line(error)}") from error


def last_line(error: BaseException) -> str:
    """The kind of an error and the last line of what it says."""
    if isinstance(error, Exception) and is_want_of_memory(error):
        return "there is not enough memory"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__


def _is_module(builder: Builder, found: Any) -> nn.Module:
    if isinstance(found, nn.Module):
        return found
    if inspect.iscoroutine(found):
        found.close()
    raise CheckpointError(str(builder), f"returns {_a(found)}, and not a torch.nn.Module")


def _a(value: Any) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
