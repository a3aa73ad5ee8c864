import json
import os
from pathlib import Path

import numpy as np
import pytest

from initaudit.audit import audit
from initaudit.checkpoint import find_checkpoints
from initaudit.checkpoint.reading import Reader
from initaudit.errors import CheckpointError
from initaudit.registry import load_rules
from initaudit.understanding import Reading, open_paths, read
from tests.checkpoints import FIXTURES, Raw, faulty, indexed, mlp, run, statistics, written


def found(path):
    """The checkpoints behind a path, of which none is refused."""
    checkpoints, failures = open_paths([path])
    assert not failures
    return checkpoints


def refusal(path):
    """Why the one thing behind a path is refused."""
    checkpoints, failures = open_paths([path])
    assert not checkpoints
    (failure,) = failures
    return failure.message


def halves(model):
    """A model in two shards."""
    names = list(model)
    cut = len(names) // 2
    first, second = ({name: model[name] for name in part} for part in (names[:cut], names[cut:]))
    return {"model-00001-of-00002.safetensors": first, "model-00002-of-00002.safetensors": second}


def test_a_file_is_described_by_its_header(tmp_path):
    path = written(tmp_path / "m.safetensors", {"b": np.zeros((2, 3), np.float32), "a": np.ones(4, np.float16)})
    (checkpoint,) = found(path)
    assert [(e.name, e.dtype, e.shape, e.end - e.begin) for e in checkpoint.entries] == [
        ("b", "F32", (2, 3), 24),
        ("a", "F16", (4,), 8),
    ]
    assert (checkpoint.path, checkpoint.format) == (str(path), "safetensors")
    assert (checkpoint.parameters, checkpoint.bytes) == (10, 32)


def test_the_bytes_that_an_entry_names_are_the_tensor(tmp_path):
    tensors = {"a": np.arange(5, dtype=np.float32), "b": np.arange(9, 12, dtype=np.float64)}
    (checkpoint,) = found(written(tmp_path / "m.safetensors", tensors))
    content = Path(checkpoint.path).read_bytes()
    for entry in checkpoint.entries:
        assert content[entry.begin : entry.end] == tensors[entry.name].tobytes()


def test_metadata_is_no_tensor(tmp_path):
    header = b'{"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    path = written(tmp_path / "m.safetensors", len(header).to_bytes(8, "little") + header + b"x")
    assert [entry.name for entry in found(path)[0].entries] == ["a"]


@pytest.mark.parametrize("stem", ["model", "diffusion_pytorch_model", "adapter_model", "open clip ü"])
def test_a_folder_is_its_weight_file_whatever_the_name(tmp_path, stem):
    path = written(tmp_path / f"{stem}.safetensors", mlp())
    assert [checkpoint.path for checkpoint in found(tmp_path)] == [str(path)]


def test_each_weight_file_of_a_folder_is_a_checkpoint_in_the_order_of_names(tmp_path):
    for stem in ("b", "c", "a"):
        written(tmp_path / f"{stem}.safetensors", mlp())
    assert [Path(checkpoint.path).stem for checkpoint in found(tmp_path)] == ["a", "b", "c"]


def test_other_files_of_a_folder_are_left_alone(tmp_path):
    written(tmp_path / "model.safetensors", mlp())
    written(tmp_path / "tokenizer.json", b"{")
    written(tmp_path / "README.md", b"")
    assert len(found(tmp_path)) == 1


def test_an_empty_folder_holds_no_checkpoint(tmp_path):
    assert "no checkpoint found" in refusal(tmp_path)


def test_a_subfolder_with_an_index_is_one_checkpoint(tmp_path):
    index = indexed(tmp_path / "transformer", halves(mlp()))
    assert [checkpoint.path for checkpoint in found(tmp_path)] == [str(index)]


@pytest.mark.parametrize("through", ["folder", "index"])
def test_an_index_is_one_checkpoint_of_many_shards(tmp_path, through):
    index = indexed(tmp_path, halves(mlp()))
    (checkpoint,) = found(tmp_path if through == "folder" else index)
    assert checkpoint.path == str(index)
    assert [shard.path.name for shard in checkpoint.shards] == list(halves(mlp()))
    assert sorted(entry.name for entry in checkpoint.entries) == sorted(mlp())
    assert checkpoint.notes == ()


def test_an_index_of_another_stem_is_found_in_its_folder(tmp_path):
    index = indexed(tmp_path, halves(mlp()), name="diffusion_pytorch_model.safetensors.index.json")
    assert [checkpoint.path for checkpoint in found(tmp_path)] == [str(index)]


def test_shards_may_lie_in_subfolders(tmp_path):
    index = indexed(tmp_path, {"parts/1.safetensors": mlp()})
    assert len(found(index)[0].entries) == len(mlp())


def test_weight_files_beside_an_index_are_named_in_a_note(tmp_path):
    indexed(tmp_path, halves(mlp()))
    written(tmp_path / "consolidated.safetensors", mlp())
    (checkpoint,) = found(tmp_path)
    (note,) = checkpoint.notes
    assert "consolidated.safetensors" in note
    assert "model-00001" not in note


