"""The version of this package, which everything that names it asks for here."""

__version__ = "0.1.0"
