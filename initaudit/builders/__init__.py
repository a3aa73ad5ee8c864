"""Models that are code: built in a process of their own, and understood there by the types of their layers."""

from initaudit.builders.naming import Builder, builder_of

__all__ = ["Builder", "builder_of"]
