"""IA105: a tensor is a copy of another."""

import re
from collections.abc import Iterator

from initaudit.examples import bad, constant, good, normal
from initaudit.model import segments, separator_of
from initaudit.rule import Cause, Fault, Model, Severity, Tensor, rule

DRAWN = ("weight", "rnn_weight", "embedding", "bias", "rnn_bias")
"""Roles whose values are drawn at random; tables that are computed are equal by right."""

FEWEST = 16
"""Fewer values than this are equal too easily: biases of one unit, weights of two inputs."""


FEW_VALUES = 4
"""A bias of a few constants, as a forget gate's, is written, not drawn."""

LEAST_COPIES, LEAST_LAYERS = 2, 2
"""A network has several layers; one that was copied is more likely a mistake."""

MOST_NAMED = 4
"""Modules that a message names."""

_NUMBER = re.compile(r"\d+")


@rule(
    code="IA105",
    severity=Severity.WARNING,
    examples=[
        good(
            "each layer its own draw",
            {f"layers.{i}.fc.weight": normal(64, 32, std=0.18) for i in range(2)},
        ),
        good("biases are all zero, and equal by right", {f"fc{i}.bias": constant(0, 64) for i in range(2)}),
        bad(
            "a layer that was copied instead of drawn",
            {f"layers.{i}.fc.weight": normal(64, 32, std=0.18).of("layer") for i in range(3)},
            at=("layers.0.fc.weight", "layers.1.fc.weight", "layers.2.fc.weight"),
        ),
    ],
)
def equal_tensors(model: Model) -> Iterator[Fault]:
    """Two tensors hold the same random values.

    ## Why is this bad?

    Layers that start equal are told apart by their places in the network, but the network starts with fewer random
    features than it pays for. Experts, heads and other branches that run side by side are not told apart at all: equal
    inputs, equal weights and equal gradients keep them equal. The usual causes are a layer that was deep-copied, a seed
    that was set before each layer, and freed memory that still holds another tensor.

    ## How is it decided?

    Two tensors of one shape and dtype, drawn at random (not constant, not a table), agree in a sum of all their words,
    each weighted by its place, modulo 2^64; those of a live model in their extremes and in all of their first four
    moments to the last bit. For random values that has no probability to speak of. Where a whole
    network of two layers or more is the copy of another, under a name that differs in more than a number, it is noted
    once, as an info: so are target networks, references and averages kept.

    ## When is it right?

    A head that is tied to its embedding, a target or teacher network, a moving average: those are intended. Copied
    layers of `nn.TransformerEncoder` are documented, and a weakness all the same.

    ## What to do

    Draw each tensor on its own; look for `deepcopy` and for a seed that is set more than once.
    """
    groups: dict[object, list[Tensor]] = {}
    for tensor in model.tensors:
        values = tensor.statistics
        if _is_drawn(tensor):
            groups.setdefault((tensor.shape, tensor.dtype, values.identity), []).append(tensor)
    networks: dict[tuple[str, ...], list[list[Tensor]]] = {}
    for tensors in groups.values():
        if len(tensors) > 1:
            networks.setdefault(_roots([tensor.name for tensor in tensors]), []).append(tensors)
    causes: dict[tuple[str, ...], list[list[Tensor]]] = {}
    for roots, copies in networks.items():
        if _are_networks(roots, copies) and len(copies) >= LEAST_COPIES and _is_whole(roots, copies, model):
            yield from _faults_of_networks(roots, copies)
        else:
            causes.setdefault(tuple(_NUMBER.sub("#", root) for root in roots), []).extend(copies)
    for copies in causes.values():
        yield from _faults(copies)


def _is_drawn(tensor: Tensor) -> bool:
    """Whether a tensor was drawn at random, so that no other has its values by chance."""
    values = tensor.statistics
    drawn = tensor.part.role in DRAWN and values.count >= FEWEST and tensor.std > 0
    return drawn and tensor.pattern is None and values.sample.distinct > FEW_VALUES


def _faults(copies: list[list[Tensor]]) -> Iterator[Fault]:
    """The faults of groups of equal tensors that have one cause: they stand at the same places."""
    cause = Cause(copies[0][0].name, _told(copies))
    for tensors in copies:
        parallel = any(tensor.part.kind == "experts" or "expert" in tensor.name for tensor in tensors)
        yield from cause.faults(
            (tensor.name for tensor in tensors),
            original=tensors[0].name,
            advice="draw each on its own; look for a copied layer or a seed that is set twice",
            severity=Severity.ERROR if parallel else None,
            evidence={"copies": len(tensors), "count": tensors[0].count},
        )


def _told(copies: list[list[Tensor]]) -> str:
    """What is equal, in words: whole modules where they are, else tensors."""
    expected = "expected each its own draw"
    if len(copies) == 1:
        return f"{len(copies[0]):,} tensors hold the same {copies[0][0].count:,} values; {expected}"
    roots = {_roots([tensor.name for tensor in tensors]) for tensors in copies}
    if len(roots) == 1:
        first, *others = (root or "the model" for root in roots.pop())
        named = ", ".join(others[:MOST_NAMED])
        more = f" and {len(others) - MOST_NAMED:,} more" if len(others) > MOST_NAMED else ""
        are = "is a copy" if len(others) == 1 else "are copies"
        return f"{named}{more} {are} of {first}: {len(copies):,} tensors each hold the same values; {expected}"
    pair = " and ".join(tensor.name for tensor in copies[0][:2])
    return f"{len(copies):,} groups of tensors hold the same values each, as {pair} do; {expected}"


def _faults_of_networks(roots: tuple[str, ...], copies: list[list[Tensor]]) -> Iterator[Fault]:
    first, *others = roots
    message = (
        f"{' and '.join(others)} is a copy of {first}: all {len(copies):,} tensors that it has drawn are equal;"
        " right for a target, a teacher or an average"
    )
    cause = Cause(copies[0][0].name, message)
    for tensors in copies:
        yield from cause.faults(
            (tensor.name for tensor in tensors),
            original=tensors[0].name,
            advice="if they are to be networks of their own, draw each",
            severity=Severity.INFO,
            evidence={"networks": roots, "tensors": len(copies)},
        )


def _roots(names: list[str]) -> tuple[str, ...]:
    """The modules in which equal tensors stand at one place: what their names have before the end that they share."""
    paths = [segments(name) for name in names]
    shared = 0
    while shared < min(map(len, paths)) and len({path[-1 - shared] for path in paths}) == 1:
        shared += 1
    return tuple(separator_of(name).join(path[: len(path) - shared]) for name, path in zip(names, paths, strict=True))


def _are_networks(roots: tuple[str, ...], copies: list[list[Tensor]]) -> bool:
    """Whether the modules share the names of what they hold, and differ in more than a number."""
    return roots[0] != copies[0][0].name and len({_NUMBER.sub("", root) for root in roots}) == len(roots)


def _is_whole(roots: tuple[str, ...], copies: list[list[Tensor]], model: Model) -> bool:
    """Whether one of the modules holds nothing that was drawn but these copies, layers of at least two places."""
    copied = {tensor.name for tensors in copies for tensor in tensors}
    layers = {tensors[0].part.layer for tensors in copies if tensors[0].is_weight}
    whole = any(
        all(not _is_drawn(tensor) or tensor.name in copied for tensor in model.tensors if _is_in(tensor, root))
        for root in roots
    )
    return whole and len(layers) >= LEAST_LAYERS


def _is_in(tensor: Tensor, root: str) -> bool:
    return not root or tensor.name.startswith(root + separator_of(tensor.name))
