"""From a law to the remedy that draws by it, and from a remedy to its law: the one place that knows both."""

import math

import numpy as np

from initaudit.laws import FAMILIES, Law, LawError, settle, shrink
from initaudit.model import Model, Tensor
from initaudit.remedies.setting import setting_of
from initaudit.remedies.values import LawName, Remedy, constant
from initaudit.schemes import NORMAL, UNIFORM, family_of
from initaudit.statistics.values import Statistics

DIGITS = 7
"""Significant digits of a law's numbers: beyond them sums differ between processors. A draw is made by these."""

EXACT_DIGITS = 10
"""One more than tell any two values of float32 apart."""

NOT_DRAWN = {
    "sinusoidal": "the order of its sines and cosines is the model's own",
    "derived": "it is computed from other tensors",
}
"""Why a law that says what a tensor holds does not say how to fill it."""

MATRICES = ("orthogonal", "sparse", "identity")
"""The families that fill matrices alone."""


def remedy_of(law: Law, tensor: Tensor, model: Model, reason: str) -> Remedy:
    """What a law asks for a tensor, by the tensor's own fans and depth.

    Raises:
        LawError: something that it names is not known there, or the tensor is none that it can fill; nor is there a
            remedy for the families of `NOT_DRAWN`.

    """
    settled = settle(law, setting_of(tensor, model))
    _require_fitting(law, tensor)
    values, mean = settled.values, {"mean": settled.mean} if settled.mean else {}
    match law.family:
        case "normal":
            return Remedy("normal", "normal", {"std": values["std"], **mean}, reason)
        case "uniform":
            ends = {name: values[name] for name in ("low", "high") if name in values}
            return Remedy("uniform", "uniform", {"std": settled.std, **ends}, reason)
        case "trunc_normal":
            return Remedy("trunc_normal", "trunc_normal", {"std": settled.std, "cut": values["cut"], **mean}, reason)
        case "orthogonal":
            return Remedy("orthogonal", "orthogonal", {"gain": values["gain"]}, reason)
        case "sparse":
            connections = min(int(values["connections"]), tensor.part.fan_in or 1)
            return Remedy("sparse", "sparse", {"connections": connections, "std": values["std"]}, reason)
        case "identity":
            return Remedy("identity", "identity", {}, reason)
        case "constant" | "zeros" | "ones":
            return constant(settled.low, reason)
        case formula:
            return Remedy(formula, "formula", {"formula": formula, **values}, reason)


def _require_fitting(law: Law, tensor: Tensor) -> None:
    """See that a tensor is one that a law can fill.

    Raises:
        LawError: it is not.

    """
    rank, part = len(tensor.shape), tensor.part
    if law.family in NOT_DRAWN:
        raise LawError(NOT_DRAWN[law.family])
    if law.family in MATRICES and rank < 2:
        raise LawError(f"{tensor.name} is no matrix, which {law.family} needs")
    if law.family == "sparse" and not part.fan_in:
        raise LawError(f"{tensor.name} is no matrix with inputs, which sparse needs")
    if law.family == "identity" and rank > 2 and (part.layout != "out_in" or rank > 5):
        raise LawError(f"{tensor.name} is neither a matrix nor a kernel of torch's layout, which identity needs")
    if law.family == "rotary" and rank != 1:
        raise LawError(f"{tensor.name} is no vector, which rotary needs")
    if law.family == "log_arange" and not rank:
        raise LawError(f"{tensor.name} is one number, and no table")


def laws_of(remedy: Remedy) -> tuple[Law, ...]:
    """The law that a remedy draws by, in numbers; of a packed tensor one for each block.

    Raises:
        LawError: one of its numbers is not finite.

    """
    given = remedy.parameters
    if remedy.law == "blocks":
        return tuple(Law.of("normal", std=_rounded(std)) for std in given["stds"])
    return (_law_of(remedy),)


def _law_of(remedy: Remedy) -> Law:
    given = dict(remedy.parameters)
    family = given.get("formula", remedy.law)
    if family == "constant" and given["value"] in (0, 1):
        return Law("ones" if given["value"] else "zeros")
    if family == "uniform" and "low" not in given:
        given["bound"] = given["std"] * math.sqrt(3)
    if family == "trunc_normal":
        given["std"] /= shrink(given["cut"])
    takes = {name for form in FAMILIES[family] for name, _ in form}
    rounded = _held if family == "constant" else _rounded
    return Law.of(family, **{name: rounded(value) for name, value in given.items() if name in takes})


def law_shown(values: Statistics) -> Law | None:
    """The law that some values show by themselves: one constant, or a family with mean zero; None where neither."""
    if values.nonfinite or not values.count:
        return None
    if values.is_constant:
        return _law_of(constant(values.minimum, ""))
    family = family_of(values)
    if family is None:
        return None
    given: dict[str, float] = {"std": values.moments.rms}
    if family not in (NORMAL, UNIFORM):
        given["cut"] = float(round(family.edge * family.shrink))
    law: LawName = "normal" if family is NORMAL else "uniform" if family is UNIFORM else "trunc_normal"
    return _law_of(Remedy(law, law, given, ""))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _held(value: float) -> float:
    """The value of a constant in the fewest digits that give the same float32, all of them where it is none."""
    with np.errstate(over="ignore"):
        shorter = (float(f"{value:.{digits}g}") for digits in range(DIGITS, EXACT_DIGITS))
        return next((found for found in shorter if np.float32(found) == np.float32(value) == value), value)
