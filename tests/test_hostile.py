import json
import os
import re
import resource
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

import initaudit
from initaudit.checkpoint import folder, header
from initaudit.checkpoint.header import read_shard
from initaudit.errors import CheckpointError
from initaudit.understanding import open_paths
from tests.checkpoints import (
    PERMISSIONS_BIND,
    Raw,
    described,
    faulty,
    file_of,
    indexed,
    mlp,
    run,
    serialised,
    spawn,
    spawn_python,
    spawn_unprivileged,
    written,
)

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "hypothesis")  # else it writes into the repository

EXAMPLES = int(os.environ.get("INITAUDIT_EXAMPLES", "200"))
"""Files that are tampered with; a thorough run has some thousands, other ones each time."""

SECONDS, MEGABYTES = 2, 512
"""What a damaged file may cost, whatever it says of itself."""


@pytest.fixture
def bounded():
    """A test in which this process gets no more memory than that, and takes no more time of the processor."""
    before, status = resource.getrlimit(resource.RLIMIT_DATA), Path("/proc/self/status")
    if status.exists():
        used = int(re.search(r"VmData:\s+(\d+) kB", status.read_text(encoding="utf-8"))[1]) << 10
        resource.setrlimit(resource.RLIMIT_DATA, (used + (MEGABYTES << 20), before[1]))
    start = time.process_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
    assert time.process_time() - start < SECONDS


GOOD = serialised({"fc1.weight": np.ones(2, np.float32)})
EIGHT = bytes(8)


def case(name, content, *words):
    """Content of a file and words of what is to be said about it."""
    return pytest.param(content, words, id=name)


def one(**changes):
    """A file of one tensor with something odd in its description."""
    return file_of({"fc1.weight": {**described(), **changes}}, EIGHT)


def two(first, second, data=bytes(16)):
    """A file of two tensors of four bytes an element at these offsets."""
    tensors = {
        name: described("U8", [end - begin], begin, end)
        for name, (begin, end) in (("fc1.weight", first), ("fc2.weight", second))
    }
    return file_of(tensors, data)


def many(number):
    """A file of so many tensors without elements."""
    return file_of({f"{at}.weight": described(shape=[0], end=0) for at in range(number)})


