"""The outcome of an audit, as values; rendering them is the business of `report`."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from initaudit.checkpoint.values import Checkpoint
from initaudit.findings import Failure, Finding, Intended, NotJudged, Waived
from initaudit.groups import Group, counts_of, grouped
from initaudit.model import Model
from initaudit.rule import Rule, Severity


@dataclass(frozen=True)
class Audited:
    """What was found in one checkpoint.

    ``judged`` counts the tensors that rules have seen; ``skipped`` are the codes of rules that it was not held to,
    because it is not fresh; ``waived`` is what its user does not want to hear.
    """

    checkpoint: Checkpoint
    recipe: tuple[str, ...]
    judged: int
    findings: tuple[Finding, ...]
    intended: tuple[Intended, ...]
    not_judged: tuple[NotJudged, ...]
    failures: tuple[Failure, ...]
    waived: tuple[Waived, ...] = ()
    skipped: tuple[str, ...] = ()
    model: Model = field(default_factory=lambda: Model(()))
    """What the rules have seen."""

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The findings as a person reads them: those of one cause together."""
        return grouped(self.findings, self.model)


@dataclass(frozen=True, slots=True)
class RuleCount:
    """How often one rule was broken, and at how many tensors."""

    rule: str
    name: str
    findings: int
    tensors: int


@dataclass(frozen=True)
class Outcome:
    """What came of one audit of one or more checkpoints; ``notes`` are about the run, not about one of them."""

    audited: tuple[Audited, ...]
    unread: tuple[Failure, ...]
    rules: tuple[Rule, ...]
    notes: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, one for each tensor, checkpoint after checkpoint, the worst first within each."""
        return tuple(finding for one in self.audited for finding in one.findings)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The findings as a person reads and counts them: those of one cause, or one place, together."""
        return tuple(group for one in self.audited for group in one.groups)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Everything that was not audited, or not whole."""
        return (*self.unread, *(failure for one in self.audited for failure in one.failures))

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that was read, or that could not be."""
        unread = (Path(failure.path) for failure in self.failures)
        return (*(file for one in self.audited for file in one.checkpoint.files), *unread)

    @property
    def counts(self) -> dict[str, int]:
        """Groups of findings by severity, and the tensors of what is intended."""
        return counts_of(self.groups) | {"intended": sum(len(one.intended) for one in self.audited)}

    @property
    def worst(self) -> Severity | None:
        """The severity of the worst finding, None where there is none."""
        return min((finding.severity for finding in self.findings), key=lambda severity: severity.rank, default=None)

    @property
    def judged(self) -> int:
        """The number of tensors that rules have seen, in all checkpoints."""
        return sum(one.judged for one in self.audited)

    @property
    def not_judged(self) -> int:
        """The number of tensors whose values no rule has seen."""
        return sum(len(one.not_judged) for one in self.audited)

    @property
    def waived(self) -> int:
        """The number of places where a rule's finding is not to be heard."""
        return sum(len(one.waived) for one in self.audited)

    @property
    def statistics(self) -> tuple[RuleCount, ...]:
        """A count for each rule that was broken, the most findings first."""
        found: dict[str, list[Group]] = {}
        for group in self.groups:
            found.setdefault(group.rule, []).append(group)
        counts = [
            RuleCount(code, rows[0].name, len(rows), sum(len(row.tensors) for row in rows))
            for code, rows in found.items()
        ]
        return tuple(sorted(counts, key=lambda count: (-count.findings, count.rule)))

    def ok(self, fail_on: str = "error") -> bool:
        """Whether all was audited and no finding is at or above ``fail_on`` (a severity, or ``never``)."""
        return not self.failures and not self.failing(fail_on)

    def failing(self, fail_on: str) -> tuple[Finding, ...]:
        """The findings at or above a severity; none for ``never``.

        Raises:
            ValueError: it is no severity.

        """
        if fail_on == "never":
            return ()
        return tuple(finding for finding in self.findings if finding.severity.rank <= Severity(fail_on).rank)

    def exit_status(self, fail_on: str = "error") -> int:
        """0 all is well, 1 there are findings, 2 something was not audited."""
        return 2 if self.failures else int(bool(self.failing(fail_on)))
