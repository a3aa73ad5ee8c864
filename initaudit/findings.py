"""What an audit has to say, as values; rendering them is the business of `report`."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from initaudit.checkpoint.values import Checkpoint
from initaudit.errors import InitauditError
from initaudit.model import Model
from initaudit.remedies import Healthy, Remedy
from initaudit.rule import Fault, Rule, Severity
from initaudit.waivers import Waiver


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault that a rule has found and no convention explains."""

    rule: str
    name: str
    severity: Severity
    checkpoint: str
    tensors: tuple[str, ...]
    message: str
    advice: str
    evidence: Mapping[str, Any]
    original: str | None = None
    """Of tensors that are copies of each other, the one that may stay as it is."""
    beyond_repair: str = ""
    """Why no other values would mend it, empty where they would."""
    repair: Remedy | None = None
    """What `tensor` should be filled with, None where nothing says so."""

    @classmethod
    def of(cls, rule: Rule, checkpoint: str, fault: Fault) -> "Finding":
        """A rule's fault in a checkpoint."""
        where = rule.severity_of(fault), checkpoint, fault.tensors
        told = fault.message, fault.advice, fault.evidence
        return cls(rule.code, rule.name, *where, *told, fault.original, fault.beyond_repair)

    @property
    def faulty(self) -> tuple[str, ...]:
        """Its tensors less the one that the others are copies of."""
        return tuple(name for name in self.tensors if name != self.original)

    @property
    def tensor(self) -> str:
        """Where the fault is: the first of its tensors."""
        return self.tensors[0]

    @property
    def asks_for_repair(self) -> bool:
        """Whether it is a warning or an error; an info is to be known, and all may stay as it is."""
        return self.severity is not Severity.INFO

    @property
    def is_repairable(self) -> bool:
        """Whether `fix` would redraw it: it asks for that, and something says as what."""
        return self.asks_for_repair and self.repair is not None and not self.beyond_repair

    def order(self) -> tuple[int, str, tuple[str, ...]]:
        """The worst first, then by rule and place."""
        return self.severity.rank, self.rule, self.tensors


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


def healthy(model: Model, findings: Iterable[Finding], waived: Iterable[Waived]) -> Healthy:
    """The tensors of a model in which nothing was found at warning or above, heard or not."""
    doubtful = (finding for finding in findings if finding.asks_for_repair)
    faulty = [name for finding in doubtful for name in finding.faulty]
    return Healthy(model, frozenset([*faulty, *(row.tensor for row in waived)]))


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something was not audited, or not whole; ``rule`` is the code of the one that crashed, if one did."""

    path: str
    message: str
    rule: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class RuleCount:
    """How often one rule was broken, and at how many tensors."""

    rule: str
    name: str
    findings: int
    tensors: int


class FindingsError(InitauditError):
    """A report has findings at or above the severity that was asked about, or is not whole."""


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one audit of one or more checkpoints; ``notes`` are about the run, not about one of them.

    As a string it is what ``initaudit check`` prints, with what could not be audited below.
    """

    audited: tuple[Audited, ...]
    unread: tuple[Failure, ...]
    rules: tuple[Rule, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        from initaudit.report.text import render

        return "\n".join([render(self).rstrip("\n"), *map(str, self.failures)])

    def __repr__(self) -> str:
        from initaudit.report.text import counted, found

        said = ", ".join(found(self)) or "no findings"
        failed = f", {counted(len(self.failures), 'failure')}" if self.failures else ""
        return f"<Report: {said} in {counted(len(self.audited), 'checkpoint')}{failed}>"

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, checkpoint after checkpoint, the worst first within each."""
        return tuple(finding for one in self.audited for finding in one.findings)

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
        """Findings by severity, and what is intended."""
        found = Counter(finding.severity.value for finding in self.findings)
        return {severity.value: found[severity.value] for severity in Severity} | {
            "intended": sum(len(one.intended) for one in self.audited)
        }

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
        found: dict[str, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(finding.rule, []).append(finding)
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

    def raise_for_findings(self, fail_on: str = "error") -> None:
        """Do nothing where `ok` holds.

        Raises:
            FindingsError: its message is the report as text.

        """
        if not self.ok(fail_on):
            raise FindingsError(str(self))

    def to_json(self) -> str:
        """The report as the JSON document that ``--output-format json`` prints."""
        from initaudit.report.json import render

        return render(self)
