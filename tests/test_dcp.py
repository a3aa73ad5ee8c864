"""Folders of ``torch.distributed.checkpoint``: read without torch, and judged as the whole that they are."""

import json
import pickle
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata

from initaudit.checkpoint import Checkpoint, find_checkpoints
from initaudit.checkpoint.tiling import TilingError, require_tiling
from initaudit.errors import CheckpointError
from initaudit.statistics import Statistics
from initaudit.understanding import read
from tests.checkpoints import Outcome, run
from tests.chunked import boxes, chunked, metadata_of, rewrite

pytestmark = pytest.mark.filterwarnings("ignore")


def faulty() -> dict[str, torch.Tensor]:
    """A small model with faults that no part of it shows alone: equal units far apart, a dead column, a NaN."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(48, 96), nn.LayerNorm(96), nn.Linear(96, 48), nn.Linear(48, 33))
    state = {f"net.{name}": value.detach().clone() for name, value in layers.state_dict().items()}
    state["net.0.weight"][80] = state["net.0.weight"][3]
    state["net.2.weight"][:, 50] = 0
    state["net.3.weight"][32, 47] = float("nan")
    state["conv.weight"] = torch.randn(32, 16, 3, 3) * 0.1
    state["experts.weight"] = torch.randn(4, 40, 36) * 0.1
    state["half.weight"] = (torch.randn(40, 30) * 0.1).bfloat16()
    state["steps"] = torch.tensor(0)
    return state


CUTS: dict[str, dict[str, Any]] = {
    "none": {},
    "rows": {
        "net.0.weight": ((24, 48, 72), ()),
        "net.2.weight": ((11,), ()),
        "net.3.weight": ((32,), ()),
        "net.0.bias": ((50,),),
        "experts.weight": ((1, 3), (), ()),
    },
    "columns": {
        "net.0.weight": ((), (7, 20)),
        "net.2.weight": ((), (49,)),
        "conv.weight": ((), (5,), (), ()),
        "experts.weight": ((), (), (9,)),
        "half.weight": ((), (15,)),
    },
    "both": {
        "net.0.weight": ((5, 90), (1, 47)),
        "net.3.weight": ((17,), (3, 9)),
        "conv.weight": ((8,), (5,), (1,), ()),
        "experts.weight": ((2,), (17,), (9,)),
    },
}


def opened(path: Path) -> Checkpoint:
    (found,) = find_checkpoints(path)
    assert isinstance(found, Checkpoint), found
    return found


def measured(path: Path) -> dict[str, Statistics]:
    return read(opened(path)).statistics


def said(path: Path, *more: str) -> dict[str, Any]:
    """What a report says of one checkpoint, but for its path and format."""
    document: dict[str, Any] = run("check", path, "--output-format", "json", *more).document
    text = json.dumps(document).replace(str(path), "PATH")
    document = json.loads(text)
    for row in document["checkpoints"]:
        row.pop("format")
        row.pop("path")
    return document


def refused(folder: Path) -> str:
    """The one line that is said of a folder that cannot be read."""
    outcome: Outcome = run("check", folder)
    assert outcome.status == 2, outcome.out
    (complaint,) = outcome.complaints
    return str(complaint)


@pytest.mark.parametrize("layout", CUTS)
def test_a_folder_is_measured_and_judged_to_the_last_bit_as_the_whole(tmp_path: Path, layout: str) -> None:
    state = faulty()
    whole = tmp_path / "model.safetensors"
    save_file(state, whole)
    folder = chunked(tmp_path / "dcp", state, CUTS[layout], files=3)
    one, other = measured(whole), measured(folder)
    assert {name: repr(one[name]) for name in one} == {name: repr(other[name]) for name in other}
    assert said(folder)["findings"] == said(whole)["findings"]
    assert said(folder)["checkpoints"] == said(whole)["checkpoints"]
    rules = {row["rule"] for row in said(folder)["findings"]}
    assert {"IA103", "IA104"} <= rules


def test_chunks_whose_elements_do_not_lie_in_order_are_read(tmp_path: Path) -> None:
    state = {
        "turned.weight": torch.randn(30, 20).t(),
        "last.weight": torch.randn(8, 6, 5, 4).to(memory_format=torch.channels_last),
    }
    folder = chunked(tmp_path / "dcp", state, {"turned.weight": ((3,), (9,))})
    whole = tmp_path / "model.safetensors"
    save_file({name: value.contiguous() for name, value in state.items()}, whole)
    one, other = measured(whole), measured(folder)
    assert {name: repr(one[name]) for name in one} == {name: repr(other[name]) for name in other}


def test_what_torch_writes_in_one_process_is_read_with_what_lies_beside(tmp_path: Path) -> None:
    import torch.distributed.checkpoint as dcp

    model = nn.Sequential(nn.Linear(40, 30), nn.Linear(30, 20))
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 40)).sum().backward()
    optimiser.step()
    state = {"model": model.state_dict(), "optim": optimiser.state_dict(), "step": 3}
    dcp.save(state, checkpoint_id=tmp_path / "dcp", no_dist=True)
    checkpoint = opened(tmp_path / "dcp")
    assert {entry.name for entry in checkpoint.entries} == set(model.state_dict())
    assert checkpoint.shards[0].key == "model"
    assert ("optim", "is the state of an optimiser") in {(row.name, row.reason) for row in checkpoint.aside}


def test_flat_names_are_led_back_by_what_was_noted_of_them(tmp_path: Path) -> None:
    state = {"app.model.a.weight": torch.randn(40, 30), "app.ema.a.weight": torch.randn(40, 30)}
    paths = {name: ("app", name.split(".")[1], "a.weight") for name in state}
    folder = chunked(tmp_path / "dcp", state, paths=paths)
    assert "--key: app.model, app.ema" in refused(folder)
    document = run("check", folder, "--key", "app.model", "--output-format", "json", "--fail-on", "never").document
    assert document["checkpoints"][0]["tensors"] == 1


def test_torch_is_never_imported(tmp_path: Path) -> None:
    chunked(tmp_path / "dcp", faulty(), CUTS["both"])
    code = (
        "import sys; from initaudit.cli import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, 'initaudit' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "check", str(tmp_path / "dcp")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "False True"


def tied() -> dict[str, torch.Tensor]:
    """A head tied to its table, which this format stores twice, and a layer that is a copy of another."""
    torch.manual_seed(1)
    table = torch.randn(300, 40) * 0.02
    layers = {f"h.{number}.weight": torch.randn(40, 40) * 0.15 for number in range(3)}
    return {"wte.weight": table, **layers, "h.2.weight": layers["h.1.weight"], "lm_head.weight": table}


def test_what_is_tied_and_stored_twice_is_one_and_a_copied_layer_is_not(tmp_path: Path) -> None:
    cuts = {"wte.weight": ((100,), ()), "lm_head.weight": ((), (7,)), "h.1.weight": ((), (3,))}
    folder = chunked(tmp_path / "dcp", tied(), cuts)
    document = run("check", folder, "--output-format", "json", "--fail-on", "never").document
    equal = {name for row in document["findings"] if row["rule"] == "IA105" for name in row["tensors"]}
    assert equal == {"h.1.weight", "h.2.weight"}
    reasons = {row["tensor"]: row["reason"] for row in document["not_judged"]}
    assert reasons == {"lm_head.weight": "shares its memory with wte.weight"}
    (folder / "config.json").write_text('{"tie_word_embeddings": false}')
    document = run("check", folder, "--output-format", "json", "--fail-on", "never").document
    equal = {name for row in document["findings"] if row["rule"] == "IA105" for name in row["tensors"]}
    assert equal == {"h.1.weight", "h.2.weight", "wte.weight", "lm_head.weight"}


def test_equality_is_one_of_values_not_of_sums(tmp_path: Path) -> None:
    torch.manual_seed(2)
    one = torch.randn(64, 200) * 0.1
    other = one.clone()
    other[40], other[41] = one[41], one[40]  # the same sums, in another order
    keys = {}
    for name, value in {"a.weight": one, "b.weight": other, "c.weight": one.clone()}.items():
        for layout in ({}, {name: ((), (9,))}):
            folder = chunked(tmp_path / f"{name}{len(layout)}", {name: value, "copy.weight": value}, layout)
            key = measured(folder)[name].key
            assert keys.setdefault(name, key) == key
    assert keys["a.weight"] == keys["c.weight"] != keys["b.weight"]
    assert keys["a.weight"] is not None


# What is not whole, or was made to harm.


def test_a_folder_half_written_is_said_in_one_line(tmp_path: Path) -> None:
    folder = chunked(tmp_path / "dcp", faulty(), CUTS["rows"])
    last = folder / "__1_0.distcp"
    data = last.read_bytes()
    last.write_bytes(data[:-100])
    assert "is a save complete?" in refused(folder)
    last.unlink()
    assert ".metadata names it" in refused(folder)
    last.write_bytes(data)
    assert run("check", folder).status == 1
    (folder / ".metadata").rename(folder / ".metadata.tmp")
    assert "no .metadata" in refused(folder)


def _without_chunk(metadata: Any) -> None:
    metadata.state_dict_metadata["net.0.weight"].chunks.pop()


def _twice(metadata: Any) -> None:
    chunks = metadata.state_dict_metadata["net.0.weight"].chunks
    chunks.append(chunks[0])


def _out_of_bounds(metadata: Any) -> None:
    chunks = metadata.state_dict_metadata["net.0.weight"].chunks
    chunks[-1] = ChunkStorageMetadata(torch.Size((90, 0)), torch.Size((24, 48)))


def _other_dtype(metadata: Any) -> None:
    kept = metadata.state_dict_metadata["net.0.weight"]
    kept.properties.dtype = torch.int32


def _other_shape(metadata: Any) -> None:
    kept = metadata.state_dict_metadata["net.0.bias"]
    kept.size = torch.Size((48, 2))
    kept.chunks = [ChunkStorageMetadata(torch.Size((0, 0)), torch.Size((48, 2)))]
    for index in [index for index in metadata.storage_data if index.fqn == "net.0.bias"]:
        info = metadata.storage_data.pop(index)
        metadata.storage_data[type(index)("net.0.bias", torch.Size((0, 0)))] = info


def _places(metadata: Any, **fields: Any) -> None:
    for info in metadata.storage_data.values():
        for name, value in fields.items():
            setattr(info, name, value)


LIES: dict[str, tuple[Any, str]] = {
    "a chunk is missing": (_without_chunk, "lacks some of its elements"),
    "a chunk stands twice": (_twice, "elements that are in two chunks"),
    "a chunk reaches out": (_out_of_bounds, "reaches out of it"),
    "another dtype": (_other_dtype, ".metadata says int32"),
    "another shape": (_other_shape, ".metadata says float32 [48, 2]"),
    "a way out": (lambda m: _places(m, relative_path="../x.distcp"), "must be a path inside the folder"),
    "a way out of Windows": (lambda m: _places(m, relative_path="C:x"), "must be a path inside the folder"),
    "a zero in a name": (lambda m: _places(m, relative_path="a\0b"), "must be a path inside the folder"),
    "another place": (lambda m: _places(m, offset=0), "lie in the same bytes"),
    "a place beyond": (lambda m: _places(m, offset=1 << 62), "is a save complete?"),
    "a place below": (lambda m: _places(m, offset=-1), "a shape is none"),
    "no place": (lambda m: m.storage_data.clear(), "that is in no file"),
    "packed": (lambda m: _places(m, transform_descriptors=["zstd"]), "is packed by zstd"),
    "no tensors": (lambda m: m.state_dict_metadata.clear(), "holds no tensors"),
}


@pytest.mark.parametrize("lie", LIES)
def test_metadata_that_lies_is_refused(tmp_path: Path, lie: str) -> None:
    folder = chunked(tmp_path / "dcp", faulty(), CUTS["rows"])
    change, why = LIES[lie]
    metadata = metadata_of(folder)
    change(metadata)
    rewrite(folder, metadata)
    assert why in refused(folder)


class _Called:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = function, arguments

    def __reduce__(self) -> Any:
        return self.made


def test_no_call_in_the_metadata_or_in_a_chunk_is_made(tmp_path: Path) -> None:
    import os
    import timeit

    folder = chunked(tmp_path / "dcp", faulty())
    ran = tmp_path / "ran"
    metadata = metadata_of(folder)
    for function, arguments, name in (
        (os.system, (f"touch {ran}",), "system"),
        (timeit.timeit, (f"open({str(ran)!r}, 'w')",), "timeit.timeit"),
        (eval, ("1",), "builtins.eval"),
    ):
        metadata.planner_data = _Called(function, *arguments)
        (folder / ".metadata").write_bytes(pickle.dumps(metadata, protocol=4))
        assert name in refused(folder)
    assert not ran.exists()


def test_a_bomb_in_the_metadata_is_refused(tmp_path: Path) -> None:
    folder = chunked(tmp_path / "dcp", faulty())
    for bomb in (b"\x80\x04Nr\xff\xff\xff\x7f.", b"\x80\x04" + b"]" * 9_000_000 + b".", b"\x80\x04N."):
        (folder / ".metadata").write_bytes(bomb)
        refused(folder)


@pytest.mark.parametrize("name", [".metadata", "__0_0.distcp"])
def test_damage_anywhere_ends_in_one_line_or_none(tmp_path: Path, name: str) -> None:
    state = {"a.weight": torch.randn(6, 4), "b.weight": torch.randn(5)}
    folder = chunked(tmp_path / "dcp", state, {"a.weight": ((2,), (1,))})
    whole = (folder / name).read_bytes()
    rng = random.Random(0)
    for _ in range(600):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (folder / name).write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.1 else data)
        for found in find_checkpoints(folder):
            if isinstance(found, Checkpoint):
                with suppress(CheckpointError):
                    read(found)
            else:
                assert "internal" not in found.reason
                assert "\n" not in found.reason


def test_boxes_are_held_against_the_whole_as_by_counting() -> None:
    rng = random.Random(1)
    for _ in range(3_000):
        shape = tuple(rng.randrange(1, 6) for _ in range(rng.randrange(1, 4)))
        cuts = tuple(tuple(sorted(rng.sample(range(1, n), rng.randrange(n)))) for n in shape)
        made = boxes(shape, cuts)
        kind = rng.randrange(5)
        number = rng.randrange(len(made))
        if kind == 1:
            made.pop(number)
        elif kind == 2:
            made.append(made[number])
        elif kind == 3:
            offsets, sizes = made[number]
            made[number] = tuple(max(0, at - 1) for at in offsets), sizes
        count = np.zeros(shape, int)
        for offsets, sizes in made:
            count[tuple(slice(o, o + s) for o, s in zip(offsets, sizes, strict=True))] += 1
        try:
            require_tiling(shape, made)
        except TilingError:
            assert (count != 1).any()
        else:
            assert (count == 1).all()
