"""Gradient reach: a fixpoint over the zeros of a model, each with the other zeros that stand on its path.

For each zero factor it is worked out which other zeros block it. Those that nothing blocks learn; once they have moved,
they block nothing any more; what is left when nothing changes is dead.
"""

from collections.abc import Iterator, Mapping

from initaudit.gradients import branches
from initaudit.gradients.branches import Blocked
from initaudit.gradients.factors import Factor, Factors, factors_of
from initaudit.gradients.norms import adds_one, closes_its_block
from initaudit.gradients.values import Reach
from initaudit.model import Model

TOKENS = 256
"""A table of more rows holds a vocabulary; one of fewer holds types, or positions."""

LEARNS = Reach("learns", "no other zero stands on its path")
ADDED = Reach("learns", "it is added, and multiplies nothing")


def reaches(model: Model) -> Mapping[str, Reach]:
    """What is to be said of each tensor of a model."""
    factors = factors_of(model)
    found: dict[str, Reach] = {tensor.name: LEARNS for tensor in model.tensors}
    found.update({factor.name: ADDED for factor in factors.all if factor.is_added})
    blocked: dict[str, Blocked] = {}
    nothing = not _anything_is_drawn(factors)
    for factor in factors.all:
        if not factor.is_zero or factor.is_added:
            continue
        said = _of_scale(factor, factors, model) if not factor.is_matrix else None
        if factor.is_matrix and nothing:
            said = Reach("dead", "no matrix of the model is drawn")
        elif factor.is_matrix and factor.role == "embedding":
            said = _of_tokens(factor, factors)
        if said is not None:
            found[factor.name] = said
        elif factor.is_matrix:
            blocked[factor.name] = branches.blocked(factor, factors, model)
    found.update(_fixpoint(blocked, found))
    return found


def _fixpoint(blocked: Mapping[str, Blocked], known: Mapping[str, Reach]) -> Iterator[tuple[str, Reach]]:
    """Let what nothing blocks learn, and ask again, until nothing changes; what is left is dead, or nobody can tell."""
    moved: dict[str, int] = {}
    rounds = 0
    while True:
        new = [
            name
            for name, one in blocked.items()
            if name not in moved and not any(_blocks(other, moved, blocked, known) for other in one.by)
        ]
        if not new:
            break
        moved.update(dict.fromkeys(new, rounds))
        rounds += 1
    for name, one in blocked.items():
        if name not in moved:
            yield name, Reach("dead" if one.is_certain else "cannot tell", one.reason, one.by)
        elif moved[name] or one.unless:
            yield name, Reach("late", one.reason, one.by, one.unless)
        else:
            yield name, Reach("learns", one.reason or LEARNS.reason)


def _blocks(other: str, moved: Mapping[str, int], blocked: Mapping[str, Blocked], known: Mapping[str, Reach]) -> bool:
    """Whether another zero still stands where it is."""
    if other in moved:
        return False
    return other in blocked or known[other].state in ("learns", "dead", "cannot tell")


def _anything_is_drawn(factors: Factors) -> bool:
    """Whether any matrix, or what may be one, is not zero; a single layer, or a bag of them, says nothing."""
    if any(not f.is_zero and sum(axis > 1 for axis in f.tensor.shape) >= 2 for f in factors.all):
        return True
    layers = {matrix.layer for matrix in factors.matrices}
    in_a_row = len(layers) > len({layer.rpartition(".")[0] for layer in layers})
    return not (in_a_row or factors.norms or any(f.role == "embedding" for f in factors.all))


def _of_tokens(table: Factor, factors: Factors) -> Reach | None:
    """What is to be said of the table of tokens, where nothing tells its rows apart and its head is the same table."""
    tables = [f for f in factors.all if f.role == "embedding"]
    rows, width = table.tensor.shape[0], table.tensor.shape[-1]
    if rows <= TOKENS or width <= 1 or rows < max(f.tensor.shape[0] for f in tables):
        return None
    placed = any(
        f.role == "positional" or (f.role == "embedding" and f is not table and f.tensor.shape[-1] == width)
        for f in factors.all
    )
    shape = sorted(table.tensor.shape)
    rival = any(
        f is not table and (sorted(f.tensor.shape) == shape or (f.role == "embedding" and f.tensor.shape[0] == rows))
        for f in factors.matrices
    )
    if placed or rival:
        return None
    return Reach(
        "dead", "no token differs from another, and its head, which is the same table, reads nothing but zeros"
    )


def _of_scale(factor: Factor, factors: Factors, model: Model) -> Reach | None:
    """What is to be said of a zero scale or gate."""
    if factor.role != "norm_scale":
        return LEARNS
    norms = factors.norms
    if len(norms) > 1 and all(norm.is_zero for norm in norms):
        match adds_one(model):
            case True:
                return Reach("learns", "its norm multiplies by one more than its scale")
            case False:
                return Reach("dead", "every norm of the model multiplies by zero", tuple(n.name for n in norms[:8]))
            case None:
                return Reach(
                    "cannot tell", "every scale of a norm is zero: either the forward adds one, or nothing passes"
                )
    if closes_its_block(factor.tensor, model) or adds_one(model):
        return LEARNS
    return Reach("late", "what reads it starts with nothing but its shift")
