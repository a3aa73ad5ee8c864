"""The vocabulary of rules: what a rule is, and how a module declares one.

A rule is a generator with a docstring. Its first line is the rule's summary, the rest its page. The names of its
parameters say what it judges: ``tensor`` alone, or ``tensor`` and ``model``, is called once a tensor; ``model`` alone
is called once a checkpoint.
"""

import inspect
import re
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from initaudit.errors import RuleError
from initaudit.examples import Example
from initaudit.faults import Cause, Expectation, Fault
from initaudit.model import Model, Tensor, Units
from initaudit.waivers import NO_WAIVERS, Waivers

__all__ = ["Cause", "Expectation", "Fault", "Model", "Rule", "Severity", "Tensor", "Units", "rule"]

Check = Callable[..., Iterator[Fault]]

CODE = re.compile(r"[A-Z]+\d+")
"""Ours are ``IA`` and three digits, whose first names a group; those of others had best take letters of their own."""

RULES: dict[str, "Rule"] = {}
"""All rules whose modules were imported, by code."""


class Severity(StrEnum):
    """How sure it is that something is wrong, and how much it costs."""

    ERROR = "error"
    """Training is broken, or this can only be a mistake."""
    WARNING = "warning"
    """Probably a mistake."""
    INFO = "info"
    """Worth knowing."""

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its code, its name (the fault), its page and the function that decides.

    ``imposed`` is the severity that its user wants for all its findings, ``waivers`` say where it is not to be heard.
    """

    code: str
    name: str
    severity: Severity
    examples: tuple[Example, ...]
    check: Check
    subjects: tuple[str, ...]
    takes_for_granted: tuple[str, ...] = ()
    """Names of rules without whose fault a tensor must be, for this one to say something of its own."""
    imposed: Severity | None = None
    waivers: Waivers = NO_WAIVERS

    @property
    def group(self) -> str:
        """The first digit of its code, with what stands before: ``IA1`` for the rules of symmetry."""
        return self.code.rstrip(string.digits) + self.code.lstrip(string.ascii_uppercase)[:1]

    @property
    def file(self) -> Path | None:
        """The file that declares it, None where Python does not know it."""
        found = _file(self.check)
        return None if found is None else Path(found)

    @property
    def summary(self) -> str:
        """The first line of the page."""
        return self.page.partition("\n")[0]

    @property
    def page(self) -> str:
        """The documentation in Markdown: summary, why it matters, when it would be wrong, how to mend it."""
        return inspect.getdoc(self.check) or ""

    def severity_of(self, fault: Fault) -> Severity:
        """How grave a fault is: as its user says, else as the fault itself says, else as the rule does."""
        return self.imposed or (Severity(fault.severity) if fault.severity else self.severity)

    def judge(self, model: Model) -> Iterator[Fault]:
        """All faults of a model under this rule."""
        if self.subjects == ("model",):
            yield from self.check(model)
        elif self.subjects == ("tensor",):
            for tensor in model.tensors:
                yield from self.check(tensor)
        else:
            for tensor in model.tensors:
                yield from self.check(tensor, model)


def rule(
    *, code: str, severity: Severity, examples: Sequence[Example], takes_for_granted: Sequence[str] = ()
) -> Callable[[Check], Check]:
    """Declare a generator function to be a rule, named after the function.

    ``takes_for_granted`` names rules whose faults explain its own: half of a weight that is dead makes the deviation
    smaller. Where one of them, or one that these take for granted, has found something as grave in a tensor, this rule
    is not heard there. So the order in which rules are asked follows from what each declares.

    Raises:
        RuleError: the code is in use, the parameters are not those of a rule, or page or examples are missing.

    """

    def declare(check: Check) -> Check:
        place = f"{check.__module__} ({_file(check)}:{check.__code__.co_firstlineno})"
        subjects = tuple(inspect.signature(check).parameters)
        if subjects not in (("tensor",), ("tensor", "model"), ("model",)):
            raise RuleError(f"{place}: a rule takes `tensor`, `tensor` and `model`, or `model`, not {subjects}")
        name = check.__name__.replace("_", "-")
        if not CODE.fullmatch(code):
            raise RuleError(f"{place}: a code is capital letters and digits, not {code!r}")
        for other in RULES.values():
            if _identity(other.check) != _identity(check) and (code == other.code or name == other.name):
                taken = f"code {code}" if code == other.code else f"name {name}"
                raise RuleError(f"{place}: {taken} is in use by {other.check.__module__} ({_file(other.check)})")
        if not (check.__doc__ or "").strip():
            raise RuleError(f"{place}: a rule needs a docstring, which is its page")
        if {example.is_good for example in examples} != {True, False}:
            raise RuleError(f"{place}: a rule needs a good and a bad example")
        RULES[code] = Rule(code, name, severity, tuple(examples), check, subjects, tuple(takes_for_granted))
        return check

    return declare


def _identity(check: Check) -> tuple[str, str]:
    """What stays the same when a module is imported again."""
    return check.__module__, check.__qualname__


def _file(check: Check) -> str | None:
    return inspect.getsourcefile(check)
