"""Files of ``torch.save``, read as `torch.load` reads them, whole or damaged: the same names, dtypes and bytes."""

import argparse
import collections
import enum
import io
import os
import pickle
import pickletools
import random
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from initaudit.audit import audit
from initaudit.checkpoint.opening import open_weights
from initaudit.checkpoint.reading import Reader
from initaudit.checkpoint.torch_dtypes import CODES, WIDTHS, code_of
from initaudit.checkpoint.values import Entry, Shard
from initaudit.errors import CheckpointError
from initaudit.registry import load_rules
from tests.checkpoints import faulty, mlp, run, written

RULES = tuple(load_rules().values())
MUTANTS = int(os.environ.get("INITAUDIT_MUTANTS", "400"))
"""How many damaged files are read; many thousands on request."""


def random_(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape) + sum(shape)))


def net() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(values) for name, values in mlp().items()}


def dtypes() -> dict[str, Any]:
    numbers = random_(5, 7).abs() * 10
    return {name: numbers.to(getattr(torch, name)) for name in [*CODES, "complex128"]}


def views() -> dict[str, Any]:
    base = random_(40, 30)
    rolled = {"base": base, "tied": base, "row": base[3], "column": base[:, 4], "turned": base.t()}
    rolled |= {"steps": base[::2, 1::3], "scalar": torch.tensor(3.5), "empty": torch.empty(0, 4), "end": base[39:, 29:]}
    rolled |= {
        "thin": random_(1, 5)[:, ::2],
        "repeated": random_(1, 4).expand(3, 4),
        "once": random_(4, 1).expand(4, 1),
    }
    return rolled | {"channels_last": random_(2, 3, 4, 5).to(memory_format=torch.channels_last)}


def kinds() -> dict[str, Any]:
    tagged, noted = torch.nn.Parameter(random_(2, 2)), random_(2, 3)
    tagged.tag, noted.note = "x", {"a": [1]}  # type: ignore[attr-defined]
    odd = {"parameter": torch.nn.Parameter(random_(3, 3)), "tagged": tagged, "noted": noted}
    odd |= {"frozen": torch.nn.Parameter(random_(3, 2), requires_grad=False), "buffer": torch.nn.Buffer(random_(3))}
    odd |= {"wants_gradient": random_(4).requires_grad_(), "planned": torch.empty(3, 4, device="meta")}
    odd |= {"sparse": torch.eye(4).to_sparse(), "rows": torch.eye(4).to_sparse_csr()}
    whole = torch.complex(random_(4), random_(5)[:4])
    return odd | {"conjugate": whole.conj(), "negative": whole.clone().conj().imag, "imaginary": whole.clone().imag}


def training_run() -> dict[str, Any]:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.LSTM(4, 4))
    optimiser = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    beside = {"epoch": 3, "rng": torch.get_rng_state(), "b": b"abc", "ba": bytearray(b"x"), "set": {1, 2}, "c": 1j}
    beside |= {"device": torch.device("cpu"), "size": torch.Size([1, 2]), "dtype": torch.float32, "large": 2**70}
    return {"model": model.state_dict(), "optimizer": optimiser.state_dict(), 5: (1, (2, 3)), **beside}


SAVED = [dtypes, views, kinds, training_run]


