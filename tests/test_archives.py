"""Archives of PyTorch's and NumPy's: their directories and checksums, held against what is read anyway."""

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import initaudit
from initaudit.checkpoint import checksums, reading
from tests.checkpoints import faulty, mlp, run, written


def arrays(*, packed: bool = False, **more: np.ndarray) -> bytes:
    """The bytes of a ``.npz``."""
    buffer = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(buffer, **{**mlp(), **more})
    return buffer.getvalue()


def saved(tensors: dict[str, torch.Tensor], *, sums: bool = True) -> bytes:
    """The bytes of a file of ``torch.save``, with checksums or without."""
    buffer = io.BytesIO()
    torch.serialization.set_crc32_options(sums)
    try:
        torch.save(tensors, buffer)
    finally:
        torch.serialization.set_crc32_options(True)
    return buffer.getvalue()


def net() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values) for name, values in mlp().items()}


def flipped(content: bytes, record: str, *, at: int = -1) -> bytes:
    """An archive in which one bit of a record's data is another."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = next(info for info in archive.infolist() if info.filename.endswith(record))
    names = struct.unpack_from("<HH", content, info.header_offset + 26)
    begin = info.header_offset + 30 + sum(names)
    place = begin + at % info.compress_size
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


ODD = {
    "integers": np.arange(100),
    "nothing": np.empty((0, 4), np.float32),
    "other-order": np.asfortranarray(np.random.default_rng(5).standard_normal((20, 30)).astype(np.float32)),
    "large": np.random.default_rng(6).standard_normal((700, 500)).astype(np.float32),
    "constant": np.zeros((64, 64), np.float32),
}


@pytest.mark.parametrize("packed", [False, True], ids=["stored", "compressed"])
@pytest.mark.parametrize("name", ["fc1.weight", *ODD])
@pytest.mark.parametrize("at", [-12, 40], ids=["in-the-data", "in-the-header"])
def test_an_array_that_is_not_what_was_saved_is_refused_as_numpy_does(
    tmp_path: Path, name: str, at: int, *, packed: bool
) -> None:
    content = arrays(packed=packed, **ODD)
    good = written(tmp_path / "a.npz", content)
    assert run("check", good, "--fail-on", "never").status == 0
    bad = written(tmp_path / "b.npz", flipped(content, f"{name}.npy", at=at))
    with np.load(bad) as file, pytest.raises(Exception):  # noqa: B017, PT011 (zipfile's, zlib's or NumPy's own)
        file[name]
    outcome = run("check", tmp_path, "--fail-on", "never", "--output-format", "json")
    assert outcome.status == 2
    (complaint,) = outcome.complaints
    assert str(bad) in complaint
    assert "internal error" not in complaint
    assert len(outcome.document["checkpoints"]) == 1


def test_a_checksum_is_held_against_what_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.npz", arrays())
    counted = []
    read = reading.Reader.read

    def count(self: reading.Reader, begin: int, end: int) -> object:
        counted.append((begin, end))
        return read(self, begin, end)

    monkeypatch.setattr(reading.Reader, "read", count)
    assert initaudit.check(path).ok
    assert len(counted) == len(set(counted)) == len(mlp())


@pytest.mark.parametrize("name", ["weight", "strided", "tied", "integers", "view"])
def test_a_record_of_torch_that_is_not_what_was_saved_is_named_in_a_note(tmp_path: Path, name: str) -> None:
    whole = torch.randn(40, 30, generator=torch.Generator().manual_seed(0)) / 5
    tensors = {
        "weight": net()["fc1.weight"],
        "strided": whole.t(),
        "tied": net()["fc2.weight"],
        "integers": torch.arange(50),
        "view": torch.randn(60, 30, generator=torch.Generator().manual_seed(1))[:50] / 5,
    }
    content = saved(tensors)
    path = written(tmp_path / "model.pt", content)
    assert "not what was saved" not in run("check", path).out
    number = list(tensors).index(name)
    path = written(tmp_path / "model.pt", flipped(content, f"data/{number}", at=17))
    outcome = run("check", path, "--fail-on", "never")
    assert (outcome.status, outcome.err) == (0, "")
    assert "note  not what was saved, by checksums at which torch.load does not look" in outcome.out
    assert f"/data/{number}'" in outcome.out


def test_a_checksum_of_torch_that_is_0_alone_is_wrong(tmp_path: Path) -> None:
    content = bytearray(saved(net()))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sums = [info.CRC for info in archive.infolist() if info.filename.endswith("data/0")]
    place = content.rindex(struct.pack("<I", sums[0]))
    content[place : place + 4] = bytes(4)
    assert "/data/0'" in run("check", written(tmp_path / "model.pt", bytes(content))).out


def test_checksums_that_were_not_written_are_no_fault(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        written(tmp_path / name, saved({n: torch.from_numpy(v) for n, v in faulty().items()}, sums=False))
    outcome = run("check", tmp_path / "a.pt", "--output-format", "json")
    assert (outcome.status, outcome.document["checkpoints"][0]["notes"]) == (1, [])
    assert run("fix", tmp_path / "a.pt", "--in-place").status == 0
    outcome = run("check", tmp_path / "a.pt", "--output-format", "json")
    assert (outcome.status, outcome.document["checkpoints"][0]["notes"]) == (0, [])


def test_workers_hold_checksums_as_one_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("initaudit.workers.WORTH_IT", 0)
    monkeypatch.setattr("initaudit.workers.BATCH_BYTES", 300_000)
    numpy_file = written(tmp_path / "a.npz", flipped(arrays(**ODD), "large.npy"))
    torch_file = written(tmp_path / "a.pt", flipped(saved({**net(), "large": torch.randn(500, 500)}), "data/6"))
    outcome = run("check", numpy_file, torch_file, "--workers", "3", "--fail-on", "never")
    assert outcome.status == 2
    (complaint,) = outcome.complaints
    assert "record 'large.npy' is not what was saved" in complaint
    assert "a/data/6" in outcome.out or "archive/data/6" in outcome.out


def test_what_inflates_without_end_is_not_inflated_for_its_checksum() -> None:
    record = checksums.Record("a.npy", 0, 1000, checksums.MOST_INFLATED + 1, is_packed=True)
    shard = reading.Shard(Path("a.npz"), reading.Stamp(0, 0, 0, 0), (), records=(record,))
    reader = reading.Reader(shard, None, None)  # type: ignore[arg-type] # nothing is read
    assert list(checksums.wrong_records(reader, ())) == []


# Directories.


def without_name(content: bytes) -> bytes:
    """An archive one of whose records has a name before its data alone."""
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("Q", "zz")
    changed = bytearray(buffer.getvalue())
    place = changed.rindex(b"PK\1\2")
    changed[place + 28 : place + 32] = struct.pack("<HH", 0, 1)  # the name's one letter becomes what follows a name
    return bytes(changed)


def nul_in_name(content: bytes) -> bytes:
    return content.replace(b"fc1.weight.npy", b"fc1\0weight.npy")


def other_pointer(content: bytes) -> bytes:
    """An archive with a second directory in 64 bits that only those see who follow the pointer to it."""
    place = content.rindex(b"PK\5\6")
    if b"PK\6\7" in content:  # as torch writes it
        pointer = content.rindex(b"PK\6\7") + 8
        return content[:pointer] + struct.pack("<Q", 64) + content[pointer + 8 :]
    _, _, _, number, _, length, begin, _ = struct.unpack_from("<4s4H2LH", content, place)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, number, number, length, begin)
    pointer = struct.pack("<4sLQL", b"PK\6\7", 0, place - length, 1)
    return content[:place] + record + pointer + content[place:]


def shifted_directory(content: bytes) -> bytes:
    """An archive with bytes between its directory and its end: readers differ in where they look for the directory."""
    place = content.rindex(b"PK\5\6")
    return content[:place] + bytes(10) + content[place:]


def encrypted(content: bytes) -> bytes:
    """An archive that says so in the directory of one record alone."""
    place = content.index(b"PK\1\2") + 8
    return content[:place] + bytes([content[place] | 0x40]) + content[place + 1 :]


DAMAGED = {
    "encrypted": (encrypted, "encrypted"),
    "without-name": (without_name, "no record's name"),
    "nul-in-name": (nul_in_name, "no record's name"),
    "other-pointer": (other_pointer, "not in one place"),
    "shifted-directory": (shifted_directory, "zip archive"),
}


@pytest.mark.parametrize("kind", ["npz", "pt"])
@pytest.mark.parametrize("case", DAMAGED)
def test_an_odd_directory_is_refused_in_one_line_and_hides_nothing(tmp_path: Path, case: str, kind: str) -> None:
    damage, words = DAMAGED[case]
    if (case, kind) == ("nul-in-name", "pt"):
        pytest.skip("the names of torch's records are numbers")
    written(tmp_path / "a.safetensors", faulty())
    bad = written(tmp_path / f"b.{kind}", damage(arrays() if kind == "npz" else saved(net())))
    outcome = run("check", tmp_path)
    assert outcome.status == 2
    (complaint,) = outcome.complaints
    assert str(bad) in complaint
    assert words in complaint
    assert "internal error" not in complaint
    assert "IA101" in outcome.out


def test_a_directory_of_a_million_records_is_not_read(tmp_path: Path) -> None:
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    number = 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, number * len(entry), 4, 0)
    path = written(tmp_path / "model.pt", b"PK\3\4" + entry * number + end)
    outcome = run("check", path)
    assert outcome.status == 2
    assert "1,000,000 records: 300,000 are read" in outcome.err


def test_a_record_of_one_of_several_files_is_named_with_its_file(tmp_path: Path) -> None:
    names = list(net())
    for number, part in enumerate((names[:3], names[3:]), start=1):
        content = saved({name: net()[name] for name in part})
        content = flipped(content, "data/0") if number == 2 else content
        written(tmp_path / f"pytorch_model-{number}.bin", content)
    places = {name: f"pytorch_model-{1 + names.index(name) // 3}.bin" for name in names}
    index = written(tmp_path / "pytorch_model.bin.index.json", json.dumps({"weight_map": places}).encode())
    outcome = run("check", index, "--output-format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    (note,) = outcome.document["checkpoints"][0]["notes"]
    assert note.endswith("/data/0' of pytorch_model-2.bin")


@pytest.mark.parametrize("forced", [False, True], ids=["usual", "in-64-bits"])
def test_directories_as_they_are_written_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, forced: bool
) -> None:
    if forced:
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 0)
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 0)
    content = arrays()
    assert (b"PK\6\6" in content) == forced
    assert run("check", written(tmp_path / "a.npz", content)).status == 0
    assert run("check", written(tmp_path / "a.pt", saved(net()))).status == 0
