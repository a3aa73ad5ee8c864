"""IA203: units of one weight have different scales."""

import math
from collections.abc import Iterator

from initaudit.advice import redraw_advice
from initaudit.examples import bad, good, normal, uniform
from initaudit.rule import Fault, Model, Severity, Tensor, Units, rule
from initaudit.scale import FARTHEST, farthest
from initaudit.significance import HARD_Z, KURTOSIS_NORMAL, dispersion_z
from initaudit.zeros import MANY_ZEROS

LEAST_EXCESS = 2.0
"""How many times the variance of the units' lengths must exceed chance: what is smaller is significant in large
tensors, and harmless."""

LEAST_UNITS, LEAST_SIZE = 8, 16
"""Fewer units, or shorter ones, vary too much by chance for the normal law of the test."""


LEAST_KIN = 2
"""So many others must be as uneven for it to be one line of code's doing."""


@rule(
    code="IA203",
    severity=Severity.WARNING,
    takes_for_granted=["common-direction"],
    examples=[
        good("each unit as long as chance makes it", {"fc1.weight": normal(64, 96, std=0.1)}),
        good("a uniform draw varies less", {"fc1.weight": uniform(64, 96, bound=0.1)}),
        bad(
            "some rows eight times the others",
            {"fc1.weight": normal(64, 96, std=0.1).scale("48:", 8)},
            at="fc1.weight",
        ),
    ],
)
def uneven_units(model: Model) -> Iterator[Fault]:
    """Some units of a weight are much longer than others.

    ## Why is this bad?

    Units that are drawn alike have incoming weights of about one length: the lengths of n normal values vary by
    √(1/2n). Where they vary more, some units dominate the layer's output and others hardly take part. The usual causes
    are a product of two factors in the place of a draw (its rank is low, and its rows differ in length), rows that were
    scaled one by one, and parts of a weight that were drawn by different schemes.

    ## How is it decided?

    The variance of the sums of squares of units, or of what each input feeds, is more than twice what a normal draw
    gives, at six standard errors; of low-rank factors only units are looked at.
    Weights of at least 8 units of 16 elements are looked at, unless zeros or an outlier explain it. Blocks of packed
    weights that are even within (q, k and v drawn with different deviations) are a scheme where most blocks of
    the model have them. What all of two or more kin have is a design, and a note.

    ## When is it right?

    A bank of filters that is computed, not drawn; `--exclude` it.

    ## What to do

    Draw the whole weight at once, by one scheme.
    """
    for tensor in model.weights:
        if _excess(tensor) > LEAST_EXCESS and not _is_packed(tensor, model):
            yield _fault(tensor, model, Severity.INFO if _is_design(tensor, model) else None)


def _is_design(tensor: Tensor, model: Model) -> bool:
    """Whether all of its kin are as uneven: what one line of code does in every block, it is meant to do."""
    kin = [other for other in model.kin(tensor) if other.shape == tensor.shape]
    return len(kin) >= LEAST_KIN and all(_excess(other) > LEAST_EXCESS for other in kin)


def _is_packed(tensor: Tensor, model: Model) -> bool:
    """Whether its unevenness is that of blocks, as in most of its place."""
    family = (tensor, *model.kin(tensor))
    packed = sum(one.scheme is not None and one.scheme.name == "blocks" for one in family)
    return tensor.scheme is not None and tensor.scheme.name == "blocks" and 1 < packed > len(family) / 2


def _excess(tensor: Tensor) -> float:
    """The variance of the lengths of units or of inputs over what chance gives, 0 where neither says anything."""
    return max(_excess_of(tensor, tensor.units), _excess_of(tensor, _inputs(tensor)))


def _inputs(tensor: Tensor) -> Units | None:
    """What each input feeds; not of a low-rank factor, where a decomposition gives each direction its length.

    Nor where units are copies of each other: then fewer values were drawn than an input feeds.
    """
    copied = tensor.units is not None and tensor.units.equal > 0
    return None if tensor.part.kind == "adapter" or copied else tensor.inputs


def _excess_of(tensor: Tensor, units: Units | None) -> float:
    """The same along one axis."""
    if units is None or units.length_spread is None or units.count < LEAST_UNITS or units.size < LEAST_SIZE:
        return 0.0
    if tensor.statistics.zeros > MANY_ZEROS * tensor.count or units.dead:  # sparse or unfilled: judged as such
        return 0.0
    if farthest(tensor)[1] > FARTHEST:  # one value that makes its unit long is another fault
        return 0.0
    ratio = units.length_spread**2 * units.size / (KURTOSIS_NORMAL - 1)
    return ratio if math.isfinite(ratio) and dispersion_z(ratio, units.count - 1) > HARD_Z else 0.0


def _fault(tensor: Tensor, model: Model, severity: Severity | None) -> Fault:
    along_inputs = _excess_of(tensor, _inputs(tensor)) > _excess_of(tensor, tensor.units)
    units, noun = (tensor.inputs, "inputs") if along_inputs else (tensor.units, "units")
    spread, size = (units.length_spread or 0.0, units.size) if units else (0.0, 1)
    chance = math.sqrt((KURTOSIS_NORMAL - 1) / size)
    return tensor.fault(
        f"the squared lengths of its {noun} vary by {spread:.0%}; expected {chance:.0%} of one draw",
        advice=redraw_advice(tensor, model),
        severity=severity,
        spread=spread,
        expected_spread=chance,
    )