def raw_header(text, data=EIGHT):
    """A file with the description of a tensor ``a`` of two floats as text, between other things."""
    return file_of(text.replace("@", json.dumps(described())), data)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        case("empty", b"", "is empty"),
        case("one-byte", b"\0", "too short"),
        case("seven-bytes", bytes(7), "too short"),
        case("header-longer-than-file", file_of({"a": described()}, length=5000), "5,000 bytes", "truncated"),
        case("header-length-2^63", file_of({}, length=2**63), "not a safetensors file"),
        case("header-length-2^64-1", file_of({}, length=2**64 - 1), "not a safetensors file"),
        case("header-length-over-limit", file_of({}, length=100_000_001), "not a safetensors file"),
        case("header-length-0", file_of("", EIGHT, length=0), "not a safetensors file"),
        case("zeros", bytes(4096), "not a safetensors file"),
        case(
            "git-lfs-pointer",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 548105171\n",
            "git lfs pull",
        ),
        case("web-page", b"<!DOCTYPE html>\n<html><body>404</body></html>\n", "web page"),
        case("web-page-lower-case", b"<!doctype html>\n<html></html>\n", "web page"),
        case("web-page-without-type", b"<html><body>404</body></html>\n", "web page"),
        case("error-as-json", b'{"error": "Repository not found"}', "not a safetensors file"),
        case("zip", b"PK\x03\x04" + bytes(60), "zip"),
        case("pickle-2", b"\x80\x02}q\x00." + bytes(60), "pickle"),
        case("pickle-4", b"\x80\x04\x95" + bytes(60), "pickle"),
        case("hdf5", b"\x89HDF\r\n\x1a\n" + bytes(60), "HDF5"),
        case("gguf", b"GGUF\x03\0\0\0" + bytes(60), "GGUF"),
        case("not-utf-8", file_of(b'{"\xff": 1}', EIGHT), "utf-8", "position 2"),
        case("not-json", file_of("{'a': 1}", EIGHT), "not JSON", "column 2"),
        case("a-list", file_of("[1, 2]", EIGHT), "not a JSON object"),
        case("a-string", file_of('"header"', EIGHT), "not a JSON object"),
        case("trailing-characters", raw_header('{"a": @} x'), "not JSON"),
        case("cut-header", raw_header('{"a": @'), "not JSON"),
        case("nested-objects", file_of('{"a":' * 200_000 + "1" + "}" * 200_000), "nested too deeply"),
        case("nested-lists", file_of('{"a":' + "[" * 200_000 + "]" * 200_000 + "}"), "not JSON"),
        case("surrogate-name", raw_header('{"\\ud800": @}'), "ud800"),
        case("nan", raw_header('{"a": @, "b": NaN}'), "NaN"),
        case("infinity", raw_header('{"a": @, "b": -Infinity}'), "Infinity"),
        case("number-too-large", one(shape=["@"]).replace(b'"@"', b"1e4"), "fc1.weight"),
        case("long-integer", raw_header('{"a": @, "b": ' + "9" * 5000 + "}"), "JSON"),
        case("name-twice", raw_header('{"a": @, "a": @}'), "'a'", "twice"),
        case("metadata-twice", raw_header('{"__metadata__": {}, "a": @, "__metadata__": {}}'), "__metadata__", "twice"),
        case("field-twice", raw_header('{"a": {"dtype": "F32", "dtype": "F32"}, "b": @}'), "dtype", "twice"),
        case("metadata-of-numbers", raw_header('{"__metadata__": {"step": 1}, "a": @}'), "string"),
        case("metadata-nested", raw_header('{"__metadata__": {"a": {"b": "c"}}, "a": @}'), "string"),
        case("overlap", two((0, 8), (4, 16)), "offset", "fc2.weight"),
        case("same-bytes", two((0, 16), (0, 16)), "offset"),
        case("hole", two((0, 4), (8, 16)), "offset", "fc2.weight"),
        case("first-offset-not-0", two((4, 8), (8, 16)), "offset", "fc1.weight"),
        case("end-before-begin", one(data_offsets=[8, 0]), "fc1.weight"),
        case("negative-offset", one(data_offsets=[-8, 0]), "fc1.weight", "whole numbers", "damaged"),
        case("offset-over-2^64", one(data_offsets=[0, 2**65]), "truncated"),
        case("offset-a-float", one(data_offsets=[0, 8.0]), "fc1.weight", "whole numbers", "damaged"),
        case(
            "offset-infinite",
            raw_header('{"a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 1e400]}}'),
            "'a'",
            "whole numbers",
            "damaged",
        ),
        case("three-offsets", one(data_offsets=[0, 4, 8]), "fc1.weight"),
        case("offsets-a-word", one(data_offsets="08"), "fc1.weight"),
        case("shape-too-small", one(shape=[1]), "fc1.weight", "shape"),
        case("shape-too-large", one(shape=[3]), "fc1.weight", "shape"),
        case("shape-product-overflows", one(shape=[2**40, 2**40]), "fc1.weight"),
        case("shape-product-wraps-to-right", one(shape=[2**63 + 1, 2]), "fc1.weight"),
        case("negative-dimension", one(shape=[-2, -1]), "fc1.weight", "whole numbers", "damaged"),
        case("dimension-a-float", one(shape=[2.0]), "fc1.weight", "whole numbers", "damaged"),
        case("dimension-a-truth", one(shape=[True, 2]), "fc1.weight", "whole numbers", "damaged"),
        case("dimension-a-word", one(shape=["2"]), "fc1.weight", "whole numbers", "damaged"),
        case("shape-a-number", one(shape=2), "fc1.weight"),
        case("cut-data", GOOD[:-1], "truncated", f"{len(GOOD) - 1} of {len(GOOD)}"),
        case("no-data", GOOD[:-8], "truncated"),
        case("extra-byte", GOOD + b"x", "1 extra bytes"),
        case("zip-behind-it", GOOD + b"PK\x03\x04" + bytes(96), "100 extra bytes"),
        case("unknown-dtype", one(dtype="F12"), "F12"),
        case("dtype-in-lower-case", one(dtype="f32"), "f32"),
        case("dtype-a-number", one(dtype=32), "safetensors"),
        case("dtype-a-list", one(dtype=["F32"]), "fc1.weight", "dtype", "damaged"),
        case("dtype-a-dictionary", one(dtype={"F32": 1}), "fc1.weight", "dtype", "damaged"),
        case("dtype-null", one(dtype=None), "fc1.weight", "dtype", "damaged"),
        case("dtype-a-surrogate", raw_header('{"a": @}').replace(b'"F32"', b'"\\ud80"'), "not JSON"),
        case(
            "dtype-half-a-character", file_of(json.dumps({"a": described("\ud800")}), EIGHT), "safetensors refuses it"
        ),
        case("offset-of-4300-digits", one(data_offsets=[0, int("9" * 4300)]), "fc1.weight", "whole numbers"),
        case("offsets-of-4300-digits", one(data_offsets=[int("9" * 4300)] * 2), "fc1.weight", "whole numbers"),
        case("dimension-of-4300-digits", one(shape=[0, int("9" * 4300)]), "fc1.weight", "whole numbers"),
        case("no-dtype", file_of({"fc1.weight": {"shape": [2], "data_offsets": [0, 8]}}, EIGHT), "fc1.weight"),
        case("no-shape", file_of({"fc1.weight": {"dtype": "F32", "data_offsets": [0, 8]}}, EIGHT), "fc1.weight"),
        case("no-offsets", file_of({"fc1.weight": {"dtype": "F32", "shape": [2]}}, EIGHT), "fc1.weight"),
        case("a-tensor-is-a-list", file_of({"fc1.weight": [1, 2]}, EIGHT), "fc1.weight"),
        case("a-tensor-is-null", file_of({"fc1.weight": None}, EIGHT), "fc1.weight"),
        case("half-a-byte", one(dtype="F4", shape=[3], data_offsets=[0, 8]), "safetensors"),
        case("no-tensors", file_of({}), "nothing to judge"),
        case("only-metadata", file_of({"__metadata__": {"format": "pt"}}), "nothing to judge"),
        case("more-tensors-than-are-read", lambda: many(100_001), "100,001 tensors", "shards"),
        case("half-a-million-tensors", lambda: many(500_000), "values", "1,000,000 are read"),
        case("a-list-of-millions", lambda: file_of('{"a":[' + "[]," * 33_000_000 + "1]}"), "values"),
        case("a-string-of-90-megabytes", lambda: file_of('{"a":"' + "x" * 90_000_000 + '"}'), "'a'"),
        case("a-name-of-90-megabytes", lambda: file_of('{"' + "x" * 90_000_000 + '":1}'), "'xxx"),
        case("metadata-of-millions", lambda: file_of('{"__metadata__":{' + '"a":"",' * 9_000_000 + "}}"), "values"),
        case("a-hundred-thousand-dimensions", one(shape=[2**60] * 100_000), "fc1.weight", "2^64"),
        case("dimensions-that-end-in-0", one(shape=[2**60] * 100_000 + [0]), "fc1.weight", "2^64"),
        case("metadata-a-list", raw_header('{"__metadata__": [], "a": @}'), "safetensors refuses it", "map"),
    ],
)
@pytest.mark.parametrize("command", ["check", "inspect"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, content, words, command, request):
    path = written(tmp_path / "model.safetensors", content() if callable(content) else content)
    request.getfixturevalue("bounded")
    outcome = run(command, path)
    assert outcome.status == 2
    assert "Traceback" not in outcome.err
    assert "internal error" not in outcome.err
    (complaint,) = outcome.complaints
    assert str(path) in complaint
    assert [word for word in words if word not in complaint] == []


def test_a_hundred_thousand_tensors_are_read_beside_metadata(tmp_path):
    tensors = {"__metadata__": {"format": "pt"}}
    tensors |= {f"{at}.weight": described(shape=[0], end=0) for at in range(100_000 - 1)}
    tensors["fc.weight"] = described(shape=[2, 2], end=16)
    path = written(tmp_path / "model.safetensors", file_of(tensors, np.array([1, -1, 2, -2], np.float32).tobytes()))
    checkpoints, failures = open_paths([path])
    assert not failures
    assert len(checkpoints[0].entries) == 100_000


@pytest.mark.parametrize("damage", ["dtype-a-list", "offsets-of-4300-digits", "an-error-of-ours"])
def test_a_file_that_fails_however_hides_none_of_the_others(tmp_path, damage, monkeypatch):
    for stem in "ac":
        written(tmp_path / f"{stem}.safetensors", faulty())
    content = {"dtype-a-list": one(dtype=["F32"]), "offsets-of-4300-digits": one(data_offsets=[int("9" * 4300)] * 2)}
    bad = written(tmp_path / "b.safetensors", content.get(damage, GOOD))
    if damage == "an-error-of-ours":

        def read_shard(path):
            if path == bad:
                raise IndexError("of a kind\nthat nobody thought of")
            return read_header(path)

        read_header = header.read_shard
        monkeypatch.setattr(header, "read_shard", read_shard)
    for asked in ([tmp_path], sorted(tmp_path.iterdir())):
        outcome = run("check", *asked, "--output-format", "json")
        assert outcome.status == 2
        (complaint,) = outcome.complaints
        assert str(bad) in complaint
        assert ("please report it" in complaint) == (damage == "an-error-of-ours")
        assert [Path(row["path"]).stem for row in outcome.document["checkpoints"]] == ["a", "c"]
        assert [finding["rule"] for finding in outcome.document["findings"]] == ["IA101", "IA101"]
        assert [error["path"] for error in outcome.document["errors"]] == [str(bad)]
    (failure,) = initaudit.check(bad).failures
    assert "\n" not in failure.message


def test_a_file_larger_than_the_address_space_is_read(tmp_path):
    size = 3 << 30
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(file_of({"fc.weight": described("F32", (size // 16384, 4096), 0, size)}))
        file.truncate(file.tell() + size)
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30));"
        "from initaudit.cli import main; sys.exit(main())"
    )
    outcome = spawn_python("-c", program, "check", path, "--isolated", "--workers", "1", timeout=60)
    assert (outcome.status, outcome.err) == (1, "")
    assert "IA101" in outcome.out


@pytest.mark.parametrize("length", [0x0280, 0x0480, 0x0A0A, 0x10280, 0x4B50, 0x7B22], ids=hex)
def test_a_header_of_any_length_is_read(tmp_path, length):
    # Its length is the first thing in the file, where other formats have their mark: 80 02 and 80 04 begin pickles.
    header = json.dumps({"fc1.weight": described("F32", (2, 2), 0, 16)})
    values = np.random.default_rng(0).standard_normal((2, 2)).astype(np.float32)
    path = written(tmp_path / "model.safetensors", file_of(header.ljust(length), values.tobytes()))
    outcome = run("check", path)
    assert (outcome.status, outcome.err) == (0, "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        case("empty", b"", "JSON"),
        case("not-json", b"weight_map", "JSON"),
        case("not-utf-8", b'{"weight_map": {"\xff": 1}}', "utf-8"),
        case("a-list", b"[]", "object"),
        case("nested", b"[" * 200_000, "JSON"),
        case("no-map", b'{"metadata": {}}', "weight_map"),
        case("map-a-list", b'{"weight_map": []}', "weight_map"),
        case("map-of-numbers", b'{"weight_map": {"a": 1}}', "weight_map"),
        case("map-empty", b'{"weight_map": {}}', "weight_map", "empty"),
        case("long-integer", b'{"weight_map": {}, "metadata": ' + b"9" * 5000 + b"}", "JSON"),
        case(
            "two-million-names",
            json.dumps({"weight_map": {f"{at}": "a.safetensors" for at in range(2_000_000)}}).encode(),
            "1,999,999 values",
        ),
        case("a-shard-of-a-long-name", b'{"weight_map": {"a": "' + b"x" * 9_000_000 + b'"}}', "not a .safetensors"),
    ],
)
@pytest.mark.usefixtures("bounded")
def test_a_damaged_index_is_refused_in_one_line(tmp_path, content, words):
    path = written(tmp_path / "model.safetensors.index.json", content)
    for asked in (path, tmp_path):
        outcome = run("check", asked)
        assert outcome.status == 2
        (complaint,) = outcome.complaints
        assert "internal error" not in complaint
        assert [word for word in (str(path), *words) if word not in complaint] == []


def test_a_shard_that_is_missing_is_said_with_the_index_that_names_it(tmp_path):
    index = indexed(tmp_path, {}, weight_map={"a": "model-7.safetensors"})
    outcome = run("check", tmp_path)
    assert outcome.status == 2
    why = f"no such file or directory, but {index.name} names it: is a download complete?"
    assert outcome.err == f"initaudit: {tmp_path / 'model-7.safetensors'}: {why}\n"


def test_an_index_of_a_gigabyte_is_not_read(tmp_path):
    path = tmp_path / "model.safetensors.index.json"
    with path.open("wb") as file:
        file.truncate(1_000_000_000)
    outcome = run("check", path)
    assert outcome.status == 2
    assert "100,000,000 bytes" in outcome.err


@dataclass(frozen=True)
class Place:
    """Something on disk that is no regular file; ``words`` are those of which one is to be said of it."""

    make: object
    words: tuple[str, ...]
    name: str = "model.safetensors"


def _socket(path):
    here = Path.cwd()
    os.chdir(path.parent)  # the address of a socket may have 107 bytes, a temporary folder's path more
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def _zero_bytes_of(path):
    return path.symlink_to("/dev/zero")


PLACES = {
    "missing": Place(lambda path: None, ("no such file",)),
    "dangling-link": Place(lambda path: path.symlink_to("nowhere"), ("no such file",)),
    "link-to-itself": Place(lambda path: path.symlink_to(path.name), ("symbolic links",)),
    "folder": Place(Path.mkdir, ("no checkpoint", "folder")),
    "fifo": Place(os.mkfifo, ("regular file",)),
    "socket": Place(_socket, ("regular file", "device")),
    "endless-zeros": Place(_zero_bytes_of, ("regular file",)),
    "through-a-file": Place(lambda path: written(path.parent, b""), ("not a directory",), "x/model.safetensors"),
    "name-too-long": Place(lambda path: None, ("too long",), f"{'x' * 300}.safetensors"),
    "index-missing": Place(lambda path: None, ("no such file",), "model.safetensors.index.json"),
    "index-a-fifo": Place(os.mkfifo, ("regular file",), "model.safetensors.index.json"),
    "index-endless": Place(_zero_bytes_of, ("regular file",), "model.safetensors.index.json"),
    "index-a-link-to-itself": Place(
        lambda path: path.symlink_to(path.name), ("symbolic links",), "model.safetensors.index.json"
    ),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs files as POSIX has them")
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_what_is_no_file_is_refused_and_does_not_block(tmp_path, place):
    path = tmp_path / place.name
    place.make(path)
    # Endless input must meet a limit of memory before it meets that of the machine.
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30));"
        "from initaudit.cli import main; sys.exit(main())"
    )
    outcome = spawn_python("-c", program, "check", path, timeout=5)
    assert outcome.status == 2
    (complaint,) = outcome.complaints
    assert str(path)[:300] in complaint
    assert any(word in complaint for word in place.words)


