"""A repair as Python: the lines to paste, and one function that mends a whole model."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import PurePath

from initaudit.checkpoint.origins import Line, Origin
from initaudit.groups import Group
from initaudit.locations import in_repository
from initaudit.model import Model, Tensor
from initaudit.outcome import Audited
from initaudit.remedies.code import BLOCKS, blocks_of, statements_of
from initaudit.repair.values import Plan, Redraw
from initaudit.report.escaping import LONGEST_TEXT, printable

HEAD = """import math

import torch
from torch import nn

"""
MOST_OFF = 0.5
"""Where more than so much of a model's weights is off, what a type holds is filled by its type, as `apply` does it."""

LONGEST_REASON = 100

_INDEX = re.compile(r"\[(\d+)\]")
_COUNTERS = "ijklmnopq"


@dataclass(frozen=True, slots=True)
class Statement:
    """What fills one tensor: lines that have ``{}`` for the tensor, and why."""

    path: str
    lines: tuple[str, ...]
    reason: str
    blocks: int | None
    """What `BLOCKS` stands for in them, None where they do not name it."""

    @property
    def shape(self) -> tuple[str, tuple[str, ...], str, int | None]:
        """The same for tensors that differ in their numbers alone."""
        return _INDEX.sub("[#]", self.path), self.lines, self.reason, self.blocks

    @property
    def numbers(self) -> tuple[int, ...]:
        """The indices on its path."""
        return tuple(map(int, _INDEX.findall(self.path)))


def where(origin: Origin | None) -> str:
    """Where in code a tensor comes from, in one line; empty where nothing is known."""
    if origin is None or not (origin.filled or origin.made or origin.defined):
        return ""
    kind = origin.type.rpartition(".")[2]
    said = []
    if origin.filled:
        said.append(f"filled at {_place(origin.filled[0])}")
    if origin.made and (not origin.filled or str(origin.made) != str(origin.filled[0])):
        said.append(f"made at {_place(origin.made)}")
    if origin.defined:
        of = f"class {origin.defined.within}"
        same = origin.defined.within.rpartition(".")[2] == kind
        said.append(f"{of}, {_short(origin.defined)}" if same else f"a {kind} of {of}, {_short(origin.defined)}")
    return "; ".join(said)


def _short(line: Line) -> str:
    return f"{in_repository(line.file)}:{line.number}"


def _place(line: Line) -> str:
    return f"{_short(line)} in {line.within}" if line.within else _short(line)


def line_of(origin: Origin | None) -> Line | None:
    """The one line to point at: the first in this repository, beside which a reader sees it, else the first of all."""
    lines = list(origin.lines) if origin is not None else []
    here = (line for line in lines if not PurePath(in_repository(line.file)).is_absolute())
    return next(here, lines[0] if lines else None)


def in_code(group: Group, one: Audited) -> tuple[str, ...]:
    """Where in code a finding's example comes from, and what mends it there; nothing for what was in a file."""
    origins = one.checkpoint.origins
    place = where(origins.get(group.example.tensor))
    return (*filter(None, [place]), *pasted(group, one.model, origins))


def pasted(group: Group, model: Model, origins: Mapping[str, Origin]) -> tuple[str, ...]:
    """The lines that mend the example of a finding, from within the class that defines it; none where none can."""
    finding = group.example
    origin, tensor = origins.get(finding.tensor), model.get(finding.tensor)
    if origin is None or tensor is None or finding.repair is None or not finding.is_repairable:
        return ()
    lines = statements_of(finding.repair, tensor, model, f"self{origin.local}")
    blocks = f"{blocks_of(tensor, model)}"
    return _with_reason([line.replace(BLOCKS, blocks) for line in lines], finding.repair.reason)


def _with_reason(lines: Sequence[str], reason: str) -> tuple[str, ...]:
    return (f"{lines[0]}  # {printable(reason, longest=LONGEST_REASON)}", *lines[1:])


def render(audited: Sequence[Audited], plans: Sequence[Plan]) -> str:
    """One function for each checkpoint that a plan would mend, and as comments what it cannot; newline at the end."""
    parts: list[str] = []
    for one, plan in zip(audited, plans, strict=True):
        name = "initialise" if len(plans) == 1 else f"initialise_{len(parts) + 1}"
        parts.append("\n".join(_function(one, plan, name)))
    mends = any(plan.redraws for plan in plans)
    return (HEAD if mends else "") + "\n\n".join(parts) + "\n"


def _function(one: Audited, plan: Plan, name: str) -> Iterator[str]:
    subject = printable(one.checkpoint.path, longest=LONGEST_TEXT)
    for left in plan.unrepaired:
        why = printable(left.reason, longest=LONGEST_TEXT)
        yield f"# not mended: {printable(left.tensor)} ({' '.join(left.rules)}): {why}"
    if not plan.redraws:
        yield f"# {subject}: nothing to mend"
        return
    model, origins = one.model, one.checkpoint.origins
    by_type = _by_type(plan.redraws, model, origins) if _is_mostly_off(plan, model) else {}
    if by_type:
        yield from _init_weights(by_type, model, origins)
    typed = {name for redraws in by_type.values() for name in redraws}
    yield ""
    yield "@torch.no_grad()"
    yield f"def {name}(model: nn.Module) -> None:"
    yield f'    """Fill what initaudit reports of {_in_docstring(subject)}; call it after all else that initialises."""'
    if typed:
        yield "    model.apply(init_weights)"
    rest = [redraw for redraw in plan.redraws if redraw.tensor not in typed]
    blocks = None
    for several in _alike(_statement(redraw, model, origins) for redraw in rest):
        if several[0].blocks is not None and several[0].blocks != blocks:
            blocks = several[0].blocks
            yield f"    {BLOCKS} = {blocks}"
        yield from (f"    {line}" for line in _loop(several))


