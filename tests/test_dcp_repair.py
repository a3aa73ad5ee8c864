"""Repairing checkpoints in pieces: the same values as in one file, by the same promises."""

import json
import os
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file

from initaudit.checkpoint import Checkpoint, find_checkpoints
from tests.checkpoints import run
from tests.chunked import chunked, metadata_of

pytestmark = pytest.mark.filterwarnings("ignore")

CUTS = {
    "0.weight": ((20, 50), (7,)),
    "1.weight": ((33,), ()),
    "2.weight": ((), (8,), (1,), ()),
    "1.bias": ((5,),),
}


def faulty() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "0.weight": torch.full((96, 48), 0.5),
        "0.bias": torch.zeros(96),
        "1.weight": torch.randn(64, 96) * 0.1,
        "1.bias": torch.zeros(64),
        "2.weight": torch.full((32, 16, 3, 3), 0.5),
        "3.weight": torch.randn(64, 64).bfloat16() * 0.1,
    }


def loaded(folder: Path) -> dict[str, torch.Tensor]:
    """What torch loads."""
    state = {name: torch.empty_like(value) for name, value in faulty().items()}
    dcp.load(state, checkpoint_id=folder, no_dist=True)
    return state


@pytest.fixture
def repaired(tmp_path: Path) -> dict[str, torch.Tensor]:
    """What a repair makes of the whole in one file."""
    save_file(faulty(), tmp_path / "whole.safetensors")
    assert run("fix", tmp_path / "whole.safetensors", "--output", tmp_path / "fixed.safetensors").status == 0
    return load_file(tmp_path / "fixed.safetensors")


@pytest.mark.parametrize("in_place", [False, True])
def test_a_folder_gets_the_values_that_the_whole_would_get(
    tmp_path: Path, repaired: dict[str, torch.Tensor], *, in_place: bool
) -> None:
    folder = chunked(tmp_path / "dcp", faulty(), CUTS, files=3)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    output = folder if in_place else tmp_path / "out"
    outcome = run("fix", folder, *(["--in-place", "--backup"] if in_place else ["--output", output]))
    assert outcome.status == 0, outcome.err
    found = loaded(output)
    assert all(torch.equal(found[name], value) for name, value in repaired.items())
    assert run("check", output).status == 0
    if in_place:
        kept = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert all(before[name] == kept.get(f"{name}.orig", kept[name]) for name in before)
        assert kept.keys() > before.keys()
    else:
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert {path.name for path in output.iterdir()} == before.keys()
        assert (output / ".metadata").read_bytes() == before[".metadata"]
    assert not [path for path in output.parent.rglob("*") if path.name.startswith(".initaudit")]


def test_nothing_but_what_was_drawn_and_its_checksums_changes(tmp_path: Path) -> None:
    folder = chunked(tmp_path / "dcp", faulty(), CUTS, files=2)
    run("fix", folder, "--output", tmp_path / "out")
    before, after = loaded(folder), loaded(tmp_path / "out")
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"0.weight", "2.weight"}
    for info in metadata_of(folder).storage_data.values():
        data = (tmp_path / "out" / info.relative_path).read_bytes()[info.offset : info.offset + info.length]
        assert zipfile.ZipFile(BytesIO(data)).testzip() is None


def test_slices_in_safetensors_get_the_values_that_the_whole_would_get(
    tmp_path: Path, repaired: dict[str, torch.Tensor]
) -> None:
    state = {name: value for name, value in faulty().items() if name not in ("0.weight", "2.weight")}
    whole = {"0.weight": faulty()["0.weight"], **state}
    folder = tmp_path / "hf"
    folder.mkdir()
    for rank, rows in enumerate((slice(0, 40), slice(40, 96))):
        parts = {"0.weight": whole["0.weight"][rows].contiguous()} | (state if rank else {})
        info = {name: {"saved_offsets": [0] * value.dim()} for name, value in parts.items()}
        info["0.weight"]["saved_offsets"][0] = rows.start
        path = folder / f"shard-0000{rank + 1}-model-00001-of-00001.safetensors"
        save_file(parts, path, {"DCP_SHARDING_INFO": json.dumps(info)})
    assert run("check", folder).status == 1
    before = [path.read_bytes()[:100] for path in sorted(folder.iterdir())]
    assert run("fix", folder, "--in-place").status == 0
    assert [path.read_bytes()[:100] for path in sorted(folder.iterdir())] == before
    halves = [load_file(path)["0.weight"] for path in sorted(folder.iterdir())]
    assert torch.equal(torch.cat(halves), repaired["0.weight"])


def test_what_is_tied_to_a_table_that_is_redrawn_stays_tied(tmp_path: Path) -> None:
    torch.manual_seed(1)
    table = torch.randn(300, 40)
    table[7, 3] = float("nan")
    layers = {f"h.{number}.weight": torch.randn(40, 40) * 0.15 for number in range(3)}
    state = {"wte.weight": table, **layers, "lm_head.weight": table}
    folder = chunked(tmp_path / "dcp", state, {"wte.weight": ((100,), ()), "lm_head.weight": ((), (7,))})
    outcome = run("fix", folder, "--output", tmp_path / "out", "--scheme", "wte.weight=normal(std=0.02)")
    assert outcome.status == 0, outcome.err
    found = {name: torch.empty_like(value) for name, value in state.items()}
    dcp.load(found, checkpoint_id=tmp_path / "out", no_dist=True)
    assert not found["wte.weight"].isnan().any()
    assert torch.equal(found["wte.weight"], found["lm_head.weight"])


def test_a_folder_that_is_changed_or_shared_is_left_alone(tmp_path: Path) -> None:
    folder = chunked(tmp_path / "dcp", faulty(), CUTS)
    os.link(folder / "__1_0.distcp", tmp_path / "other")
    outcome = run("fix", folder, "--in-place")
    assert outcome.status == 2
    assert "hard links" in outcome.err
    (tmp_path / "other").unlink()
    (tmp_path / "out").mkdir()
    assert run("fix", folder, "--output", tmp_path / "out").status == 2
    assert not list((tmp_path / "out").iterdir())


def test_a_report_of_a_folder_is_not_written_over_its_files(tmp_path: Path) -> None:
    folder = chunked(tmp_path / "dcp", faulty(), CUTS)
    data = (folder / "__0_0.distcp").read_bytes()
    (checkpoint,) = find_checkpoints(folder)
    assert isinstance(checkpoint, Checkpoint)
    assert {folder / ".metadata", folder / "__0_0.distcp", folder / "__1_0.distcp"} <= set(checkpoint.files)
    assert run("check", folder, "--output-file", folder / "__0_0.distcp").status == 2
    assert (folder / "__0_0.distcp").read_bytes() == data