@pytest.mark.parametrize("kind", ["folder", "fifo", "dangling-link", "endless-zeros"])
def test_a_folder_with_what_is_no_file_is_audited_but_for_that(tmp_path, kind):
    written(tmp_path / "a.safetensors", mlp())
    PLACES[kind].make(tmp_path / "b.safetensors")
    written(tmp_path / "c.safetensors", mlp())
    outcome = spawn("check", tmp_path, "--output-format", "json", timeout=5)
    assert outcome.status == 2
    assert [Path(row["path"]).name for row in outcome.document["checkpoints"]] == ["a.safetensors", "c.safetensors"]
    assert [Path(row["path"]).name for row in outcome.document["errors"]] == ["b.safetensors"]


@pytest.mark.skipif(not PERMISSIONS_BIND, reason="root may read all")
@pytest.mark.parametrize("closed", ["b", "b/model.safetensors", "b/config.json"])
def test_what_may_not_be_read_is_said_and_hides_nothing_else(tmp_path, closed):
    paths = [written(tmp_path / folder / "model.safetensors", mlp()).parent for folder in "abc"]
    written(paths[1] / "config.json", b"{}")
    (tmp_path / closed).chmod(0)
    outcome = spawn_unprivileged("check", *paths)
    (tmp_path / closed).chmod(0o700)
    assert f"{tmp_path / 'a'}" in outcome.out
    assert f"{tmp_path / 'c'}" in outcome.out
    if closed.endswith("json"):
        assert (outcome.status, outcome.err) == (0, "")
        assert "note  config.json is not made use of: permission denied" in outcome.out
    else:
        assert outcome.status == 2
        assert outcome.err == f"initaudit: {tmp_path / closed}: permission denied\n"


