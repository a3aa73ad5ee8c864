"""Folders of ``torch.distributed.checkpoint`` as ranks write them, made in one process by torch's own classes."""

import io
import itertools
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)

Cuts = tuple[tuple[int, ...], ...]
"""Along each axis where a tensor is cut."""


def chunked(
    folder: Path,
    state: Mapping[str, torch.Tensor],
    cuts: Mapping[str, Cuts] | None = None,
    *,
    files: int = 2,
    others: Mapping[str, bytes] | None = None,
    paths: Mapping[str, tuple[Any, ...]] | None = None,
) -> Path:
    """Write a state dict, each tensor cut into boxes that go to the files in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    data = [io.BytesIO() for _ in range(files)]
    described: dict[str, Any] = {}
    stored: dict[Any, Any] = {}
    turn = itertools.count()
    for name, tensor in state.items():
        chunks = []
        for offsets, sizes in boxes(tuple(tensor.shape), (cuts or {}).get(name, ((),) * tensor.dim())):
            part = tensor[tuple(slice(o, o + s) for o, s in zip(offsets, sizes, strict=True))].clone()
            number = next(turn) % files
            begin = data[number].tell()
            torch.save(part, data[number])
            chunks.append(ChunkStorageMetadata(torch.Size(offsets), torch.Size(sizes)))
            index = MetadataIndex(name, torch.Size(offsets), len(chunks) - 1)
            stored[index] = _StorageInfo(f"__{number}_0.distcp", begin, data[number].tell() - begin)
        properties = TensorProperties.create_from_tensor(tensor)
        described[name] = TensorStorageMetadata(properties, tensor.size(), chunks)
    for name, content in (others or {}).items():
        stored[MetadataIndex(name)] = _StorageInfo("__0_0.distcp", data[0].tell(), len(content))
        data[0].write(content)
        described[name] = BytesStorageMetadata()
    for number, buffer in enumerate(data):
        (folder / f"__{number}_0.distcp").write_bytes(buffer.getvalue())
    planner = {name: (name,) for name in described} if paths is None else dict(paths)
    rewrite(folder, Metadata(described, planner, stored, StorageMeta(folder, "save", "load")))
    return folder


def metadata_of(folder: Path) -> Metadata:
    """The metadata of a folder that a test has written, as torch reads it."""
    with (folder / ".metadata").open("rb") as file:
        read: Metadata = pickle.load(file)
    return read


def rewrite(folder: Path, metadata: object) -> None:
    """Give a folder other metadata."""
    (folder / ".metadata").write_bytes(pickle.dumps(metadata, protocol=4))


def boxes(shape: tuple[int, ...], cuts: Cuts) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The offsets and sizes of the boxes into which cuts divide a shape."""
    spans = [list(itertools.pairwise((0, *cut, length))) for length, cut in zip(shape, cuts, strict=True)]
    return [(tuple(a for a, _ in box), tuple(b - a for a, b in box)) for box in itertools.product(*spans)]
