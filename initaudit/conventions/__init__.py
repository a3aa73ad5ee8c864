"""What is intended: deviations by a known convention of the field, while its condition holds.

One zero matrix among nonzero siblings is never by design, whatever it is called; all of them may be.
"""

from initaudit.conventions.conditions import has_a_nonzero_partner
from initaudit.conventions.row import Convention
from initaudit.conventions.table import TABLE
from initaudit.model import Model, Tensor

LEARNS = "zero that gets a gradient from the batch"
"""What is said of a zero that backward passes have shown to learn."""

__all__ = ["TABLE", "Convention", "excuse", "is_second_factor"]


def excuse(rule: str, tensor: Tensor, model: Model) -> str | None:
    """The name of the first convention by which what a rule finds at a tensor is intended, or None.

    No convention has values that are not finite, and none is asked where a batch has shown that a zero learns.
    """
    if tensor.statistics.nonfinite:
        return None
    if _learns_from_zero(tensor, model):
        return LEARNS
    return next((row.name for row in TABLE if row.covers(rule, tensor, model)), None)


def _learns_from_zero(tensor: Tensor, model: Model) -> bool:
    """Whether backward passes give a zero tensor a gradient; one unlike most of its kin is odd all the same."""
    reach, zero = model.reach_of(tensor), tensor.statistics.zeros == tensor.count
    if not zero or reach is None or not reach.learns:
        return False
    kin = model.kin(tensor)
    return 2 * sum(other.statistics.zeros == other.count for other in kin) >= len(kin)


def is_second_factor(tensor: Tensor) -> bool:
    """Whether its name is that of a factor that starts at zero beside another one that does not, as LoRA's B."""
    return any(row.condition is has_a_nonzero_partner and row.names(tensor) for row in TABLE)
