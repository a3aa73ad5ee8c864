"""Files of ``torch.save`` and NumPy's ``.npz``: found by content, read by offset, judged as safetensors files are."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from initaudit.audit import audit
from initaudit.outcome import Outcome
from initaudit.registry import load_rules
from initaudit.understanding import open_paths, read
from tests.checkpoints import faulty, mlp, run, spawn_python, written

RULES = tuple(load_rules().values())


def tensors(model: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values) for name, values in model.items()}


def found(report: Outcome) -> list[tuple[str, tuple[str, ...], str]]:
    """What was found, whatever the file was called."""
    assert report.failures == ()
    return [(group.rule, group.tensors, group.message) for group in report.groups]


def archive(path: Path, model: Mapping[str, np.ndarray[Any, Any]]) -> None:
    torch.save(tensors(model), path)


def before_archives(path: Path, model: Mapping[str, np.ndarray[Any, Any]]) -> None:
    torch.save(tensors(model), path, _use_new_zipfile_serialization=False)


def lightning(path: Path, model: Mapping[str, np.ndarray[Any, Any]]) -> None:
    optimiser = {"state": {0: {"exp_avg": torch.ones(64, 64)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    beside = {"pytorch-lightning_version": "2.5.0", "epoch": 0, "optimizer_states": [optimiser], "loops": {}}
    torch.save({**beside, "state_dict": tensors(model)}, path)


def columns(path: Path, model: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """The same tensors with their elements in the order of columns."""
    torch.save({name: tensor.t().contiguous().t() for name, tensor in tensors(model).items()}, path)


def slices(path: Path, model: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """The same tensors as pieces of one long storage."""
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors(model).values()])
    pieces = flat.split([values.size for values in model.values()])
    torch.save({n: piece.view(v.shape) for (n, v), piece in zip(model.items(), pieces, strict=True)}, path)


def numpy_stored(path: Path, model: Mapping[str, np.ndarray[Any, Any]]) -> None:
    with path.open("wb") as file:
        np.savez(file, **model)  # type: ignore[arg-type]


def numpy_packed(path: Path, model: Mapping[str, np.ndarray[Any, Any]]) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **model)  # type: ignore[arg-type]


def numpy_columns(path: Path, model: Mapping[str, np.ndarray[Any, Any]]) -> None:
    numpy_stored(path, {name: np.asfortranarray(values) for name, values in model.items()})


Write = Callable[[Path, Mapping[str, np.ndarray[Any, Any]]], None]
WAYS: list[Write] = [
    archive,
    before_archives,
    lightning,
    columns,
    slices,
    numpy_stored,
    numpy_packed,
    numpy_columns,
]


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".npz", ".safetensors", ""])
@pytest.mark.parametrize("write", WAYS, ids=lambda write: write.__name__)
def test_the_same_is_found_whatever_holds_the_tensors(tmp_path: Path, write: Write, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    write(path, faulty())
    reference = written(tmp_path / "reference.safetensors", faulty())
    assert found(audit([path], RULES)) == found(audit([reference], RULES)) != []


@pytest.mark.parametrize("write", WAYS, ids=lambda write: write.__name__)
def test_statistics_are_the_same_to_the_last_bit(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "model.pt", mlp())
    (checkpoint,), _ = open_paths([tmp_path / "model.pt"])
    (reference,), _ = open_paths([written(tmp_path / "reference.safetensors", mlp())])
    assert read(checkpoint).statistics == read(reference).statistics


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_every_judged_dtype_is_read(tmp_path: Path, dtype: torch.dtype) -> None:
    model = {name: tensor.to(dtype) for name, tensor in tensors(mlp()).items()}
    torch.save(model, tmp_path / "model.pt")
    save_file(model, tmp_path / "reference.safetensors")
    (checkpoint,), _ = open_paths([tmp_path / "model.pt"])
    (reference,), _ = open_paths([tmp_path / "reference.safetensors"])
    assert read(checkpoint).statistics == read(reference).statistics
    assert {e.name: e.dtype for e in checkpoint.entries} == {e.name: e.dtype for e in reference.entries}


def test_a_wrong_suffix_is_noted(tmp_path: Path) -> None:
    archive(tmp_path / "model.safetensors", mlp())
    assert "is a file of torch.save, whatever its suffix says" in run("check", tmp_path / "model.safetensors").out
    path = written(tmp_path / "model.pt", mlp())
    assert "is a safetensors file, whatever its suffix says" in run("check", path).out


def test_what_lies_beside_the_weights_is_named_and_not_judged(tmp_path: Path) -> None:
    lightning(tmp_path / "last.ckpt", mlp())
    (one,) = audit([tmp_path / "last.ckpt"], RULES).audited
    rows = {row.tensor: row.reason for row in one.not_judged}
    assert rows["optimizer_states"] == "is the state of an optimiser"
    assert rows["epoch"] == "lies beside the weights"
    assert one.judged == len(mlp())


@pytest.mark.parametrize("usual", ["state_dict", "model", "module", "model_state_dict"])
def test_the_usual_keys_need_not_be_given(tmp_path: Path, usual: str) -> None:
    torch.save({usual: tensors(faulty()), "ema": tensors(mlp()), "step": torch.tensor(3)}, tmp_path / "model.pt")
    report = audit([tmp_path / "model.pt"], RULES)
    assert [name for _, names, _ in found(report) for name in names] == ["fc2.weight"]
    assert any("--key ema" in row.reason for row in report.audited[0].not_judged)


@pytest.mark.parametrize("command", ["check", "inspect", "fix"])
def test_where_it_is_not_clear_a_key_is_asked_for(tmp_path: Path, command: str) -> None:
    path = tmp_path / "gan.pt"
    torch.save({"nets": {"generator": tensors(faulty()), "critic": tensors(mlp())}}, path)
    more = ["--dry-run"] if command == "fix" else ["--output-format", "json"]
    asked = run(command, path, *more)
    assert asked.status == 2
    assert "--key: nets.generator, nets.critic" in asked.err
    answered = run(command, path, *more, "--key", "nets.generator")
    assert answered.status in (0, 1)
    assert "fc2.weight" in answered.out
    wrong = run(command, path, *more, "--key", "nets.discriminator")
    assert wrong.status == 2
    assert "'nets.discriminator'" in wrong.err


def test_nested_modules_are_one_model(tmp_path: Path) -> None:
    halves = {"encoder": tensors(mlp()), "head": {"classifier": tensors(faulty())}}
    torch.save({"model": halves}, tmp_path / "model.pt")
    (checkpoint,), _ = open_paths([tmp_path / "model.pt"])
    assert {"encoder.fc1.weight", "head.classifier.fc2.weight"} <= {entry.name for entry in checkpoint.entries}


def test_ties_and_views_are_judged_once_and_said_to_be_so(tmp_path: Path) -> None:
    model = tensors(mlp())
    model |= {"tied.weight": model["fc2.weight"], "turned.weight": model["fc2.weight"].t()}
    model |= {"row": model["fc2.weight"][3], "copy.weight": model["fc2.weight"].clone()}
    torch.save(model, tmp_path / "model.pt")
    report = audit([tmp_path / "model.pt"], RULES)
    rows = {row.tensor: row.reason for row in report.audited[0].not_judged}
    assert rows == dict.fromkeys(("tied.weight", "turned.weight", "row"), "shares its memory with fc2.weight")
    assert [names for _, names, _ in found(report)] == [("copy.weight", "fc2.weight")]
    assert report.audited[0].checkpoint.parameters == sum(v.size for v in mlp().values()) + mlp()["fc2.weight"].size


def test_a_tensor_that_was_saved_without_values_is_found(tmp_path: Path) -> None:
    torch.save({**tensors(mlp()), "fc4.weight": torch.empty(10, 10, device="meta")}, tmp_path / "model.pt")
    assert [row[:2] for row in found(audit([tmp_path / "model.pt"], RULES))] == [("IA504", ("fc4.weight",))]


def test_a_file_of_tensors_without_values_is_something_to_judge_and_to_inspect(tmp_path: Path) -> None:
    torch.save({"fc4.weight": torch.empty(10, 10, device="meta")}, tmp_path / "model.pt")
    assert run("check", tmp_path / "model.pt").status == 1
    outcome = run("inspect", tmp_path / "model.pt")
    assert (outcome.status, outcome.err) == (0, "")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: torch.eye(4).to_sparse(), "sparse"),
        (lambda: torch.eye(4).to_sparse_csr(), "sparse"),
        (lambda: torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8), "quantised"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "nested"),
        (lambda: torch.ones(4, dtype=torch.complex64), "complex"),
        (lambda: torch.ones(4, dtype=torch.uint16), "integers"),
        (lambda: torch.ones(0, 4), "no elements"),
        (lambda: torch.ones(1, 4).expand(1000, 4), "overlap"),
    ],
    ids=["coo", "csr", "quantised", "nested", "complex", "integers", "empty", "expanded"],
)
def test_what_cannot_be_judged_is_listed_and_the_rest_is_judged(
    tmp_path: Path, make: Callable[[], torch.Tensor], reason: str
) -> None:
    torch.save({**tensors(faulty()), "odd": make()}, tmp_path / "model.pt")
    report = audit([tmp_path / "model.pt"], RULES)
    assert [names for _, names, _ in found(report)] == [("fc2.weight",)]
    (row,) = report.audited[0].not_judged
    assert (row.tensor, reason in row.reason) == ("odd", True)


def test_a_slice_that_keeps_all_it_was_cut_from_is_noted(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.randn(4000, 64)[:64]}, tmp_path / "model.pt")
    assert "bytes are no tensor's" in run("check", tmp_path / "model.pt").out


def test_shards_of_pickles_are_one_checkpoint(tmp_path: Path) -> None:
    model = tensors(faulty())
    halves = {"pytorch_model-00001-of-00002.bin": list(model)[:3], "pytorch_model-00002-of-00002.bin": list(model)[3:]}
    for file, names in halves.items():
        torch.save({name: model[name] for name in names}, tmp_path / file)
    weight_map = {name: file for file, names in halves.items() for name in names}
    index = written(tmp_path / "pytorch_model.bin.index.json", json.dumps({"weight_map": weight_map}).encode())
    for path in (index, tmp_path):
        report = audit([path], RULES)
        assert [names for _, names, _ in found(report)] == [("fc2.weight",)]
        assert report.audited[0].checkpoint.format == "torch"


@pytest.mark.parametrize(
    ("index", "shard"),
    [("pytorch_model.bin.index.json", "a.safetensors"), ("model.safetensors.index.json", "a.bin")],
)
def test_an_index_names_shards_of_its_own_format_alone(tmp_path: Path, index: str, shard: str) -> None:
    archive(tmp_path / shard, mlp())
    path = written(tmp_path / index, json.dumps({"weight_map": dict.fromkeys(mlp(), shard)}).encode())
    outcome = run("check", path)
    assert outcome.status == 2
    assert "is not a ." in outcome.err


def test_a_pickle_under_the_name_of_a_safetensors_shard_is_refused(tmp_path: Path) -> None:
    archive(tmp_path / "a.safetensors", mlp())
    weight_map = dict.fromkeys(mlp(), "a.safetensors")
    path = written(tmp_path / "model.safetensors.index.json", json.dumps({"weight_map": weight_map}).encode())
    outcome = run("check", path)
    assert outcome.status == 2
    assert "not what the suffix .safetensors says" in outcome.err


def test_each_weight_file_of_a_folder_is_a_checkpoint(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pth", "c.ckpt", "d.bin"):
        archive(tmp_path / name, mlp())
    numpy_stored(tmp_path / "e.npz", mlp())
    written(tmp_path / "f.safetensors", mlp())
    names = [Path(one.checkpoint.path).name for one in audit([tmp_path], RULES).audited]
    assert names == ["a.pt", "b.pth", "c.ckpt", "d.bin", "e.npz", "f.safetensors"]


def test_what_a_training_loop_saves_beside_a_model_is_left_alone(tmp_path: Path) -> None:
    beside = ["optimizer.pt", "pytorch_model.bin", "rng_state_0.pth", "scheduler.pt", "training_args.bin"]
    written(tmp_path / "model.safetensors", mlp())
    for name in beside:
        (tmp_path / name).write_bytes(b"never looked into")
    outcome = run("check", tmp_path)
    assert (outcome.status, outcome.err) == (0, "")
    assert f"left alone, since it lies beside the weights: {', '.join(beside)}" in outcome.out


def test_objects_in_an_npz_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    np.savez(path, **faulty(), odd=np.array([{"a": 1}], dtype=object))
    (one,) = audit([path], RULES).audited
    assert [finding.tensor for finding in one.findings] == ["fc2.weight"]
    (row,) = one.not_judged
    assert (row.tensor, "never loaded" in row.reason) == ("odd", True)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda data: data.replace(b"NUMPY", b"NUMPX"), "no header as NumPy writes it"),
        (lambda data: data.replace(b"(96, 64)", b"(96, 65)"), "fc1.weight"),
        (lambda data: data.replace(b"'descr': '<f4'", b"'descr': f(  )"), "no header as NumPy writes it"),
    ],
    ids=["mark", "shape", "code"],
)
def test_a_damaged_array_is_refused(tmp_path: Path, harm: Callable[[bytes], bytes], words: str) -> None:
    numpy_stored(tmp_path / "model.npz", mlp())
    content = (tmp_path / "model.npz").read_bytes()
    assert harm(content) != content
    path = written(tmp_path / "damaged.npz", harm(content))
    outcome = run("check", path)
    assert outcome.status == 2
    assert words in outcome.err


WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from initaudit.cli import main; sys.exit(main())"


@pytest.mark.parametrize("write", WAYS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("command", ["check", "inspect"])
def test_no_format_needs_torch_to_be_read(tmp_path: Path, write: Write, command: str) -> None:
    path = tmp_path / "model"
    write(path, faulty())
    outcome = spawn_python("-c", WITHOUT_TORCH, command, path)
    assert (outcome.status, outcome.err) == (int(command == "check"), "")
    assert ("IA101 zero-weight" if command == "check" else "fc2.weight") in outcome.out


def test_torch_is_not_imported_to_read_its_files_where_it_is_there(tmp_path: Path) -> None:
    archive(tmp_path / "model.pt", faulty())
    program = "import sys; from initaudit.cli import main; main(); sys.exit('torch' in sys.modules)"
    assert spawn_python("-c", program, "check", tmp_path / "model.pt").status == 0
