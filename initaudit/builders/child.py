"""What the other process does: build the model, understand it, and write that down. Only it runs the user's code."""

import os
import pickle
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from initaudit.builders.naming import Builder
from initaudit.checkpoint.values import CODE
from initaudit.errors import CheckpointError
from initaudit.findings import Failure
from initaudit.understanding import Understood, crashed

NO_TORCH = "is built with torch, which is not installed here: pip install 'initaudit[torch]'"


def main(task: str, answer: str) -> NoReturn:
    """Do the task of one file, write the answer to another, and end at once, whatever threads there are."""
    _end_with_parent()
    own = os.getpid()
    builder, exclude, recorded = pickle.loads(Path(task).read_bytes())
    result = _answered(builder, exclude, recorded=recorded)
    if os.getpid() == own:  # what the builder has forked comes by here, too
        beside = Path(f"{answer}.part")
        beside.write_bytes(pickle.dumps(result))
        beside.replace(answer)
    os._exit(0)


def _end_with_parent() -> None:
    """End, with all that was started, once the other end of standard input is closed; nobody else may read there."""
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)

    def follow() -> None:
        while os.read(pipe, 1):
            pass
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _answered(builder: Builder, exclude: Sequence[str], *, recorded: bool) -> Understood | Failure | None:
    """The model, understood; why there is none; or None where it is to be run without being watched."""
    try:
        import torch
    except ImportError as error:
        return Failure(str(builder), f"{NO_TORCH} ({error})")
    from initaudit.builders.building import build
    from initaudit.builders.recording import Recording, is_to_blame
    from initaudit.modules import understood_live

    watch = Recording() if recorded else None
    try:
        with watch or nullcontext():
            model = build(builder)
    except CheckpointError as error:
        if watch is not None and is_to_blame(error.__cause__):
            return None
        return Failure(error.path, error.reason)
    try:
        with torch.no_grad():
            one = understood_live(model, exclude=exclude, written=watch.written if watch else None)
    except CheckpointError as error:
        return Failure(str(builder), error.reason)
    except Exception as error:
        return crashed(str(builder), error)
    return _named(one, builder)


def _named(one: Understood, builder: Builder) -> Understood:
    """The same under the name that the user gave it, of nothing but plain values: torch is not loaded over there."""
    checkpoint = one.checkpoint
    note = f"built with seed {builder.seed} on the CPU: {checkpoint.path}"
    shards = tuple(replace(shard, path=Path(str(builder))) for shard in checkpoint.shards)
    config = {key: _plain(value) for key, value in checkpoint.config.items()}
    notes = (note, *checkpoint.notes)
    built = replace(checkpoint, path=str(builder), format=CODE, shards=shards, config=config, notes=notes)
    return replace(one, checkpoint=built)


def _plain(value: Any) -> Any:
    """A value of a configuration as JSON would hold it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    return str(value)
