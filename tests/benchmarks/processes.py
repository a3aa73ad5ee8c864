"""Whole processes, timed, with the most memory that each had."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import NamedTuple

RUNNER = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__") if sys.argv[0] == "initaudit" else exec(sys.argv[0])
finally:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print("peak", peak.split()[1], file=sys.stderr)
"""


class Run(NamedTuple):
    """Seconds of a whole process, and the most memory it had, in MB; that of its own processes not included."""

    seconds: float
    peak: float


def run(*arguments: str) -> Run:
    """One process, begun with nothing left to be written to the disk."""
    os.sync()
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", RUNNER, *arguments], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    return Run(seconds, int(done.stderr.rsplit("peak ", 1)[1]) / 1024)


def median(runs: Iterable[Run]) -> float:
    """The median of their seconds."""
    return statistics.median(one.seconds for one in runs)
