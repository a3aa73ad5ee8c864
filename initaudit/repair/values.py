"""What is to be redrawn, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from initaudit.checkpoint import Checkpoint
from initaudit.draws import Filling
from initaudit.findings import Failure
from initaudit.remedies import Remedy
from initaudit.statistics.values import Statistics


@dataclass(frozen=True, slots=True)
class Redraw:
    """A tensor that is to be filled anew, how, and for which rules."""

    tensor: str
    rules: tuple[str, ...]
    remedy: Remedy
    filling: Filling


@dataclass(frozen=True, slots=True)
class Unrepaired:
    """A tensor with findings that stays as it is, and why."""

    checkpoint: str
    tensor: str
    rules: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What one checkpoint needs."""

    checkpoint: Checkpoint
    redraws: tuple[Redraw, ...]
    unrepaired: tuple[Unrepaired, ...]
    before: Mapping[str, Statistics]


@dataclass(frozen=True, slots=True)
class Repaired:
    """A tensor that was filled anew; ``after`` and the digests are None where nothing was written."""

    checkpoint: str
    redraw: Redraw
    before: Statistics
    after: Statistics | None = None
    digest_before: str | None = None
    digest_after: str | None = None


@dataclass(frozen=True, slots=True)
class Repair:
    """The outcome of one run of `fix`.

    ``output`` is where it was written, None where nothing was; ``files`` are those that were read, or could not be.
    """

    seed: int
    device: str
    output: Path | None
    repaired: tuple[Repaired, ...]
    unrepaired: tuple[Unrepaired, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    files: tuple[Path, ...] = ()

    @property
    def exit_status(self) -> int:
        """0 all was repaired, 1 something was not, 2 something could not be audited."""
        return 2 if self.failures else int(bool(self.unrepaired))
