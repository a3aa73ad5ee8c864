"""A repair killed before each change of a name: ``python -m tests.renames FOLDER WAY SYSTEM`` says how each ended.

SYSTEM is one that can swap names, that has links alone, or that has neither.
Each run is a fork, since the imports take longer than all the rest. Before each change it is also seen whether
anybody may read what they could not before.
"""

import errno
import json
import os
import shutil
import signal
import stat
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import initaudit.repair.fixing  # noqa: F401 (the reason for forking)
from initaudit.cli import main
from initaudit.repair import names

CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.symlink"}
MOST, WIDENED = 60, 99
ALLOWED = 0o640
"""What is allowed of the checkpoint that is repaired."""


def watch(folder, number):
    """Kill this process before its change of that number in a folder; end it where anybody may do more than before."""
    seen = 0

    def hook(event, arguments):
        nonlocal seen
        if event == "open":
            if not (isinstance(arguments[2], int) and arguments[2] & os.O_CREAT):
                return
        elif event not in CHANGES:
            return
        if not any(isinstance(a, str | Path) and str(a).startswith(str(folder)) for a in arguments):
            return
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        if is_wider(folder):
            os._exit(WIDENED)

    sys.addaudithook(hook)


def is_wider(folder):
    """Whether a file with weights, be it a copy that grows, may be read by anybody who might not before."""
    for parent, _, files in os.walk(folder):
        reachable = all(
            p == folder or not str(p).startswith(str(folder)) or p.stat().st_mode & 0o011
            for p in [Path(parent), *Path(parent).parents]
        )
        for name in files:
            if reachable and "safetensors" in name and "index" not in name and mode_of(Path(parent) / name) & ~ALLOWED:
                return True
    return False


def mode_of(path):
    return stat.S_IMODE(path.lstat().st_mode)


def ran(arguments, folder=None, number=0):
    """How a repair in a process of its own ended."""
    child = os.fork()
    if not child:
        status = 2
        try:
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                if folder is not None:
                    watch(folder, number)
                status = main(list(map(str, arguments)))
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def said(*arguments):
    """The exit status of a command, and what it says to stderr."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as complaints:
        return main(list(map(str, arguments))), complaints.getvalue()


def contents(folder):
    """All files of a folder by name, less what killed runs have left."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.endswith(names.SUFFIX) for part in path.parts)
        and ".initaudit" not in path.name
    }


def copies(folder):
    """What lies under the names of copies, wherever."""
    return [p.read_bytes() for p in folder.rglob("*") if p.is_file() and names.SUFFIX in str(p)]


def arguments_of(way, folder):
    """The command of a way to repair what is in ``folder/in``."""
    source, output = folder / "in", folder / "out"
    return {
        "one": ["fix", source / "model-0.safetensors", "--in-place"],
        "shards": ["fix", source, "--in-place"],
        "backup": ["fix", source, "--in-place", "--backup"],
        "file": ["fix", source / "model-0.safetensors", "--output", folder / "out.safetensors"],
        "folder": ["fix", source, "--output", output],
        "force": ["fix", source, "--output", output, "--force"],
    }[way]


def prepared(start, folder, way):
    """The folder as it is before a run; by force, an older checkpoint has the name of the output."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(start, folder)
    if way == "force":
        shutil.copytree(folder / "in", folder / "out")
        for path in (folder / "out").glob("*.safetensors"):
            path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")


def kills(start, way):
    """Of each kill before a change of a name: what is there then, and after the next run."""
    folder = start.with_name("work")
    prepared(start, folder, way)
    before = contents(folder)
    assert ran(arguments_of(way, folder)) == 0, "the repair itself fails"
    whole = contents(folder)
    for number in range(1, MOST):
        prepared(start, folder, way)
        status = ran(arguments_of(way, folder), folder, number)
        if status != -signal.SIGKILL:
            yield {"number": number, "status": status, "killed": False}
            return
        there = contents(folder)
        odd = [name for name in there if there[name] not in (before.get(name), whole.get(name))]
        held = [*there.values(), *copies(folder)]
        lost = [
            name
            for name in before
            if name.startswith("in/") and before[name] not in held and way in ("file", "folder", "force")
        ]
        lost += [name for name in before if there.get(name) not in (before[name], whole.get(name))]
        mixed = {
            part: {
                there.get(n) == whole[n]
                for n in whole
                if n.startswith(part) and before.get(n) != whole[n] and n.endswith("rs")
            }
            for part in ("in/", "out/")
        }
        half = [part for part, states in mixed.items() if len(states) == 2]
        checked = [said("check", folder / part, "--isolated") for part in half]
        again = ran(arguments_of(way, folder))
        yield {
            "number": number, "killed": True, "odd": odd, "lost": lost, "half": half, "checked": checked,
            "again": again, "whole": contents(folder) == whole,
        }  # fmt: skip


def refuse(*arguments, **more):
    """What a system says that has no hard links."""
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


if __name__ == "__main__":
    if sys.argv[3] != "swap":
        names._system_call = lambda: None
    if sys.argv[3] == "neither":
        os.link = refuse
    print(json.dumps(list(kills(Path(sys.argv[1]), sys.argv[2]))))
