"""What is intended: deviations by a known convention of the field, while its condition holds.

One zero matrix among nonzero siblings is never by design, whatever it is called; all of them may be.
"""

from initaudit.conventions.row import Convention
from initaudit.conventions.table import TABLE
from initaudit.model import Model, Tensor

__all__ = ["TABLE", "Convention", "excuse", "named_zero"]


def excuse(rule: str, tensor: Tensor, model: Model) -> str | None:
    """The name of the first convention by which what a rule finds at a tensor is intended, or None."""
    return next((row.name for row in TABLE if row.covers(rule, tensor, model)), None)


def named_zero(tensor: Tensor) -> bool:
    """Whether its name is one that a convention lets start at zero, whatever its condition."""
    return any("zero-weight" in row.rules and row.pattern and row.names(tensor) for row in TABLE)
