"""The process that builds a model: started, limited in time, listened to, and ended with all that it has started."""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

from initaudit.builders.naming import Builder
from initaudit.errors import errno_text
from initaudit.findings import Failure
from initaudit.understanding import Understood

KEPT_LINES = 20
"""What is kept of that which code prints: where it dies, its last line may say of what."""
LONGEST_LINE = 2000
GRACE = 5.0
"""Seconds to wait for what a process that has ended still holds open."""

_START = "import sys; sys.path.append(sys.argv[1]); from initaudit.builders.child import main; main(*sys.argv[2:])"
"""Our own package is looked for where it is now, and last; the user's folder is not looked at before it is his turn."""


def understood_built(builder: Builder, *, exclude: Sequence[str] = ()) -> Understood | Failure:
    """The model that code builds, understood by the types of its layers, or why there is none.

    It is built in another process, on the CPU and from a seed: what code prints goes nowhere, and what it does to its
    process ends with it. Where it fails only because it is watched (`initaudit.builders.recording`), it is run once
    more without that.
    """
    found = _run(builder, exclude, recorded=True)
    found = _run(builder, exclude, recorded=False) if found is None else found
    return found or Failure(str(builder), "was not built")


def _run(builder: Builder, exclude: Sequence[str], *, recorded: bool) -> Understood | Failure | None:
    """The same, of one process; None where it asks to be run without being watched."""
    with tempfile.TemporaryDirectory(prefix="initaudit-", ignore_cleanup_errors=True) as folder:
        task, answer = Path(folder) / "task", Path(folder) / "answer"
        said: deque[str] = deque(maxlen=KEPT_LINES)
        try:
            task.write_bytes(pickle.dumps((_absolute(builder), tuple(exclude), recorded)))
            process = _started(task, answer)
        except OSError as error:
            return Failure(str(builder), f"no process can be started to build it: {errno_text(error)}")
        reader = threading.Thread(target=_listen, args=(process.stdout, said), daemon=True)
        reader.start()
        try:
            status = process.wait(builder.time_limit)
        except subprocess.TimeoutExpired:
            why = f"was not built within {builder.time_limit:g} seconds: give it more by --time-limit"
            return Failure(str(builder), why)
        finally:
            _end(process)
            reader.join(GRACE)
            if process.stdout is not None and not reader.is_alive():
                process.stdout.close()
        try:
            result: Understood | Failure | None = pickle.loads(answer.read_bytes())
        except Exception:  # there is none, or not all of it
            return Failure(str(builder), f"its process ended before the model was built: {_ending(status, said)}")
        return result


def _absolute(builder: Builder) -> Builder:
    folder = builder.folder.absolute()
    return replace(builder, folder=folder, configured=builder.configured and str(Path(builder.configured).absolute()))


def _started(task: Path, answer: Path) -> "subprocess.Popen[bytes]":
    """The process, in a group of its own; it ends when the pipe to its standard input does, and so when this one dies.

    No GPU is seen there, and sets of strings have one order, so that one seed gives the same values everywhere.
    """
    package = Path(__file__).parents[2]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _START, str(package), str(task), str(answer)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


def _listen(stream: IO[bytes] | None, said: deque[str]) -> None:
    """Keep the last lines of what a process prints, however much that is."""
    while stream is not None and (line := stream.readline(LONGEST_LINE)):
        text = line.decode("utf-8", "replace").strip()
        if text:
            said.append(text)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process, and what it has started and left behind."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    with suppress(OSError):
        process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _ending(status: int, said: Sequence[str]) -> str:
    """How a process ended, with the last line that it printed."""
    if status < 0:
        try:
            how = f"it was killed by {signal.Signals(-status).name}"
        except ValueError:
            how = f"it was killed by signal {-status}"
    else:
        how = f"it left with status {status}"
    return f"{how}; the last that it said: {said[-1]}" if said else how
