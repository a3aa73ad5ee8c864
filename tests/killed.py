"""The command with helpers that something happens to: ``python -m tests.killed WHAT ARGUMENTS…``."""

import os
import signal
import sys
import time

from initaudit import workers
from initaudit.cli import main

PARENT = os.getpid()
_measure = workers.measure_batch


def measure_batch(batch, progress=None, **asked):
    """Measure as ever, unless this is a helper: then the thing happens, and nothing more for a minute."""
    if os.getpid() != PARENT:
        what = sys.argv[1]
        os.kill(os.getpid() if what == "helper" else PARENT, signal.SIGINT if what == "interrupt" else signal.SIGKILL)
        if what == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)  # a terminal sends it to both
        time.sleep(60)
    return _measure(batch, progress, **asked)


if __name__ == "__main__":
    measure_batch.__module__ = workers.__name__
    workers.measure_batch = measure_batch
    workers.WORTH_IT, workers.BATCH_BYTES = 0, 10_000
    sys.exit(main(sys.argv[2:]))
