"""IA105: a tensor is a copy of another."""

from collections.abc import Iterator
from itertools import pairwise

from initaudit.copies import Likeness, disguised
from initaudit.examples import bad, constant, good, normal, powers
from initaudit.names.segments import outline, roots_of, segments, separator_of
from initaudit.rule import Cause, Fault, Model, Severity, Tensor, rule

DRAWN = ("weight", "rnn_weight", "embedding", "bias", "rnn_bias")
"""Roles whose values are drawn at random; tables that are computed are equal by right."""

FEWEST = 16
"""Fewer values than this are equal too easily: biases of one unit, weights of two inputs."""


FEW_VALUES = 4
"""A bias of a few constants, as a forget gate's, is written, not drawn."""

FEWEST_CHANGES = 0.2
"""Of random signs, half differ from the one before. Where fewer than a fifth do, values follow each other: a ramp or a
table was computed, and is equal by right. Of 16 random signs so few change in one draw of 250, which is passed over."""

LEAST_COPIES, LEAST_LAYERS = 2, 2
"""A network has several layers; one that was copied is more likely a mistake."""

MOST_NAMED = 4
"""Modules that a message names."""


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
        good("slopes that are computed: nothing was drawn", {f"l.{i}.bias": powers(64, base=8) for i in range(2)}),
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
    moments to the last bit. For random values that has no probability to speak of. A copy that was
    transposed, permuted or negated, and perhaps scaled, shows as well: mean, skewness, kurtosis and extremes, in
    deviations, change at most their sign. It is reported where fewer than 1e-6 such pairs are expected by chance; of
    small tensors and coarse dtypes that cannot be told, nor of half a copy in another place.

    Where a whole network of two layers or more is the copy of another, under a name that differs in more than a number,
    it is noted once, as an info: so are target networks, references and averages kept. So are experts of which all are
    copies of one, as a dense model is widened; the noise of a router must tell them apart.

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
            networks.setdefault(roots_of([tensor.name for tensor in tensors]), []).append(tensors)
    causes: dict[tuple[str, ...], list[list[Tensor]]] = {}
    for roots, copies in networks.items():
        if _are_networks(roots, copies) and len(copies) >= LEAST_COPIES and _is_whole(roots, copies, model):
            yield from _faults_of_networks(roots, copies)
        else:
            causes.setdefault(tuple(outline(root) for root in roots), []).extend(copies)
    for copies in causes.values():
        yield from _faults(copies, model)
    yield from _disguised([tensors[0] for tensors in groups.values()])


def _is_drawn(tensor: Tensor) -> bool:
    """Whether a tensor was drawn at random, so that no other has its values by chance."""
    values = tensor.statistics
    drawn = tensor.part.role in DRAWN and values.count >= FEWEST and tensor.std > 0
    return drawn and tensor.pattern is None and values.sample.distinct > FEW_VALUES and not _is_computed(tensor)


def _is_computed(tensor: Tensor) -> bool:
    """Whether the signs of its first values hardly change, as those of a ramp or of a table."""
    signs = "".join(f"{byte:08b}" for byte in tensor.statistics.sample.signs)[: tensor.count]
    changes = sum(one != other for one, other in pairwise(signs))
    return changes < FEWEST_CHANGES * (len(signs) - 1)


def _disguised(tensors: list[Tensor]) -> Iterator[Fault]:
    """The faults of tensors that are copies but for order, sign or scale; those of one kind have one cause."""
    kinds: dict[tuple[str, ...], list[tuple[Tensor, list[Likeness]]]] = {}
    for one, found in disguised(tensors):
        alike = [other for other in found if not other.in_order or other.factor < 0]  # else `shared-stream` says so
        if not alike:
            continue
        names = (one.name, *(other.tensor.name for other in alike))
        words = (alike[0].in_order, alike[0].factor < 0)
        kinds.setdefault((*(outline(name) for name in names), *map(str, words)), []).append((one, alike))
    for several in kinds.values():
        first, alike = several[0]
        more = f", and {len(several) - 1:,} more such groups" if len(several) > 1 else ""
        message = (
            f"{alike[0].tensor.name} holds the same {first.count:,} values as {first.name}, {alike[0].words}{more};"
            " expected each its own draw"
        )
        cause = Cause(first.name, message)
        for one, others in several:
            yield from cause.faults(
                (one.name, *(other.tensor.name for other in others)),
                original=one.name,
                advice="draw each on its own; look for a weight that was reused, or a seed that is set twice",
                evidence={"copies": 1 + len(others), "count": one.count, "factor": others[0].factor},
            )


def _faults(copies: list[list[Tensor]], model: Model) -> Iterator[Fault]:
    """The faults of groups of equal tensors that have one cause: they stand at the same places."""
    cause = Cause(copies[0][0].name, _told(copies))
    for tensors in copies:
        parallel = any(tensor.part.kind == "experts" or "expert" in tensor.name for tensor in tensors)
        severity = None if not parallel else Severity.INFO if _are_all(tensors, model) else Severity.ERROR
        yield from cause.faults(
            (tensor.name for tensor in tensors),
            original=tensors[0].name,
            advice="draw each on its own; look for a copied layer or a seed that is set twice",
            severity=severity,
            evidence={"copies": len(tensors), "count": tensors[0].count},
        )


def _are_all(tensors: list[Tensor], model: Model) -> bool:
    """Whether names of equal tensors differ in one number alone, and no other tensor has such a name."""
    paths = [segments(tensor.name) for tensor in tensors]
    differing = [at for at, several in enumerate(zip(*paths, strict=False)) if len(set(several)) > 1]
    if len({len(path) for path in paths}) > 1 or len(differing) != 1:
        return False
    at, path = differing[0], paths[0]
    names = (segments(tensor.name) for tensor in model.tensors)
    family = sum(
        len(name) == len(path) and name[:at] == path[:at] and name[at + 1 :] == path[at + 1 :] and name[at].isdecimal()
        for name in names
    )
    return family == len(tensors)


def _told(copies: list[list[Tensor]]) -> str:
    """What is equal, in words: whole modules where they are, else tensors."""
    expected = "expected each its own draw"
    if len(copies) == 1:
        return f"{len(copies[0]):,} tensors hold the same {copies[0][0].count:,} values; {expected}"
    roots = {roots_of([tensor.name for tensor in tensors]) for tensors in copies}
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


def _are_networks(roots: tuple[str, ...], copies: list[list[Tensor]]) -> bool:
    """Whether the modules share the names of what they hold, and differ in more than a number."""
    return roots[0] != copies[0][0].name and len({outline(root) for root in roots}) == len(roots)


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
