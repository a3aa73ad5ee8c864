"""A repair done again from its report: every tensor drawn anew, and held against the bytes of a file."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from initaudit.checkpoint.reading import Reader
from initaudit.checkpoint.values import Checkpoint, Entry, Shard
from initaudit.draws import Filling
from initaudit.errors import InitauditError
from initaudit.repair.drawing import Draftsman
from initaudit.repair.reports import Told, read_report
from initaudit.statistics import PIECE_BYTES
from initaudit.understanding import WHOLE, Reading, open_paths


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of it: the tensors that hold what was drawn, and what is wrong with each of the others."""

    path: Path
    equal: tuple[str, ...]
    unlike: tuple[tuple[str, str], ...]
    device: str
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def exit_status(self) -> int:
        """0 all are equal, 1 one is not."""
        return int(bool(self.unlike))


def verify(report: Path, path: Path, reading: Reading = WHOLE, *, device: str = "auto") -> Verified:
    """Draw again what a report of `fix` says was drawn, and compare.

    Raises:
        InitauditError: the two cannot be compared: the report is none or of another draw, the checkpoint cannot be
            read, or does not have the tensors; or the device is missing.

    """
    seed, told = read_report(report)
    checkpoints, failures = open_paths([path], reading.key, recursive=reading.recursive)
    if failures:
        raise InitauditError(f"{failures[0].path}: {failures[0].message}")
    found: dict[int, dict[str, Told]] = {}
    for row in told:
        at = _checkpoint_of(row, checkpoints, report)
        found.setdefault(at, {})[row.tensor] = row
    for at, rows in found.items():
        _require_comparable(checkpoints[at], rows, report)
    equal: list[str] = []
    unlike: list[tuple[str, str]] = []
    with ExitStack() as stack:
        fillings: list[Filling] = [row.filling for row in told]
        draftsman = stack.enter_context(Draftsman(seed, device, reading.workers, fillings))
        for at, rows in sorted(found.items()):
            for shard in checkpoints[at].shards:
                for name, wrong in _compared(shard, rows, draftsman):
                    if wrong:
                        unlike.append((name, wrong))
                    else:
                        equal.append(name)
        files = tuple(file for one in checkpoints for file in one.files)
        return Verified(path, tuple(sorted(equal)), tuple(sorted(unlike)), draftsman.device, draftsman.notes, files)


def _checkpoint_of(row: Told, checkpoints: Sequence[Checkpoint], report: Path) -> int:
    """Which of some checkpoints a row is about: the only one, else that whose path ends most alike.

    Raises:
        InitauditError: none does, or two do.

    """
    if len(checkpoints) == 1:
        return 0
    alike = [_common_end(Path(row.checkpoint), Path(one.path)) for one in checkpoints]
    best = max(alike, default=0)
    if not best or alike.count(best) > 1:
        raise InitauditError(f"{report}: it is not clear which checkpoint {row.checkpoint[:200]!r} is: name one file")
    return alike.index(best)


def _common_end(one: Path, other: Path) -> int:
    """How many parts of two paths are the same, from their ends."""
    count = 0
    for mine, its in zip(reversed(one.parts), reversed(other.parts), strict=False):
        if mine != its:
            break
        count += 1
    return count


def _require_comparable(checkpoint: Checkpoint, rows: Mapping[str, Told], report: Path) -> None:
    """See that a checkpoint has the tensors of a report, of the same dtype and shape.

    Raises:
        InitauditError: it does not.

    """
    entries = {entry.name: entry for entry in checkpoint.entries}
    for name, row in rows.items():
        entry = entries.get(name)
        if entry is None or entry.is_meta:
            raise InitauditError(f"{checkpoint.path}: has no tensor {name[:200]!r}, which {report} tells of")
        if (entry.dtype, entry.shape) != (row.filling.dtype, row.filling.shape):
            has, told = f"{entry.dtype} {list(entry.shape)}", f"{row.filling.dtype} {list(row.filling.shape)}"
            raise InitauditError(f"{checkpoint.path}: tensor {name[:200]!r} is {has}, and {told} in {report}")


def _compared(shard: Shard, rows: Mapping[str, Told], draftsman: Draftsman) -> Iterator[tuple[str, str]]:
    """The tensors of a shard that a report tells of, and what is wrong with each; empty where nothing is."""
    entries = [entry for entry in shard.entries if entry.name in rows]
    with Reader.opened(shard, PIECE_BYTES) as reader:
        for number, entry in enumerate(entries):
            hidden = [(e.begin, e.end) for e in _following(entries, number)]
            yield entry.name, _what_is_wrong(entry, rows[entry.name], hidden, reader, draftsman)


def _following(entries: Sequence[Entry], number: int) -> Iterator[Entry]:
    """The entries that share bytes with one and were drawn after it, so that their values stand there."""
    for other in entries[number + 1 :]:
        if other.begin >= entries[number].end:
            return
        yield other


def _what_is_wrong(
    entry: Entry, row: Told, hidden: Collection[tuple[int, int]], reader: Reader, draftsman: Draftsman
) -> str:
    """Why a tensor is not what its report says; empty where it is, as far as no other was drawn over it."""
    digest, source, at, wrong = hashlib.sha256(), reader.at(entry), entry.begin, 0
    for piece in draftsman.draw(entry.name, row.filling):
        digest.update(piece.data)
        for begin in range(0, len(piece), PIECE_BYTES):
            drawn = piece[begin : begin + PIECE_BYTES]
            differs = source.read(at, at + len(drawn)) != drawn
            for low, high in hidden:
                differs[max(low - at, 0) : max(high - at, 0)] = False
            wrong += int(differs.sum())
            at += len(drawn)
    if wrong:
        return f"{wrong:,} of {at - entry.begin:,} bytes are not what is drawn"
    is_told = row.digest is not None and not entry.strides and not hidden
    if is_told and row.digest != digest.hexdigest():
        return "holds what is drawn, which is not what the report's digest says"
    return ""
