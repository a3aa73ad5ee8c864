"""Where the time of `check` goes, stage by stage, in one process.

python tests/benchmarks/stages.py PATH
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does, before numpy is imported


class Clock:
    """Prints what has passed since the last stage ended."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def ends(self, stage: str) -> None:
        """Say how long a stage took."""
        print(f"  {stage:28s} {time.perf_counter() - self._last:6.2f} s")
        self._last = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    path = parser.parse_args().path
    clock = Clock()
    from initaudit.audit import judge
    from initaudit.checkpoint import find_checkpoints
    from initaudit.layers import understand
    from initaudit.outcome import Outcome
    from initaudit.registry import load_rules
    from initaudit.report.text import render
    from initaudit.schemes import Draw, recognise
    from initaudit.understanding import Understood
    from initaudit.workers import measure_all

    rules = tuple(load_rules().values())
    clock.ends("imports")
    (checkpoint,) = find_checkpoints(path)
    clock.ends("headers")
    statistics = measure_all(checkpoint.shards).statistics
    clock.ends("the one pass")
    parts = understand(checkpoint.entries, statistics, checkpoint.config)
    clock.ends("understanding")
    draws = (Draw(entry, parts[entry.name], statistics[entry.name]) for entry in checkpoint.entries)
    schemes = recognise(draws, checkpoint.config)
    clock.ends("schemes")
    audited = judge(Understood(checkpoint, parts, statistics, schemes), rules)
    clock.ends("rules")
    render(Outcome((audited,), (), rules))
    clock.ends("report")


if __name__ == "__main__":
    main()
