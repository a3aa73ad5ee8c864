"""What is intended: the conventions of the field, of which a few decide while their condition holds, and most caption.

Names never excuse a zero, a bias or a norm: gradients, kin and values say whether it is harmless, and a caption says
what the field calls it.
"""

from initaudit.conventions.captions import CAPTIONS
from initaudit.conventions.row import Convention
from initaudit.conventions.table import TABLE
from initaudit.model import Model, Tensor

LEARNS = "zero that gets a gradient from the batch"
"""What is said of a zero that backward passes have shown to learn."""

__all__ = ["CAPTIONS", "TABLE", "Convention", "caption", "excuse"]


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


def caption(rule: str, tensor: Tensor, model: Model) -> str | None:
    """What the field calls that which a rule holds to be harmless at a tensor, None where it has no name."""
    return next((row.name for row in CAPTIONS if row.covers(rule, tensor, model)), None)
