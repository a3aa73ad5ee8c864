"""Fresh values, the same bytes for one seed, name and law on every device: the draw of `fix`."""

from initaudit.draws.filling import STREAM, Filling, drawn, pieces_of
from initaudit.draws.host import HOST

__all__ = ["HOST", "STREAM", "Filling", "drawn", "pieces_of"]
