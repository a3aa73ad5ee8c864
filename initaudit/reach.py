"""Whether a parameter is ever given a gradient, where that was tried on the live model with a batch."""

from enum import StrEnum


class Reach(StrEnum):
    """When backward passes with a batch give a parameter a gradient."""

    AT_ONCE = "at once"
    """At the first step."""
    LATE = "late"
    """Once others have moved: as LoRA's A behind a zero B, or a block behind a zero head."""
    NEVER = "never"
    """In no step, though it is given one where the zeros in its way are drawn: its model's values keep it from it."""
    UNSEEN = "not reached by this batch"
    """In no step, whatever the values are: the batch does not lead there, or nothing of it leads to an output."""

    @property
    def learns(self) -> bool:
        """Whether a training step moves it, sooner or later."""
        return self in (Reach.AT_ONCE, Reach.LATE)
