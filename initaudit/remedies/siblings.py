"""The scheme that a tensor's siblings show, or most of its model, at the deviation it has for the tensor's own fans."""

import statistics
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from initaudit.model import Model, Tensor
from initaudit.recipes import Observation, Prescription, Recipe, by_kin, by_model, placed, recipe_of
from initaudit.remedies.values import LawName, Remedy, constant
from initaudit.scale import is_output
from initaudit.schemes import (
    FAMILIES,
    NORMAL,
    TELLING,
    UNIFORM,
    Family,
    Scheme,
    candidates,
    family_of,
)

FIXED = ("normal", "uniform", "trunc_normal")
BY_DEPTH = ("residual_scaled", "layer_scaled")
"""Schemes of residual outputs, which only siblings can vouch for."""

LEAST_WEIGHTS = 2
"""One healthy weight is no recipe."""


@dataclass(frozen=True)
class Agreeing:
    """Tensors that show one scheme, and the family that the largest of them to show one does."""

    tensors: tuple[Tensor, ...]

    @cached_property
    def family(self) -> Family:
        """Asked once for all tensors that are to be drawn as these are: a place may hold thousands."""
        for other in sorted(self.tensors, key=lambda tensor: -tensor.count):
            family = family_of(other.statistics)
            if family is not None:
                return family
        scheme = self.tensors[0].scheme
        return UNIFORM if scheme is not None and scheme.is_uniform else NORMAL


class Healthy:
    """The tensors of a model that others may follow: those in which nothing was found.

    One of the ``doubtful`` is no witness where it is the only one: what is said of it may be said of the others.
    """

    def __init__(
        self,
        model: Model,
        faulty: Collection[str],
        doubtful: Collection[str] = (),
        repairs: Mapping[str, Remedy] | None = None,
    ) -> None:
        self.model = model
        self._doubtful = doubtful
        self.no_witnesses = faulty
        self.repairs = repairs or {}
        self.tensors = tuple(t for t in model.tensors if t.name not in faulty and not t.statistics.nonfinite)
        self._places: dict[str, list[Tensor]] = {}
        for tensor in self.tensors:
            self._places.setdefault(model.place(tensor), []).append(tensor)
        self._agreeing: dict[str, Agreeing] = {}

    def beside(self, tensor: Tensor) -> tuple[int, Agreeing]:
        """How many there are at a faulty tensor's place, and those of them that show what most of them show."""
        at = self.model.place(tensor)
        siblings = self._places.get(at, [])
        if at not in self._agreeing:
            agreeing = _majority(siblings)
            alone = len(agreeing) == 1 and agreeing[0].name in self._doubtful
            self._agreeing[at] = Agreeing(() if alone else agreeing)
        return len(siblings), self._agreeing[at]

    @cached_property
    def recipe(self) -> tuple[int, Agreeing]:
        """How many weights say how this model is drawn, and those of them that most agree with."""
        weights = [
            tensor
            for tensor in self.tensors
            if tensor.part.role == "weight" and tensor.std > 0
            if self.model.repeats(tensor) or not is_output(tensor, self.model)
            if tensor.scheme is not None and tensor.scheme.name not in BY_DEPTH
        ]
        named = [tensor for tensor in weights if tensor.scheme and tensor.scheme.is_named]
        return len(weights), Agreeing(_majority(named))


def as_siblings(tensor: Tensor, healthy: Healthy) -> Remedy | None:
    """What most healthy tensors of the same place hold, drawn anew; None where there are none, or they disagree."""
    count, agreeing = healthy.beside(tensor)
    if not agreeing.tensors or not _is_told(agreeing.tensors[0]):
        return _measured(by_kin, tensor, healthy)
    reason = f"as {len(agreeing.tensors):,} of {count:,} siblings"
    first = agreeing.tensors[0]
    if first.statistics.is_constant:
        return constant(first.statistics.minimum, reason)
    return _drawn_as(tensor, agreeing, healthy.model, reason)


def as_the_model(tensor: Tensor, healthy: Healthy) -> Remedy | None:
    """What more than half of the model's healthy weights are drawn from; None where nothing is."""
    count, agreeing = healthy.recipe
    alike = len(agreeing.tensors)
    if alike < LEAST_WEIGHTS or 2 * alike <= count:
        return _measured(by_model, tensor, healthy)
    return _drawn_as(tensor, agreeing, healthy.model, f"as {alike:,} of {count:,} weights of this model")


def by_recipe(tensor: Tensor, healthy: Healthy) -> Remedy | None:
    """What a tensor's siblings, else most weights of its model, are drawn from; None where they are of no one mind."""
    if tensor.name in healthy.repairs:
        return healthy.repairs[tensor.name]
    found = as_siblings(tensor, healthy) if healthy.model.repeats(tensor) else None
    return found or (as_the_model(tensor, healthy) if tensor.part.role == "weight" else None)


