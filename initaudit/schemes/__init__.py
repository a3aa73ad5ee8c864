"""What a tensor was drawn from."""

from initaudit.schemes.families import UNIFORM, fits
from initaudit.schemes.patterns import PATTERN_SPREAD, Pattern, zero_pattern
from initaudit.schemes.recognition import recognise
from initaudit.schemes.values import Draw, Scheme

__all__ = ["PATTERN_SPREAD", "UNIFORM", "Draw", "Pattern", "Scheme", "fits", "recognise", "zero_pattern"]
