"""A checkpoint in pieces, read again with copies in the place of some of its files."""

from collections.abc import Mapping
from pathlib import Path

from initaudit.checkpoint.dcp_folder import read_dcp_folder
from initaudit.checkpoint.dcp_metadata import METADATA
from initaudit.checkpoint.joined_slices import join_slices
from initaudit.checkpoint.values import Shard


def rejoin(shard: Shard, placed: Mapping[Path, Path]) -> Shard:
    """The same tensors as read from copies; ``placed`` says where that of a file is.

    Raises:
        CheckpointError: they cannot be read, or do not make up tensors.

    """
    folder = shard.path.parent
    if shard.path.name == METADATA:
        return read_dcp_folder(folder, shard.key or None, placed).shard
    return join_slices(folder, [part.path for part in shard.parts], placed).shard
