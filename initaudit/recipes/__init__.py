"""How a checkpoint was drawn: its laws of scale, the places that follow them, and what each tensor should hold."""

from initaudit.recipes.mistakes import Mistake, Residual, mistakes, residuals
from initaudit.recipes.observations import Observation, placed
from initaudit.recipes.prescription import Prescription, by_kin, by_model, prescribe
from initaudit.recipes.recipe import Recipe, recipe_of
from initaudit.recipes.shapes import Shape, odd_shapes
from initaudit.recipes.telling import scale_fault, scale_of
from initaudit.recipes.verdicts import Verdict, scale_verdicts

__all__ = [
    "Mistake",
    "Observation",
    "Prescription",
    "Recipe",
    "Residual",
    "Shape",
    "Verdict",
    "by_kin",
    "by_model",
    "mistakes",
    "odd_shapes",
    "placed",
    "prescribe",
    "recipe_of",
    "residuals",
    "scale_fault",
    "scale_of",
    "scale_verdicts",
]
