"""What is intended: the conventions of the field, of which a few decide while their condition holds, and most caption.

Names never excuse a zero, a bias or a norm: gradients, kin and values say whether it is harmless, and a caption says
what the field calls it.
"""

from initaudit.conventions.captions import CAPTIONS
from initaudit.conventions.row import Convention
from initaudit.conventions.table import TABLE
from initaudit.model import Model, Tensor

__all__ = ["CAPTIONS", "TABLE", "Convention", "caption", "excuse"]


def excuse(rule: str, tensor: Tensor, model: Model) -> str | None:
    """The name of the first convention by which what a rule finds at a tensor is intended, or None.

    No convention has values that are not finite.
    """
    if tensor.statistics.nonfinite:
        return None
    return next((row.name for row in TABLE if row.covers(rule, tensor, model)), None)


def caption(rule: str, tensor: Tensor, model: Model) -> str | None:
    """What the field calls that which a rule holds to be harmless at a tensor, None where it has no name."""
    return next((row.name for row in CAPTIONS if row.covers(rule, tensor, model)), None)
