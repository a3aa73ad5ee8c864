"""What a faulty tensor should be drawn from instead: the scheme of its siblings, of its model, or of its kind."""

from initaudit.remedies.asked import AskedError, Wish, wish_of
from initaudit.remedies.choice import choose
from initaudit.remedies.siblings import Healthy, by_recipe
from initaudit.remedies.values import Law, Remedy, shrink

__all__ = ["AskedError", "Healthy", "Law", "Remedy", "Wish", "by_recipe", "choose", "shrink", "wish_of"]
