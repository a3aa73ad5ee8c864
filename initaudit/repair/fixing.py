"""The whole of a repair: audit, plan, draw into copies, audit these again, and give them their names."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from initaudit.audit import judge
from initaudit.checkpoint.foreign import not_on_disk
from initaudit.checkpoint.opening import reopen
from initaudit.checkpoint.rejoining import rejoin
from initaudit.checkpoint.sources import open_sources
from initaudit.checkpoint.values import Checkpoint, Shard
from initaudit.findings import Failure
from initaudit.remedies import Wish
from initaudit.repair.checksums import mend_checksums
from initaudit.repair.drawing import Draftsman
from initaudit.repair.locks import Locks
from initaudit.repair.patching import (
    Copy,
    copied,
    digest_shared,
    overwrite,
    require_patchable,
    require_same_entries,
    settle,
)
from initaudit.repair.pieces import archives_of, files_of, overwrite_pieces
from initaudit.repair.planning import plan_repair
from initaudit.repair.sharing import without_shared
from initaudit.repair.targets import Destination, Targets
from initaudit.repair.values import Plan, Redraw, Repair, Repaired, Unrepaired
from initaudit.rule import Rule
from initaudit.statistics import PIECE_BYTES, Statistics, measure
from initaudit.understanding import WHOLE, Progress, Reading, Understood, understood, understood_from


def fix(
    path: Path,
    rules: Sequence[Rule],
    destination: Destination,
    reading: Reading = WHOLE,
    *,
    wishes: Sequence[Wish] = (),
    seed: int = 0,
    device: str = "auto",
    told: Callable[[str], None] | None = None,
) -> Repair:
    """Redraw what ``check`` reports at warning or above, and write the result where it is wanted.

    What cannot be audited is among the failures of what is returned, and then nothing is written. ``told`` hears what
    the user should know while it lasts, such as whom it waits for.

    Raises:
        CheckpointError: something cannot be written, or was changed meanwhile; the original is as it was.
        InitauditError: the device is missing, or torch, which draws on it.

    """
    elsewhere = not_on_disk(path)
    if elsewhere is not None:
        return Repair(seed, device, None, (), (), (Failure(*elsewhere),), ())
    with ExitStack() as stack:
        locks = stack.enter_context(Locks(told))
        targets = Targets(path, destination, locks)
        targets.claim()

        def claimed(checkpoint: Checkpoint) -> Progress | None:
            targets.claim_shards(checkpoint)
            return reading.progress(checkpoint) if reading.progress else None

        found = list(understood([path], replace(reading, progress=claimed)))
        found = [one for one in found if not _is_output(one, path, destination)]
        failures = tuple(one for one in found if isinstance(one, Failure))
        sound = [one for one in found if isinstance(one, Understood)]
        audited = [judge(one, rules, exclude=reading.exclude) for one in sound]
        failures += tuple(failure for one in audited for failure in one.failures)
        files = *(file for one in sound for file in one.checkpoint.files), *(Path(one.path) for one in failures)
        plans = [
            without_shared(plan_repair(judged, wishes), one.parts) for judged, one in zip(audited, sound, strict=True)
        ]
        unrepaired = tuple(row for plan in plans for row in plan.unrepaired)
        left = targets.leftovers(shard for one in sound for shard in one.checkpoint.shards)
        notes = tuple(f"left by a run that was killed, and may be removed: {name}" for name in left)
        notes += tuple(note for one in sound for note in one.checkpoint.notes)
        if not failures:
            notes += tuple(_without_use(sound, wishes, reading.exclude))
        if failures or destination.is_dry or not any(plan.redraws for plan in plans):
            planned = tuple(
                Repaired(plan.checkpoint.path, row, plan.before[row.tensor]) for plan in plans for row in plan.redraws
            )
            notes = (*locks.notes, *targets.notes, *notes)
            return Repair(seed, device, None, planned, unrepaired, failures, notes, files)
        fillings = [redraw.filling for plan in plans for redraw in plan.redraws]
        draftsman = stack.enter_context(Draftsman(seed, device, reading.workers, fillings))
        repaired: list[Repaired] = []
        still: list[Unrepaired] = []
        targets.require((one.checkpoint for one in sound), (shard for plan in plans for shard in _touched(plan)))
        for plan in plans:
            require_patchable(_touched(plan), plan.before.keys())
        targets.prepare(stack)
        for one, plan in zip(sound, plans, strict=True):
            copies: list[Copy] = []
            after: dict[str, Statistics] = {}
            for shard in plan.checkpoint.shards:
                made = [
                    stack.enter_context(copied(file, targets.beside(file), targets.kept))
                    for file in files_of(shard, _rewritten(shard, plan))
                ]
                if not made:
                    continue
                _redraw(made, shard, plan, draftsman)
                for copy in made:
                    mend_checksums(copy, archives_of(shard, copy.source.path))
                    targets.add(copy, settle(copy))
                copies += made
                after |= _measured(shard, made)
            repaired += _outcomes(plan, after, copies)
            still += _still_reported(one, plan, after, rules, reading.exclude)
        targets.take_names()
        notes = (*locks.notes, *targets.notes, *draftsman.notes, *notes)
        return Repair(
            seed, draftsman.device, targets.target, tuple(repaired), (*unrepaired, *still), failures, notes, files
        )


def _is_output(one: Understood | Failure, root: Path, destination: Destination) -> bool:
    """Whether a checkpoint lies in the output, which an earlier run may have put into the folder that is repaired."""
    output = destination.output and destination.output.absolute()
    if output is None or output == root.absolute() or not output.is_relative_to(root.absolute()):
        return False
    return Path(one.path if isinstance(one, Failure) else one.checkpoint.path).absolute().is_relative_to(output)


def _without_use(sound: Iterable[Understood], wishes: Iterable[Wish], exclude: Iterable[str]) -> Iterator[str]:
    """A note for each glob of the user's that no tensor's name matches: it is misspelt."""
    names = {entry.name for one in sound for entry in one.checkpoint.entries}
    for said, glob in [*(("scheme", wish.glob) for wish in wishes), *(("exclude", glob) for glob in exclude)]:
        if not any(fnmatchcase(name, glob) for name in names):
            yield f"{said} {glob}: no tensor has such a name"


def _touched(plan: Plan) -> tuple[Shard, ...]:
    """The files that hold something of a tensor to be redrawn."""
    return tuple(file for shard in plan.checkpoint.shards for file in files_of(shard, _rewritten(shard, plan)))


def _rewritten(shard: Shard, plan: Plan) -> dict[str, Redraw]:
    """The redraws by the tensors of a shard that get them: what is tied to one, and stored by itself, gets the same."""
    redraws = {redraw.tensor: redraw for redraw in plan.redraws}
    tied = {entry.name: redraws[entry.shared_with] for entry in shard.entries if entry.shared_with in redraws}
    return {**redraws, **(tied if shard.parts else {})}


def _redraw(copies: Sequence[Copy], shard: Shard, plan: Plan, draftsman: Draftsman) -> None:
    """Draw the tensors of a shard into the copies of its files."""
    redraws = _rewritten(shard, plan)
    by_path = {copy.source.path: copy for copy in copies}
    for entry in shard.entries:
        if entry.name in redraws:
            drawn = draftsman.draw(redraws[entry.name].tensor, redraws[entry.name].filling)
            if shard.parts:
                overwrite_pieces(by_path, shard, entry, drawn)
            else:
                overwrite(by_path[shard.path], entry, drawn)
    if not shard.parts:  # pieces share no bytes
        digest_shared(by_path[shard.path])


def _measured(shard: Shard, copies: Sequence[Copy]) -> dict[str, Statistics]:
    """The statistics of what was drawn, read back from the copies as a checkpoint is."""
    drawn = {name for copy in copies for name in copy.digests}
    if shard.parts:
        again = rejoin(shard, {copy.source.path: copy.path for copy in copies})
    else:
        again = reopen(shard, copies[0].path)
    require_same_entries(shard, again)
    drawn = {
        entry.name for entry in shard.entries if entry.name in drawn and (not entry.shared_with or not shard.parts)
    }
    with open_sources(again, PIECE_BYTES) as sources:
        return {e.name: measure(sources.at(e), e) for e in again.entries if e.name in drawn}


def _outcomes(plan: Plan, after: Mapping[str, Statistics], copies: Iterable[Copy]) -> list[Repaired]:
    digests = {name: pair for copy in copies for name, pair in copy.digests.items()}
    return [
        Repaired(plan.checkpoint.path, row, plan.before[row.tensor], after[row.tensor], *digests[row.tensor])
        for row in plan.redraws
    ]


def _still_reported(
    one: Understood, plan: Plan, after: Mapping[str, Statistics], rules: Sequence[Rule], exclude: Sequence[str]
) -> list[Unrepaired]:
    """What the whole checkpoint is still reported for: what was redrawn in vain, and what only shows now.

    A scheme that was asked for may be none; and a fault may hide another, which the audit sees once it is gone.
    """
    again = judge(understood_from(one.checkpoint, {**one.statistics, **after}), rules, exclude=exclude)
    redrawn: dict[str, Redraw] = {redraw.tensor: redraw for redraw in plan.redraws}
    known = {row.tensor for row in plan.unrepaired}
    said: dict[str, set[str]] = {}
    for finding in again.findings:
        if finding.asks_for_repair and finding.tensor not in known:
            said.setdefault(finding.tensor, set()).add(finding.rule)
    return [
        Unrepaired(
            plan.checkpoint.path,
            name,
            tuple(sorted(codes)),
            f"redrawn as {redrawn[name].remedy.scheme}, and still reported"
            if name in redrawn
            else "shows only now that the rest is redrawn: run fix again",
        )
        for name, codes in said.items()
    ]
