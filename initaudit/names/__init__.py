"""How tensors are called: the segments of a name, its words, and the one tree of all names with its lists of blocks."""

from initaudit.names.blocks import Blocks, Depth

__all__ = ["Blocks", "Depth"]