def test_a_wrong_total_size_is_a_note(tmp_path):
    (checkpoint,) = found(indexed(tmp_path, halves(mlp()), total_size=12))
    (note,) = checkpoint.notes
    assert "total_size 12" in note


def test_a_right_total_size_is_no_note(tmp_path):
    size = sum(tensor.nbytes for tensor in mlp().values())
    assert found(indexed(tmp_path, halves(mlp()), total_size=size))[0].notes == ()


@pytest.mark.parametrize("stated", ["12", None, True, []], ids=repr)
def test_a_total_size_that_is_no_size_refuses_nothing(tmp_path, stated):
    assert len(found(indexed(tmp_path, halves(mlp()), total_size=stated))) == 1


def test_a_missing_shard_is_refused(tmp_path):
    index = indexed(tmp_path, halves(mlp()))
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    (failure,) = open_paths([index])[1]
    assert "model-00002-of-00002.safetensors" in f"{failure.path} {failure.message}"
    assert "no such file" in failure.message


def test_a_damaged_shard_is_refused(tmp_path):
    index = indexed(tmp_path, halves(mlp()))
    shard = tmp_path / "model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-4])
    (failure,) = open_paths([index])[1]
    assert "model-00001-of-00002.safetensors" in f"{failure.path} {failure.message}"
    assert "truncated" in failure.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda true: {**true, "ghost": "b.safetensors"}, ["'ghost'", "no shard"], id="in-no-shard"),
        pytest.param(lambda true: {**true, "x": "b.safetensors"}, ["'x'", "a.safetensors"], id="in-the-other-shard"),
        pytest.param(lambda true: {"x": true["x"], "z": true["z"]}, ["'y'", "lacks"], id="not-in-the-map"),
    ],
)
def test_a_map_that_disagrees_with_its_shards_is_refused(tmp_path, change, words):
    x, y, z = (np.ones(2, np.float32) for _ in range(3))
    true = {"x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors"}
    shards = {"a.safetensors": {"x": x, "y": y}, "b.safetensors": {"z": z}}
    message = refusal(indexed(tmp_path, shards, weight_map=change(true)))
    assert [word for word in words if word not in message] == []


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    shards = {"a.safetensors": {"x": np.ones(2, np.float32)}, "b.safetensors": {"x": np.ones(2, np.float32)}}
    shards["b.safetensors"]["y"] = np.ones(2, np.float32)
    weight_map = {"x": "a.safetensors", "y": "b.safetensors"}
    message = refusal(indexed(tmp_path, shards, weight_map=weight_map))
    assert "'x'" in message
    assert "two shards" in message


@pytest.mark.parametrize(
    "name",
    [
        "../outside/model.safetensors",
        "parts/../../outside/model.safetensors",
        "..\\outside\\model.safetensors",
        "/etc/model.safetensors",
        "\\etc\\model.safetensors",
        "C:\\model.safetensors",
        "C:model.safetensors",
        "\\\\host\\share\\model.safetensors",
        "//host/share/model.safetensors",
        "",
    ],
    ids=repr,
)
def test_a_shard_outside_the_folder_is_refused(tmp_path, name):
    written(tmp_path / "outside" / "model.safetensors", {"x": np.ones(2, np.float32)})
    index = indexed(tmp_path / "inside", {}, weight_map={"x": name})
    assert "path inside the folder" in refusal(index)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors.pt", "model", "model.pkl"])
def test_a_shard_of_another_suffix_is_refused(tmp_path, name):
    written(tmp_path / name, {"x": np.ones(2, np.float32)})
    assert "not a .safetensors file" in refusal(indexed(tmp_path, {}, weight_map={"x": name}))


@pytest.mark.parametrize("stem", ["a\0b", "\ud800", "x" * 5000], ids=["nul", "surrogate", "long"])
def test_a_shard_name_that_no_file_can_have_is_refused(tmp_path, stem):
    written(tmp_path / "good" / "model.safetensors", mlp())
    index = indexed(tmp_path / "odd", {}, weight_map={"x": f"{stem}.safetensors"})
    outcome = run("check", tmp_path / "good", index, "--output-format", "json")
    assert outcome.status == 2
    assert len(outcome.document["checkpoints"]) == 1
    assert len(outcome.document["errors"]) == 1


def test_a_symbolic_link_to_a_weight_file_is_followed(tmp_path):
    blob = written(tmp_path / "blobs" / "0123abcd", mlp())
    snapshot = tmp_path / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(blob)
    for path in (snapshot, snapshot / "model.safetensors"):
        assert len(found(path)[0].entries) == len(mlp())


def test_shards_may_be_symbolic_links_to_anywhere(tmp_path):
    blob = written(tmp_path / "blobs" / "0123abcd", mlp())
    weight_map = dict.fromkeys(mlp(), "model.safetensors")
    index = indexed(tmp_path / "snapshot", {}, weight_map=weight_map)
    (tmp_path / "snapshot" / "model.safetensors").symlink_to(blob)
    assert len(found(index)[0].entries) == len(mlp())


