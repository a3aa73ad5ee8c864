"""``fix --in-place`` killed time after time: ``python -m tests.kills PATH WHOLE`` prints how each kill ended, as JSON.

What takes longest of a run are its imports, in which a kill meets nothing. Here they are done once, and each run is a
fork: a kill then meets the repair itself.
"""

import json
import os
import random
import signal
import statistics
import sys
import time
from pathlib import Path

import initaudit.repair.drawing  # noqa: F401 (the reason for all this)
from initaudit.cli import main
from initaudit.repair import names

AT_RANDOM, AT_A_COPY = 20, 4


def started(path):
    """The number of a process that repairs a file."""
    child = os.fork()
    if child:
        return child
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    status = 2
    try:
        status = main(["fix", str(path), "--in-place"])
    finally:
        os._exit(status)


def killed_by(child):
    """What a process was killed by, 0 where it came to its end."""
    return os.WTERMSIG(status) if os.WIFSIGNALED(status := os.waitpid(child, 0)[1]) else 0


def timed(path):
    start = time.monotonic()
    assert killed_by(started(path)) == 0
    return time.monotonic() - start


def kills(path, whole):
    """Of each kill: when it came, whether it met the process, what the file holds now, and how many copies are left."""
    broken, takes = path.read_bytes(), []
    for _ in range(3):
        takes.append(timed(path))
        path.write_bytes(broken)
    contents, draw = {broken: "original", whole: "whole"}, random.Random(0)
    for number in range(AT_RANDOM + AT_A_COPY):
        when = "random" if number < AT_RANDOM else "copy"
        before = names.leftovers(path.parent)
        child = started(path)
        if when == "random":
            time.sleep(draw.uniform(0, 1.1) * statistics.median(takes))
        else:
            deadline = time.monotonic() + 10
            while names.leftovers(path.parent) == before and time.monotonic() < deadline:
                pass
        os.kill(child, signal.SIGKILL)
        met = killed_by(child) == signal.SIGKILL
        left = len(names.leftovers(path.parent)) - len(before)
        yield {"when": when, "met": met, "file": contents.get(path.read_bytes(), "torn"), "left": left}
        path.write_bytes(broken)


if __name__ == "__main__":
    print(json.dumps(list(kills(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()))))
