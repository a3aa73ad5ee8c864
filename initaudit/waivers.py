"""Places where a rule is not to be heard, because its user says so: ignores of the configuration, and baselines."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from initaudit.locations import absolute


@dataclass(frozen=True, slots=True)
class Waiver:
    """One such place. ``checkpoint`` and ``tensor`` are globs; ``selector`` names the rules, as the user wrote it.

    A glob for checkpoints fits the file's name, or its path from ``folder``, which is absolute.
    """

    selector: str
    reason: str
    origin: str
    tensor: str = "*"
    checkpoint: str = "*"
    folder: str = ""

    def covers(self, checkpoint: str, tensor: str) -> bool:
        """Whether it speaks of a tensor; a name that is written as it is always fits, whatever brackets it holds."""
        if tensor != self.tensor and not fnmatchcase(tensor, self.tensor):
            return False
        if self.checkpoint == "*":
            return True
        path = absolute(checkpoint)
        return fnmatchcase(path.name, self.checkpoint) or fnmatchcase(
            path.as_posix(), f"{self.folder}/{self.checkpoint}"
        )


@dataclass(frozen=True, slots=True)
class Waivers:
    """All places of one rule: the ``ignored``, and the ``known`` ones of a baseline (absolute path and tensor)."""

    ignored: tuple[Waiver, ...] = ()
    known: frozenset[tuple[str, str]] = frozenset()
    baseline: Waiver | None = None

    def over(self, checkpoint: str, tensor: str) -> Waiver | None:
        """What keeps the rule from being heard at a tensor, or None."""
        for waiver in self.ignored:
            if waiver.covers(checkpoint, tensor):
                return waiver
        return self.baseline if self.known and (absolute(checkpoint).as_posix(), tensor) in self.known else None


NO_WAIVERS = Waivers()
