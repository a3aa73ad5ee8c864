"""Measuring a checkpoint with several processes: numpy's work on a piece that fits the cache is too short for threads.

Two threads on two cores are no faster than one (each of a dozen calls a piece takes 20 µs, and waits for the
interpreter's lock as long); two processes are twice as fast. Each measures whole tensors, so that the numbers are the
same for any number of them. This process measures while the others start, and goes on beside them.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from initaudit.checkpoint.reading import Reader
from initaudit.checkpoint.values import Entry, Shard
from initaudit.statistics import PIECE_BYTES, Scratch, Statistics, measure

WORTH_IT = 1_000_000_000
"""Bytes from which on the tenth of a second that several processes take to start and to answer is made up for."""

TENSOR_BYTES = 200_000
"""What is read in the tenth of a millisecond that a tensor takes, however small it is."""

BATCH_BYTES = 32_000_000
"""What a process is given at a time: enough to be no trouble, little enough for all to end together."""

AHEAD = 2
"""Batches that each other process is given ahead, so that it never waits for this one to end its own."""


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure_all(
    judged: Sequence[Shard],
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
    histograms: bool = False,
) -> dict[str, Statistics]:
    """The statistics of the tensors of some shards, by name.

    Raises:
        CheckpointError: a file cannot be read to its end, or was changed meanwhile.

    """
    told = progress or (lambda count: None)
    batches = deque(_batches(judged))
    helpers = min(workers, len(batches)) - 1
    if helpers < 1 or sum(map(_effort, batches)) < WORTH_IT:
        found: dict[str, Statistics] = {}
        for shard in judged:
            found |= measure_batch(shard, told, histograms=histograms)
        return found
    return _measure_together(batches, helpers, told, histograms=histograms)


def _measure_together(
    batches: deque[Shard], helpers: int, told: Callable[[int], None], *, histograms: bool
) -> dict[str, Statistics]:
    """The statistics of all tensors of some batches, measured by this process and some helpers."""
    import multiprocessing  # costs a twentieth of a second, which most runs need not pay
    from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

    found: dict[str, Statistics] = {}
    # A fork starts at once. A process with threads (a progress bar's, CUDA's) must not be forked: one of them may hold
    # a lock that nobody would ever release.
    context = multiprocessing.get_context("fork" if _is_alone() else "spawn")
    with ProcessPoolExecutor(helpers, mp_context=context) as pool:
        pending: dict[Future[dict[str, Statistics]], Shard] = {}
        try:
            while batches or pending:
                while batches and len(pending) < AHEAD * helpers:
                    batch = batches.popleft()
                    pending[pool.submit(measure_batch, batch, histograms=histograms)] = batch
                if batches:
                    found |= measure_batch(batches.popleft(), told, histograms=histograms)
                for done in wait(pending, timeout=0 if batches else None, return_when=FIRST_COMPLETED).done:
                    found |= done.result()
                    told(_bytes(pending.pop(done)))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return found


def _is_alone() -> bool:
    """Whether this process has one thread and no other, as far as the system tells."""
    threads = Path("/proc/self/task")
    return threads.is_dir() and len(list(threads.iterdir())) == 1


def measure_batch(
    batch: Shard, progress: Callable[[int], None] | None = None, *, histograms: bool = False
) -> dict[str, Statistics]:
    """The statistics of all tensors of a shard, or of a part of one; ``progress`` is told the bytes of each."""
    found = {}
    scratch = Scratch.new()
    with Reader.opened(batch, PIECE_BYTES) as reader:
        for entry in batch.entries:
            found[entry.name] = measure(reader, entry, scratch, histogram=histograms)
            if progress is not None:
                progress(entry.end - entry.begin)
    return found


def _batches(judged: Iterable[Shard]) -> Iterator[Shard]:
    """The same in parts of up to `BATCH_BYTES`, in the order of the files; a larger tensor is a part of its own."""
    for shard in judged:
        run: list[Entry] = []
        effort = 0
        for entry in shard.entries:
            more = entry.end - entry.begin + TENSOR_BYTES
            if run and effort + more > BATCH_BYTES:
                yield replace(shard, entries=tuple(run))
                run, effort = [], 0
            run.append(entry)
            effort += more
        if run:
            yield replace(shard, entries=tuple(run))


def _bytes(batch: Shard) -> int:
    return sum(entry.end - entry.begin for entry in batch.entries)


def _effort(batch: Shard) -> int:
    """Its bytes, and what its tensors cost beside."""
    return _bytes(batch) + TENSOR_BYTES * len(batch.entries)
