"""What the ``.metadata`` of a folder of ``torch.distributed.checkpoint`` says, by a reader that runs nothing.

It is a pickle of a closed format: a dozen classes and functions, all of which stand for plain values here. Whatever
else it would import is refused by name.
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from initaudit.checkpoint.allowance import Allowance, PickleError
from initaudit.checkpoint.files import open_file
from initaudit.checkpoint.header import MAX_TENSORS
from initaudit.checkpoint.inert import Filled, Name, Plain
from initaudit.checkpoint.pickles import unpickle
from initaudit.checkpoint.rebuilding import MOST_DIMENSIONS, MOST_ELEMENTS
from initaudit.checkpoint.torch_dtypes import WIDTHS
from initaudit.checkpoint.values import Stamp
from initaudit.errors import CheckpointError, errno_text

METADATA = ".metadata"

MOST_BYTES = 100_000_000
"""As for the header of a safetensors file; what of it may be built is bounded closer, as for any pickle."""

_CLASSES = {
    **dict.fromkeys(
        ("Metadata", "MetadataIndex", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata"),
        "torch.distributed.checkpoint.metadata",
    ),
    **dict.fromkeys(("TensorProperties", "StorageMeta"), "torch.distributed.checkpoint.metadata"),
    "_StorageInfo": "torch.distributed.checkpoint.filesystem",
}

_FUNCTIONS = {
    "torch.Size": "size",
    "torch.serialization._get_layout": "layout",
    "torch.distributed.checkpoint.metadata._MEM_FORMAT_ENCODING": "memory format",
    **{f"pathlib.{name}": "path" for name in ("PosixPath", "WindowsPath", "PurePosixPath", "Path")},
    **{f"pathlib._local.{name}": "path" for name in ("PosixPath", "WindowsPath")},  # as Python 3.13 has it
    "collections.OrderedDict": "dictionary",
}

MEGATRON = "MCoreMetadata"
"""The class of Megatron's metadata, which adds that layers are stacked."""

