"""What can go wrong on the way to a report. Each message is one line: what, where, and what to do."""

from pathlib import Path


class InitauditError(Exception):
    """Something that ends the work on its subject with one line on stderr and exit status 2."""


class CheckpointError(InitauditError):
    """A file or folder that cannot be read as a checkpoint."""

    def __init__(self, path: Path | str, reason: str) -> None:
        reason = " ".join(reason.splitlines())  # what a file says of itself may have many lines
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


_SIGNS_OF_NO_MEMORY = ("can't start new thread", "failed to map segment", "cannot allocate memory", "bad_alloc")
"""What other libraries and the loader of programs say for want of memory, in errors of other kinds."""


def is_want_of_memory(error: Exception) -> bool:
    """Whether an error says, in whatever way, that there was no more memory."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _SIGNS_OF_NO_MEMORY)


def crash_text(error: Exception) -> str:
    """What is said of a checkpoint on which the audit failed: what the system refused, or that it is our mistake."""
    if is_want_of_memory(error):
        return "there is not enough memory to audit it: free some, or try --workers 1"
    if isinstance(error, OSError) and error.strerror:
        return errno_text(error)
    return f"internal error, please report it: {described(error)}"


def described(error: Exception) -> str:
    """The kind and the text of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".splitlines())
