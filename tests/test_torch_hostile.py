"""Files of ``torch.save`` that are damaged or meant to harm: one line, exit status 2, and nothing in them is run."""

import argparse
import collections
import io
import os
import pickle
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.checkpoints import mlp, run, spawn_python, written

LIMITED = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30));"
    "from initaudit.cli import main; sys.exit(main())"
)
"""A run that ends where it would fill the memory."""


def saved(thing: object, **how: object) -> bytes:
    """The bytes that `torch.save` writes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(thing, buffer, **how)
    return buffer.getvalue()


def net() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values) for name, values in mlp().items()}


def rezipped(
    content: bytes,
    *,
    change: collections.abc.Callable[[dict[str, bytes]], object] = lambda records: None,
    packed: str = "",
    twice: str = "",
) -> bytes:
    """The same archive with some records changed, one compressed, or one there twice."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        records = {name: old.read(name) for name in old.namelist()}
    change(records)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in records.items():
            method = zipfile.ZIP_DEFLATED if packed and name.endswith(packed) else zipfile.ZIP_STORED
            new.writestr(name, data, method)
            if twice and name.endswith(twice):
                new.writestr(name, bytes(len(data)))
    return buffer.getvalue()


def without(ending: str) -> bytes:
    def drop(records: dict[str, bytes]) -> None:
        for name in [name for name in records if name.endswith(ending)]:
            del records[name]

    return rezipped(saved(net()), change=drop)


