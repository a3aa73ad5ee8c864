"""Which of the things in a file is its state dict: checkpoints of training runs nest it, beside much else.

Files may be hostile: what contains itself is not followed, and depth and number of what is looked at are bounded.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from initaudit.checkpoint.values import Aside

USUAL = ("state_dict", "model_state_dict", "model_state", "model", "module", "network", "net", "weights")
"""The keys under which training loops, Lightning and DeepSpeed among them, keep the weights."""

DEEPEST, MOST, MOST_ASIDE = 32, 1_000_000, 200
"""How many levels and things are looked at, and how many of those beside the weights are named."""

MOST_NAMED = 8
"""How many state dicts are named where one has to be chosen."""

Path = tuple[str, ...]
IsTensor = Callable[[Any], bool]


class NestingError(ValueError):
    """No state dict, or several; the message says what to do."""


@dataclass(frozen=True, slots=True)
class StateDict:
    """The weights of a file by name, the key that leads to them, and what lies beside them."""

    key: str
    tensors: Mapping[str, Any]
    aside: tuple[Aside, ...]


def find_state_dict(root: Any, is_tensor: IsTensor, key: str | None = None) -> StateDict:
    """The state dict in something that was saved: that of the key, the usual one or, if there is one alone, that.

    Raises:
        NestingError: there is none or it is not clear which, or what was saved is nested without bounds.

    """
    if not isinstance(root, Mapping):
        said = "one tensor" if is_tensor(root) else f"a {type(root).__name__}"
        raise NestingError(f"holds {said}, not a state dict: save model.state_dict()")
    path = _asked(root, key) if key else _chosen(root, is_tensor)
    found, aside = root, []
    for depth, part in enumerate(path):
        for other, value in found.items():
            if _text(other) != part:
                aside.append(_beside((*path[:depth], _text(other)), value, is_tensor))
        found = next(value for other, value in found.items() if _text(other) == part)
    if not isinstance(found, Mapping):
        raise NestingError(f"holds a {type(found).__name__} under {key!r}, not a state dict")
    tensors: dict[str, Any] = {}
    for name, value in _leaves(found):
        if is_tensor(value):
            tensors[".".join(name)] = value
        else:
            aside.append(_beside((*path, *name), value, is_tensor))
    if not tensors:
        raise NestingError("holds no tensors" + (f" under {key!r}" if key else ""))
    return StateDict(".".join(path), tensors, tuple(aside[:MOST_ASIDE]))


def every_leaf(root: Any) -> Iterator[tuple[str, Any]]:
    """What mappings, lists and tuples hold, however they are nested, as far as it is looked at."""
    stack: list[tuple[str, int, Any]] = [("", 0, root)]
    seen: set[int] = set()
    while stack and len(seen) < MOST:
        name, depth, value = stack.pop()
        if not isinstance(value, Mapping | list | tuple):
            yield name, value
        elif id(value) not in seen and depth < DEEPEST:
            inner = value.items() if isinstance(value, Mapping) else enumerate(value)
            stack += [(f"{name}.{_text(key)}".lstrip("."), depth + 1, one) for key, one in inner]
        seen.add(id(value))


def _asked(root: Mapping[Any, Any], key: str) -> Path:
    """The path that a key spells, its parts joined by dots; parts may have dots of their own."""
    found: Any = root
    path: list[str] = []
    rest = key
    while rest:
        names = [_text(name) for name in found] if isinstance(found, Mapping) else []
        fitting = [name for name in names if name and (rest == name or rest.startswith(f"{name}."))]
        if not fitting:
            there = ", ".join(sorted(_text(name)[:50] for name in root)[:MOST_NAMED])
            raise NestingError(f"has nothing under the key {key!r}; there are: {there}")
        part = max(fitting, key=len)
        path.append(part)
        found = next(value for name, value in found.items() if _text(name) == part)
        rest = rest[len(part) + 1 :]
    return tuple(path)


def _chosen(root: Mapping[Any, Any], is_tensor: IsTensor) -> Path:
    usual: list[Path] = [(name,) for name in USUAL if _has_weights(root.get(name), is_tensor)]
    candidates = usual or list(_candidates(root, is_tensor))
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        return ()
    keys = [".".join(path) for path in candidates]
    more = f" and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else ""
    named = ", ".join(name[:100] for name in keys[:MOST_NAMED])
    raise NestingError(f"holds several state dicts: say which with --key: {named}{more}")


def _candidates(root: Mapping[Any, Any], is_tensor: IsTensor) -> Iterator[Path]:
    """The outermost mappings that hold weights themselves, level by level."""
    level: list[tuple[Path, Mapping[Any, Any]]] = [((), root)]
    seen = {id(root)}
    for _ in range(DEEPEST):
        below: list[tuple[Path, Mapping[Any, Any]]] = []
        for path, mapping in level:
            if any(is_tensor(value) and _is_weight(value) for value in mapping.values()):
                yield path
                continue
            for name, value in mapping.items():
                if isinstance(value, Mapping) and id(value) not in seen and not _is_optimiser(value):
                    seen.add(id(value))
                    below.append(((*path, _text(name)), value))
        level = below


def _has_weights(value: Any, is_tensor: IsTensor) -> bool:
    if not isinstance(value, Mapping) or _is_optimiser(value):
        return False
    return any(is_tensor(leaf) and _is_weight(leaf) for _, leaf in _leaves(value))


def _leaves(root: Mapping[Any, Any]) -> Iterator[tuple[Path, Any]]:
    """What nested mappings hold, by path, in their order; the state of an optimiser is one leaf."""
    stack: list[tuple[Path, Any]] = [((), root)]
    seen = {id(root)}
    looked_at = 0
    while stack:
        path, value = stack.pop()
        looked_at += 1
        if looked_at > MOST:
            raise NestingError(f"holds more than {MOST:,} things")
        if isinstance(value, Mapping) and not (path and _is_optimiser(value)):
            if len(path) >= DEEPEST:
                raise NestingError(f"is nested more than {DEEPEST} levels deep")
            for name, inner in reversed(list(value.items())):
                if isinstance(inner, Mapping):
                    if id(inner) in seen:
                        continue
                    seen.add(id(inner))
                stack.append(((*path, _text(name)), inner))
        else:
            yield path, value


def _beside(path: Path, value: Any, is_tensor: IsTensor) -> Aside:
    name = ".".join(path)
    if _is_optimiser(value) or (isinstance(value, list) and value and all(map(_is_optimiser, value))):
        return Aside(name, type(value).__name__, "is the state of an optimiser")
    if _has_weights(value, is_tensor):
        return Aside(name, type(value).__name__, f"lies beside the weights; --key {name} judges it instead")
    return Aside(name, type(value).__name__, "lies beside the weights")


def _is_optimiser(value: Any) -> bool:
    """Whether a mapping is the state of a `torch.optim.Optimizer`, or a dictionary of such by name."""
    return isinstance(value, Mapping) and "state" in value and "param_groups" in value


def _is_weight(tensor: Any) -> bool:
    """Whether a tensor may be part of a model: floating, and no lone number such as a best loss."""
    return bool(tensor.is_floating_point()) and tensor.dim() > 0


def _text(key: Any) -> str:
    return key if isinstance(key, str) else repr(key)[:200]