def _in_docstring(text: str) -> str:
    return text.replace("\\", "/").replace('"', "'")


def _is_mostly_off(plan: Plan, model: Model) -> bool:
    redrawn = {redraw.tensor for redraw in plan.redraws}
    weights = [tensor.name for tensor in model.tensors if tensor.is_weight]
    return sum(name in redrawn for name in weights) > MOST_OFF * len(weights)


Kind = tuple[str, str]
"""A type of torch's by its qualified name, and the leaf of a tensor that it owns."""


def _by_type(redraws: Sequence[Redraw], model: Model, origins: Mapping[str, Origin]) -> dict[Kind, dict[str, Redraw]]:
    """The redraws of what all modules of a type of torch's hold alike, by type and leaf."""
    owned = Counter(_kind(name, origin) for name, origin in origins.items())
    found: defaultdict[Kind, dict[str, Redraw]] = defaultdict(dict)
    for redraw in redraws:
        if redraw.tensor in origins and origins[redraw.tensor].type.startswith("torch.nn."):
            found[_kind(redraw.tensor, origins[redraw.tensor])][redraw.tensor] = redraw
    return {
        kind: several
        for kind, several in found.items()
        if len(several) == owned[kind] > 1
        if len({_generic(redraw, model) for redraw in several.values()}) == 1
        if not any(BLOCKS in line for line in _generic(next(iter(several.values())), model))
    }


def _kind(name: str, origin: Origin) -> Kind:
    return origin.type, name.rpartition(".")[2]


def _generic(redraw: Redraw, model: Model) -> tuple[str, ...]:
    return statements_of(redraw.remedy, model[redraw.tensor], model, "{}")


def _init_weights(
    by_type: Mapping[Kind, Mapping[str, Redraw]], model: Model, origins: Mapping[str, Origin]
) -> Iterator[str]:
    yield ""
    yield "@torch.no_grad()"
    yield "def init_weights(module: nn.Module) -> None:"
    yield '    """What the modules of each type start from, for `torch.nn.Module.apply`."""'
    types: defaultdict[str, list[tuple[str, Redraw]]] = defaultdict(list)
    for (kind, leaf), redraws in by_type.items():
        types[kind].append((leaf, next(iter(redraws.values()))))
    for kind, leaves in sorted(types.items()):
        yield f"    if type(module) is {kind.removeprefix('torch.')}:"
        for leaf, redraw in sorted(leaves, key=lambda row: row[0], reverse=True):
            indent = " " * 8
            if leaf != "weight":
                yield f"{indent}if module.{leaf} is not None:"
                indent += " " * 4
            lines = statements_of(redraw.remedy, model[redraw.tensor], model, f"module.{leaf}")
            yield from (indent + line for line in _with_reason(lines, redraw.remedy.reason))
    yield ""


def _statement(redraw: Redraw, model: Model, origins: Mapping[str, Origin]) -> Statement:
    tensor = model[redraw.tensor]
    lines = statements_of(redraw.remedy, tensor, model, "{}")
    scaled = any(BLOCKS in line for line in lines)
    path = origins[tensor.name].path if tensor.name in origins else _by_name(tensor)
    return Statement(path, lines, redraw.remedy.reason, blocks_of(tensor, model) if scaled else None)


def _by_name(tensor: Tensor) -> str:
    """What leads to a tensor of which only the name in its file is known."""
    is_buffer = tensor.part.role in ("running_stat", "buffer")
    return f".{'get_buffer' if is_buffer else 'get_parameter'}({tensor.name!r})"


def _alike(statements: Iterator[Statement]) -> Iterator[list[Statement]]:
    """The statements that differ in the numbers of their paths alone, together."""
    found: defaultdict[object, list[Statement]] = defaultdict(list)
    for statement in statements:
        found[statement.shape].append(statement)
    yield from found.values()


def _loop(several: Sequence[Statement]) -> Iterator[str]:
    """The statements, in a loop over the numbers in which their paths differ."""
    columns = [sorted(set(column)) for column in zip(*(one.numbers for one in several), strict=True)]
    varying = [at for at, column in enumerate(columns) if len(column) > 1]
    first = several[0]
    if not varying or len(varying) > len(_COUNTERS):
        for one in several:
            yield from _with_reason([line.replace("{}", f"model{one.path}") for line in one.lines], one.reason)
        return
    counters = dict(zip(varying, _COUNTERS, strict=False))
    at = -1

    def counted(match: re.Match[str]) -> str:
        nonlocal at
        at += 1
        return f"[{counters[at]}]" if at in counters else match[0]

    target = "model" + _INDEX.sub(counted, first.path)
    indent = ""
    chosen = sorted(tuple(one.numbers[at] for at in varying) for one in several)
    if chosen == list(product(*(columns[at] for at in varying))):
        for place in varying:
            yield f"{indent}for {counters[place]} in {_numbers(columns[place])}:"
            indent += " " * 4
    else:
        yield f"for {', '.join(counters.values())} in {chosen!r}:"
        indent = " " * 4
    lines = _with_reason([line.replace("{}", target) for line in first.lines], first.reason)
    yield from (indent + line for line in lines)


def _numbers(numbers: Sequence[int]) -> str:
    if list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"range({numbers[0]}, {numbers[-1] + 1})" if numbers[0] else f"range({numbers[-1] + 1})"
    return repr(tuple(numbers))
