"""Measuring a checkpoint with several processes: numpy's work on a piece that fits the cache is too short for threads.

Two threads on two cores are no faster than one (each of a dozen calls a piece takes 20 µs, and waits for the
interpreter's lock as long); two processes are twice as fast. Each measures whole tensors, so that the numbers are the
same for any number of them.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from initaudit.checkpoint.reading import Reader
from initaudit.checkpoint.values import Entry, Shard
from initaudit.statistics import PIECE_BYTES, Statistics, measure

WORTH_IT = 1_000_000_000
"""Bytes from which on the quarter of a second that a process takes to start is made up for."""

BATCH_BYTES = 100_000_000
"""What a process is given at a time: enough to be no trouble, little enough for all to end together."""

Batch = tuple[Shard, tuple[Entry, ...]]


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure_all(
    judged: Sequence[Batch], *, workers: int = 1, progress: Callable[[int], None] | None = None
) -> dict[str, Statistics]:
    """The statistics of some tensors of each shard, by name.

    Raises:
        CheckpointError: a file cannot be read to its end, or was changed meanwhile.

    """
    told = progress or (lambda count: None)
    found: dict[str, Statistics] = {}
    batches = list(_batches(judged))
    if min(workers, len(batches)) < 2 or sum(map(_bytes, batches)) < WORTH_IT:
        for whole in judged:
            found |= measure_batch(whole, told)
        return found
    import multiprocessing  # costs a twentieth of a second, which most runs need not pay
    from concurrent.futures import ProcessPoolExecutor

    # Not forked: a process with threads (a progress bar's, CUDA's) may hold locks that nobody would ever release.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(batches)), mp_context=context) as pool:
        for batch, measured in zip(batches, pool.map(measure_batch, batches), strict=True):
            found |= measured
            told(_bytes(batch))
    return found


def measure_batch(batch: Batch, progress: Callable[[int], None] | None = None) -> dict[str, Statistics]:
    """The statistics of some tensors of one shard; ``progress`` is told the bytes of each."""
    shard, entries = batch
    found = {}
    with Reader.opened(shard, PIECE_BYTES) as reader:
        for entry in entries:
            found[entry.name] = measure(reader, entry)
            if progress is not None:
                progress(entry.end - entry.begin)
    return found


def _batches(judged: Iterable[Batch]) -> Iterator[Batch]:
    """The same in runs of up to `BATCH_BYTES`, in the order of the files; a larger tensor is a run of its own."""
    for shard, entries in judged:
        run: list[Entry] = []
        for entry in entries:
            if run and entry.end - run[0].begin > BATCH_BYTES:
                yield shard, tuple(run)
                run = []
            run.append(entry)
        if run:
            yield shard, tuple(run)


def _bytes(batch: Batch) -> int:
    return sum(entry.end - entry.begin for entry in batch[1])
