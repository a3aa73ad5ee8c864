"""The vocabulary of rules: what a rule is, and how a module declares one.

A rule is a generator with a docstring. Its first line is the rule's summary, the rest its page. The names of its
parameters say what it judges: ``tensor`` alone, or ``tensor`` and ``model``, is called once a tensor; ``model`` alone
is called once a checkpoint.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from initaudit.errors import RuleError
from initaudit.examples import Example
from initaudit.model import Fault, Model, Tensor, Units

__all__ = ["Fault", "Model", "Rule", "Severity", "Tensor", "Units", "rule"]

Check = Callable[..., Iterator[Fault]]

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
    """One rule: its code, its name (the fault), its page and the function that decides."""

    code: str
    name: str
    severity: Severity
    examples: tuple[Example, ...]
    check: Check
    subjects: tuple[str, ...]

    @property
    def group(self) -> str:
        """The first digit of its code, with what stands before: ``IA1`` for the rules of symmetry."""
        return self.code[:3]

    @property
    def summary(self) -> str:
        """The first line of the page."""
        return self.page.partition("\n")[0]

    @property
    def page(self) -> str:
        """The documentation in Markdown: summary, why it matters, when it would be wrong, how to mend it."""
        return inspect.getdoc(self.check) or ""

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


def rule(*, code: str, severity: Severity, examples: Sequence[Example]) -> Callable[[Check], Check]:
    """Declare a generator function to be a rule, named after the function.

    Raises:
        RuleError: the code is in use, the parameters are not those of a rule, or page or examples are missing.

    """

    def declare(check: Check) -> Check:
        place = f"{check.__module__} ({inspect.getsourcefile(check)}:{check.__code__.co_firstlineno})"
        subjects = tuple(inspect.signature(check).parameters)
        if subjects not in (("tensor",), ("tensor", "model"), ("model",)):
            raise RuleError(f"{place}: a rule takes `tensor`, `tensor` and `model`, or `model`, not {subjects}")
        if code in RULES and RULES[code].check.__module__ != check.__module__:
            raise RuleError(f"{place}: code {code} is in use by {RULES[code].check.__module__}")
        if not (check.__doc__ or "").strip():
            raise RuleError(f"{place}: a rule needs a docstring, which is its page")
        if {example.is_good for example in examples} != {True, False}:
            raise RuleError(f"{place}: a rule needs a good and a bad example")
        RULES[code] = Rule(code, check.__name__.replace("_", "-"), severity, tuple(examples), check, subjects)
        return check

    return declare