OF_MEGATRON = (
    "is a folder of Megatron, whose layers are stacked in one tensor each, which is not read: write it as safetensors "
    "by AutoBridge.export_ckpt of Megatron Bridge, or by tools/checkpoint/convert.py of Megatron-LM"
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A box of a tensor's elements."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor as the metadata describes it; ``dtype`` is torch's name."""

    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk lies: bytes ``[begin, begin + length)`` of a file of the folder."""

    file: str
    begin: int
    length: int
    transforms: str = ""
    """What it was packed by, empty where it was not."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a folder holds: tensors by their flat names, the names of other things, and where each chunk lies.

    ``paths`` say where in what was saved each thing was.
    """

    stamp: Stamp
    tensors: Mapping[str, Planned]
    others: tuple[str, ...]
    paths: Mapping[str, tuple[str, ...]]
    places: Mapping[tuple[str, tuple[int, ...]], Place]


class _Meaning:
    """The calls of a metadata's pickle."""

    def look_up(self, name: Name) -> Name:
        """Refuse what is not of the format."""
        if name.name == MEGATRON:
            raise PickleError(OF_MEGATRON)
        is_dtype = name.module == "torch" and name.name in WIDTHS
        if not is_dtype and _CLASSES.get(name.name) != name.module and name.dotted not in _FUNCTIONS:
            raise PickleError(
                f"refused: {name.dotted[:200]} is not of the metadata of torch.distributed.checkpoint; nothing was run"
            )
        return name

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """What stands for the outcome of a call, or for a new object."""
        if isinstance(function, Name) and _CLASSES.get(function.name) == function.module and not arguments:
            return Filled(function.name)
        kind = _FUNCTIONS.get(function.dotted) if isinstance(function, Name) else None
        if kind == "size" and len(arguments) == 1:
            return arguments[0]
        if kind == "dictionary" and not arguments:
            return {}
        if kind in ("path", "layout", "memory format"):
            return Plain(kind)
        raise PickleError("its pickle calls what is not to be called: damaged")

    def set_state(self, thing: Any, state: Any) -> None:
        """Fill an object, once."""
        if not isinstance(thing, Filled) or thing.state is not None:
            raise PickleError("its pickle gives a state to what takes none: damaged")
        thing.state = state

    def refer(self, identity: Any) -> Any:
        """Nothing leads out of it."""
        raise PickleError("its pickle refers to something outside of it: damaged")


def read_dcp_metadata(path: Path) -> Metadata:
    """The metadata of a folder.

    Raises:
        CheckpointError: it cannot be read, is damaged, or is not of this format.

    """
    descriptor, status = open_file(path)
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > MOST_BYTES:
            raise CheckpointError(path, f"is longer than {MOST_BYTES:,} bytes: what else is in it?")
        try:
            data = file.read(MOST_BYTES)
        except OSError as error:
            raise CheckpointError(path, errno_text(error)) from error
    try:
        root, end = unpickle(data, 0, _Meaning(), Allowance())
        if end != len(data):
            raise PickleError(f"has {len(data) - end:,} bytes behind its pickle: damaged")
        return _metadata(Stamp.of(status), root)
    except PickleError as error:
        raise CheckpointError(path, str(error)) from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(path, f"is not as torch.distributed.checkpoint writes it ({error})") from error


def _metadata(stamp: Stamp, root: Any) -> Metadata:
    state = _state(root, "Metadata")
    described, stored = state["state_dict_metadata"], state["storage_data"]
    if type(described) is not dict or type(stored) is not dict:
        raise ValueError("its tables are none")
    if len(described) > MAX_TENSORS:
        raise PickleError(f"describes {len(described):,} things: {MAX_TENSORS:,} are read of one folder")
    tensors, others = {}, []
    for name, thing in described.items():
        _require_name(name)
        if isinstance(thing, Filled) and thing.kind == "BytesStorageMetadata":
            others.append(name)
        else:
            tensors[name] = _planned(name, _state(thing, "TensorStorageMetadata"))
    places: dict[tuple[str, tuple[int, ...]], Place] = {}
    for index, thing in stored.items():
        at = _state(index, "MetadataIndex")
        name, offsets = at["fqn"], at.get("offset")
        if name not in tensors or offsets is None:
            continue
        place = _place(_state(thing, "_StorageInfo"))
        if places.setdefault((name, _naturals(offsets)), place) is not place:
            raise PickleError(f"says of a chunk of {name[:200]!r} twice where it is: damaged")
    return Metadata(stamp, tensors, tuple(others), dict(_paths(state.get("planner_data"))), places)


def _state(thing: Any, kind: str) -> dict[str, Any]:
    """What an object of a kind was filled with."""
    if not isinstance(thing, Filled) or thing.kind != kind or type(thing.state) is not dict:
        raise ValueError(f"a {kind} is expected where none is")
    return thing.state


def _planned(name: str, state: Mapping[str, Any]) -> Planned:
    properties, shape = state["properties"], _naturals(state["size"])
    if not isinstance(properties, Filled) or properties.kind != "TensorProperties":
        raise ValueError("a tensor has no properties")
    # As a tuple since torch 2.0; once it was filled by names.
    dtype = properties.state["dtype"] if isinstance(properties.state, dict) else properties.state[0]
    if not isinstance(dtype, Name) or dtype.module != "torch" or dtype.name not in WIDTHS or dtype.name == "untyped":
        raise ValueError(f"tensor {name[:200]!r} has no dtype")
    chunks = []
    for thing in state["chunks"]:
        at = _state(thing, "ChunkStorageMetadata")
        chunks.append(Chunk(_naturals(at["offsets"]), _naturals(at["sizes"])))
    return Planned(dtype.name, shape, tuple(chunks))


def _place(state: Mapping[str, Any]) -> Place:
    file, transforms = state["relative_path"], state.get("transform_descriptors")
    (begin,), (length,) = _naturals((state["offset"],)), _naturals((state["length"],))
    if type(file) is not str:
        raise ValueError("a file has no name")
    packed = ", ".join(str(one)[:50] for one in transforms[:8]) if isinstance(transforms, list | tuple) else ""
    return Place(file, begin, length, packed)


def _paths(planner: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where in what was saved each thing was, as far as it is said."""
    for name, path in planner.items() if type(planner) is dict else ():
        if isinstance(name, str) and type(path) is tuple and all(isinstance(part, str | int) for part in path) and path:
            yield name, tuple(map(str, path))


def _naturals(numbers: Any) -> tuple[int, ...]:
    """A shape, or offsets."""
    if type(numbers) not in (tuple, list) or len(numbers) > MOST_DIMENSIONS:
        raise ValueError("a shape is none")
    if not all(type(number) is int and 0 <= number < MOST_ELEMENTS for number in numbers):
        raise ValueError("a shape is none")
    if math.prod(numbers) >= MOST_ELEMENTS:
        raise ValueError("a shape has more elements than torch can count")
    return tuple(numbers)


def _require_name(name: Any) -> None:
    if type(name) is not str:
        raise ValueError("a name is none")
    name.encode()
