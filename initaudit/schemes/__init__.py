"""What a tensor was drawn from."""

from initaudit.schemes.catalogue import scales_by_fan
from initaudit.schemes.families import UNIFORM, fits
from initaudit.schemes.patterns import FEW_UNITS, Pattern, chance_dead, zero_pattern
from initaudit.schemes.recognition import recognise
from initaudit.schemes.values import Draw, Scheme

__all__ = [
    "FEW_UNITS",
    "UNIFORM",
    "Draw",
    "Pattern",
    "Scheme",
    "chance_dead",
    "fits",
    "recognise",
    "scales_by_fan",
    "zero_pattern",
]
