"""Whose files a configuration is made of: what can run code or write files counts only from people who are trusted.

A configuration is looked for upward from the working directory, so on a shared machine it may be anybody's who can
write to a folder above (as git's was: CVE-2022-24765). Trusted are the user and root; for root also who owns the
working directory, as that of a container's checkout.
"""

import os
import stat
from pathlib import Path

REPOSITORY = (".git", ".hg", ".jj", ".svn")
"""What stands in the root of a repository."""


def is_repository(folder: Path) -> bool:
    """Whether a folder is the root of a repository."""
    return any(os.path.lexists(folder / mark) for mark in REPOSITORY)


def ends_search(folder: Path) -> bool:
    """Whether a search upward ends in a folder: the root of a repository, the home folder, or a mount."""
    return is_repository(folder) or folder == _home() or folder.is_mount()


def why_not_trusted(path: Path) -> str | None:
    """Why a file or folder may be somebody else's, None where it is the user's alone.

    It and every folder around it, up to the root of the repository it is in, are to be owned by whoever is trusted, and
    not to be writable by others. Without a repository it is itself and its own folder. Where the system knows no owners
    all are trusted.
    """
    if not hasattr(os, "getuid"):
        return None
    below: os.stat_result | None = None
    for one in (path, *_folders(path)):
        try:
            status, link = one.stat(), one.lstat()
        except OSError as error:
            return f"{one} cannot be looked at: {error.strerror}"
        for owner in (status.st_uid, link.st_uid):
            if owner not in _trusted():
                return f"{one} belongs to {_user(owner)}"
        if _others_may_write(status) and not _keeps(status, below):
            return f"others may write to {one}"
        below = status
    return None


def _folders(path: Path) -> list[Path]:
    """The folders around a path, up to the root of its repository; its own alone where it is in none."""
    parents = list(path.absolute().parents)
    root = next((number for number, folder in enumerate(parents) if is_repository(folder)), 0)
    return parents[: root + 1]


def _trusted() -> set[int]:
    user = os.getuid()
    return {user, 0} | ({Path().stat().st_uid} if user == 0 else set())


def _others_may_write(status: os.stat_result) -> bool:
    by_group = bool(status.st_mode & stat.S_IWGRP) and not _is_private(status.st_gid, status.st_uid)
    return by_group or bool(status.st_mode & stat.S_IWOTH)


def _keeps(folder: os.stat_result, below: os.stat_result | None) -> bool:
    """Whether a folder lets others replace nothing of what was looked at in it: it is sticky, and that is trusted."""
    return below is not None and bool(folder.st_mode & stat.S_ISVTX) and stat.S_ISDIR(folder.st_mode)


def _is_private(group: int, owner: int) -> bool:
    """Whether a group is its owner's own: called as he is, and with nobody else in it."""
    import grp
    import pwd

    try:
        user, members = pwd.getpwuid(owner), grp.getgrgid(group)
    except KeyError:
        return False
    return members.gr_name == user.pw_name and set(members.gr_mem) <= {user.pw_name}


def _user(number: int) -> str:
    """The name of a user, or the number of one who has none."""
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None
