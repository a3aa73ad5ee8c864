"""Which checkpoints a folder leads to: whatever is below it is audited or named."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import initaudit
from initaudit.checkpoint import subfolders
from initaudit.understanding import open_paths
from tests.checkpoints import described, faulty, file_of, indexed, mlp, run, written


def found(path: Path, *, recursive: bool = True) -> list[str]:
    """The paths of the checkpoints below a folder, of which none is refused."""
    checkpoints, failures = open_paths([path], recursive=recursive)
    assert not failures
    return [str(Path(checkpoint.path).relative_to(path)) for checkpoint in checkpoints]


def notes(path: Path) -> list[str]:
    """The notes of all checkpoints below a folder."""
    checkpoints, _ = open_paths([path])
    return [note for checkpoint in checkpoints for note in checkpoint.notes]


def test_a_pipeline_is_looked_through(tmp_path: Path) -> None:
    for part, file in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model"), ("vae", "model")):
        written(tmp_path / part / f"{file}.safetensors", mlp())
    written(tmp_path / "scheduler" / "scheduler_config.json", b"{}")
    written(tmp_path / "model_index.json", b"{}")
    parts = ["text_encoder/model", "unet/diffusion_pytorch_model", "vae/model"]
    assert found(tmp_path) == [f"{part}.safetensors" for part in parts]
    assert notes(tmp_path) == []


def test_subfolders_are_looked_through_beside_a_weight_file(tmp_path: Path) -> None:
    written(tmp_path / "model.safetensors", mlp())
    written(tmp_path / "2_Dense" / "model.safetensors", mlp())
    assert found(tmp_path) == ["model.safetensors", "2_Dense/model.safetensors"]


def test_subfolders_are_looked_through_beside_an_index(tmp_path: Path) -> None:
    indexed(tmp_path, {"model-1.safetensors": mlp()})
    written(tmp_path / "adapter" / "adapter_model.safetensors", mlp())
    assert found(tmp_path) == ["model.safetensors.index.json", "adapter/adapter_model.safetensors"]
    assert notes(tmp_path) == []


def test_two_levels_down_is_looked_through_and_what_is_below_is_named(tmp_path: Path) -> None:
    written(tmp_path / "a" / "b" / "model.safetensors", mlp())
    written(tmp_path / "a" / "b" / "c" / "model.safetensors", mlp())
    assert found(tmp_path) == ["a/b/model.safetensors"]
    (note,) = notes(tmp_path)
    assert note == "left out: below 2 levels (a/b/c)"


def test_a_fault_in_a_subfolder_is_found(tmp_path: Path) -> None:
    written(tmp_path / "model.safetensors", mlp())
    path = written(tmp_path / "experts" / "first" / "model.safetensors", faulty())
    outcome = run("check", tmp_path, "--output-format", "json")
    assert outcome.status == 1
    assert [finding["checkpoint"] for finding in outcome.document["findings"]] == [str(path)]


def test_a_checkpoint_in_a_folder_is_named_by_the_path_that_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "runs" / "a" / "model.safetensors", mlp())
    monkeypatch.chdir(tmp_path)
    checkpoints, _ = open_paths([Path("runs")])
    assert [checkpoint.path for checkpoint in checkpoints] == [os.path.join("runs", "a", "model.safetensors")]  # noqa: PTH118 (as the system joins them)


LEFT_OUT = {
    ".cache/model.safetensors": "hidden folders (.cache)",
    "checkpoint-100/model.safetensors": "training snapshots (checkpoint-100)",
    "global_step20/mp_rank_00_model_states.pt": "training snapshots (global_step20)",
    "runs/checkpoint-100/model.safetensors": "training snapshots (runs/checkpoint-100)",
    "checkpoint-100/deeper/model.safetensors": "training snapshots (checkpoint-100)",
}


@pytest.mark.parametrize("place", LEFT_OUT)
def test_what_is_left_out_is_named_in_one_note(tmp_path: Path, place: str) -> None:
    written(tmp_path / "model.safetensors", mlp())
    written(tmp_path / place, faulty())
    assert found(tmp_path) == ["model.safetensors"]
    assert notes(tmp_path) == [f"left out: {LEFT_OUT[place]}"]
    outcome = run("check", tmp_path)
    assert outcome.status == 0
    assert f"note  left out: {LEFT_OUT[place]}" in outcome.out
    assert f"left out: {LEFT_OUT[place]}" in run("check", tmp_path, "--output-format", "json").out


def test_what_is_left_out_for_several_reasons_is_one_note(tmp_path: Path) -> None:
    for name in (".a", "checkpoint-1", "checkpoint-2"):
        written(tmp_path / name / "model.safetensors", mlp())
    written(tmp_path / "model.safetensors", mlp())
    assert notes(tmp_path) == ["left out: hidden folders (.a); training snapshots (checkpoint-1, checkpoint-2)"]


def test_of_many_that_are_left_out_some_are_named(tmp_path: Path) -> None:
    written(tmp_path / "model.safetensors", mlp())
    for step in range(10, 50):
        written(tmp_path / f"checkpoint-{step}" / "model.safetensors", mlp())
    (note,) = notes(tmp_path)
    assert note.endswith("checkpoint-17 and 32 more)")


def test_a_folder_without_weights_is_left_out_without_a_word(tmp_path: Path) -> None:
    written(tmp_path / "model.safetensors", mlp())
    for name in (".git/objects/pack/one.idx", ".cache/huggingface/model.metadata", "logs/events.out"):
        written(tmp_path / name, b"x")
    assert notes(tmp_path) == []


def test_a_snapshot_that_is_named_itself_is_audited(tmp_path: Path) -> None:
    written(tmp_path / "checkpoint-100" / "model.safetensors", mlp())
    assert found(tmp_path / "checkpoint-100") == ["model.safetensors"]
    outcome = run("check", tmp_path)
    assert outcome.status == 2
    assert "no checkpoint found" in outcome.err
    assert "training snapshots (checkpoint-100)" in outcome.err


def test_a_linked_folder_is_left_out_and_one_that_is_named_is_not(tmp_path: Path) -> None:
    written(tmp_path / "elsewhere" / "model.safetensors", mlp())
    folder = tmp_path / "runs"
    written(folder / "model.safetensors", mlp())
    (folder / "latest").symlink_to(tmp_path / "elsewhere")
    assert found(folder) == ["model.safetensors"]
    assert notes(folder) == ["left out: linked folders (latest)"]
    assert found(folder / "latest") == ["model.safetensors"]


def test_folders_that_lead_to_themselves_are_walked_once(tmp_path: Path) -> None:
    written(tmp_path / "a" / "model.safetensors", mlp())
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "nowhere").symlink_to("not-there")
    assert found(tmp_path) == ["a/model.safetensors"]


def test_a_hub_cache_is_looked_through(tmp_path: Path) -> None:
    blob = written(tmp_path / "blobs" / ("0" * 64), mlp())
    snapshot = tmp_path / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(blob)
    written(tmp_path / "refs" / "main", b"0123abcd")
    assert found(tmp_path) == ["snapshots/0123abcd/model.safetensors"]
    assert notes(tmp_path) == []


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "a-shard-is-missing"])
def test_a_folder_of_shards_is_left_out(tmp_path: Path, *, whole: bool) -> None:
    indexed(tmp_path, {"parts/1.safetensors": mlp(), "parts/deep/2.safetensors": {"a": np.ones(3, np.float32)}})
    written(tmp_path / "other" / "model.safetensors", mlp())
    if not whole:
        (tmp_path / "parts" / "deep" / "2.safetensors").unlink()
    checkpoints, failures = open_paths([tmp_path])
    assert [Path(checkpoint.path).name for checkpoint in checkpoints] == [
        *(["model.safetensors.index.json"] if whole else []),
        "model.safetensors",
    ]
    assert len(failures) == (not whole)
    assert notes(tmp_path) == ["left out: folders with shards of an index (parts)"]


@pytest.mark.parametrize("command", ["check", "inspect"])
def test_a_folder_alone_is_taken_where_that_is_asked_for(tmp_path: Path, command: str) -> None:
    written(tmp_path / "model.safetensors", mlp())
    written(tmp_path / "a" / "model.safetensors", b"damaged")
    assert run(command, tmp_path).status == 2
    assert run(command, tmp_path, "--no-recursive").status == 0
    assert run(command, tmp_path / "a" / "..", "--no-recursive").err == ""
    assert len(initaudit.check(tmp_path, recursive=False).audited) == 1
    assert len(initaudit.check(tmp_path).failures) == 1


def test_a_folder_alone_without_weights_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "a" / "model.safetensors", mlp())
    outcome = run("check", tmp_path, "--no-recursive")
    assert outcome.status == 2
    assert "no checkpoint found" in outcome.err
    assert "folders below it are not looked through" in outcome.err


def test_fix_takes_the_same_set(tmp_path: Path) -> None:
    own = written(tmp_path / "model.safetensors", faulty())
    below = written(tmp_path / "a" / "model.safetensors", faulty())
    left = written(tmp_path / "checkpoint-5" / "model.safetensors", faulty())
    for recursive, asked in ((True, ()), (False, ("--no-recursive",))):
        outcome = run("fix", tmp_path, "--dry-run", "--output-format", "json", *asked)
        names = {row["checkpoint"] for row in outcome.document["repairs"]}
        assert names == ({str(own), str(below)} if recursive else {str(own)})
        assert len(initaudit.fix(tmp_path, recursive=recursive).repaired) == 1 + recursive
    before = left.read_bytes()
    assert run("fix", tmp_path, "--in-place").status == 0
    assert run("check", tmp_path).status == 0
    assert left.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="needs permissions as POSIX has them")
def test_a_subfolder_that_cannot_be_listed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "model.safetensors", mlp())
    (tmp_path / "closed").mkdir()
    listed = subfolders.Listing.of

    def refuse(folder: Path) -> subfolders.Listing:
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(subfolders.Listing, "of", refuse)
    outcome = run("check", tmp_path)
    assert outcome.status == 2
    assert outcome.err == f"initaudit: {tmp_path / 'closed'}: permission denied\n"
    assert "No findings" in outcome.out


def test_a_great_many_folders_are_walked_in_little_time(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"run-{number}").mkdir()
    written(tmp_path / "run-7" / "model.safetensors", mlp())
    assert found(tmp_path) == ["run-7/model.safetensors"]


# Formats that are not read.

GGUF, HDF5 = b"GGUF\x03\0\0\0" + bytes(60), b"\x89HDF\r\n\x1a\n" + bytes(60)
ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.1.0" + bytes(60)
MSGPACK = b"\x81\xa6params\x82\xa5Dense" + bytes(60)
FOREIGN = {
    "gguf": ("model.gguf", GGUF, "GGUF", "converted"),
    "hdf5": ("model.weights.h5", HDF5, "HDF5", "Keras"),
    "onnx": ("model.onnx", ONNX, "ONNX", "safetensors"),
    "msgpack": ("flax_model.msgpack", MSGPACK, "msgpack", "safetensors.flax"),
    "distcp": ("__0_0.distcp", b"PK\x03\x04" + bytes(60), "torch.distributed.checkpoint", ""),
    "tensorflow": ("model.ckpt.data-00000-of-00001", bytes(64), "TensorFlow", "tf.train.load_checkpoint"),
    "saved-model": ("saved_model.pb", bytes(64), "SavedModel", "safetensors"),
    "npy": ("w.npy", b"\x93NUMPY\x01\0" + bytes(60), "NumPy", "numpy.savez"),
    "nemo": ("model.nemo", bytes(257) + b"ustar" + bytes(250), "tar", "unpack"),
}


@pytest.mark.parametrize("case", FOREIGN)
@pytest.mark.parametrize("through", ["file", "folder", "another-name"])
def test_another_format_is_named_with_a_way_on(tmp_path: Path, case: str, through: str) -> None:
    name, content, *words = FOREIGN[case]
    if through == "another-name":
        if not content.strip(b"\0") or case == "distcp":
            pytest.skip("is known by its name alone")
        name = "model.safetensors"
    path = written(tmp_path / name, content)
    outcome = run("check", tmp_path if through == "folder" else path)
    assert outcome.status == 2
    (complaint,) = outcome.complaints
    assert "internal error" not in complaint
    assert [word for word in words if word not in complaint] == []
    assert (str(tmp_path) if case == "distcp" else str(path)) in complaint


def test_other_formats_beside_weights_are_named_in_a_note(tmp_path: Path) -> None:
    written(tmp_path / "model.safetensors", mlp())
    written(tmp_path / "tf_model.h5", HDF5)
    written(tmp_path / "onnx" / "model.onnx", ONNX)
    assert run("check", tmp_path).status == 0
    assert notes(tmp_path) == ["left out: formats that are not read (tf_model.h5, onnx/model.onnx)"]


def test_a_repository_of_the_hub_is_audited_by_what_is_read_of_it(tmp_path: Path) -> None:
    for name in ("model.safetensors", "2_Dense/model.safetensors"):
        written(tmp_path / name, mlp())
    for name in ("config.json", "modules.json", "1_Pooling/config.json", "onnx/config.json", ".git/config"):
        written(tmp_path / name, b"{}")
    for name in ("pytorch_model.bin", "training_args.bin", "openvino/openvino_model.xml", "tokenizer.model"):
        written(tmp_path / name, bytes(100))
    for name in ("flax_model.msgpack", "onnx/model.onnx", "openvino/openvino_model.bin", "tf_model.h5"):
        written(tmp_path / name, bytes(100))
    assert found(tmp_path) == ["model.safetensors", "2_Dense/model.safetensors"]
    foreign = "flax_model.msgpack, tf_model.h5, onnx/model.onnx, openvino/openvino_model.bin"
    assert notes(tmp_path) == [
        f"left out: formats that are not read ({foreign})",
        "left alone, since it lies beside the weights: pytorch_model.bin, training_args.bin",
    ]


@pytest.mark.filterwarnings("ignore")
def test_a_folder_of_chunks_that_is_not_whole_is_named_with_a_way_on_and_hides_nothing(tmp_path: Path) -> None:
    import torch.distributed.checkpoint as dcp

    dcp.save({"w": torch.randn(4, 4)}, checkpoint_id=tmp_path / "dcp", no_dist=True)
    written(tmp_path / "model.safetensors", mlp())
    assert run("check", tmp_path, "--output-format", "json", "--fail-on", "never").status == 0
    for name in (".metadata", "__0_0.distcp"):
        assert "is a part of a folder of torch.distributed.checkpoint" in run("check", tmp_path / "dcp" / name).err
        (tmp_path / "dcp" / name).rename(tmp_path / name)  # each alone, and what is left
        outcome = run("check", tmp_path / "dcp")
        assert outcome.status == 2
        assert len(outcome.complaints) == 1
        assert run("check", tmp_path).status == 2
        (tmp_path / name).rename(tmp_path / "dcp" / name)


@pytest.mark.parametrize("mark", ["manifest.ocdbt", "_CHECKPOINT_METADATA"])
def test_a_folder_of_orbax_is_named(tmp_path: Path, mark: str) -> None:
    written(tmp_path / "state" / mark, b"{}")
    outcome = run("check", tmp_path)
    assert outcome.status == 2
    assert f"{tmp_path / 'state'}: is a folder of Orbax" in outcome.err


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/m.safetensors", "s3://bucket/m.safetensors"),
        ("gs://bucket/run", "gs://bucket/run"),
        ("az://container/m.safetensors", "az://container/m.safetensors"),
        ("hf://gpt2/model.safetensors", "hf://gpt2/model.safetensors"),
        ("https://me:secret@host/m.safetensors?sig=secret#x", "https://host/m.safetensors"),
        (f"https://host/m.safetensors?X-Amz-Signature=secret{'0' * 5000}", "https://host/m.safetensors"),
    ],
)
def test_a_url_is_named_and_shows_no_secret(tmp_path: Path, url: str, shown: str) -> None:
    good = written(tmp_path / "model.safetensors", faulty())
    for command in ("check", "inspect"):
        outcome = run(command, url, good)
        assert outcome.status == 2
        assert outcome.err.startswith(f"initaudit: {shown}: is a URL, ")
        assert "secret" not in outcome.err + outcome.out
        assert str(good) in outcome.out
    assert run("fix", url, "--in-place").status == 2
    assert initaudit.check(url).failures[0].path == shown


@pytest.mark.parametrize("path", ["-", "/dev/stdin"])
def test_standard_input_is_named(path: str) -> None:
    for command in (("check",), ("inspect",), ("fix", "--dry-run")):
        outcome = run(*command, path)
        assert outcome.status == 2
        why = "a checkpoint is read by offset, so write it to a file first"
        assert outcome.err == f"initaudit: {path}: is standard input, which is not read: {why}\n"


def test_what_ranks_have_written_by_other_tools_is_named_with_the_command_that_converts_it(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.randn(8, 8)}, tmp_path / "one.pt")
    zero, megatron = tmp_path / "zero", tmp_path / "megatron"
    for path in (
        zero / "zero_pp_rank_0_mp_rank_00_model_states.pt",
        megatron / "mp_rank_00" / "model_optim_rng.pt",
        megatron / "mp_rank_01" / "model_optim_rng.pt",
    ):
        written(path, (tmp_path / "one.pt").read_bytes())
    for asked in (zero, zero / "zero_pp_rank_0_mp_rank_00_model_states.pt"):
        outcome = run("check", asked)
        assert outcome.status == 2
        assert "zero_to_fp32.py" in outcome.err
    outcome = run("check", megatron)
    assert outcome.status == 2
    assert "tools/checkpoint/convert.py" in outcome.err
    (megatron / "mp_rank_01" / "model_optim_rng.pt").unlink()
    (megatron / "mp_rank_01").rmdir()  # one rank has whole tensors
    assert run("check", megatron, "--fail-on", "never").status == 0


# Slices of tensors in safetensors.


def slice_of(offsets: dict[str, list[int]], rows: int = 2) -> bytes:
    """A file of one rank, with tensors of so many rows that begin there in the whole."""
    info = json.dumps({name: {"saved_offsets": row} for name, row in offsets.items()})
    header: dict[str, object] = {"__metadata__": {"format": "pt", "DCP_VERSION": "1.0", "DCP_SHARDING_INFO": info}}
    data = b""
    for name, row in offsets.items():
        values = np.random.default_rng(sum(row)).standard_normal((rows, 4)).astype(np.float32).tobytes()
        header[name] = described("F32", (rows, 4), len(data), len(data) + len(values))
        data += values
    return file_of(header, data)


def test_slices_of_tensors_are_joined_and_never_judged_alone(tmp_path: Path) -> None:
    first = written(tmp_path / "shard-00001-model-00001-of-00001.safetensors", slice_of({"a": [0, 0], "b": [0, 0]}))
    second = written(tmp_path / "shard-00002-model-00001-of-00001.safetensors", slice_of({"b": [2, 0]}))
    assert "2 tensors, 24 parameters" in run("check", tmp_path, "--fail-on", "never").out
    for asked in ([first, second], [first], [second]):
        outcome = run("check", *asked)
        assert outcome.status == 2
        assert len(outcome.complaints) == len(asked)
        assert all("holds slices of tensors, such as 'b': name the folder" in one for one in outcome.complaints)
        assert "No findings" not in outcome.out


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ({"b": [3, 0]}, "lacks some of its elements"),
        ({"b": [1, 0]}, "elements that are in two chunks"),
        ({"b": [2]}, "does not say where its slice of 'b' begins"),
    ],
)
def test_slices_that_make_up_no_tensor_are_refused(tmp_path: Path, second: dict[str, list[int]], why: str) -> None:
    written(tmp_path / "shard-00001-model-00001-of-00001.safetensors", slice_of({"a": [0, 0], "b": [0, 0]}))
    written(tmp_path / "shard-00002-model-00001-of-00001.safetensors", slice_of(second))
    outcome = run("check", tmp_path)
    assert outcome.status == 2
    (complaint,) = outcome.complaints
    assert why in complaint


def test_a_file_of_slices_that_is_missing_between_others_is_said(tmp_path: Path) -> None:
    for number, row in ((1, 0), (3, 2)):
        written(tmp_path / f"shard-0000{number}-model-00001-of-00001.safetensors", slice_of({"b": [row, 0]}))
    outcome = run("check", tmp_path)
    assert outcome.status == 2
    assert "lacks the file shard-00002" in outcome.err


def test_whole_tensors_that_a_job_of_one_rank_wrote_are_audited(tmp_path: Path) -> None:
    written(tmp_path / "model-00001-of-00001.safetensors", slice_of({"a": [0, 0]}, rows=8))
    assert run("check", tmp_path, "--fail-on", "never").status == 0


@pytest.mark.parametrize(
    "said", ["", "[]", "{}{", '{"a": {}}', '{"a": {"saved_offsets": 3}}', '{"a": {"saved_offsets": ["x"]}}', "null"]
)
def test_what_is_said_of_slices_and_cannot_be_read_is_refused(tmp_path: Path, said: str) -> None:
    header = {"__metadata__": {"DCP_SHARDING_INFO": said}, "a": described("F32", (2, 4), 0, 32)}
    path = written(tmp_path / "model.safetensors", file_of(header, bytes(32)))
    outcome = run("check", path)
    assert outcome.status == 2
    (complaint,) = outcome.complaints
    assert "DCP_SHARDING_INFO cannot be read" in complaint


def test_a_repair_says_what_was_left_out_of_its_folder(tmp_path):
    for folder in (tmp_path, tmp_path / "checkpoint-1"):
        written(folder / "model.safetensors", faulty())
    outcome = run("fix", tmp_path, "--dry-run", "--output-format", "json")
    assert any("checkpoint-1" in note for note in outcome.document["notes"])