def leaves(root: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if isinstance(root, Mapping):
        for key, value in root.items():
            yield from leaves(value, (*path, key if isinstance(key, str) else repr(key)))
    else:
        yield ".".join(path), root


def under(root: Any, key: str) -> Any:
    """What a key leads to."""
    for name, value in root.items() if key else ():
        text = name if isinstance(name, str) else repr(name)
        if key == text or key.startswith(f"{text}."):
            return under(value, key[len(text) + 1 :])
    return root


def bytes_of(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def read(path: Path) -> tuple[Shard, dict[str, tuple[Entry, bytes]]]:
    """What is read of a file: its tensors, and of those that can be read the bytes."""
    shard = open_weights(path).shard
    found = {}
    with Reader.opened(shard, 1 << 20) as reader:
        for entry in shard.entries:
            is_there = entry.size and not entry.obstacle and not entry.is_meta
            width = entry.size // entry.count if is_there and not entry.strides else WIDTHS_OF[entry.dtype]
            end = entry.begin + entry.count * width
            found[entry.name] = entry, reader.at(entry).read(entry.begin, end).tobytes() if is_there else b""
    return shard, found


WIDTHS_OF = collections.defaultdict(int, {code_of(name): width for name, width in WIDTHS.items()})


def differences(path: Path, root: Any) -> Iterator[tuple[str, Any, Any]]:
    """Where what is read of a file is not what torch loaded."""
    shard, found = read(path)
    root = under(root, shard.key)
    loaded = {name: value for name, value in leaves(root) if isinstance(value, torch.Tensor)}
    for name, (entry, data) in found.items():
        tensor = loaded[name]
        if entry.dtype != code_of(str(tensor.dtype).removeprefix("torch.")) or entry.is_meta != tensor.is_meta:
            yield name, entry.dtype, tensor.dtype
        elif not entry.obstacle and (
            entry.shape != tuple(tensor.shape) or (not tensor.is_meta and data != bytes_of(tensor))
        ):
            yield name, entry.shape, tensor.shape
    yield from ((name, None, loaded[name].shape) for name in loaded.keys() - found.keys())


def saved(thing: Any, **how: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(thing, buffer, **how)
    return buffer.getvalue()


def load(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, weights_only=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", SAVED, ids=lambda make: make.__name__)
def test_an_archive_is_read_to_the_same_bytes(tmp_path: Path, make: Any) -> None:
    path = written(tmp_path / "model.pt", saved(make()))
    assert list(differences(path, load(path))) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [views, training_run], ids=lambda make: make.__name__)
def test_a_file_from_before_archives_is_read_to_the_same_bytes(tmp_path: Path, make: Any) -> None:
    path = written(tmp_path / "model.pt", saved(make(), _use_new_zipfile_serialization=False))
    assert list(differences(path, load(path))) == []


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_later_protocols_of_pickles_are_read_to_the_same_bytes(tmp_path: Path, protocol: int) -> None:
    path = written(tmp_path / "model.pt", saved({"a": views(), "n": 1}, pickle_protocol=protocol))
    assert list(differences(path, {"a": views(), "n": 1})) == []


def test_big_endian_data_is_turned_around(tmp_path: Path) -> None:
    model = {**net(), "half": random_(6, 4).half(), "turned": random_(8, 3).t(), "double": random_(3).double()}
    model["brain"] = random_(6, 5).bfloat16()
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(io.BytesIO(saved(model))) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"big" if name.endswith("byteorder") else old.read(name))
    loaded = load(path)
    assert not torch.equal(loaded["fc1.weight"], model["fc1.weight"])
    assert list(differences(path, loaded)) == []


def test_parts_of_storages_are_read_as_the_oldest_files_have_them(tmp_path: Path) -> None:
    """By a pickler of our own, since no torch of today writes them."""
    values = random_(50)

    class Reference:
        def __init__(self, view: tuple[str, int, int] | None) -> None:
            self.identity = "storage", torch.FloatStorage, "root", "cpu", 50, view

    class Tensor:
        def __init__(self, storage: Reference, *layout: Any) -> None:
            self.call = torch._utils._rebuild_tensor_v2, (storage, *layout, False, collections.OrderedDict())

        def __reduce__(self) -> Any:
            return self.call

    class Pickler(pickle._Pickler):  # type: ignore[name-defined]  # the one in Python, which can be told of references
        def persistent_id(self, thing: Any) -> Any:
            return thing.identity if isinstance(thing, Reference) else None

    part = Reference(("part", 10, 30))
    model = {"whole": Tensor(Reference(None), 0, (50,), (1,)), "part": Tensor(part, 5, (5, 4), (4, 1))}
    buffer = io.BytesIO()
    for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(head, buffer, protocol=2)
    Pickler(buffer, protocol=2).dump(model)
    pickle.dump(["root"], buffer, protocol=2)
    path = written(tmp_path / "model.pt", buffer.getvalue() + (50).to_bytes(8, "little") + values.numpy().tobytes())
    assert torch.equal(load(path)["part"], values[15:35].view(5, 4))
    assert list(differences(path, load(path))) == []


class Twisted(torch.Tensor):
    """A stranger's kind of tensor, whose values may be anything that its class makes of its bytes."""


def doubled(tensor: torch.Tensor) -> torch.Tensor:
    return tensor * 2


class Stage(enum.IntEnum):
    FIRST = 1


class Settings:
    def __init__(self) -> None:
        self.width, self.tensor = 3, torch.ones(3)


BESIDE: dict[str, tuple[Any, str, str]] = {
    "namespace": (argparse.Namespace(lr=0.1), "Namespace", "argparse.Namespace"),
    "object": (Settings(), "Settings", "Settings"),
    "enum": (Stage.FIRST, "Stage", "Stage"),
    "function": (os.path.join, f"{os.path.__name__}.join", f"{os.path.__name__}.join"),
    "path": (Path("a") / "b", type(Path()).__name__, type(Path()).__name__),
    "within": ({"cfg": [argparse.Namespace()]}, "dict", "argparse.Namespace"),
}


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}], ids=["archive", "before-1.6"])
@pytest.mark.parametrize("case", BESIDE)
def test_a_strangers_object_beside_the_weights_is_listed_and_the_weights_are_judged(
    tmp_path: Path, case: str, how: dict[str, Any]
) -> None:
    thing, kind, maker = BESIDE[case]
    model = {name: torch.from_numpy(values) for name, values in faulty().items()}
    path = written(tmp_path / "model.pt", saved({"state_dict": model, "beside": thing}, **how))
    with pytest.raises(pickle.UnpicklingError):
        load(path)
    report = audit([path], RULES)
    assert [finding.tensor for finding in report.findings] == ["fc2.weight"]
    assert report.failures == ()
    (row,) = (row for row in report.audited[0].not_judged if row.tensor == "beside")
    assert (row.dtype, maker in row.reason) == (kind, True)
    noted = [note for note in report.audited[0].checkpoint.notes if "would import or call" in note and maker in note]
    assert len(noted) == 1