def test_one_damaged_file_of_four_hides_none_of_the_others(tmp_path):
    for stem in "abd":
        written(tmp_path / f"{stem}.safetensors", faulty())
    bad = written(tmp_path / "c.safetensors", serialised(mlp())[:-1])
    outcome = run("check", tmp_path)
    assert outcome.status == 2
    assert [outcome.out.count(f"{stem}.safetensors  ") for stem in "abd"] == [1, 1, 1]
    assert outcome.out.count("IA101 zero-weight") == 3
    (complaint,) = outcome.complaints
    assert str(bad) in complaint


def test_a_damaged_file_is_among_the_errors_of_the_json(tmp_path):
    path = written(tmp_path / "model.safetensors", GOOD[:-1])
    document = run("check", path, "--output-format", "json").document
    (error,) = document["errors"]
    assert error["path"] == str(path)
    assert "truncated" in error["message"]
    assert document["checkpoints"] == []


NAMES = {
    "empty": "",
    "escape-codes": "\x1b[31mred\x1b[0m.weight",
    "title-of-the-window": "\x1b]0;owned\x07.weight",
    "csi-in-one-byte": "\x9b31m.weight",
    "markup": "a[/red]b[bold].weight",
    "newline": "a\nb\r\nc.weight",
    "nul": "a\0b.weight",
    "backspaces": "a\b\b\b.weight",
    "right-to-left": "a\u202eb.weight",
    "line-separator": "a\u2028b\x85c.weight",
    "a-megabyte": "x" * 1_000_000 + ".weight",
    "a-megabyte-of-dots": "." * 1_000_000,
    "a-megabyte-of-slashes": "/" * 1_000_000,
    "a-megabyte-of-digits": "0.1" * 333_333,
    "path": "../../etc/passwd",
    "emoji-code": ":warning:.weight",
    "xml": "</testcase><!--]]>",
    "annotation": "::error file=x::y.weight",
    "formula": '=HYPERLINK("x").weight',
    "one-word": "weight",
    "dots": "....weight",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "--verbose", "--show-intended"),
        ("check", "--output-format", "json"),
        ("inspect",),
        ("inspect", "--output-format", "json"),
    ],
    ids=" ".join,
)
def test_a_name_is_shown_and_never_obeyed(tmp_path, name, arguments):
    tensors = {
        name: np.zeros((4, 3), np.float32),
        f"{name}2": np.full((4, 3), np.nan, np.float32),
        f"{name}3": np.ones((2, 2), np.int64),
    }
    path = written(tmp_path / "model.safetensors", tensors)
    outcome = run(*arguments, path)
    assert outcome.err == ""
    assert outcome.status in (0, 1)
    unprintable = {c for c in outcome.out if not c.isprintable() and c != "\n"}
    assert unprintable == set()
    if "json" in arguments:
        rows = outcome.document.get("tensors") or outcome.document["not_judged"]
        assert f"{name}3" in [row.get("name", row.get("tensor")) for row in rows]
    elif len(name) > 1000:
        assert len(outcome.out) < 20_000


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "x[/red]"], ids=["newline", "escape-codes", "markup"])
@pytest.mark.parametrize("where", ["file", "folder", "index", "output"])
def test_a_path_is_shown_and_never_obeyed(tmp_path, name, where):
    match where:
        case "file":
            arguments = [written(tmp_path / f"{name}.safetensors", b"")]
        case "folder":
            arguments = [written(tmp_path / name / "m.safetensors", b"").parent]
        case "index":
            arguments = [indexed(tmp_path, {}, weight_map={name: f"{name}.safetensors"})]
        case _:
            arguments = [
                written(tmp_path / "m.safetensors", mlp()),
                "--output-file",
                tmp_path / "no" / name,
            ]
    outcome = run("check", *arguments)
    assert outcome.status == 2
    assert len(outcome.complaints) == 1
    assert {c for c in outcome.out + outcome.err if not c.isprintable() and c != "\n"} == set()


