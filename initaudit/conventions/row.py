"""One convention of the field."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from initaudit.model import Model, Tensor
from initaudit.names.segments import dotted

Condition = Callable[[Tensor, Model], bool]


@dataclass(frozen=True, slots=True)
class Convention:
    """A row of the table: it excuses what some rules find at tensors of some names, while its condition holds."""

    name: str
    rules: tuple[str, ...]
    """Names of the rules whose faults it excuses."""
    pattern: str
    """A regular expression, searched in the tensor's name without regard to case; empty where no name is needed."""
    condition: Condition
    source: str

    def covers(self, rule: str, tensor: Tensor, model: Model) -> bool:
        """Whether what a rule finds at a tensor is by this convention."""
        return rule in self.rules and self.names(tensor) and self.condition(tensor, model)

    def names(self, tensor: Tensor) -> bool:
        """Whether its pattern is found in a tensor's name."""
        return _compiled(self.pattern).search(dotted(tensor.name[-LONGEST_NAME:])) is not None


LONGEST_NAME = 500
"""Characters of a name, from its end, that are searched: some are a megabyte long."""


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)
