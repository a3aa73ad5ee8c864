"""Safetensors files that hold slices of tensors, as ranks write them: judged alone they would say what is false.

torch.distributed.checkpoint notes in the metadata of each file where in the whole tensor each of its tensors begins;
how long the whole is follows from the other files of the folder.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from initaudit.errors import CheckpointError, errno_text

METADATA = "__metadata__"
"""The one name in a header that is no tensor's."""

SHARDING, OFFSETS = "DCP_SHARDING_INFO", "saved_offsets"
"""Where a file says of its tensors at which element of the whole each begins."""

WAY_ON = "name the folder, whose files are joined"

ReadMetadata = Callable[[Path], object]
"""Gives the metadata of a file of safetensors, None where it has none."""


def require_whole_tensors(path: Path, metadata: object, names: Iterable[str], read_metadata: ReadMetadata) -> None:
    """See that a file holds whole tensors, as far as it and the files beside it say.

    Raises:
        CheckpointError: it holds slices, or what it says of them cannot be read.

    """
    if not isinstance(metadata, Mapping) or SHARDING not in metadata:
        return
    offsets = saved_offsets(metadata)
    if offsets is None:
        raise CheckpointError(path, f"its {SHARDING} cannot be read, so its tensors may be slices: {WAY_ON}")
    sliced = next((name for name in names if any(offsets.get(name, ()))), None)
    if sliced is None:
        try:
            beside = _continued_in(path.parent, path.parent.stat().st_mtime_ns, read_metadata)
        except OSError as error:
            raise CheckpointError(path, f"what lies beside it cannot be listed: {errno_text(error)}") from error
        sliced = next((name for name in names if name in beside), None)
    if sliced is not None:
        raise CheckpointError(path, f"holds slices of tensors, such as {sliced[:200]!r}: {WAY_ON}")


@lru_cache(maxsize=4)
def _continued_in(folder: Path, changed_ns: int, read_metadata: ReadMetadata) -> frozenset[str]:
    """The tensors of which some file in a folder holds a slice that is not the first.

    A folder is looked through once for all of its files, until it ``changed_ns`` nanoseconds after the epoch.
    """
    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        try:
            metadata = read_metadata(path)
        except (CheckpointError, OSError):  # what is wrong with it is said of it
            continue
        if isinstance(metadata, Mapping) and SHARDING in metadata:
            names.update(name for name, offsets in (saved_offsets(metadata) or {}).items() if any(offsets))
    return frozenset(names)


def saved_offsets(metadata: object) -> dict[str, tuple[int, ...]] | None:
    """At which element of the whole each tensor of a file begins, None where it does not say so as torch does."""
    if not isinstance(metadata, Mapping):
        return None
    try:
        said = json.loads(metadata[SHARDING])
        offsets = {name: tuple(described[OFFSETS]) for name, described in said.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if not all(type(number) is int and number >= 0 for row in offsets.values() for number in row):
        return None
    return offsets
