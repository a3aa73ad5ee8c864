"""Names of files: from the root, and from the root of the repository. Links are not followed: a name is meant."""

import os
from pathlib import Path, PurePath

ROOTS = "GITHUB_WORKSPACE", "CI_PROJECT_DIR"
"""The variables in which GitHub and GitLab say where they have checked the repository out."""


def absolute(path: str | PurePath) -> Path:
    """The path from the root, without dots."""
    return Path(os.path.abspath(path))  # noqa: PTH100 (`resolve` would follow links)


def in_repository(path: str | PurePath) -> str:
    """The path from the root of the repository with slashes, or the absolute path of what is not inside.

    The root is what the service says, else the working directory: so do those who show a report beside the code.
    """
    whole = absolute(path)
    for root in (*(os.environ[name] for name in ROOTS if os.environ.get(name)), "."):
        if whole.is_relative_to(absolute(root)):
            return whole.relative_to(absolute(root)).as_posix()
    return whole.as_posix()
