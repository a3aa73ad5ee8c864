"""From a live model to a report: held as a checkpoint is, understood by its types, judged by the same rules."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from initaudit.audit import judge
from initaudit.checkpoint.nesting import NestingError, find_state_dict
from initaudit.checkpoint.sharing import mark_shared
from initaudit.checkpoint.torch_tensors import code_of, entry_of
from initaudit.checkpoint.values import Aside, Checkpoint, Entry, Shard, Stamp
from initaudit.errors import CheckpointError
from initaudit.findings import Failure
from initaudit.layers import understand
from initaudit.modules.holdings import Holding, holdings_of_dict, holdings_of_module
from initaudit.modules.measuring import measure_held
from initaudit.modules.origins import Written, origins_of
from initaudit.modules.reaching import BatchError, reach, require_batch
from initaudit.modules.types import in_shape, settle
from initaudit.outcome import Outcome
from initaudit.reach import Reach
from initaudit.rule import Rule
from initaudit.statistics import Scratch
from initaudit.understanding import (
    MOST_NAMED,
    WHOLE,
    Understood,
    crashed,
    understood_from,
    unfilled,
    why_left_out,
)

NOWHERE = Stamp(0, 0, 0, 0)
"""The stamp of what is no file."""

STATE_DICT = "state dict"


def audit_live(
    source: Any,
    rules: Sequence[Rule],
    *,
    exclude: Sequence[str] = (),
    key: str | None = None,
    batch: Any = None,
    alpha: float = WHOLE.alpha,
) -> Outcome:
    """Audit a module or a state dict, as `initaudit.audit.audit` does files; with a batch by a module's gradients, too.

    Raises:
        TypeError: it is neither, or the batch is none that a module takes.

    """
    if not isinstance(source, nn.Module | Mapping):
        raise TypeError(f"check takes a path, a torch.nn.Module or a state dict, not {type(source).__name__}")
    if batch is not None:
        require_batch(source, batch)
    try:
        one = understood_live(source, exclude=exclude, key=key, batch=batch)
        return Outcome((judge(one, rules, exclude=exclude, alpha=alpha),), (), tuple(rules))
    except CheckpointError as error:
        return Outcome((), (Failure(error.path, error.reason),), tuple(rules))
    except Exception as error:  # as for files: said, not thrown into a training script
        return Outcome((), (crashed(_name(source), error),), tuple(rules))


def understood_live(
    source: nn.Module | Mapping[str, Any],
    *,
    exclude: Sequence[str] = (),
    key: str | None = None,
    batch: Any = None,
    written: Written | None = None,
) -> Understood:
    """A module or a state dict, measured where its tensors lie, and understood; ``batch`` is one for the module.

    ``written`` is what was seen of a module's values while it was built.

    Raises:
        CheckpointError: a dictionary holds no state dict, or several and no key.

    """
    aside: tuple[Aside, ...] = ()
    if isinstance(source, nn.Module):
        holdings = [in_shape(holding) for holding in holdings_of_module(source)]
    else:
        try:
            found = find_state_dict(source, lambda value: isinstance(value, torch.Tensor), key)
        except NestingError as error:
            raise CheckpointError(STATE_DICT, str(error)) from error
        holdings, aside = list(holdings_of_dict(found.tensors)), found.aside
    entries = _entries(holdings)
    checkpoint = Checkpoint(
        path=_name(source),
        format="module" if isinstance(source, nn.Module) else "state_dict",
        shards=(Shard(Path(_name(source)), NOWHERE, tuple(entries.values())),),
        config=_config(source),
        notes=tuple(_notes(holdings, entries)),
        aside=aside,
        origins=origins_of(source, written) if isinstance(source, nn.Module) else {},
    )
    scratch = Scratch.new()
    statistics = {
        holding.name: measure_held(holding.values, entries[holding.name], scratch)
        for holding in holdings
        if holding.values is not None and why_left_out(entries[holding.name], exclude) is None
    }
    parts = understand(checkpoint.entries, statistics, checkpoint.config)
    known = parts | {holding.name: settle(holding, parts[holding.name]) for holding in holdings}
    one = understood_from(checkpoint, statistics, known=known, unfilled=unfilled(checkpoint.entries, exclude))
    return one if batch is None or not isinstance(source, nn.Module) else _with_reach(one, source, batch)


def _with_reach(one: Understood, model: nn.Module, batch: Any) -> Understood:
    """The same with what a batch shows of gradients; that it shows nothing is said, and hides nothing else."""
    checkpoint = one.checkpoint
    try:
        reached = reach(model, batch)
    except BatchError as error:
        return replace(one, checkpoint=replace(checkpoint, unread=(*checkpoint.unread, str(error))))
    unseen = [name for name, when in reached.items() if when is Reach.UNSEEN and name in one.statistics]
    if unseen:
        more = f", and {len(unseen) - MOST_NAMED:,} more" if len(unseen) > MOST_NAMED else ""
        note = f"{Reach.UNSEEN}: {', '.join(unseen[:MOST_NAMED])}{more}"
        checkpoint = replace(checkpoint, notes=(*checkpoint.notes, note))
    return replace(one, checkpoint=checkpoint, reached=reached)


def _entries(holdings: Iterable[Holding]) -> dict[str, Entry]:
    """The tensors as entries, by name and in their order; those that share memory are marked."""
    entries: dict[str, Entry] = {}
    by_device: dict[torch.device, list[Entry]] = {}
    for holding in holdings:
        entry = _entry(holding)
        entries[entry.name] = entry
        if holding.values is not None:
            by_device.setdefault(holding.values.device, []).append(entry)
    for some in by_device.values():
        for entry in mark_shared(some):
            # Addresses have done their work, and differ from run to run.
            entries[entry.name] = replace(entry, begin=0, end=entry.size)
    return entries


def _entry(holding: Holding) -> Entry:
    """A tensor whose bytes are counted by their addresses; its shape is that of the whole."""
    code = code_of(holding.dtype)
    if holding.obstacle:
        return Entry(holding.name, code, holding.shape, obstacle=holding.obstacle)
    if holding.values is None:
        return Entry(holding.name, code, holding.shape, is_meta=True)
    strided = holding.values.layout == torch.strided and not holding.values.is_nested
    entry = entry_of(holding.name, holding.values, holding.values.data_ptr() if strided else 0)
    if entry.count == 0 and holding.is_sharded:
        entry = replace(entry, obstacle="has its elements in other processes")
    if not holding.is_saved and not entry.obstacle:
        entry = replace(entry, obstacle="is a buffer that is not saved")
    return replace(entry, shape=holding.shape, strides=() if holding.is_sharded else entry.strides)


def _notes(holdings: Iterable[Holding], entries: Mapping[str, Entry]) -> Iterable[str]:
    """What a reader has to know about sharded tensors."""
    sharded = [holding for holding in holdings if holding.is_sharded and not entries[holding.name].obstacle]
    if sharded:
        one = sharded[0]
        here = list(one.values.shape) if one.values is not None else []
        more = f", and {len(sharded) - 1:,} more" if len(sharded) > 1 else ""
        yield f"judged by the part that this process holds: {one.name}, {here} of {list(one.shape)}{more}"


def _name(source: nn.Module | Mapping[str, Any]) -> str:
    return type(source).__name__ if isinstance(source, nn.Module) else STATE_DICT


def _config(source: nn.Module | Mapping[str, Any]) -> Mapping[str, Any]:
    """What a ``config.json`` beside the model's file would hold, if the model has it at hand; only a hint."""
    config = getattr(source, "config", None)
    if isinstance(config, Mapping):
        return config
    try:
        found = config.to_dict() if config is not None else {}
    except Exception:  # a stranger's method; without a hint all goes on
        return {}
    return found if isinstance(found, Mapping) else {}