@pytest.mark.parametrize(
    "header",
    [
        pytest.param('{"a\\nb\\u001b[31m": [], "x": 1}', id="not-described"),
        pytest.param('{"a\\nb": 1, "a\\nb": 1}', id="twice"),
        pytest.param('{"\\u001b[31m": {"dtype": "\\u001b[31m", "shape": [0], "data_offsets": [0, 0]}}', id="dtype"),
    ],
)
def test_a_name_in_a_complaint_is_never_obeyed(tmp_path, header):
    outcome = run("check", written(tmp_path / "m.safetensors", file_of(header)))
    assert outcome.status == 2
    assert len(outcome.complaints) == 1
    assert "\x1b" not in outcome.err


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        pytest.param(Raw("I64", (2, 2), bytes(32)), "I64", id="I64"),
        pytest.param(Raw("U8", (4,), bytes(4)), "U8", id="U8"),
        pytest.param(Raw("BOOL", (4,), b"\0\1\2\7"), "BOOL", id="BOOL-neither-0-nor-1"),
        pytest.param(Raw("C64", (2, 2), bytes(32)), "complex", id="C64"),
        pytest.param(Raw("F4", (2, 4), bytes(4)), "F4", id="F4"),
        pytest.param(Raw("F6_E2M3", (4, 4), bytes(12)), "F6_E2M3", id="F6_E2M3"),
        pytest.param(Raw("F6_E3M2", (4, 4), bytes(12)), "F6_E3M2", id="F6_E3M2"),
        pytest.param(Raw("F32", (0,), b""), "no elements", id="no-elements"),
        pytest.param(Raw("F32", (0, 2**62, 2**62), b""), "no elements", id="no-elements-overflowing"),
        pytest.param(Raw("F32", (3, 0, 5), b""), "no elements", id="no-elements-inside"),
        pytest.param(Raw("F4", (0,), b""), "F4", id="F4-no-elements"),
    ],
)
def test_what_cannot_be_judged_is_listed_and_fails_nothing(tmp_path, tensor, reason):
    path = written(tmp_path / "model.safetensors", {**mlp(), "odd.weight": tensor})
    outcome = run("check", path, "--output-format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    (row,) = outcome.document["not_judged"]
    assert (row["tensor"], row["dtype"]) == ("odd.weight", tensor.dtype)
    assert reason in row["reason"]
    outcome = run("inspect", path, "--output-format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    (row,) = (row for row in outcome.document["tensors"] if row["name"] == "odd.weight")
    assert row["shape"] == list(tensor.shape)
    assert row["stats"] is None


def test_a_file_of_nothing_that_can_be_judged_is_not_passed(tmp_path):
    outcome = run("check", written(tmp_path / "model.safetensors", {"a": np.ones((4, 4), np.int64)}))
    assert outcome.status == 2
    assert "nothing to judge" in outcome.err


DIMENSIONS = {
    "scalar": (),
    "one": (1,),
    "one-by-one": (1, 1),
    "one-row": (1, 12),
    "one-column": (12, 1),
    "200-ones": (1,) * 200,
    "200-dimensions-first": (12, *(1,) * 199),
    "200-dimensions-middle": (1,) * 100 + (12,) + (1,) * 99,
    "200-dimensions-last": (*(1,) * 199, 12),
    "70-dimensions-of-a-stack": (*(1,) * 68, 40, 40),
    "stack": (3, 40, 40),
    "kernels": (6, 4, 3, 3),
}


@pytest.mark.parametrize("name", ["odd.weight", "odd.bias", "odd"])
@pytest.mark.parametrize("shape", DIMENSIONS.values(), ids=DIMENSIONS.keys())
def test_any_number_of_dimensions_is_judged(tmp_path, shape, name):
    values = np.random.default_rng(0).standard_normal(int(np.prod(shape)), np.float32)
    path = written(tmp_path / "model.safetensors", {**mlp(), name: Raw("F32", shape, values.tobytes())})
    outcome = run("check", path, "--output-format", "json")
    assert outcome.err == ""
    assert outcome.status in (0, 1)
    outcome = run("inspect", path, "--output-format", "json")
    (row,) = (row for row in outcome.document["tensors"] if row["name"] == name)
    assert row["stats"]["mean"] == pytest.approx(float(values.mean(dtype=np.float64)), rel=1e-5)


@pytest.mark.parametrize("padding", range(8))
def test_data_that_begin_anywhere_are_judged(tmp_path, padding):
    values = np.random.default_rng(0).standard_normal((5, 7))
    header = json.dumps({"a": described("U8", [1], 0, 1), "w": described("F64", [5, 7], 1, 1 + values.nbytes)})
    path = written(tmp_path / "m.safetensors", file_of(header + " " * padding, b"x" + values.tobytes()))
    outcome = run("inspect", path, "--output-format", "json")
    assert outcome.err == ""
    assert outcome.document["tensors"][1]["stats"]["std"] == pytest.approx(float(values.std()), rel=1e-6)


@pytest.mark.parametrize("edge", [4, 300], ids=["small", "several-pieces"])
@pytest.mark.parametrize("kind", ["infinite", "nan", "half-nan", "largest", "denormal", "minus-zero", "one-huge"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_values_at_the_edge_of_a_dtype_are_judged(tmp_path, dtype, kind, edge):
    limits = np.finfo(dtype)
    values = np.random.default_rng(0).standard_normal((edge, edge)).astype(dtype)
    match kind:
        case "infinite":
            values[:] = np.inf
        case "nan":
            values[:] = np.nan
        case "half-nan":
            values[::2] = np.nan
        case "largest":
            values = np.where(values > 0, limits.max, limits.min)
        case "denormal":
            values = np.where(values > 0, limits.smallest_subnormal, -limits.smallest_subnormal)
        case "minus-zero":
            values = np.full_like(values, -0.0)
        case _:
            values[0, 0] = limits.max
    path = written(tmp_path / "model.safetensors", {**mlp(), "odd.weight": values})
    for command in ("check", "inspect"):
        outcome = run(command, path, "--output-format", "json")
        assert outcome.err == ""
        assert outcome.status in (0, 1)
        assert outcome.document["schema"]


@pytest.mark.parametrize(
    "name", ["h.0.mlp.fc1.bias", "h.0.mlp.fc1.weight", "h.0.ln.weight", "h.0.ln.bias", "wte.weight"]
)
@pytest.mark.parametrize("value", [5e-324, 1e-320, 2.2e-308, -1e-320, 1e-300, -1e-160, 1e160, -1.7e308])
@pytest.mark.parametrize("kind", ["constant", "normal", "halves", "one-zero", "one"])
def test_numbers_whose_squares_are_none_are_judged(tmp_path, name, value, kind):
    generator = np.random.default_rng(0)
    shape = (8,) if name.endswith("bias") or "ln" in name else (8, 8)
    match kind:
        case "constant":
            values = np.full(shape, value)
        case "normal":
            values = np.clip(generator.standard_normal(shape), -1, 1) * value
        case "halves":
            values = np.where(generator.random(shape) < 0.5, value, -value)
        case "one-zero":
            values = np.full(shape, value)
            values.flat[0] = 0
        case _:
            values = generator.standard_normal(shape) / 3
            values.flat[0] = value
    model = {f"h.0.mlp.fc{at}.weight": generator.standard_normal((8, 8)) / 3 for at in (1, 2)}
    path = written(tmp_path / "model.safetensors", {**model, "h.0.mlp.fc1.bias": np.zeros(8), name: values})
    outcome = run("check", path, "--output-format", "json")
    assert outcome.err == ""
    assert outcome.status in (0, 1)


@pytest.mark.parametrize("kind", ["same-name-in-another-case", "same-name-in-another-normal-form"])
def test_names_that_only_look_alike_are_two_tensors(tmp_path, kind):
    names = ("Fc.weight", "fc.weight") if "case" in kind else ("caf\u00e9.weight", "cafe\u0301.weight")
    values = np.random.default_rng(0).standard_normal((2, 8, 8)).astype(np.float32)
    path = written(tmp_path / "model.safetensors", dict(zip(names, values, strict=True)))
    assert run("check", path, "--output-format", "json").document["checkpoints"][0]["judged"] == 2
    assert f"note  two tensors whose names only look alike: {names[0]!a} and {names[1]!a}" in run("check", path).out


def in_blocks(number, make, *layers):
    """A model of many blocks."""
    return {f"h.{at}.{layer}": make(at) for at in range(number) for layer in layers}


def normal(seed, scale=0.5):
    return (np.random.default_rng(seed).standard_normal((4, 4)) * scale).astype(np.float32)


MODELS = {
    "drawn": lambda number: in_blocks(number, normal, "fc.weight"),
    "zero": lambda number: in_blocks(number, lambda _: np.zeros((4, 4), np.float32), "fc.weight"),
    "zero-of-two": lambda number: (
        in_blocks(number, lambda _: np.zeros((4, 4), np.float32), "fc2.weight")
        | in_blocks(number, normal, "fc1.weight")
    ),
    "constant": lambda number: in_blocks(number, lambda _: np.full((4, 4), 0.5, np.float32), "fc.weight"),
    "dead-units": lambda number: in_blocks(number, lambda at: normal(at) * [[1], [1], [1], [0]], "fc.weight"),
    "biases": lambda number: in_blocks(number, lambda at: normal(at)[0], "fc.bias"),
    "chain": lambda number: {f"{at}.weight": normal(at, 0.01) for at in range(number)},
    "one-layer": lambda number: {f"fc.weight_{'x' * at}": normal(at) for at in range(number)},
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_eight_times_the_tensors_are_about_eight_times_the_work(tmp_path, model):
    def work(number):
        path = written(tmp_path / f"{number}.safetensors", {k: v.astype(np.float32) for k, v in model(number).items()})
        calls = 0

        def count(*_):
            nonlocal calls
            calls += 1

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            outcome = run("check", path, "--fail-on", "never")
        finally:
            sys.setprofile(before)
        assert outcome.status == 0
        return calls

    work(2)  # imports and caches
    assert work(320) / work(40) < 12


VALID = serialised(
    {
        "__metadata": np.ones(1, np.float64),
        "fc1.weight": np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32),
        "fc1.bias": np.zeros(6, np.float32),
        "fc2.weight": np.random.default_rng(1).standard_normal((3, 6)),
        "norm.weight": np.ones(6, np.float16),
        "step": np.ones((), np.int64),
        "none": np.ones((0, 3), np.float32),
    }
)
HEADER_END = 8 + int.from_bytes(VALID[:8], "little")


HARMS = (
    "flip",
    "flip data",
    "flip a letter",
    "flip header",
    "cut",
    "extend",
    "number",
    "length",
    "pad",
    "swap",
    "drop",
)


@st.composite
def mutated(draw):
    """A valid file with something done to it: bytes flipped, cut, extended, numbers of the header changed."""
    content = bytearray(VALID)
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        match draw(st.sampled_from(HARMS)):
            case "flip" if content:
                content[draw(st.integers(0, len(content) - 1))] ^= draw(st.integers(1, 255))
            case "flip data" if len(content) > HEADER_END:
                content[draw(st.integers(HEADER_END, len(content) - 1))] ^= draw(st.integers(1, 255))
            case "flip a letter":  # of a name, most likely
                letters = [at for at in range(8, min(HEADER_END, len(content))) if chr(content[at]).isalpha()]
                if letters:
                    content[draw(st.sampled_from(letters))] = ord(draw(st.sampled_from("abF1 .")))
            case "flip header" if content:
                content[draw(st.integers(0, min(HEADER_END, len(content)) - 1))] = draw(st.integers(32, 126))
            case "cut":
                del content[draw(st.integers(0, len(content))) :]
            case "extend":
                content += draw(st.binary(min_size=1, max_size=9))
            case "number":
                digits = [at for at in range(8, min(HEADER_END, len(content))) if chr(content[at]) in "0123456789"]
                if digits:
                    content[draw(st.sampled_from(digits))] = ord(draw(st.sampled_from("0123456789-")))
            case "length":
                content[:8] = draw(st.integers(0, 2**64 - 1) | st.integers(0, 2000)).to_bytes(8, "little")
            case "pad" if len(content) > HEADER_END:  # a header that is longer, and says so
                blanks = draw(st.integers(1, 9))
                content[HEADER_END:HEADER_END] = b" " * blanks
                content[:8] = (HEADER_END - 8 + blanks).to_bytes(8, "little")
            case "swap":  # two of the offsets, shapes or dtypes
                places = list(re.finditer(rb"\[[0-9, ]*\]|\"[FI][0-9]+\"", content[:HEADER_END]))
                if len(places) > 1:
                    first, second = sorted(draw(st.permutations(places))[:2], key=re.Match.start)
                    middle = content[first.end() : second.start()]
                    content[first.start() : second.end()] = second[0] + middle + first[0]
            case "drop" if content:
                at = draw(st.integers(0, len(content) - 1))
                del content[at : at + draw(st.integers(1, 8))]
    return bytes(content)


@settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES <= 200,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(content=mutated())
def test_a_file_that_was_tampered_with_is_refused_or_judged_by_what_it_holds(tmp_path, content):
    path = written(tmp_path / "model.safetensors", content)
    outcome = run("check", path, "--output-format", "json")
    assert outcome.status in (0, 1, 2)
    assert "internal error" not in outcome.err
    assert len(outcome.complaints) == (1 if outcome.status == 2 else 0)
    try:
        shard = read_shard(path)
    except CheckpointError:
        assert outcome.status == 2
        return
    with safe_open(path, framework="numpy") as file:  # whatever we accept, safetensors accepts
        assert sorted(file.keys()) == sorted(entry.name for entry in shard.entries)
        try:
            tensors = {entry.name: file.get_tensor(entry.name) for entry in shard.entries}
        except (SafetensorError, TypeError, AttributeError):  # a dtype that numpy has not
            return
    written(path, save(tensors))
    again = run("check", path, "--output-format", "json")
    assert (again.status, again.out) == (outcome.status, outcome.out)


@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(
    codes=st.lists(
        st.sampled_from([0, 1 << 63, 1, 0x7FEFFFFFFFFFFFFF, 0x7FF0000000000000, 0x7FF8000000000001, 1 << 62])
        | st.integers(0, 2**64 - 1),
        min_size=4,
        max_size=12,
    ).map(lambda codes: codes[: len(codes) // 2 * 2])
)
def test_any_bits_are_judged(tmp_path_factory, codes):
    values = np.array(codes, np.uint64).view(np.float64).reshape(2, -1)
    path = written(tmp_path_factory.getbasetemp() / "any-bits.safetensors", {"fc.weight": values})
    outcome = run("check", path)
    assert outcome.err == ""
    assert outcome.status in (0, 1)


def test_a_name_with_marks_without_end_is_not_normalised(tmp_path, monkeypatch):
    """Marks are put in order in a time that grows with the square of their number: a megabyte of them took a minute."""
    looked_at = []
    monkeypatch.setattr(folder, "normalize", lambda form, text: looked_at.append(len(text)) or text)
    marks = "\u0301\u0316" * 2_000
    names = {f"{letter}{marks}": np.zeros((2, 2), np.float32) for letter in "abcd"}
    (checkpoint,), failures = open_paths([written(tmp_path / "model.safetensors", names)])
    assert (failures, checkpoint.notes, looked_at) == ([], (), [])


def test_names_that_differ_in_how_unicode_spells_them_look_alike(tmp_path):
    tensors = {f"{name}.weight": np.zeros((2, 2), np.float32) for name in ("caf\u00e9", "cafe\u0301")}
    (checkpoint,), _ = open_paths([written(tmp_path / "model.safetensors", tensors)])
    assert any("look alike" in note for note in checkpoint.notes)