def shortened() -> bytes:
    """An archive whose first record has half of the bytes that its storage needs."""

    def cut(records: dict[str, bytes]) -> None:
        name = next(name for name in records if name.endswith("data/0"))
        records[name] = records[name][: len(records[name]) // 2]

    return rezipped(saved(net()), change=cut)


def escaping() -> bytes:
    return rezipped(saved(net()), change=lambda records: records.update({"archive/../../evil": b"x"}))


def scattered() -> bytes:
    return rezipped(saved(net()), change=lambda records: records.update({"elsewhere/data/9": b"x"}))


def with_byte_order(order: bytes) -> bytes:
    def turn(records: dict[str, bytes]) -> None:
        records[next(name for name in records if name.endswith("byteorder"))] = order

    return rezipped(saved(net()), change=turn)


def script() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def bomb() -> bytes:
    """A hundred megabytes of zeros that take a hundred kilobytes in the archive."""

    def fill(records: dict[str, bytes]) -> None:
        records[next(name for name in records if name.endswith("data/0"))] = bytes(100_000_000)

    return rezipped(saved(net()), change=fill, packed="data/0")


def nested(depth: int) -> bytes:
    """Dictionaries in dictionaries, by the opcodes of a pickle: Python's own pickler would not get so deep."""
    opcodes = b"\x80\x02" + b"}X\x06\0\0\0deeper" * depth + b"N" + b"s" * depth + b"."

    def replace(records: dict[str, bytes]) -> None:
        records[next(name for name in records if name.endswith("data.pkl"))] = opcodes

    return rezipped(saved(net()), change=replace)


class Call:
    """What a pickle calls when it is loaded as pickles are."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call  # type: ignore[return-value]


CYCLE: dict[str, object] = {}
CYCLE["self"] = CYCLE
LAUGHS: list[object] = ["ha"]
for _ in range(12):
    LAUGHS = [LAUGHS] * 10

REFUSED = {
    "truncated": (lambda: saved(net())[:-100], ("zip", "truncated")),
    "cut-in-half": (lambda: saved(net())[:30_000], ("zip", "truncated")),
    "no-pickle": (lambda: without("data.pkl"), ("neither PyTorch's nor NumPy's",)),
    "missing-record": (lambda: without("data/0"), ()),
    "short-record": (shortened, ("fc1.weight", "damaged")),
    "deflated-record": (lambda: rezipped(saved(net()), packed="data/0"), ("data/0", "compressed")),
    "record-twice": (lambda: rezipped(saved(net()), twice="data/0"), ("data/0", "twice")),
    "pickle-twice": (lambda: rezipped(saved(net()), twice="data.pkl"), ("data.pkl", "twice")),
    "leads-out": (escaping, ("evil", "leads out")),
    "two-folders": (scattered, ("one folder",)),
    "no-byte-order": (lambda: with_byte_order(b"middle"), ("byte order", "middle")),
    "torchscript": (script, ("TorchScript", "state_dict")),
    "bomb": (bomb, ("compressed",)),
    "system-call": (lambda: saved({"a": Call(os.system, "true")}), ("refused", "posix.system")),
    "eval": (lambda: saved({"a": Call(eval, "1")}), ("refused", "eval")),
    "system-call-before-1.6": (
        lambda: saved({"a": Call(os.system, "true")}, _use_new_zipfile_serialization=False),
        ("refused", "posix.system"),
    ),
    "whole-module": (lambda: saved(torch.nn.Linear(2, 2)), ("torch.nn.modules.linear.Linear", "state_dict")),
    "nothing-but-objects": (lambda: saved({"args": argparse.Namespace()}), ("argparse.Namespace",)),
    "plain-pickle": (lambda: pickle.dumps({"a": 1}), ("pickle",)),
    "pickled-array": (lambda: pickle.dumps({"a": np.ones(3)}), ("pickle",)),
    "one-tensor": (lambda: saved(torch.zeros(3)), ("one tensor", "state_dict")),
    "a-list": (lambda: saved([torch.zeros(3)]), ("a list", "state_dict")),
    "empty-dictionary": (lambda: saved({}), ("no tensors",)),
    "no-tensors": (lambda: saved({"epoch": 3, "lr": 0.1}), ("no tensors",)),
    "only-an-optimiser": (
        lambda: saved({"optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []}}),
        ("no tensors",),
    ),
    "contains-itself": (lambda: saved(CYCLE), ("no tensors",)),
    "3000-deep": (lambda: nested(3000), ("levels deep",)),
    "billion-laughs": (lambda: saved({"a": LAUGHS}), ("no tensors",)),
    "several": (lambda: saved({"generator": net(), "critic": net()}), ("--key", "generator", "critic")),
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_cannot_be_trusted_is_refused_in_one_line(tmp_path: Path, case: str, suffix: str) -> None:
    make, words = REFUSED[case]
    content = make()
    path = written(tmp_path / f"model{suffix}", content)
    outcome = run("check", path)
    assert outcome.status == 2
    assert "Traceback" not in outcome.err
    assert "internal error" not in outcome.err
    (complaint,) = outcome.complaints
    assert str(path) in complaint
    assert "weights_only" not in complaint  # torch's own message teaches to turn it off
    assert [word for word in words if word not in complaint] == []


NO_WEIGHTS = {
    "empty": (b"", "is empty"),
    "three-bytes": (b"PK\x03", "too short"),
    "git-lfs-pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 548105171\n",
        "git lfs pull",
    ),
    "web-page": (b"<!DOCTYPE html>\n<html><body>404</body></html>\n", "web page"),
    "text": (b"not a checkpoint at all, and long enough to be one\n" * 3, "nor one of torch.save or NumPy"),
    "empty-archive": (b"PK\x05\x06" + bytes(18), "neither PyTorch's nor NumPy's"),
    "pickle-of-nothing": (b"\x80\x02N.", "pickle"),
    "half-a-pickle": (b"\x80\x04\x95" + b"\xff" * 60, "pickle"),
}


@pytest.mark.parametrize("suffix", [".pt", ".npz", ".bin"])
@pytest.mark.parametrize("case", NO_WEIGHTS)
def test_what_holds_no_weights_is_said_for_what_it_is(tmp_path: Path, case: str, suffix: str) -> None:
    content, words = NO_WEIGHTS[case]
    path = written(tmp_path / f"model{suffix}", content)
    outcome = run("check", path)
    assert outcome.status == 2
    (complaint,) = outcome.complaints
    assert str(path) in complaint
    assert words in complaint


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs files as POSIX has them")
@pytest.mark.parametrize("suffix", [".pt", ".npz"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    os.mkfifo(path)
    outcome = run("check", path)
    assert outcome.status == 2
    assert "not a regular file" in outcome.err


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}], ids=["archive", "before-1.6"])
@pytest.mark.parametrize("command", ["check", "inspect", "fix"])
def test_no_code_in_a_pickle_is_run(tmp_path: Path, command: str, how: dict[str, bool]) -> None:
    trace = tmp_path / "trace"
    harmful = {**net(), "harm": Call(os.system, f"touch {trace}"), "more": Call(open, str(trace), "w")}
    path = written(tmp_path / "model.pt", saved(harmful, **how))
    outcome = run(command, path, *(["--in-place"] if command == "fix" else []))
    assert (outcome.status, outcome.err) == (0, "")
    if command == "check":
        assert "would import or call posix.system, io.open; nothing of it was run" in outcome.out
    assert not trace.exists()
    pickle.loads(pickle.dumps(Call(os.system, f"touch {trace}")))
    assert trace.exists()  # as it would have, had the pickle been loaded as pickles are


@pytest.mark.parametrize("case", ["bomb", "system-call", "3000-deep", "billion-laughs", "short-record"])
def test_harm_is_bounded_in_time_and_memory(tmp_path: Path, case: str) -> None:
    path = written(tmp_path / "model.pt", REFUSED[case][0]())
    outcome = spawn_python("-c", LIMITED, "check", path, timeout=20)
    assert outcome.status == 2
    assert len(outcome.complaints) == 1


def test_storages_that_claim_terabytes_take_no_memory(tmp_path: Path) -> None:
    wide = torch.zeros(1, 4).expand(1 << 40, 4)
    path = written(tmp_path / "model.pt", saved({**net(), "wide": wide}))
    outcome = spawn_python("-c", LIMITED, "check", path, "--output-format", "json", timeout=20)
    assert outcome.status == 0
    (row,) = outcome.document["not_judged"]
    assert (row["tensor"], "overlap" in row["reason"]) == ("wide", True)


def test_a_view_that_reaches_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    size = pickle.dumps(64, 2)[2:-1]  # one byte and its opcode, as the shape (96, 64) and the stride have it

    def widen(records: dict[str, bytes]) -> None:
        name = next(name for name in records if name.endswith("data.pkl"))
        records[name] = records[name].replace(b"K\x60" + size, b"K\xff" + size, 1)

    path = written(tmp_path / "model.pt", rezipped(saved(net()), change=widen))
    outcome = run("check", path)
    assert outcome.status == 2
    assert "damaged" in outcome.err


def test_bytes_before_an_archive_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "model.pt", b"#!/bin/sh\n" + saved(net()))
    assert run("check", path).status == 2


def test_a_damaged_file_hides_none_of_the_others(tmp_path: Path) -> None:
    for name in ("a.pt", "c.pth"):
        written(tmp_path / name, saved(net()))
    written(tmp_path / "b.ckpt", REFUSED["short-record"][0]())
    outcome = run("check", tmp_path, "--output-format", "json")
    assert outcome.status == 2
    assert [Path(row["path"]).name for row in outcome.document["checkpoints"]] == ["a.pt", "c.pth"]
    assert [Path(row["path"]).name for row in outcome.document["errors"]] == ["b.ckpt"]


def test_a_checksum_that_is_wrong_is_no_reason_to_refuse(tmp_path: Path) -> None:
    content = bytearray(saved(net()))
    checksum = zlib.crc32(mlp()["fc1.weight"].tobytes()).to_bytes(4, "little")
    assert checksum in content
    path = written(tmp_path / "model.pt", bytes(content.replace(checksum, b"\0\0\0\0")))
    assert run("check", path).status == 0  # as torch.load has it, which looks at none


SMALL = saved({"state_dict": {"fc.weight": torch.ones(4, 3), "fc.bias": torch.zeros(4)}, "epoch": 1})
ARRAYS = io.BytesIO()
np.savez_compressed(ARRAYS, weight=np.ones((4, 3), np.float32), bias=np.zeros(4))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.sampled_from([SMALL, ARRAYS.getvalue()]),
    at=st.floats(0, 1, exclude_max=True),
    byte=st.integers(0, 255),
    how=st.sampled_from(["change", "cut", "remove", "insert"]),
)
def test_a_byte_that_is_wrong_ends_in_a_report_or_in_one_line(
    tmp_path: Path, content: bytes, at: float, byte: int, how: str
) -> None:
    place = int(at * len(content))
    rest = {"change": content[place + 1 :], "cut": b"", "remove": content[place + 1 :], "insert": content[place:]}[how]
    path = written(
        tmp_path / "model.pt", content[:place] + (bytes([byte]) if how in ("change", "insert") else b"") + rest
    )
    outcome = run("check", path)
    assert "internal error" not in outcome.err
    assert outcome.status in (0, 1, 2)
    assert len(outcome.complaints) == (outcome.status == 2)
