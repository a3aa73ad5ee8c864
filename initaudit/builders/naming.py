"""How code is named on a command line: ``package.module:name``, or ``hf:FOLDER`` for what a config.json describes."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from initaudit.errors import CheckpointError

TIME_LIMIT = 600.0
"""Seconds that a model may take to be built: the largest that fit one machine are drawn in a few minutes."""

CONFIGURED = "hf:"
"""What stands before a folder whose config.json describes a model of transformers."""

_NAME = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*(?:\.[^\W\d]\w*)*)")
_FILE = re.compile(r"(?P<file>.*\.py):(?P<attribute>[^\W\d][\w.]*)")


@dataclass(frozen=True, slots=True)
class Builder:
    """Code that gives a model, what it is given, and how it is run.

    Of ``package.module:name`` it has the module and the attribute, of ``hf:FOLDER`` the folder as ``configured``.
    ``arguments`` are a list of positional ones or a mapping of named ones. ``folder`` is where its module is looked for
    first, as Python does for a script that lies there. ``time_limit`` is in seconds.
    """

    text: str
    module: str = ""
    attribute: str = ""
    configured: str = ""
    arguments: Sequence[Any] | Mapping[str, Any] = field(default_factory=tuple)
    seed: int = 0
    folder: Path = Path()
    time_limit: float = TIME_LIMIT

    def __str__(self) -> str:
        return self.text


def builder_of(text: str, folder: Path = Path()) -> Builder | None:
    """The code that a text names, None where it names a file: what exists under a ``folder`` is never taken for code.

    Raises:
        CheckpointError: it names the file of a module, or is ``hf:`` alone.

    """
    if text.startswith(CONFIGURED) and not text.startswith(f"{CONFIGURED}//") and not _exists(folder / text):
        where = text.removeprefix(CONFIGURED)
        if not where:
            raise CheckpointError(text, "names no folder: write hf:FOLDER, where FOLDER has a config.json")
        return Builder(text, configured=str(folder / where), folder=folder)
    named = _NAME.fullmatch(text)
    file = _FILE.fullmatch(text)
    if not (named or file) or _exists(folder / text):
        return None
    if file and _exists(folder / file["file"]):
        module = ".".join(Path(file["file"]).with_suffix("").parts)
        raise CheckpointError(text, f"name the module and not its file: {module}:{file['attribute']}")
    if not named or _is_on_drive(text):
        return None
    return Builder(text, module=named["module"], attribute=named["attribute"], folder=folder)


def _is_on_drive(text: str) -> bool:
    """Whether it begins with the letter of a drive, where there are drives."""
    return os.name == "nt" and text[1:2] == ":"


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except (OSError, ValueError):  # no file can have such a name
        return False