def _measured(
    by: Callable[[Recipe, Observation, Collection[str]], Prescription | None], tensor: Tensor, healthy: Healthy
) -> Remedy | None:
    """A draw by what the recipe of the model measures, where no scheme has its deviation; None where it has no law."""
    row = placed(tensor)
    found = by(recipe_of(healthy.model), row, healthy.no_witnesses) if row is not None else None
    if found is None:
        return None
    cut = {"cut": found.cut} if found.cut is not None else {}
    law: LawName = "uniform" if found.family is UNIFORM else "trunc_normal" if cut else "normal"
    return Remedy(found.scheme if law != "trunc_normal" else law, law, {"std": found.std, **cut}, found.source)


def _is_told(tensor: Tensor) -> bool:
    """Whether what a tensor holds says all that a redraw needs: a constant, or a scheme with its own numbers."""
    scheme = tensor.scheme
    known = ("orthogonal", "sparse", "blocks")
    return tensor.statistics.is_constant or (scheme is not None and (scheme.is_named or scheme.name in known))


def _majority(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Those of some tensors that show the scheme which more than half of them show."""
    votes = Counter(_key(tensor) for tensor in tensors)
    if not votes:
        return ()
    key, count = votes.most_common(1)[0]
    return tuple(tensor for tensor in tensors if _key(tensor) == key) if 2 * count > len(tensors) else ()


def _key(tensor: Tensor) -> Hashable:
    """A scheme with what tells it from others of its name; a constant by its value."""
    scheme = tensor.scheme
    if tensor.statistics.is_constant:
        return tensor.statistics.minimum
    if scheme is None:
        return None
    if scheme.name == "orthogonal":
        return scheme.name, f"{scheme.parameters['gain']:.2g}"
    telling = tuple(scheme.parameters.get(name) for name in TELLING)
    fixed = scheme.name in FIXED and scheme.is_named
    return scheme.name, scheme.is_named, telling, f"{scheme.parameters.get('std', 0.0):.4g}" if fixed else ""


def _drawn_as(tensor: Tensor, agreeing: Agreeing, model: Model, reason: str) -> Remedy | None:
    """The scheme that some tensors share, for another tensor's fans and depth."""
    others, family = agreeing.tensors, agreeing.family
    scheme = others[0].scheme
    if scheme is None:
        return None
    if scheme.name == "orthogonal":
        return Remedy("orthogonal", "orthogonal", {"gain": statistics.median(_gains(others))}, reason)
    if scheme.name == "sparse" and tensor.part.fan_in:
        connections = min(int(scheme.parameters["connections"]), tensor.part.fan_in)
        return Remedy("sparse", "sparse", {"connections": connections, "std": scheme.parameters["std"]}, reason)
    if scheme.name == "blocks":
        blocks = [other.scheme.parameters["stds"] for other in others if other.scheme is not None]
        return Remedy(
            "blocks", "blocks", {"stds": [statistics.median(stds) for stds in zip(*blocks, strict=False)]}, reason
        )
    if scheme.name == "uniform" and "low" in scheme.parameters:
        return None  # drawn to one side of zero: what for, nobody can say
    std = _deviation(tensor, scheme, family, others, model)
    if std is None:
        return None
    kept = {name: scheme.parameters[name] for name in ("mode", "nonlinearity", "base_std") if name in scheme.parameters}
    cut = {"cut": float(round(family.edge * family.shrink))} if _law(family) == "trunc_normal" else {}
    return Remedy(scheme.name, _law(family), {**kept, **cut, "std": std}, reason)


def _deviation(tensor: Tensor, scheme: Scheme, family: Family, others: Sequence[Tensor], model: Model) -> float | None:
    """The deviation that a scheme has for a tensor: the fixed one, that of its fans, or what its siblings measure."""
    if scheme.is_named and scheme.name in FIXED:
        return float(scheme.parameters["std"])
    if scheme.is_named:
        telling = {name: scheme.parameters[name] for name in TELLING if name in scheme.parameters}
        for candidate in candidates(tensor.part, tensor.shape, family, model.blocks.depth(tensor.name)):
            same = {name: candidate.parameters[name] for name in TELLING if name in candidate.parameters}
            if candidate.name == scheme.name and same == telling:
                return candidate.std
    alike = [other.std for other in others if other.shape == tensor.shape]
    return statistics.median(alike) if alike else None


def _gains(others: Sequence[Tensor]) -> list[float]:
    return [float(other.scheme.parameters["gain"]) for other in others if other.scheme is not None]


def _law(family: Family) -> LawName:
    laws: dict[Family, LawName] = {NORMAL: "normal", UNIFORM: "uniform"}
    return laws.get(family, "trunc_normal") if family in FAMILIES else "normal"
