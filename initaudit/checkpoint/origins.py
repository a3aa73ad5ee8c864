"""Where in code a tensor of a live model comes from: who owns it, and the lines that made and filled it."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a source file, and the class or function that it stands in."""

    file: str
    number: int
    within: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


@dataclass(frozen=True, slots=True)
class Origin:
    """What code says of one tensor; each line is None where Python cannot tell.

    ``path`` leads from the model to the tensor, as Python writes it (``blocks[2].fc1.weight``), and ``local`` from the
    instance of the class that is ``defined`` in the user's or a library's code: the owner's, else that of the nearest
    module around it that is not torch's. ``type`` is the type of the owner. ``made`` is where the layer or the
    parameter is assigned. ``filled`` is where its values were last written while the model was built, the innermost
    line of the model's own code first and then its callers; empty where nobody looked.
    """

    path: str
    local: str
    type: str
    defined: Line | None = None
    made: Line | None = None
    filled: tuple[Line, ...] = ()

    @property
    def lines(self) -> Iterator[Line]:
        """The lines at which a reader may look, the one that tells the most first."""
        yield from self.filled[:1]
        for line in (self.made, self.defined):
            if line is not None:
                yield line
        yield from self.filled[1:]
