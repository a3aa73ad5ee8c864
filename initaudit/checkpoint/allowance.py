"""How much of a pickle is read and built, and what is said where that is not enough."""

MOST_OPCODES = 6_000_000
"""Of 100,000 tensors 3,800,000; they are read in two seconds."""

MOST_BUILT = 200_000_000
"""Bytes of memory that what is built may take: of 100,000 tensors up to 190,000,000, most for a moment."""


class PickleError(ValueError):
    """A pickle that is damaged, or not as data is written."""


class CutError(PickleError):
    """A pickle that does not end within the bytes that are there."""


class Allowance:
    """What may still be read and built; several pickles of one file share it."""

    def __init__(self, opcodes: int = MOST_OPCODES, built: int = MOST_BUILT) -> None:
        self.opcodes, self.built = opcodes, built

    def spend(self, built: int, opcodes: int = 0) -> None:
        """Take so much of it.

        Raises:
            PickleError: there is not so much left.

        """
        self.built -= built
        self.opcodes -= opcodes
        if self.opcodes < 0:
            raise PickleError(f"its pickle has more than {MOST_OPCODES:,} opcodes, more than 100,000 tensors have")
        if self.built < 0:
            raise PickleError(f"its pickle builds more than {MOST_BUILT:,} bytes, more than 100,000 tensors need")
