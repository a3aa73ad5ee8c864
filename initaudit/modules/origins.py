"""Where in code the tensors of a module come from: by types, by the source of their classes, and by who wrote them."""

import ast
import linecache
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from keyword import iskeyword
from typing import TypeAlias

import torch
from torch import nn

from initaudit.checkpoint.origins import Line, Origin

Written: TypeAlias = Mapping[int, tuple[Line, ...]]
"""The lines that last wrote a memory, by its address; the innermost first."""

Chain: TypeAlias = tuple[tuple[str, nn.Module], ...]
"""The modules from a model to the owner of a tensor, each with its name in the one before; the model's is empty."""

REGISTRATIONS = ("register_parameter", "register_buffer", "register_module", "add_module", "setattr")
"""What gives a module an attribute by a name that is a string."""


def origins_of(model: nn.Module, written: Written | None = None) -> dict[str, Origin]:
    """The origin of each parameter and buffer, by its name; ``written`` is what was seen while the model was built."""
    files = {line.file for module in model.modules() for line in _lines_of(type(module))}
    found = {}
    for path, owner in model.named_modules(remove_duplicate=False):
        chain = _chain(model, path)
        tensors = (
            *owner.named_parameters(recurse=False, remove_duplicate=False),
            *owner.named_buffers(recurse=False, remove_duplicate=False),
        )
        for leaf, tensor in tensors:
            lines = (written or {}).get(memory_of(tensor), ())
            found[f"{path}.{leaf}" if path else leaf] = _origin(chain, leaf, _from_model(lines, files))
    return found


def memory_of(tensor: object) -> int:
    """The address of a tensor's memory, 0 where it is no tensor or has no memory of its own."""
    if type(tensor) not in (torch.Tensor, nn.Parameter) or not isinstance(tensor, torch.Tensor):
        return 0
    return 0 if tensor.is_meta or tensor.layout != torch.strided else tensor.untyped_storage().data_ptr()


def _chain(model: nn.Module, path: str) -> Chain:
    chain = [("", model)]
    for name in path.split(".") if path else ():
        chain.append((name, chain[-1][1]._modules[name] or model))
    return tuple(chain)


def _origin(chain: Chain, leaf: str, filled: tuple[Line, ...]) -> Origin:
    owner = type(chain[-1][1])
    at = next((at for at in reversed(range(len(chain))) if _lines_of(type(chain[at][1]))), None)
    defined = _lines_of(type(chain[at][1]))[0] if at is not None else None
    return Origin(
        path=_expression(chain, leaf),
        local=_expression(chain[at or 0 :], leaf),
        type=_name_of(owner),
        defined=defined,
        made=None if at is None else _made(chain[at:], leaf),
        filled=filled,
    )


def _name_of(kind: type) -> str:
    """The name of a type by which code imports it."""
    if getattr(nn, kind.__name__, None) is kind:
        return f"torch.nn.{kind.__name__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def _made(chain: Chain, leaf: str) -> Line | None:
    """Where the class that is defined in code assigns what leads to a tensor."""
    name = chain[1][0] if len(chain) > 1 else leaf
    return next((lines[name] for lines in _assigned(type(chain[0][1])) if name in lines), None)


def _from_model(lines: tuple[Line, ...], files: set[str]) -> tuple[Line, ...]:
    """The lines from the innermost of the model's own code on: what that calls fills whatever it is given."""
    first = next((at for at, line in enumerate(lines) if line.file in files), 0)
    return lines[first:]


def _expression(chain: Chain, leaf: str) -> str:
    """What leads from the first module to a tensor, as Python writes it after the module's own name."""
    parts = [_step(chain[at - 1][1], chain[at][0]) for at in range(1, len(chain))]
    return "".join([*parts, _step(chain[-1][1], leaf)])


def _step(module: nn.Module, name: str) -> str:
    if name in module._modules:
        if isinstance(module, nn.ModuleDict):
            return f"[{name!r}]"
        if (
            isinstance(module, nn.Sequential | nn.ModuleList)
            and name.isdecimal()
            and list(module._modules).index(name) == int(name)
        ):
            return f"[{name}]"
    if name.isidentifier() and not iskeyword(name):
        return f".{name}"
    if isinstance(module, nn.ParameterDict):
        return f"[{name!r}]"
    if isinstance(module, nn.ParameterList) and name.isdecimal():
        return f"[{name}]"
    return f".get_submodule({name!r})" if name in module._modules else f".get_parameter({name!r})"


def _lines_of(kind: type) -> tuple[Line, ...]:
    """Where a type and those that it derives from are defined, less torch's own and what has no source."""
    return tuple(
        Line(file, source.number, base.__qualname__)
        for base in kind.__mro__
        if (file := _file_of(base)) and (source := _classes(file).get(base.__qualname__)) is not None
    )


def _assigned(kind: type) -> Iterator[Mapping[str, Line]]:
    """The attributes that a type and those that it derives from assign to ``self``, each with its line."""
    for base in kind.__mro__:
        file = _file_of(base)
        source = _classes(file).get(base.__qualname__) if file else None
        if source is not None:
            yield source.attributes


def _file_of(kind: type) -> str:
    """The source file of a type that is not torch's, empty where there is none."""
    module = kind.__module__
    if module in ("builtins", "torch") or module.startswith("torch."):
        return ""
    return getattr(sys.modules.get(module), "__file__", None) or ""


class _Class:
    """A class as its source has it: its line, and where its methods assign each attribute first."""

    def __init__(self, node: ast.ClassDef, name: str, file: str) -> None:
        self.number = node.lineno
        self.attributes: dict[str, Line] = {}
        for method in node.body:
            if isinstance(method, ast.FunctionDef):
                for inner in ast.walk(method):
                    for attribute in _attributes(inner):
                        within = f"{name}.{method.name}"
                        self.attributes.setdefault(attribute, Line(file, getattr(inner, "lineno", 0), within))


def _attributes(node: ast.AST) -> Iterator[str]:
    """The attributes of ``self`` that a statement or a call assigns."""
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = [one for target in node.targets for one in getattr(target, "elts", [target])]
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        targets = [node.target]
    for target in targets:
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
            yield target.attr
    if isinstance(node, ast.Call):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in REGISTRATIONS:
            texts = [one.value for one in node.args[:2] if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            yield from texts[:1]


@lru_cache(maxsize=256)
def _classes(file: str) -> Mapping[str, _Class]:
    """The classes of a source file, by their qualified names; none where it cannot be read."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    return dict(_walked(tree, "", file))


def _walked(node: ast.AST, prefix: str, file: str) -> Iterator[tuple[str, _Class]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            name = f"{prefix}{child.name}"
            yield name, _Class(child, name, file)
            yield from _walked(child, f"{name}.", file)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _walked(child, f"{prefix}{child.name}.<locals>.", file)
        else:
            yield from _walked(child, prefix, file)