def test_a_strangers_tensor_among_the_weights_is_not_judged_and_the_file_is_not_audited_whole(tmp_path: Path) -> None:
    model = {name: torch.from_numpy(values) for name, values in faulty().items()}
    odd = {"odd.weight": random_(8, 8).as_subclass(Twisted)}
    path = written(tmp_path / "model.pt", saved({**model, **odd}))
    outcome = run("check", path, "--output-format", "json")
    assert outcome.status == 2
    (complaint,) = outcome.complaints
    assert "odd.weight" in complaint
    assert "Twisted" in complaint
    assert [row["tensor"] for row in outcome.document["findings"]] == ["fc2.weight"]
    assert [row["tensor"] for row in outcome.document["not_judged"]] == ["odd.weight"]
    assert run("inspect", path).status == 2
    before = path.read_bytes()
    assert run("fix", path, "--in-place").status == 2
    assert path.read_bytes() == before


def test_a_tensor_of_what_a_strange_call_gives_is_not_judged(tmp_path: Path) -> None:
    class Borrowed:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_parameter, (Given(), True, collections.OrderedDict())

    class Given:
        def __reduce__(self) -> Any:
            return doubled, (random_(3, 3),)

    path = written(tmp_path / "model.pt", saved({**net(), "odd": Borrowed()}))
    outcome = run("check", path)
    assert outcome.status == 2
    assert "odd" in outcome.complaints[0]
    assert "doubled could make what is there" in outcome.complaints[0]


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "model.pt", saved({"a.b": random_(2, 2), "a": {"b": random_(3, 3)}}))
    outcome = run("check", path)
    assert (outcome.status, len(outcome.complaints)) == (2, 1)
    assert "two tensors that are called 'a.b'" in outcome.complaints[0]


def test_an_attribute_that_exchanges_a_tensors_data_is_refused(tmp_path: Path) -> None:
    tensor = torch.nn.Parameter(random_(2, 2))
    tensor.dota = random_(2, 2) * 5  # type: ignore[attr-defined]
    with zipfile.ZipFile(io.BytesIO(saved({"a": tensor}))) as old, zipfile.ZipFile(tmp_path / "model.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"dota", b"data"))
    assert not torch.equal(load(tmp_path / "model.pt")["a"], tensor)
    outcome = run("check", tmp_path / "model.pt")
    assert (outcome.status, "exchanges the data" in outcome.err) == (2, True)


@pytest.mark.parametrize("record", ["DATA.pkl", "ByteOrder", "data/0".upper()])
def test_records_whose_names_differ_in_case_alone_are_refused(tmp_path: Path, record: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(saved(net()))
    with zipfile.ZipFile(path, "a") as archive:
        folder = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{folder}/{record}", b"x")
    outcome = run("check", path)
    assert (outcome.status, "case" in outcome.err) == (2, True)


def test_a_record_that_is_marked_as_a_folder_is_refused(tmp_path: Path) -> None:
    """PyTorch reads nothing of it, so that its tensor has what was in memory before."""
    content = bytearray(saved(net()))
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"/data/3"))
    content[at + 38] |= 0x10
    outcome = run("check", written(tmp_path / "model.pt", bytes(content)))
    assert (outcome.status, "marked as a folder" in outcome.err) == (2, True)


