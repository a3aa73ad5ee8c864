"""Where a file is in the repository, as the services that show a report beside the code want to hear it."""

import os
from pathlib import Path, PurePath

ROOTS = "GITHUB_WORKSPACE", "CI_PROJECT_DIR"
"""The variables in which GitHub and GitLab say where they have checked the repository out."""


def in_repository(path: str | PurePath) -> str:
    """The path from the root of the repository with slashes, or the absolute path of what is not inside.

    The root is what the service says, else the working directory. Links are not followed: a name is what is meant.
    """
    absolute = _absolute(path)
    for root in (*(os.environ[name] for name in ROOTS if os.environ.get(name)), "."):
        if absolute.is_relative_to(_absolute(root)):
            return absolute.relative_to(_absolute(root)).as_posix()
    return absolute.as_posix()


def _absolute(path: str | PurePath) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (`resolve` would follow links)
