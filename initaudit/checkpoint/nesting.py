"""Which of the things in a file is its state dict: checkpoints of training runs nest it, beside much else.

Files may be hostile: what contains itself is not followed, and depth and number of what is looked at are bounded.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from initaudit.checkpoint.inert import Made, Name, Plain, SavedTensor, Storage
from initaudit.checkpoint.values import Aside

USUAL = ("state_dict", "model_state_dict", "model_state", "model", "module", "network", "net", "weights")
"""The keys under which training loops, Lightning and DeepSpeed among them, keep the weights."""

DEEPEST, MOST, MOST_ASIDE, MOST_WITHIN = 32, 2_000_000, 200, 1_000
"""How many levels and things are looked at, how many of those beside the weights are named, and how many within one."""

MOST_NAMED = 8
"""How many state dicts are named where one has to be chosen."""

Path = tuple[str, ...]


class _Search:
    """What is a tensor, and how much was looked at: things that refer to each other could be gone through for ever."""

    def __init__(self, is_tensor: Callable[[Any], bool]) -> None:
        self.is_tensor, self.looked_at = is_tensor, 0

    def look(self) -> None:
        """Count one thing.

        Raises:
            NestingError: there are too many.

        """
        self.looked_at += 1
        if self.looked_at > MOST:
            raise NestingError(f"holds more than {MOST:,} things")


class NestingError(ValueError):
    """No state dict, or several; the message says what to do."""


class NoStateDictError(NestingError):
    """No state dict at all."""


@dataclass(frozen=True, slots=True)
class StateDict:
    """The weights of a file by name, the key that leads to them, and what lies beside them."""

    key: str
    tensors: Mapping[str, Any]
    aside: tuple[Aside, ...]


def find_state_dict(root: Any, is_tensor: Callable[[Any], bool], key: str | None = None) -> StateDict:
    """The state dict in something that was saved: that of the key, the usual one or, if there is one alone, that.

    Raises:
        NestingError: there is none or it is not clear which, or what was saved is nested without bounds.

    """
    if not isinstance(root, Mapping):
        said = "one tensor" if is_tensor(root) else f"a {_type(root)}"
        raise NoStateDictError(f"holds {said}, not a state dict: save model.state_dict()")
    search = _Search(is_tensor)
    path = _asked(root, key) if key else _chosen(root, search)
    found = root
    beside: list[tuple[Path, Any]] = []
    for depth, part in enumerate(path):
        chosen = next(name for name in found if _text(name) == part)
        beside += [((*path[:depth], _text(name)), value) for name, value in found.items() if name != chosen]
        found = found[chosen]
    if not isinstance(found, Mapping):
        raise NoStateDictError(f"holds a {_type(found)} under {key!r}, not a state dict")
    tensors: dict[str, Any] = {}
    for name, value in _leaves(found, search):
        if is_tensor(value):
            if tensors.setdefault(".".join(name), value) is not value:
                raise NestingError(f"holds two tensors that are called {'.'.join(name)[:200]!r}")
        elif len(beside) < MOST_ASIDE:
            beside.append(((*path, *name), value))
    if not tensors:
        raise NoStateDictError("holds no tensors" + (f" under {key!r}" if key else ""))
    return StateDict(".".join(path), tensors, tuple(_beside(*one, search) for one in beside[:MOST_ASIDE]))


def leaves_by_name(root: Any) -> Iterator[tuple[str, Any]]:
    """What mappings, lists and tuples hold, however they are nested, as far as it is looked at."""
    stack: list[tuple[str, Iterator[tuple[Any, Any]]]] = [("", iter([("", root)]))]
    seen: set[int] = set()
    looked_at = 0
    while stack and looked_at < MOST:
        path, rest = stack[-1]
        for key, value in rest:
            looked_at += 1
            name = f"{path}.{_text(key)}".lstrip(".")
            if not isinstance(value, Mapping | list | tuple):
                yield name, value
            elif id(value) not in seen and len(stack) <= DEEPEST:
                seen.add(id(value))
                stack.append((name, iter(value.items()) if isinstance(value, Mapping) else enumerate(value)))
                break
        else:
            stack.pop()


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


def _chosen(root: Mapping[Any, Any], search: _Search) -> Path:
    usual: list[Path] = [(name,) for name in USUAL if _has_weights(root.get(name), search)]
    candidates = usual or list(_candidates(root, search))
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        return ()
    keys = [".".join(path) for path in candidates]
    more = f" and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else ""
    named = ", ".join(name[:100] for name in keys[:MOST_NAMED])
    raise NestingError(f"holds several state dicts: say which with --key: {named}{more}")


def _candidates(root: Mapping[Any, Any], search: _Search) -> Iterator[Path]:
    """The outermost mappings that hold weights themselves, level by level."""
    level: list[tuple[Path, Mapping[Any, Any]]] = [((), root)]
    seen = {id(root)}
    for _ in range(DEEPEST):
        below: list[tuple[Path, Mapping[Any, Any]]] = []
        for path, mapping in level:
            if any(search.is_tensor(value) and _is_weight(value) for value in mapping.values()):
                yield path
                continue
            for name, value in mapping.items():
                if isinstance(value, Mapping) and id(value) not in seen and not _is_optimiser(value):
                    seen.add(id(value))
                    below.append(((*path, _text(name)), value))
        level = below


def _has_weights(value: Any, search: _Search) -> bool:
    if not isinstance(value, Mapping) or _is_optimiser(value):
        return False
    return any(search.is_tensor(leaf) and _is_weight(leaf) for _, leaf in _leaves(value, search))


def _leaves(root: Mapping[Any, Any], search: _Search) -> Iterator[tuple[Path, Any]]:
    """What nested mappings hold, by path, in their order; the state of an optimiser is one leaf."""
    stack: list[tuple[Path, Iterator[tuple[Any, Any]]]] = [((), iter(root.items()))]
    seen = {id(root)}
    while stack:
        path, rest = stack[-1]
        for name, inner in rest:
            search.look()
            here = (*path, _text(name))
            if isinstance(inner, Mapping):
                if id(inner) in seen:
                    continue
                seen.add(id(inner))
                if not _is_optimiser(inner):
                    if len(here) >= DEEPEST:
                        raise NestingError(f"is nested more than {DEEPEST} levels deep")
                    stack.append((here, iter(inner.items())))
                    break
            yield here, inner
        else:
            stack.pop()


def _beside(path: Path, value: Any, search: _Search) -> Aside:
    name = ".".join(path)
    if _is_optimiser(value) or (isinstance(value, list) and value and all(map(_is_optimiser, value[:MOST_WITHIN]))):
        return Aside(name, _type(value), "is the state of an optimiser")
    if _has_weights(value, search):
        return Aside(name, _type(value), f"lies beside the weights; --key {name} judges it instead")
    strange = _strange_within(value)
    if strange is None:
        return Aside(name, _type(value), "lies beside the weights")
    what = "is" if strange is value else "lies beside the weights and holds"
    if isinstance(strange, Name):
        return Aside(name, _type(value), f"{what} {strange.dotted[:200]}, which is never imported")
    return Aside(name, _type(value), f"{what} what {strange.by[:200]} makes, which is never called")


def _strange_within(value: Any) -> Made | Name | None:
    """What is not made or imported among the first things that something holds; torch's own constants are harmless."""
    left, looked_at = [value], 0
    while left and looked_at < MOST_WITHIN:
        one = left.pop()
        looked_at += 1
        if isinstance(one, Made) or (isinstance(one, Name) and one.module != "torch"):
            return one
        if isinstance(one, Mapping | list | tuple):
            inner = one.values() if isinstance(one, Mapping) else one
            left.extend(islice(inner, MOST_WITHIN))
    return None


def _type(value: Any) -> str:
    if isinstance(value, Name):
        return value.dotted[:200]
    return value.type[:200] if isinstance(value, Made | Plain | SavedTensor | Storage) else type(value).__name__


def _is_optimiser(value: Any) -> bool:
    """Whether a mapping is the state of a `torch.optim.Optimizer`, or a dictionary of such by name."""
    return isinstance(value, Mapping) and "state" in value and "param_groups" in value


def _is_weight(tensor: Any) -> bool:
    """Whether a tensor may be part of a model: floating, and no lone number such as a best loss."""
    return bool(tensor.is_floating_point()) and tensor.dim() > 0


def _text(key: Any) -> str:
    return key if isinstance(key, str) else repr(key)[:200]
