"""``fix`` of PyTorch's and NumPy's files: structure, ties, views and all that was not redrawn stay as they were."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import initaudit
from initaudit.audit import audit
from initaudit.registry import load_rules
from initaudit.repair import Destination, fix
from tests.checkpoints import faulty, mlp, run, written

RULES = tuple(load_rules().values())


def weights() -> dict[str, torch.Tensor]:
    """A net with weights of one value, some in the order of columns, ties, views, and a slice of a flat storage."""
    model = {name: torch.from_numpy(values) for name, values in faulty().items()}
    model["tied.weight"] = model["fc2.weight"]
    model["row"] = model["fc2.weight"][3]
    model["columns.weight"] = torch.full((40, 64), 0.5).t()
    flat = torch.zeros(1000)
    flat[500:] = torch.randn(500, generator=torch.Generator().manual_seed(0)) / 5
    model["piece.weight"] = flat[500:].view(20, 25)
    return model


def training_run(path: Path) -> dict[str, Any]:
    """What a training loop saves, once it is written to a path."""
    optimiser = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]}
    saved = {"state_dict": weights(), "optimizer": optimiser, "epoch": 3, "name": "net", "best": [1.5, None]}
    torch.save(saved, path)
    return saved


def flattened(thing: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """What nested things hold, by path; their types are among it."""
    if isinstance(thing, Mapping | list | tuple):
        inner = thing.items() if isinstance(thing, Mapping) else enumerate(thing)
        found: dict[tuple[str, ...], Any] = {path: type(thing).__name__}
        for key, value in inner:
            found |= flattened(value, (*path, repr(key)))
        return found
    return {path: thing}


def test_a_repaired_file_has_the_same_structure_ties_and_values(tmp_path: Path) -> None:
    path, output = tmp_path / "last.ckpt", tmp_path / "fixed.ckpt"
    before = flattened(training_run(path))
    outcome = run("fix", path, "--output", output)
    assert (outcome.status, outcome.err) == (0, "")
    loaded = torch.load(output, weights_only=True)
    after = flattened(loaded)
    assert list(after) == list(before)
    redrawn = {"fc2.weight", "tied.weight", "row", "columns.weight"}
    for place, value in before.items():
        if isinstance(value, torch.Tensor):
            assert (value.shape, value.stride(), value.dtype) == (
                after[place].shape,
                after[place].stride(),
                after[place].dtype,
            )
            assert torch.equal(value, after[place]) == (place[-1].strip("'") not in redrawn)
        else:
            assert value == after[place]
    state = loaded["state_dict"]
    assert state["tied.weight"].data_ptr() == state["fc2.weight"].data_ptr()
    assert state["row"].data_ptr() == state["fc2.weight"][3].data_ptr()
    assert state["fc2.weight"].std().item() == pytest.approx(96**-0.5, rel=0.05)
    assert state["columns.weight"].std().item() == pytest.approx(40**-0.5, rel=0.05)
    assert audit([output], RULES).ok("warning")


def test_the_archive_stays_whole_and_only_records_that_were_redrawn_differ(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    training_run(path)
    before = path.read_bytes()
    assert run("fix", path, "--in-place", "--backup").status == 0
    assert (tmp_path / "model.pt.orig").read_bytes() == before
    with zipfile.ZipFile(io.BytesIO(before)) as old, zipfile.ZipFile(path) as new:
        assert new.testzip() is None  # every checksum is that of its record
        assert new.namelist() == old.namelist()
        differing = [name for name in old.namelist() if old.read(name) != new.read(name)]
    assert len(differing) == 2
    again = run("fix", path, "--in-place")
    assert (again.status, "Nothing to" in again.out or "othing" in again.out) == (0, True)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_npz_is_repaired(tmp_path: Path, order: Any) -> None:
    path = tmp_path / "model.npz"
    np.savez(path, **{name: np.asarray(values, order=order) for name, values in faulty().items()})
    assert run("fix", path, "--in-place").status == 0
    with np.load(path) as again:
        changed = [name for name, values in faulty().items() if not np.array_equal(values, again[name])]
        assert changed == ["fc2.weight"]
        assert again["fc2.weight"].std() == pytest.approx(96**-0.5, rel=0.05)
        assert again["fc2.weight"].flags[f"{order}_CONTIGUOUS"]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_the_same_values_are_drawn_whatever_holds_them(tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", faulty())
    torch.save({name: torch.from_numpy(values) for name, values in faulty().items()}, tmp_path / "b.pt")
    digests = [
        fix(one, RULES, Destination(in_place=True)).repaired[0].digest_after for one in (path, tmp_path / "b.pt")
    ]
    assert digests[0] == digests[1] is not None


def test_shards_of_pickles_are_repaired(tmp_path: Path) -> None:
    model = {name: torch.from_numpy(values) for name, values in faulty().items()}
    folder = tmp_path / "model"
    folder.mkdir()
    names = list(model)
    weight_map = dict.fromkeys(names[:3], "a.bin") | dict.fromkeys(names[3:], "b.bin")
    for file in ("a.bin", "b.bin"):
        torch.save({name: model[name] for name in names if weight_map[name] == file}, folder / file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert run("fix", folder, "--output", tmp_path / "out").status == 0
    assert audit([tmp_path / "out"], RULES).ok("warning")


def compressed(path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **faulty())  # type: ignore[arg-type]


def before_archives(path: Path) -> None:
    model = {name: torch.from_numpy(values) for name, values in faulty().items()}
    torch.save(model, path, _use_new_zipfile_serialization=False)


def big_endian(path: Path) -> None:
    torch.save({name: torch.from_numpy(values) for name, values in faulty().items()}, path)
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"big" if name.endswith("byteorder") else old.read(name))


def test_a_file_from_before_archives_is_repaired(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    before_archives(path)
    before = torch.load(path, weights_only=True)
    outcome = run("fix", path, "--in-place")
    assert (outcome.status, outcome.err) == (0, "")
    after = torch.load(path, weights_only=True)
    assert [name for name, tensor in before.items() if not torch.equal(tensor, after[name])] == ["fc2.weight"]
    assert after["fc2.weight"].std().item() == pytest.approx(96**-0.5, rel=0.05)
    assert audit([path], RULES).ok("warning")


@pytest.mark.parametrize(
    ("write", "words"),
    [(compressed, "numpy.savez"), (big_endian, "big-endian")],
    ids=["compressed", "big-endian"],
)
def test_what_cannot_be_patched_is_left_as_it_is_and_the_way_out_is_named(
    tmp_path: Path, write: Any, words: str
) -> None:
    path = tmp_path / "model"
    write(path)
    before = path.read_bytes()
    outcome = run("fix", path, "--in-place")
    assert outcome.status == 2
    (complaint,) = outcome.complaints
    assert words in complaint
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]  # noqa: PTH208


def test_a_repair_that_is_interrupted_leaves_the_original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    training_run(path)
    before = path.read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("initaudit.repair.checksums._checksum", interrupted)
    assert run("fix", path, "--in-place").status == 130
    assert path.read_bytes() == before
    assert [child.name for child in tmp_path.iterdir()] == ["model.pt"]


def test_healthy_files_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({name: torch.from_numpy(values) for name, values in mlp().items()}, path)
    assert run("fix", path, "--output", tmp_path / "out.pt").status == 0
    assert not (tmp_path / "out.pt").exists()


def storage(*parts: tuple[int, int], rows: int = 192, width: int = 64) -> dict[str, torch.Tensor]:
    """Tensors that are rows of one storage, whose first 64 hold one value; `a` has them."""
    whole = torch.randn(rows, width, generator=torch.Generator().manual_seed(0)) / width**0.5
    whole[:64] = 0.5
    views = {f"{name}.weight": whole[begin:end] for name, (begin, end) in zip("abcd", parts, strict=False)}
    other = torch.randn(128, width, generator=torch.Generator().manual_seed(1)) / width**0.5
    return {**views, "other.weight": other}


def kept_apart(tensors: dict[str, torch.Tensor], path: Path, *healthy: str, faulty: str = "a.weight") -> str:
    """What is said where a tensor shares bytes with healthy ones, once it is known that these stay as they are."""
    torch.save(tensors, path)
    output = path.with_name("out.pt")
    before = {name: tensors[name].clone() for name in healthy}
    outcome = run("fix", path, "--output", output)
    assert outcome.status == 1
    if output.exists():
        after = torch.load(output, weights_only=True)
        assert all(torch.equal(before[name].view(torch.uint8), after[name].view(torch.uint8)) for name in healthy)
    said = " ".join(outcome.out.split())
    assert f"not repaired {faulty}" in said
    return said


def test_a_tensor_that_overlaps_a_healthy_one_is_not_redrawn(tmp_path: Path) -> None:
    said = kept_apart(storage((0, 128), (64, 192)), tmp_path / "model.pt", "b.weight")
    assert "shares bytes with b.weight, which is not redrawn with it" in said


def test_a_tensor_is_not_redrawn_over_a_healthy_part_of_it(tmp_path: Path) -> None:
    said = kept_apart(storage((0, 128), (64, 128)), tmp_path / "model.pt", "b.weight")
    assert "shares bytes with b.weight" in said


def test_a_chain_of_overlaps_that_ends_in_a_healthy_tensor_is_not_redrawn(tmp_path: Path) -> None:
    tensors = storage((0, 40), (20, 64), (60, 192))
    kept_apart(tensors, tmp_path / "model.pt", "c.weight")
    kept_apart(tensors, tmp_path / "model.pt", "c.weight", faulty="b.weight")


def test_a_weight_whose_first_row_is_a_bias_is_not_redrawn(tmp_path: Path) -> None:
    tensors = storage((0, 64))
    tensors["other.bias"] = tensors["a.weight"].view(-1)[:128]
    kept_apart(tensors, tmp_path / "model.pt", "other.bias")


@pytest.mark.parametrize("dtype", [torch.uint16, torch.float8_e5m2])
def test_bytes_that_have_another_dtype_as_well_are_not_redrawn(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in storage((0, 64)).items()}
    tensors["codes"] = tensors["a.weight"].view(dtype)[8:]  # torch saves two dtypes of a storage where both are new
    said = kept_apart(tensors, tmp_path / "model.pt", "codes")
    assert "shares bytes with codes" in said


def test_what_shares_bytes_beside_the_weights_counts_too(tmp_path: Path) -> None:
    tensors, path = storage((0, 128), (64, 192)), tmp_path / "run.pt"
    averaged = tensors.pop("b.weight")
    before = averaged.clone()
    torch.save({"state_dict": tensors, "extra": [{"averaged": averaged}]}, path)
    outcome = run("fix", path, "--in-place")
    assert outcome.status == 1
    assert "shares bytes with extra.0.averaged (beside the weights)" in " ".join(outcome.out.split())
    assert torch.equal(torch.load(path, weights_only=True)["extra"][0]["averaged"], before)


def test_an_alias_beside_the_weights_is_a_tie(tmp_path: Path) -> None:
    tensors, path = storage((0, 64)), tmp_path / "run.pt"
    torch.save({"state_dict": tensors, "ema": {"a": tensors["a.weight"].detach()}}, path)
    assert run("fix", path, "--in-place").status == 0
    saved = torch.load(path, weights_only=True)
    assert saved["ema"]["a"].std() > 0
    assert torch.equal(saved["ema"]["a"], saved["state_dict"]["a.weight"])


def test_overlapping_tensors_that_are_drawn_alike_are_redrawn_together(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(storage((0, 40), (20, 64)), path)
    repair = initaudit.fix(path, in_place=True, schemes=["normal:std=0.125"])
    assert {row.redraw.tensor for row in repair.repaired} == {"a.weight", "b.weight"}
    after = torch.load(path, weights_only=True)
    for row in repair.repaired:
        digest = hashlib.sha256(after[row.redraw.tensor].contiguous().numpy().tobytes()).hexdigest()
        assert row.digest_after == digest
        before = torch.full_like(after[row.redraw.tensor], 0.5).numpy().tobytes()
        assert row.digest_before == hashlib.sha256(before).hexdigest()
    assert after["a.weight"].std().item() == pytest.approx(0.125, rel=0.1)


def test_halves_by_columns_share_no_bytes(tmp_path: Path) -> None:
    whole = torch.randn(128, 128, generator=torch.Generator().manual_seed(0)) / 128**0.5
    whole[:, :64] = 0.5
    left, right = whole[:, :64], whole[:, 64:]
    other = torch.randn(128, 64, generator=torch.Generator().manual_seed(1)) / 8
    path, before = tmp_path / "model.pt", right.clone()
    torch.save({"left.weight": left, "right.weight": right, "other.weight": other}, path)
    assert run("fix", path, "--in-place").status == 0
    after = torch.load(path, weights_only=True)
    assert after["left.weight"].std() > 0
    assert torch.equal(after["right.weight"], before)


def test_a_tie_in_another_shape_or_order_is_one_tensor(tmp_path: Path) -> None:
    tensors = storage((0, 64))
    tensors["turned.weight"] = tensors["a.weight"].t()
    path = tmp_path / "model.pt"
    torch.save(tensors, path)
    assert run("fix", path, "--in-place").status == 0
    after = torch.load(path, weights_only=True)
    assert after["a.weight"].std() > 0
    assert torch.equal(after["turned.weight"], after["a.weight"].t())
