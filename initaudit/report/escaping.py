"""Tensor names and paths are written by strangers: they are shown, never obeyed."""

LONGEST = 200
"""Characters of a name that are shown; some are a megabyte long."""

LONGEST_TEXT = 2000
"""Characters of a message or an advice that are shown."""


def printable(text: str, *, longest: int = LONGEST) -> str:
    """The text in one line, with what a terminal would act upon written as an escape, cut in the middle if long."""
    if len(text) > longest:
        text = f"{text[: longest - 50]}...{text[-47:]}"
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
