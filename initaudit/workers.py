"""Measuring a checkpoint with several processes: numpy's work on a piece that fits the cache is too short for threads.

Two threads on two cores are no faster than one (each of a dozen calls a piece takes 20 µs, and waits for the
interpreter's lock as long); two processes are twice as fast. Each measures whole tensors, so that the numbers are the
same for any number of them. This process measures while the others start, and goes on beside them.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from initaudit.checkpoint.checksums import Checked, wrong_records
from initaudit.checkpoint.reading import Reader, require_unchanged
from initaudit.checkpoint.sources import open_sources
from initaudit.checkpoint.values import Entry, Shard
from initaudit.errors import CheckpointError, InitauditError
from initaudit.statistics import PIECE_BYTES, Scratch, Statistics, measure

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

Task = TypeVar("Task")
Answer = TypeVar("Answer")

WORTH_IT = 1_000_000_000
"""Bytes from which on the tenth of a second that several processes take to start and to answer is made up for."""

TENSOR_BYTES = 200_000
"""What is read in the tenth of a millisecond that a tensor takes, however small it is."""

BATCH_BYTES = 32_000_000
"""What a process is given at a time: enough to be no trouble, little enough for all to end together."""

PATIENCE = 1.0
"""Seconds after which it is looked whether anybody is there to answer."""

AHEAD = 2
"""Batches that each other process is given ahead, so that it never waits for this one to end its own."""

WAS_KILLED = "was killed, perhaps for want of memory: free some, or try --workers 1"


@dataclass(frozen=True, slots=True)
class Measured:
    """The statistics of some tensors by name, and the records of archives that are not what their checksums say.

    Of a record the name of its file comes first.
    """

    statistics: dict[str, Statistics] = field(default_factory=dict)
    wrong: list[tuple[str, str]] = field(default_factory=list)

    def add(self, more: "Measured") -> None:
        """Take in those of other tensors."""
        self.statistics.update(more.statistics)
        self.wrong.extend(more.wrong)


def available_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure_all(
    judged: Sequence[Shard],
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
    histograms: bool = False,
) -> Measured:
    """The statistics of the tensors of some shards.

    Raises:
        CheckpointError: a file cannot be read to its end, is not what its checksums say, or was changed meanwhile.

    """
    told = progress or (lambda count: None)
    batches = deque(_batches(judged))
    helpers = min(workers, len(batches)) - 1
    if helpers < 1 or sum(map(_effort, batches)) < WORTH_IT:
        found = Measured()
        for shard in judged:
            found.add(measure_batch(shard, told, histograms=histograms))
    else:
        found = _measure_together(batches, helpers, told, histograms=histograms)
    for shard in judged:
        found.wrong.extend((shard.path.name, record) for record in _wrong_beside(shard))
    for shard in judged:  # one that was read first may have been replaced while the last was read
        require_unchanged(shard)
    return found


def _measure_together(
    batches: deque[Shard], helpers: int, told: Callable[[int], None], *, histograms: bool
) -> Measured:
    """The statistics of all tensors of some batches, measured by this process and some helpers."""
    import multiprocessing  # costs a twentieth of a second, which most runs need not pay
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    path = batches[0].path
    # A fork starts at once. A process with threads (a progress bar's, CUDA's) must not be forked: one of them may hold
    # a lock that nobody would ever release.
    context = multiprocessing.get_context("fork" if _is_alone() else "spawn")
    try:
        with (
            _noted_deaths() as deaths,
            ProcessPoolExecutor(helpers, mp_context=context, initializer=_live_with_parent) as pool,
        ):
            return _share_out(batches, pool, deaths, AHEAD * helpers, told, histograms=histograms)
    except BrokenProcessPool as error:
        raise CheckpointError(path, f"a process that read it {WAS_KILLED}") from error
    except (OSError, NotImplementedError) as error:  # no more processes are allowed, or none of the locks they share
        raise CheckpointError(path, f"no process can be started to help read it ({error}): try --workers 1") from error


def _share_out(
    batches: deque[Shard],
    pool: "ProcessPoolExecutor",
    deaths: Sequence[BaseException],
    ahead: int,
    told: Callable[[int], None],
    *,
    histograms: bool,
) -> Measured:
    """The statistics of all tensors of some batches: a pool is kept ``ahead`` of this process, which measures, too.

    Once a thread of the pool is among the ``deaths``, nobody would ever answer.
    """
    from concurrent.futures import FIRST_COMPLETED, Future, wait

    found = Measured()
    pending: dict[Future[Measured], Shard] = {}
    try:
        while batches or pending:
            while batches and len(pending) < ahead:
                batch = batches.popleft()
                pending[pool.submit(measure_batch, batch, histograms=histograms)] = batch
            if batches:
                found.add(measure_batch(batches.popleft(), told, histograms=histograms))
            if deaths:
                raise deaths[0]
            for done in wait(pending, timeout=0 if batches else PATIENCE, return_when=FIRST_COMPLETED).done:
                found.add(done.result())
                told(_bytes(pending.pop(done)))
    finally:
        # Waited for: at the end of Python the pool is woken once more, by a pipe that its thread may be closing then.
        pool.shutdown(wait=True, cancel_futures=True)
    return found


class Team:
    """Helpers that are started when they are first needed, and this process, which works beside them."""

    def __init__(self, helpers: int) -> None:
        self._helpers = helpers
        self._open = ExitStack()
        self._pool: ProcessPoolExecutor | None = None
        self._deaths: Sequence[BaseException] = ()

    def close(self) -> None:
        """End the helpers."""
        self._open.close()
        self._pool = None

    def each(self, function: Callable[[Task], Answer], tasks: Iterable[Task]) -> Iterator[Answer]:
        """What a function of a module makes of each task, in order.

        Raises:
            InitauditError: a helper was killed, or none can be started.

        """
        if self._helpers < 1:
            yield from map(function, tasks)
            return
        from concurrent.futures.process import BrokenProcessPool

        waiting: deque[tuple[Task, Future[Answer]]] = deque()
        left = iter(tasks)
        try:
            pool = self._started()
            while True:
                for task in islice(left, AHEAD * self._helpers + 1 - len(waiting)):
                    waiting.append((task, pool.submit(function, task)))
                if not waiting:
                    return
                task, answer = waiting.popleft()
                yield function(task) if answer.cancel() else self._answered(answer)
        except BrokenProcessPool as error:
            raise InitauditError(f"a process that helped {WAS_KILLED}") from error
        except (OSError, NotImplementedError) as error:
            raise InitauditError(f"no process can be started to help ({error}): try --workers 1") from error
        finally:
            for _, answer in waiting:
                answer.cancel()

    def _started(self) -> "ProcessPoolExecutor":
        if self._pool is None:
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor

            context = multiprocessing.get_context("fork" if _is_alone() else "spawn")
            self._deaths = self._open.enter_context(_noted_deaths())
            pool = ProcessPoolExecutor(self._helpers, mp_context=context, initializer=_live_with_parent)
            self._open.callback(pool.shutdown, wait=True, cancel_futures=True)
            self._pool = pool
        return self._pool

    def _answered(self, answer: "Future[Answer]") -> Answer:
        """What a helper answers; once a thread of the pool has died, nobody ever would."""
        from concurrent.futures import wait

        while not wait((answer,), timeout=PATIENCE).done:
            if self._deaths:
                raise self._deaths[0]
        return answer.result()


@contextmanager
def _noted_deaths() -> Iterator[list[BaseException]]:
    """What threads died of meanwhile, for want of memory perhaps; it is raised here, and not printed there."""
    deaths: list[BaseException] = []

    def note(died: threading.ExceptHookArgs) -> None:
        deaths.append(died.exc_value or RuntimeError("a thread died"))

    before, threading.excepthook = threading.excepthook, note
    try:
        yield deaths
    finally:
        threading.excepthook = before


def _live_with_parent() -> None:
    """End at once when interrupted, without a word, and once the process that started this one has ended.

    A helper waits for work on a pipe whose other end it holds itself: it would wait for ever, and with it whoever
    waits for the end of its output.
    """
    from multiprocessing import parent_process

    parent = parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    try:
        threading.Thread(target=follow, daemon=True).start()
    except RuntimeError:  # there is no memory for it, nor to say so at length: the other end hears of it
        os._exit(1)


def _is_alone() -> bool:
    """Whether this process has one thread and no other, as far as the system tells."""
    threads = Path("/proc/self/task")
    return threads.is_dir() and len(list(threads.iterdir())) == 1


def measure_batch(batch: Shard, progress: Callable[[int], None] | None = None, *, histograms: bool = False) -> Measured:
    """The statistics of all tensors of a shard, or of a part of one; ``progress`` is told the bytes of each."""
    found = Measured()
    scratch = Scratch.new()
    with open_sources(batch, PIECE_BYTES) as sources:
        for entry in batch.entries:
            source = sources.at(entry)
            found.statistics[entry.name] = measure(source, entry, scratch, histogram=histograms)
            if isinstance(source, Checked) and source.is_wrong:
                if source.checksum.is_binding:
                    raise source.checksum.refusal(batch.path)
                found.wrong.append((batch.path.name, source.checksum.record))
            if progress is not None:
                progress(entry.size)
    return found


def _wrong_beside(judged: Shard) -> Iterator[str]:
    """The records of a shard that are not what their checksums say, of those that were not measured."""
    if not judged.records:
        return
    measured = {judged.sums[entry.name].record for entry in judged.entries if entry.name in judged.sums}
    binding = {checksum.record: checksum for checksum in judged.sums.values() if checksum.is_binding}
    with Reader.opened(judged, PIECE_BYTES) as reader:
        for record in wrong_records(reader, measured):
            if record.name in binding:
                raise binding[record.name].refusal(judged.path)
            yield record.name


def _batches(judged: Iterable[Shard]) -> Iterator[Shard]:
    """The same in parts of up to `BATCH_BYTES`, in the order of the files; a larger tensor is a part of its own."""
    for shard in judged:
        run: list[Entry] = []
        effort = 0
        for entry in shard.entries:
            more = entry.size + TENSOR_BYTES
            if run and effort + more > BATCH_BYTES:
                yield replace(shard, entries=tuple(run))
                run, effort = [], 0
            run.append(entry)
            effort += more
        if run:
            yield _part(shard, run)


def _part(shard: Shard, entries: Sequence[Entry]) -> Shard:
    """A shard of some of its entries, with the checksums of no others: a part goes to its process through a pipe."""
    sums = {entry.name: shard.sums[entry.name] for entry in entries if entry.name in shard.sums}
    return replace(shard, entries=tuple(entries), records=(), sums=sums)


def _bytes(batch: Shard) -> int:
    return sum(entry.size for entry in batch.entries)


def _effort(batch: Shard) -> int:
    """Its bytes, and what its tensors cost beside."""
    return _bytes(batch) + TENSOR_BYTES * len(batch.entries)
