"""A verdict about a scale as a fault: what was measured, why it is wrong, what was expected, and the likely cause."""

import math
from collections.abc import Mapping

from initaudit.advice import lecun, scales_text
from initaudit.laws import named_scale
from initaudit.laws.scales import Base
from initaudit.model import Fault, Model, Tensor
from initaudit.recipes.prescription import PLAIN, plain
from initaudit.recipes.recipe import recipe_of
from initaudit.recipes.verdicts import Verdict
from initaudit.signatures import likely_cause
from initaudit.significance import HARD_Z, log_std_error

BASES: Mapping[str, Base] = {
    "fan_in": "fan_in",
    "fan_out": "fan_out",
    "fan_mean": "fan_mean",
    "fan_out_whole": "torch_fan_out",
    "fan_mean_whole": "torch_fan_mean",
}
"""What the laws of a recipe scale by, in the words of laws."""

FEWEST_DIGITS = 1e-3
"""How near, relative, a number that is shown must come: three digits say what was drawn."""


def scale_fault(verdict: Verdict, model: Model) -> Fault:
    """The fault that a verdict says."""
    tensor, expected = verdict.tensor, verdict.expected
    fan_in = tensor.part.fan_in or 1
    error = log_std_error(tensor.count, tensor.statistics.moments.kurtosis)
    unscaled = " (an unscaled randn)" if abs(math.log(tensor.std)) < HARD_Z * error else ""
    wanted = scales_text(tensor) if expected.std is None else f"std {expected.std:.3g}, {expected.source}"
    likely = "" if unscaled else likely_cause(tensor, expected.std or lecun(fan_in), model)
    return tensor.fault(
        f"std {tensor.std:.3g} (± {tensor.std * error:.1g}){unscaled} with fan_in {fan_in:,} is a gain of"
        f" {tensor.gain:.3g}, {verdict.reason}; expected {wanted}" + (f"; it is as if {likely}" if likely else ""),
        advice="scale the draw by its fan-in" if expected.std is None else f"draw it with std {expected.std:.3g}",
        severity=verdict.severity,
        expectation=expected,
        std=tensor.std,
        std_error=tensor.std * error,
        expected_std=expected.std,
        fan_in=fan_in,
        gain=tensor.gain,
    )


def scale_of(tensor: Tensor, model: Model) -> str:
    """The formula of the deviation that a tensor and most of its place follow, empty where they follow none."""
    recipe = recipe_of(model)
    number = recipe.id_of(tensor)
    if number is None:
        return ""
    cell = recipe.cell(number)
    if not cell.has_law or number not in cell.fit.members:
        return ""
    law = next((fit for fit in recipe.shared(cell.place, others=1) if recipe.meets(fit, cell.fit.members)), cell.fit)
    depth = f"{law.depth.term.replace('block', 'layer')}" if law.depth is not None else ""
    constant = plain(law.constant, PLAIN * max(law.error, FEWEST_DIGITS))
    return f"{named_scale(BASES.get(law.base, 'fixed'), constant)}{f' / {depth}' if depth else ''}"