@pytest.mark.parametrize("name", ["config.json", "adapter_config.json"])
def test_the_configuration_beside_the_weights_is_read(tmp_path, name):
    written(tmp_path / "model.safetensors", mlp())
    written(tmp_path / name, b'{"model_type": "gpt2"}')
    assert found(tmp_path)[0].config == {"model_type": "gpt2"}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        pytest.param(b"{", "it is not JSON", id="not-json"),
        pytest.param(b"[]", "it is not a JSON object", id="a-list"),
        pytest.param(b"\xff\xfe{}", "utf-8", id="not-utf-8"),
        pytest.param(b"[" * 200_000, "recursion", id="nested"),
        pytest.param(b"", "it is not JSON", id="empty"),
        pytest.param(b'{"a": "' + b"x" * 10_000_001 + b'"}', "longer than 10,000,000 bytes", id="huge"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", "4300 digits", id="long-integer"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_ignored_and_noted(tmp_path, config, words):
    written(tmp_path / "model.safetensors", mlp())
    written(tmp_path / "config.json", config)
    (checkpoint,) = found(tmp_path)
    assert checkpoint.config == {}
    (note,) = checkpoint.notes
    assert note.startswith("config.json is not made use of: ")
    assert words in note


@pytest.mark.parametrize("value", [None, "many", -1, 1e300, float("nan"), [[]], {}, True], ids=repr)
def test_a_configuration_of_odd_values_changes_no_verdict(tmp_path, value):
    keys = ("model_type", "vocab_size", "hidden_size", "n_head", "tie_word_embeddings", "text_config", "architectures")
    written(tmp_path / "model.safetensors", mlp())
    written(tmp_path / "config.json", json.dumps(dict.fromkeys(keys, value)).encode())
    outcome = run("check", tmp_path)
    assert (outcome.status, outcome.err) == (0, "")


def test_a_configuration_that_is_a_folder_is_ignored(tmp_path):
    path = written(tmp_path / "model.safetensors", mlp())
    (tmp_path / "config.json").mkdir()
    assert found(path)[0].config == {}


def test_a_file_that_is_written_again_after_its_header_was_read_is_an_error(tmp_path):
    path = written(tmp_path / "model.safetensors", mlp(1))
    (checkpoint,) = found(path)
    other = written(tmp_path / "other", mlp(2))
    Path(other).replace(path)
    with pytest.raises(CheckpointError, match="was changed while it was audited"):
        read(checkpoint)


def test_a_file_that_is_written_to_while_it_is_read_is_an_error(tmp_path):
    path = written(tmp_path / "model.safetensors", mlp())
    (checkpoint,) = found(path)

    def touch(_):
        os.utime(path, ns=(0, 0))

    with pytest.raises(CheckpointError, match="was changed while it was audited"):
        read(checkpoint, progress=touch)


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path):
    path = written(tmp_path / "model.safetensors", mlp())
    (checkpoint,) = found(path)
    with pytest.raises(CheckpointError, match="shrank while it was read"):
        read(checkpoint, progress=lambda _: os.truncate(path, 2000))


def test_a_file_that_goes_away_after_its_header_was_read_is_an_error(tmp_path):
    path = written(tmp_path / "model.safetensors", mlp())
    (checkpoint,) = found(path)
    path.unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        read(checkpoint)


def test_a_file_that_changes_hides_no_other_checkpoint(tmp_path):
    paths = [written(tmp_path / f"{stem}.safetensors", faulty()) for stem in "abc"]

    def progress(checkpoint):
        return (lambda _: os.truncate(paths[1], 2000)) if checkpoint.path == str(paths[1]) else None

    report = audit(paths, tuple(load_rules().values()), Reading(progress=progress))
    assert [one.checkpoint.path for one in report.audited] == [str(paths[0]), str(paths[2])]
    assert [failure.path for failure in report.failures] == [str(paths[1])]
    assert report.exit_status() == 2


def test_no_file_is_left_open(tmp_path):
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("open files cannot be counted here")
    path = written(tmp_path / "model.safetensors", mlp())
    (checkpoint,) = found(path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Reader.opened(checkpoint.shards[0], 8):
        pass
    list(find_checkpoints(tmp_path))
    read(checkpoint)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    "source",
    [*sorted(FIXTURES.glob("bad/*.safetensors"), key=str), FIXTURES / "good" / "gpt2" / "model.safetensors"],
    ids=lambda path: path.stem,
)
def test_shards_change_neither_findings_nor_statistics(tmp_path, source):
    (whole,) = found(source)
    content = source.read_bytes()
    tensors = {e.name: Raw(e.dtype, e.shape, content[e.begin : e.end]) for e in whole.entries}
    index = indexed(tmp_path, halves(tensors))
    for key in ("findings", "intended", "not_judged"):
        one, many = (run("check", path, "--output-format", "json").document[key] for path in (source, index))
        for row in one + many:
            del row["checkpoint"]
        assert many == one
    assert statistics(index) == statistics(source)
