"""How a checkpoint was drawn: its laws of scale, the places that follow them, and what each tensor should hold."""

from initaudit.recipes.mistakes import Mistake, Residual, mistakes, residuals
from initaudit.recipes.recipe import Prescription, Recipe, recipe_of
from initaudit.recipes.telling import scale_fault
from initaudit.recipes.verdicts import Verdict, scale_verdicts

__all__ = [
    "Mistake",
    "Prescription",
    "Recipe",
    "Residual",
    "Verdict",
    "mistakes",
    "recipe_of",
    "residuals",
    "scale_fault",
    "scale_verdicts",
]
