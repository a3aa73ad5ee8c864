"""What is intended: deviations by a known convention of the field, while its condition holds.

One zero matrix among nonzero siblings is never by design, whatever it is called; all of them may be.
"""

from initaudit.conventions.conditions import has_a_nonzero_partner
from initaudit.conventions.row import Convention
from initaudit.conventions.table import TABLE
from initaudit.model import Model, Tensor

__all__ = ["TABLE", "Convention", "excuse", "is_second_factor"]


def excuse(rule: str, tensor: Tensor, model: Model) -> str | None:
    """The name of the first convention by which what a rule finds at a tensor is intended, or None.

    No convention has values that are not finite.
    """
    if tensor.statistics.nonfinite:
        return None
    return next((row.name for row in TABLE if row.covers(rule, tensor, model)), None)


def is_second_factor(tensor: Tensor) -> bool:
    """Whether its name is that of a factor that starts at zero beside another one that does not, as LoRA's B."""
    return any(row.condition is has_a_nonzero_partner and row.names(tensor) for row in TABLE)
