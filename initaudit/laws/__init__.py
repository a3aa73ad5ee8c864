"""How tensors are drawn, as text and as values: ``normal(std = 0.02 / sqrt(2 * blocks))``."""

from initaudit.errors import LawError
from initaudit.laws.expressions import Expression, evaluate, number
from initaudit.laws.law import FAMILIES, Law
from initaudit.laws.parsing import parse_expression, parse_law
from initaudit.laws.scales import named_law, named_scale, words
from initaudit.laws.setting import Setting
from initaudit.laws.settled import Settled, settle, shrink

__all__ = [
    "FAMILIES",
    "Expression",
    "Law",
    "LawError",
    "Setting",
    "Settled",
    "evaluate",
    "named_law",
    "named_scale",
    "number",
    "parse_expression",
    "parse_law",
    "settle",
    "shrink",
    "words",
]
