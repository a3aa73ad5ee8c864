"""What is said of a tensor: whether it ever gets a gradient, and why."""

from dataclasses import dataclass
from typing import Literal

State = Literal["learns", "late", "dead", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether a tensor gets a gradient: at once, once others have moved (`late`), never, or the file cannot tell.

    ``reason`` says why, in words; ``by`` names the other tensors that it hangs on: zeros on the same path. ``unless``
    is what would make a late one dead and does not stand in the file, such as the activation behind it.
    """

    state: State
    reason: str = ""
    by: tuple[str, ...] = ()
    unless: str = ""
