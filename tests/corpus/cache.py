"""Models of a corpus that are measured once: the first run pays for reading, each for understanding.

A cache is a folder with one pickle for each model, as it lies and as it was cast. It is never out of date by itself:
remove it when what is measured of a tensor changes, or when the corpus does.
"""

import pickle
import shutil
import tempfile
from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from corpus import models

from initaudit.checkpoint import Checkpoint
from initaudit.statistics import Statistics
from initaudit.understanding import Understood, open_paths, read, understood_from


class Measured(NamedTuple):
    """A model of the corpus as far as its values go; recognition and judgement are done anew each time."""

    name: str
    checkpoint: Checkpoint
    statistics: dict[str, Statistics]
    unfilled: tuple[str, ...]

    def understood(self, changed: Mapping[str, Statistics] | None = None) -> Understood:
        """The model understood, some of its tensors having other statistics than they were measured to have."""
        statistics = {**self.statistics, **changed} if changed else self.statistics
        return understood_from(self.checkpoint, statistics, unfilled=self.unfilled)


def measured(
    root: Path, cache: Path, cast: str | None = None, names: Container[str] | None = None
) -> Iterator[tuple[Measured, dict[str, Any]]]:
    """Every checkpoint of a corpus, or of some of its models, and its truth; the cache is given what it lacks."""
    cache.mkdir(parents=True, exist_ok=True)
    for folder, truth in models(root):
        if names is not None and folder.name not in names:
            continue
        kept = cache / f"{folder.name}{f'.{cast}' if cast else ''}.pickle"
        if not kept.exists():
            found = _measure(folder, truth, cast)
            partial = kept.with_suffix(".partial")
            partial.write_bytes(pickle.dumps(found, protocol=pickle.HIGHEST_PROTOCOL))
            partial.replace(kept)
        for one in pickle.loads(kept.read_bytes()):
            yield one, truth


def _measure(folder: Path, truth: Mapping[str, Any], cast: str | None) -> list[Measured]:
    if cast is None:
        return [_kept(folder.name, read(one)) for one in open_paths([folder])[0]]
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / folder.name
        copy.mkdir()
        for described in folder.glob("*.json"):
            shutil.copy(described, copy)
        _cast(folder / truth["file"], copy / truth["file"], cast)
        found = [_kept(folder.name, read(one)) for one in open_paths([copy])[0]]
    return [one._replace(checkpoint=replace(one.checkpoint, path=str(folder))) for one in found]


def _kept(name: str, one: Understood) -> Measured:
    return Measured(name, one.checkpoint, one.statistics, one.unfilled)


def _cast(source: Path, target: Path, dtype: str) -> None:
    """A safetensors file whose floating-point tensors are of another dtype."""
    import torch  # only needed where something is cast
    from safetensors.torch import load_file, save_file

    tensors = load_file(source)
    wanted = getattr(torch, dtype)
    save_file({name: t.to(wanted) if t.is_floating_point() else t for name, t in tensors.items()}, target)