OPCODES = b"\x80\x95.(012qr\x94hjN\x88\x89JKM\x8aGX\x8cTUBC)t\x85\x86\x87]}\x8faesuc\x93R\x81bQ"
EXCHANGED = [
    (b"FloatStorage", b"HalfStorage"), (b"HalfStorage", b"FloatStorage"),
    (b"_rebuild_tensor_v2", b"_rebuild_tensor_v3"), (b"_rebuild_parameter", b"_rebuild_qtensor"), (b"torch", b"posix"),
]  # fmt: skip


class Mutants:
    """Damaged files, the same for one seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        base = random_(6, 4)
        state = {"fc.weight": base, "fc.bias": base[:, 0], "t.weight": base.t()[1:], "h.weight": random_(4, 5).half()}
        state |= {"p": torch.nn.Parameter(random_(3, 2)), "planned": torch.empty(2, 3, device="meta")}
        more = {"u": torch.arange(6).to(torch.uint16), "f8": random_(8).to(torch.float8_e4m3fn)}
        optimiser = {"state": {0: {"e": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
        beside = {"epoch": 3, "b": b"xy", "opt": optimiser}
        self.archive = saved({"state_dict": collections.OrderedDict(state | more), **beside})
        self.legacy = saved({"state_dict": state, **beside}, _use_new_zipfile_serialization=False)
        with zipfile.ZipFile(io.BytesIO(self.archive)) as archive:
            self.records = {name: archive.read(name) for name in archive.namelist()}
        self.pickle = next(name for name in self.records if name.endswith("data.pkl"))

    def next(self) -> bytes:
        """One file."""
        way = self.chance.random()
        if way < 0.7:
            harm = self._bytes if way < 0.35 else self._opcodes
            return self._zipped({**self.records, self.pickle: harm(self.records[self.pickle])})
        return self._bytes(self.archive) if way < 0.8 else self._bytes(self.legacy[:1500]) + self.legacy[1500:]

    def _zipped(self, records: dict[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in records.items():
                archive.writestr(name, data)
        return buffer.getvalue()

    def _bytes(self, content: bytes) -> bytes:
        harmed, chance = bytearray(content), self.chance
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            at, other = chance.randrange(len(harmed)), chance.randrange(len(harmed))
            match chance.randrange(7):
                case 0:
                    harmed[at] = chance.randrange(256)
                case 1:
                    harmed[at] ^= 1 << chance.randrange(8)
                case 2:
                    harmed[at] = chance.choice(OPCODES)
                case 3:
                    del harmed[at : at + chance.choice((1, 1, 2, 5, 20))]
                case 4:
                    harmed[at:at] = harmed[other : other + chance.randrange(40)]
                case 5:
                    length = chance.randrange(30)
                    harmed[at : at + length] = harmed[other : other + length]
                case _:
                    old, new = chance.choice(EXCHANGED)
                    harmed = harmed.replace(old, new, 1)
        return bytes(harmed)

    def _opcodes(self, content: bytes) -> bytes:
        begins = [at for _, _, at in pickletools.genops(content) if at is not None]
        parts = [content[begin:end] for begin, end in zip(begins, [*begins[1:], None], strict=True)]
        for _ in range(self.chance.choice((1, 1, 2))):
            at, other = self.chance.randrange(1, len(parts)), self.chance.randrange(1, len(parts))
            match self.chance.randrange(4):
                case 0:
                    del parts[at]
                case 1:
                    parts.insert(at, parts[other])
                case 2:
                    parts[at], parts[other] = parts[other], parts[at]
                case _:
                    parts[at] = parts[other]
        return b"".join(parts)


def has_plain_keys(thing: Any) -> bool:
    """Whether all that leads to a tensor is text; what else a key may be, a tensor among it, has no name."""
    if isinstance(thing, Mapping):
        return all(type(key) in (str, int) and has_plain_keys(value) for key, value in thing.items())
    return True


@pytest.mark.parametrize("seed", [1, 2])
def test_a_damaged_file_ends_in_one_line_or_is_read_to_the_bytes_that_torch_loads(tmp_path: Path, seed: int) -> None:
    mutants, path = Mutants(seed), tmp_path / "model.pt"
    compared = 0
    for number in range(MUTANTS):
        path.write_bytes(mutants.next())
        refused = ""
        try:
            read(path)
        except CheckpointError as error:
            refused = str(error)
        assert "\n" not in refused
        if refused:
            continue
        try:
            root = load(path)
        except Exception:  # torch refuses more than needs be, in many ways
            continue
        if has_plain_keys(root):
            # What the harm has made into the state of an optimiser is left aside, and only there.
            wrong = [row for row in differences(path, root) if row[1] is not None]
            assert wrong == [], f"mutant {number} of seed {seed}"
            compared += 1
    assert compared > MUTANTS // 40
