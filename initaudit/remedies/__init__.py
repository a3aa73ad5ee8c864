"""What a faulty tensor should be drawn from instead: the scheme of its siblings, of its model, or of its kind."""

from initaudit.remedies.asked import AskedError, Wish, wish_of
from initaudit.remedies.choice import choose
from initaudit.remedies.laws import law_shown, laws_of
from initaudit.remedies.siblings import Healthy, by_recipe
from initaudit.remedies.values import LawName, Remedy

__all__ = [
    "AskedError",
    "Healthy",
    "LawName",
    "Remedy",
    "Wish",
    "by_recipe",
    "choose",
    "law_shown",
    "laws_of",
    "wish_of",
]
