"""Testing rules by their own examples, for those who write rules.

>>> import pytest
>>> from initaudit.testing import cases, check_case
>>>
>>> @pytest.mark.parametrize("case", cases("tools/rules"), ids=str)
... def test_a_rule_speaks_exactly_where_its_example_says(case):
...     check_case(case)
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from initaudit.examples import Example
from initaudit.outcome import Outcome
from initaudit.rule import Rule

__all__ = ["Case", "audit_example", "cases", "check_case"]


@dataclass(frozen=True, slots=True)
class Case:
    """One example of one rule."""

    rule: Rule
    example: Example

    def __str__(self) -> str:
        return f"{self.rule.code}-{self.example.caption}"


def cases(*folders: str | PathLike[str]) -> tuple[Case, ...]:
    """The examples of all rules in some folders; of the built-in and the installed rules where no folder is given.

    Raises:
        RuleError: a rule cannot be imported, is not well formed, or takes a code or a name in use.

    """
    from initaudit.registry import load_rules

    theirs = load_rules()
    rules = load_rules(*map(Path, folders))
    wanted = [rule for code, rule in rules.items() if code not in theirs] if folders else rules.values()
    return tuple(Case(rule, example) for rule in wanted for example in rule.examples)


def audit_example(example: Example, rules: Sequence[Rule]) -> Outcome:
    """The report on an example that is written to a file, with its ``config.json``, and read back.

    One with a tensor on the meta device, or with the reach of gradients, is audited live instead: no file holds those.
    """
    if example.reach or any(recipe.is_planned for recipe in example.tensors.values()):
        return _audit_live(example, rules)
    import numpy as np
    from safetensors.numpy import save_file

    from initaudit.audit import audit

    with tempfile.TemporaryDirectory(prefix="initaudit-") as folder:
        path = Path(folder) / "example.safetensors"
        save_file({name: np.ascontiguousarray(recipe.draw(name)) for name, recipe in example.tensors.items()}, path)
        path.with_name("config.json").write_text(json.dumps(dict(example.config)), encoding="utf-8")
        return audit([path], rules)


def _audit_live(example: Example, rules: Sequence[Rule]) -> Outcome:
    import torch

    from initaudit.audit import judge
    from initaudit.modules import understood_live
    from initaudit.reach import Reach

    tensors = {
        name: torch.empty(recipe.shape, device="meta") if recipe.is_planned else torch.from_numpy(recipe.draw(name))
        for name, recipe in example.tensors.items()
    }
    reached = {name: Reach(when) for name, when in example.reach.items()} if example.reach else None
    return Outcome((judge(replace(understood_live(tensors), reached=reached), rules),), (), tuple(rules))


def check_case(case: Case) -> None:
    """Hold a rule to one of its examples.

    Raises:
        AssertionError: it speaks at other tensors than the example names, or in another order, or it crashed.

    """
    report = audit_example(case.example, [case.rule])
    failures = "; ".join(failure.message for failure in report.failures)
    assert not failures, f"{case}: {failures}"
    found = tuple(tensor for finding in report.findings for tensor in finding.tensors)
    said = "; ".join(f"{finding.tensor}: {finding.message}" for finding in report.findings)
    assert found == case.example.at, f"{case}: expected findings at {case.example.at}, not {found} ({said})"
