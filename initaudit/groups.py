"""Findings of one rule that are one to a person: they have one cause, or one place of several blocks."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from initaudit.findings import Finding
from initaudit.model import Model, Tensor
from initaudit.remedies import Remedy
from initaudit.rule import Severity

FEW_PLACES = 2
"""At so many places of a block, and in half of all tensors of their roles, a fault is the whole model's."""


@dataclass(frozen=True)
class Group:
    """One or more findings of one rule and severity that are said together; each keeps its own numbers and repair."""

    findings: tuple[Finding, ...]
    message: str
    """What is said of them once: the message of their cause, or that of the first with how many more are alike."""

    @property
    def first(self) -> Finding:
        """The one by whose tensor the group is named."""
        return self.findings[0]

    @property
    def rule(self) -> str:
        """The code of their rule."""
        return self.first.rule

    @property
    def name(self) -> str:
        """The name of their rule."""
        return self.first.name

    @property
    def severity(self) -> Severity:
        """How grave each of them is."""
        return self.first.severity

    @property
    def checkpoint(self) -> str:
        """The checkpoint that they were found in, as it was given."""
        return self.first.checkpoint

    @property
    def advice(self) -> str:
        """What to do."""
        return self.first.advice

    @property
    def tensor(self) -> str:
        """Where the fault is: the first of its tensors."""
        return self.first.tensor

    @cached_property
    def tensors(self) -> tuple[str, ...]:
        """All of its tensors, the original of copies among them."""
        return tuple(finding.tensor for finding in self.findings)

    @property
    def example(self) -> Finding:
        """The first finding at which other values are asked for, to show what is wrong."""
        return next((finding for finding in self.findings if finding.is_faulty), self.first)

    @property
    def repair(self) -> Remedy | None:
        """What the tensor of `example` should hold; each of the others says so for itself."""
        return self.example.repair

    def order(self) -> tuple[int, str, tuple[str, ...]]:
        """The worst first, then by rule and place."""
        return self.severity.rank, self.rule, self.tensors


def grouped(findings: Iterable[Finding], model: Model) -> tuple[Group, ...]:
    """The findings of one checkpoint as a person reads them, the worst first.

    Those of one rule and severity are one group where they have one cause, and where they stand at one place of several
    blocks; or at `FEW_PLACES` and more, if they are half of what the model has of their roles: then no block is to
    blame.
    """
    by_rule: dict[tuple[str, Severity], list[Finding]] = {}
    for finding in findings:
        by_rule.setdefault((finding.rule, finding.severity), []).append(finding)
    groups = (group for several in by_rule.values() for group in _of_one_rule(several, model))
    return tuple(sorted(groups, key=Group.order))


def _of_one_rule(findings: list[Finding], model: Model) -> Iterator[Group]:
    causes: dict[object, list[Finding]] = {}
    places: dict[str, list[Finding]] = {}
    for number, finding in enumerate(findings):
        if finding.cause is not None or finding.tensor not in model:
            causes.setdefault(finding.cause or number, []).append(finding)
        else:
            places.setdefault(model.place(model[finding.tensor]), []).append(finding)
    for several in causes.values():
        yield Group(tuple(several), several[0].cause.message if several[0].cause else several[0].message)
    single = [finding for several in places.values() for finding in several]
    if len(places) >= FEW_PLACES and _is_everywhere([model[finding.tensor] for finding in single], model):
        yield _alike(single, len(places))
    else:
        yield from (_alike(several, 1) for several in places.values())


def _is_everywhere(found: list[Tensor], model: Model) -> bool:
    roles = {tensor.part.role for tensor in found}
    return 2 * len(found) >= sum(tensor.part.role in roles for tensor in model.tensors)


def _alike(findings: list[Finding], places: int) -> Group:
    where = "of its place" if places == 1 else f"at {places} places"
    more = f"; {len(findings) - 1:,} more {where} alike" if len(findings) > 1 else ""
    return Group(tuple(findings), findings[0].message + more)


def counts_of(groups: Iterable[Group]) -> dict[str, int]:
    """How many groups there are of each severity."""
    found = Counter(group.severity for group in groups)
    return {severity.value: found[severity] for severity in Severity}
