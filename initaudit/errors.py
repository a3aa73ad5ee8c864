"""What can go wrong on the way to a report. Each message is one line: what, where, and what to do."""

from pathlib import Path


class InitauditError(Exception):
    """Something that ends the work on its subject with one line on stderr and exit status 2."""


class CheckpointError(InitauditError):
    """A file or folder that cannot be read as a checkpoint."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = str(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class LawError(InitauditError):
    """A law that cannot be read, or that has no number where it is asked for one."""


class RuleError(InitauditError):
    """A rule that is not well formed, cannot be imported, or takes a code in use."""


class SelectionError(InitauditError):
    """A rule was asked for by a code, prefix or name that no rule has."""


def errno_text(error: OSError) -> str:
    """What the system says is wrong, in lower case."""
    return (error.strerror or str(error)).lower()
