"""Redraw what is faulty, and nothing else: plan, draw, patch a copy, audit it again, give it the name."""

from initaudit.repair.fixing import fix
from initaudit.repair.targets import Destination
from initaudit.repair.values import Repair, Repaired, Unrepaired
from initaudit.repair.verifying import Verified, verify

__all__ = ["Destination", "Repair", "Repaired", "Unrepaired", "Verified", "fix", "verify"]
