"""Tensor names and paths are written by strangers: they are shown, never obeyed.

A terminal acts upon control characters; a reader is misled by what he does not see; and the runner of a CI job acts
upon lines that begin with ``::`` (GitHub) and upon ``##[`` and ``##vso[`` anywhere in a line (GitHub's older form,
Azure; TeamCity's are ``##teamcity[``). No name needs any of them as they are.
"""

import json
import re
from typing import Any

LONGEST = 200
"""Characters of a name that are shown; some are a megabyte long."""

LONGEST_TEXT = 2000
"""Characters of a message or an advice that are shown."""

UNSEEN = frozenset(
    chr(code)
    for first, last in (
        (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800), (0x3164, 0x3164),
        (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF),
    )
    for code in range(first, last + 1)
)  # fmt: skip
"""Letters and marks that show nothing though Python calls them printable: those with the property
Default_Ignorable_Code_Point (Unicode 16, DerivedCoreProperties.txt), and the empty braille cell."""

_COMMENT = re.compile(r"#(?=#)")
_COMMAND = re.compile(r"#(?=#)|:(?=:)")
"""The first of two signs with which a command of a runner begins, whatever line it may come to stand in."""


def printable(text: str, *, longest: int = LONGEST) -> str:
    """The text in one line, cut in the middle if long, with what something would act upon written as an escape."""
    if len(text) > longest:
        text = f"{text[: longest - 50]}...{text[-47:]}"
    shown = "".join(character if _is_seen(character) else _escaped(character) for character in text)
    return _COMMAND.sub(lambda sign: f"\\x{ord(sign[0]):02x}", shown)


def document(value: Any) -> str:
    """A value as JSON over several lines, with a newline at its end, in which no runner sees a command.

    It reads as the same value: of two ``#`` the first is written by its number, and no line begins with a colon.

    Raises:
        ValueError: a number is not finite.

    """
    return _COMMENT.sub(r"\\u0023", json.dumps(value, indent=1, allow_nan=False)) + "\n"


def _is_seen(character: str) -> bool:
    return character.isprintable() and character not in UNSEEN


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
