"""What a tensor was drawn from."""

from initaudit.schemes.catalogue import TELLING, Candidate, candidates, scales_by_fan
from initaudit.schemes.families import FAMILIES, NORMAL, UNIFORM, Family, family_of, fits
from initaudit.schemes.patterns import FEW_UNITS, Pattern, chance_dead, zero_pattern
from initaudit.schemes.recognition import recognise
from initaudit.schemes.values import Draw, Scheme

__all__ = [
    "FAMILIES",
    "FEW_UNITS",
    "NORMAL",
    "TELLING",
    "UNIFORM",
    "Candidate",
    "Draw",
    "Family",
    "Pattern",
    "Scheme",
    "candidates",
    "chance_dead",
    "family_of",
    "fits",
    "recognise",
    "scales_by_fan",
    "zero_pattern",
]
