"""What is there: the checkpoints behind a path, described by their headers alone."""

from initaudit.checkpoint.folder import find_checkpoints
from initaudit.checkpoint.values import Checkpoint, Entry, Shard

__all__ = ["Checkpoint", "Entry", "Shard", "find_checkpoints"]
