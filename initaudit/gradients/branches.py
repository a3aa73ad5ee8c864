"""The branch around a zero matrix: which other zeros stand on its path, as far as names, order and widths tell."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from initaudit.gradients.factors import Factor, Factors, block_of, modules_around, parent
from initaudit.gradients.products import (
    gates_another,
    gives_a_product,
    is_called_a_gate,
    is_low_rank,
    meet,
    why_multiplied,
)
from initaudit.model import Model

MOST_TOGETHER = 256
"""A module with more matrices than this is no branch but a bag of them."""

_LAST_NUMBER = re.compile(r"(.*?(?<!w))(\d+)((?:\.\w+)?)")


@dataclass(frozen=True, slots=True)
class Blocked:
    """The other zeros on the path of one, empty where there are none.

    It is certain where it follows from widths, names of the field or the configuration that they are on one path;
    ``unless`` is what would make it dead that the file does not say.
    """

    by: tuple[str, ...] = ()
    reason: str = ""
    is_certain: bool = True
    unless: str = ""


def blocked(factor: Factor, factors: Factors, model: Model) -> Blocked:
    """What stands in the way of a zero matrix."""
    if is_open_gate(factor, factors) and not is_low_rank(factor):
        return Blocked(reason="a gate by a sigmoid, half open or opened by its bias")
    module, here = branch(factor, factors)
    if len(here) > MOST_TOGETHER:
        return Blocked(reason="one of many in its module")
    others = [
        f
        for f in here
        if f.is_zero and f.layer != factor.layer and not is_open_gate(f, factors) and not meet(f, factor)
    ]
    if not others:
        return _alone(factor, module, here, factors, model)
    return _among_zeros(factor, module, here, others, factors)


def branch(factor: Factor, factors: Factors) -> tuple[str, Sequence[Factor]]:
    """The smallest module around a matrix that has others at another step, and all its matrices."""
    module, here = "", factors.around.get("", [])
    for module in modules_around(factor.layer):
        here = factors.around.get(module, [])
        if len(here) > MOST_TOGETHER or any(other.layer != factor.layer for other in here):
            break
    return module, here


def is_open_gate(factor: Factor, factors: Factors) -> bool:
    """Whether a matrix makes a gate that is not shut where it is zero: its bias opens it, or its name says sigmoid."""
    bias = factors.biases.get(factor.layer)
    opened = bias is not None and not bias.is_zero and bias.tensor.statistics.is_constant
    return opened or is_called_a_gate(factor)


def is_driven(factor: Factor, factors: Factors) -> bool:
    """Whether a matrix gives more than zero though it is zero: its bias is not."""
    bias = factors.biases.get(factor.layer)
    return bias is not None and not bias.is_zero


DRIVEN = Blocked(reason="a bias that is not zero drives what it is multiplied with")


def _among_zeros(
    factor: Factor, module: str, here: Sequence[Factor], others: Sequence[Factor], factors: Factors
) -> Blocked:
    """A zero matrix that has zero neighbours in its branch."""
    for other in others:
        why, reads = why_multiplied(factor, other)
        if why and any(is_driven(f, factors) for f in reads):
            return DRIVEN
        if why and _shared(factor.layer, other.layer) >= len(module):
            return Blocked((other.name,), f"{_short(factor)} and {_short(other)} are both zero: {why}")
    for other in others if not factors.norms else ():
        for first, second in ((factor, other), (other, factor)):
            if _reader_in_row(first, module, [second]) is second and not _is_list(module, here):
                if is_driven(first, factors):
                    return DRIVEN
                reason = f"{_short(first)} and {_short(second)} behind it are both zero, in a chain without norms"
                return Blocked((other.name,), reason)
    alive = [f for f in here if not f.is_zero]
    if not alive:
        chain = [
            f
            for f in others
            if f.reads == factor.writes or f.writes == factor.reads or (is_low_rank(f) and is_low_rank(factor))
        ]
        if chain and module and not _is_list(module, here):
            if any(is_driven(f, factors) for f in (factor, *chain)):
                return DRIVEN
            reason = f"all {len(here)} matrices of {module} are zero, one behind the other"
            return Blocked(tuple(f.name for f in chain), reason)
        if chain:
            return Blocked(
                tuple(f.name for f in chain), "zeros in a list, each on its own or in a row", is_certain=False
            )
        return Blocked(reason="no other zero reads what it writes")
    for other in others:
        for first, second in ((factor, other), (other, factor)):
            if _are_up_and_down(first, second, alive):
                if is_driven(first, factors):
                    return DRIVEN
                reason = f"{_short(first)} and {_short(second)}, which alone reads it, are both zero"
                return Blocked((other.name,), reason)
    if all(parent(f.layer) != parent(factor.layer) for f in others):
        return Blocked(reason="each zero ends a branch of its own")
    more = f"{len(others)} other zeros stand in {module or 'the model'}: on one path or each on its own"
    return Blocked(tuple(f.name for f in others), more, is_certain=False)


def _are_up_and_down(first: Factor, second: Factor, alive: Sequence[Factor]) -> bool:
    """Whether one widens the stream and the other leads back, by an inner width that no other drawn matrix has."""
    inner = first.writes if first.writes != first.reads else 0
    if not inner or second.writes != first.reads or inner not in (second.reads, 2 * second.reads):
        return False
    rivals = (f for f in alive if not gates_another(f))
    return not any(f.reads == second.reads or f.writes == first.writes for f in rivals)


def _alone(factor: Factor, module: str, here: Sequence[Factor], factors: Factors, model: Model) -> Blocked:
    """What stands in the way of the only zero matrix of its branch: zero gates, a zero norm behind it, or its place."""
    block = block_of(factor.layer)
    if block and factors.lengths[parent(block)] > 1:
        gates = [gate for gate in factors.gates.get(block, []) if gate.length in (1, factor.writes)]
        gates = [] if is_driven(factor, factors) else gates
        if gates and all(gate.is_zero for gate in gates):
            named = ", ".join(_short(gate) for gate in gates[:3])
            return Blocked(
                tuple(g.name for g in gates), f"{_short(factor)} and all gates of its block ({named}) are zero"
            )
    norm = _norm_behind(factor, factors)
    if norm is not None and norm.is_zero:
        return Blocked((norm.name,), f"{_short(factor)} and {_short(norm)}, which scales what it gives, are both zero")
    first = [f for f in here if f is not factor and not f.is_zero]
    if is_driven(factor, factors):
        return Blocked(reason="its bias is not zero, and drives what reads it")
    if len(here) == 2 and first and gives_a_product(factor, first[0]):
        return Blocked(
            (factor.name,), "queries and keys that it gives are both zero, and are multiplied with each other"
        )
    if len(here) == 2 and first and _is_first(factor, first[0], _stream(module, factors)):
        if factor.writes == 2 * first[0].reads:
            return Blocked((factor.name,), "both halves of what it gives are zero, and are multiplied with each other")
        return _first_of_two(factor, first[0], model)
    reader = _reader_in_row(factor, module, first)
    return Blocked() if reader is None else _first_of_two(factor, reader, model)


def _is_first(factor: Factor, other: Factor, stream: frozenset[int]) -> bool:
    """Whether a matrix reads the stream, and the one other of its module leads back to it."""
    if factor.reads not in stream or other.writes != factor.reads:
        return False
    return factor.writes == 2 * other.reads or (factor.writes == other.reads and factor.writes not in stream)


def _first_of_two(factor: Factor, reader: Factor, model: Model) -> Blocked:
    """A zero whose reader is drawn: it learns, if late, unless what stands between has no slope at zero."""
    reason = f"{_short(reader)} reads nothing but zero from {_short(factor)}"
    activation = activation_of(model)
    if activation in FLAT_AT_ZERO:
        return Blocked((factor.name,), f"{reason}, and {activation} passes no gradient there")
    if activation:
        return Blocked(reason=reason)
    return Blocked(reason=reason, unless="dead behind ReLU, alive behind GELU: config.json does not say")


FLAT_AT_ZERO = frozenset(("relu", "relu2", "relu6", "relu_squared", "squared_relu", "reglu"))
"""Activations that give zero at zero, and have no slope there as torch computes it."""

_ACTIVATION_KEYS = ("hidden_act", "activation_function", "hidden_activation", "act_fn", "activation", "dense_act_fn")


def activation_of(model: Model) -> str:
    """The activation that ``config.json`` names, "" where it names none."""
    inner: Any = model.config.get("text_config")
    described: Mapping[str, Any] = inner if isinstance(inner, Mapping) else model.config
    for key in _ACTIVATION_KEYS:
        found = described.get(key)
        if isinstance(found, str):
            return found.lower()[:100]
    return ""


def _norm_behind(factor: Factor, factors: Factors) -> Factor | None:
    """The norm that scales what a matrix gives: the one with its number, or the only one beside it."""
    module = parent(factor.layer)
    beside = [norm for norm in factors.norms_beside.get(module, []) if norm.length == factor.writes]
    if len(beside) > MOST_TOGETHER:
        return None
    if len(beside) > 1:
        number = _ending(factor.layer)
        mine = [norm for norm in beside if number and _ending(norm.layer) == number]
    else:
        mine = beside if len(factors.around.get(module, [])) == 1 else []
    named_before = [norm for norm in mine if re.search(r"norm\d*$", norm.layer[-100:])]
    return mine[0] if mine and not named_before else None


def _ending(layer: str) -> str:
    found = re.search(r"\d+$", layer[-20:])
    return found[0] if found else ""


def _stream(module: str, factors: Factors) -> frozenset[int]:
    """The widths of the norms next to a module, not within it: those of the stream that it reads."""
    within = factors.norm_widths.get(module, {})
    for outer in modules_around(module) if module else ():
        near = factors.norm_widths.get(outer, {})
        widths = frozenset(width for width, count in near.items() if count > within.get(width, 0))
        if widths:
            return widths
    return frozenset()


def _reader_in_row(factor: Factor, module: str, drawn: Sequence[Factor]) -> Factor | None:
    """The matrix with a later number that reads what a zero one gives, as `fc2` stands behind `fc1`."""
    skip = len(module) + 1 if module else 0
    own = _LAST_NUMBER.fullmatch(factor.layer[skip:][-100:])
    if own is None or is_low_rank(factor):
        return None
    for other in drawn:
        its = _LAST_NUMBER.fullmatch(other.layer[skip:][-100:])
        in_row = its is not None and (its[1], its[3]) == (own[1], own[3]) and int(its[2][:9]) > int(own[2][:9])
        if in_row and other.reads == factor.writes:
            return other
    return None


def _is_list(module: str, here: Sequence[Factor]) -> bool:
    """Whether a module numbers its matrices without gaps: a list, of which nobody knows how it is walked."""
    first = [f.layer[len(module) + 1 :].partition(".")[0] for f in here]
    numbers = sorted(int(number[:9]) for number in first if number.isdecimal())
    return len(numbers) == len(here) and numbers == list(range(len(numbers)))


def _shared(one: str, other: str) -> int:
    """How many characters of whole segments two names begin with alike."""
    count = 0
    for a, b in zip(one.split("."), other.split("."), strict=False):
        if a != b:
            break
        count += len(a) + 1
    return count - 1


def _short(factor: Factor) -> str:
    """The layer's last segments, for a sentence."""
    return (
        ".".join(factor.layer.split(".")[-2:])
        if factor.layer.rpartition(".")[2].isdecimal()
        else factor.layer.rpartition(".")[2]
    )
