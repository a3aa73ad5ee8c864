"""What a rule has found: a fault of one tensor, what was expected, and the cause that it may share with others."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

Fact = bool | int | float | str | None | tuple[int, ...] | tuple[float | None, ...] | tuple[str, ...]
"""One number or word of the evidence, for programs."""

Evidence = Mapping[str, Fact]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a tensor should have held: a draw of one standard deviation, or one value throughout.

    ``source`` says by what, in words that follow "expected": the siblings, the recipe, a formula. ``error`` is the
    relative standard error of ``std``, 0 where it is a formula's. Where neither is given, only the source is known.
    """

    source: str
    std: float | None = None
    value: float | None = None
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is behind faults of several tensors: a layer that was copied, a chain, a dry run.

    ``at`` is the first of its tensors, which tells it from other causes of one rule; ``message`` is said once for all.
    """

    at: str
    message: str

    def faults(
        self,
        names: Iterable[str],
        *,
        original: str | None = None,
        advice: str,
        severity: str | None = None,
        evidence: Evidence | None = None,
        beyond_repair: str = "",
    ) -> Iterator["Fault"]:
        """A fault of each of some tensors, with this cause; they are copies of the ``original``, if it is named."""
        for name in names:
            yield Fault(name, self.message, advice, severity, evidence or {}, None, self, original, beyond_repair)


@dataclass(frozen=True, slots=True)
class Fault:
    """What a rule has found at one tensor: what was measured and expected, and what to do.

    ``message`` names neither rule nor tensor and ends without a full stop. ``severity`` is the rule's own unless the
    rule says otherwise. ``evidence`` holds the numbers, for programs; nothing of ours decides by it.
    """

    tensor: str
    message: str
    advice: str
    severity: str | None = None
    evidence: Evidence = field(default_factory=dict)
    expectation: Expectation | None = None
    cause: Cause | None = None
    """What it has in common with other faults of its rule; None where it stands for itself."""
    original: str | None = None
    """Of tensors that are copies of each other, the one that may stay as it is: for that one, its own name."""
    beyond_repair: str = ""
    """Why no other values would mend it, empty where they would."""
    harmless: str = ""
    """Why it is no fault after all, in words; then it is listed as intended, and nowhere else."""

    @property
    def is_original(self) -> bool:
        """Whether the others of its cause are copies of it, so that it may stay."""
        return self.original == self.tensor
