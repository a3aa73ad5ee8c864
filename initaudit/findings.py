"""What an audit has to say of one tensor, as values: what was found, is intended, is waived, or was not judged."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from initaudit.faults import Cause, Evidence, Expectation, Fault
from initaudit.model import Model
from initaudit.remedies import Healthy, Remedy
from initaudit.rule import Rule, Severity
from initaudit.waivers import Waiver


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault that a rule has found at one tensor, and that no convention explains."""

    rule: str
    name: str
    severity: Severity
    checkpoint: str
    tensor: str
    message: str
    advice: str
    evidence: Evidence
    expectation: Expectation | None = None
    """What the rule held the tensor to, None where it says only what is wrong."""
    cause: Cause | None = None
    """What it has in common with other findings of its rule."""
    original: str | None = None
    """Of tensors that are copies of each other, the one that may stay as it is: for that one, its own name."""
    beyond_repair: str = ""
    """Why no other values would mend it, empty where they would."""
    repair: Remedy | None = None
    """What the tensor should be filled with, None where nothing says so."""

    @classmethod
    def of(cls, rule: Rule, checkpoint: str, fault: Fault) -> "Finding":
        """A rule's fault in a checkpoint."""
        return cls(
            rule=rule.code,
            name=rule.name,
            severity=rule.severity_of(fault),
            checkpoint=checkpoint,
            tensor=fault.tensor,
            message=fault.message,
            advice=fault.advice,
            evidence=fault.evidence,
            expectation=fault.expectation,
            cause=fault.cause,
            original=fault.original,
            beyond_repair=fault.beyond_repair,
        )

    @property
    def tensors(self) -> tuple[str, ...]:
        """Its one tensor, for those who walk over findings and groups of them alike."""
        return (self.tensor,)

    @property
    def is_faulty(self) -> bool:
        """Whether other values are asked for here: at the original of some copies they are not."""
        return self.original != self.tensor

    @property
    def faulty(self) -> tuple[str, ...]:
        """Its tensor, unless that is an original."""
        return (self.tensor,) if self.is_faulty else ()

    @property
    def asks_for_repair(self) -> bool:
        """Whether its tensor is to be redrawn: it is a warning or an error, and more than a copy's original."""
        return self.severity is not Severity.INFO and self.is_faulty

    @property
    def is_repairable(self) -> bool:
        """Whether `fix` would redraw it: it asks for that, and something says as what."""
        return self.asks_for_repair and self.repair is not None and not self.beyond_repair

    def order(self) -> tuple[int, str, str]:
        """The worst first, then by rule and place."""
        return self.severity.rank, self.rule, self.tensor


@dataclass(frozen=True, slots=True)
class Intended:
    """What a rule would have found, were it not by a convention of the field."""

    rule: str
    checkpoint: str
    tensor: str
    convention: str


@dataclass(frozen=True, slots=True)
class Waived:
    """What a rule has found where its user does not want to hear it."""

    rule: str
    checkpoint: str
    tensor: str
    waiver: Waiver
    is_known: bool
    """Whether it stands in a baseline."""


@dataclass(frozen=True, slots=True)
class NotJudged:
    """A tensor whose values no rule has seen, and why."""

    checkpoint: str
    tensor: str
    dtype: str
    reason: str


def healthy(
    model: Model, findings: Sequence[Finding], waived: Iterable[Waived], intended: Iterable[Intended]
) -> Healthy:
    """The tensors of a model in which nothing was found at warning or above, heard or not.

    Doubtful are those of which anything else was said: as one of several they may be followed, but not alone.
    """
    faulty = [finding.tensor for finding in findings if finding.asks_for_repair]
    doubtful = [finding.tensor for finding in findings if not finding.asks_for_repair and finding.is_faulty]
    return Healthy(
        model,
        frozenset([*faulty, *(row.tensor for row in waived)]),
        frozenset([*doubtful, *(row.tensor for row in intended)]),
        {finding.tensor: finding.repair for finding in findings if finding.repair is not None},
    )


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something was not audited, or not whole; ``rule`` is the code of the one that crashed, if one did."""

    path: str
    message: str
    rule: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"
