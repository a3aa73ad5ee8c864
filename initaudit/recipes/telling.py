"""A verdict about a scale as a fault: what was measured, why it is wrong, what was expected, and the likely cause."""

import math

from initaudit.advice import lecun, scales_text
from initaudit.model import Fault, Model
from initaudit.recipes.verdicts import Verdict
from initaudit.signatures import likely_cause
from initaudit.significance import HARD_Z, log_std_error


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
