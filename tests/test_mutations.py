"""Files that were changed at random: none fails but as it should, none is audited that its library refuses.

The whole of it takes some minutes and is asked for: ``INITAUDIT_MUTATIONS=1 pytest tests/test_mutations.py`` changes
20,000 files of safetensors and 2,000 archives; without it a fiftieth of them. The seeds are fixed.
"""

import io
import json
import os
import random
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, deserialize

import initaudit
from tests.checkpoints import Raw, serialised

PART = 1 if os.environ.get("INITAUDIT_MUTATIONS") else 50
SAFETENSORS, ARCHIVES = 20_000 // PART, 2_000 // PART
PER_TEST = 500

GENERATOR = np.random.default_rng(0)
TENSORS: dict[str, Any] = {
    "h.0.fc1.weight": GENERATOR.standard_normal((6, 4)).astype(np.float32),
    "h.0.fc1.bias": np.zeros(6, np.float32),
    "h.0.fc2.weight": GENERATOR.standard_normal((3, 6)),
    "ln.weight": np.ones(6, np.float16),
    "step": np.ones((), np.int64),
    "none": np.ones((0, 3), np.float32),
    "packed": Raw("F4", (4, 2), bytes(4)),
}
ODD: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 2**64, 10**400, 1.5, 1e308, "", "F32", "f32", "BF16", "F4", [], [1], [[1]], {},
    {"dtype": "F32"}, "\ud800", "\0", "__metadata__", [0, 8], [8, 0], [2**62, 4], [-1, -1], [True, 1], ["1"],
]  # fmt: skip
BYTES = list(b'\0\x01\x7f\x80\xff{}[]":,0123456789-eE.\\u \n')


def _bytes_changed(chance: random.Random, content: bytes, first: int = 0, last: int | None = None) -> bytes:
    """One to four bytes changed, or some inserted, taken away, doubled or moved."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        end = min(len(changed), len(changed) if last is None else last)
        if end <= first:
            break
        at = chance.randrange(first, end)
        size = chance.choice((1, 1, 2, 8, 40))
        match chance.randrange(7):
            case 0 | 1:
                changed[at] ^= 1 << chance.randrange(8)
            case 2:
                changed[at] = chance.choice(BYTES)
            case 3:
                del changed[at : at + size]
            case 4:
                changed[at:at] = bytes(chance.choices(BYTES, k=size))
            case 5:
                changed[at:at] = changed[at : at + size]
            case _:
                changed[at : at + size] = bytes(len(changed[at : at + size]))
    return bytes(changed)


def _cut_or_extended(chance: random.Random, content: bytes) -> bytes:
    if chance.random() < 0.5:
        return content[: chance.randrange(len(content))]
    return content + bytes(chance.choices(BYTES, k=chance.choice((1, 8, 100))))


def _value_changed(chance: random.Random, content: bytes) -> bytes:
    """A header with a value, a name or a description that is another, well formed as JSON and with its own length."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    name = chance.choice(list(header))
    match chance.randrange(6):
        case 0:
            header[name] = chance.choice(ODD)
        case 1:
            field = chance.choice(list(header[name])) if header[name] else "x"
            header[name][field] = chance.choice(ODD)
        case 2 if "shape" in header[name]:
            field = chance.choice(("shape", "data_offsets"))
            row = header[name][field]
            row.insert(chance.randint(0, len(row)), chance.choice(ODD))
        case 3 if "shape" in header[name]:
            row = header[name][chance.choice(("shape", "data_offsets"))]
            if row:
                row[chance.randrange(len(row))] = chance.choice(ODD)
        case 4:
            header[str(chance.choice(ODD))[:50]] = header.pop(name)
        case _:
            header[name] = header[chance.choice(list(header))]
    text = json.dumps(header, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def mutated_safetensors(chance: random.Random, content: bytes) -> bytes:
    header = 8 + int.from_bytes(content[:8], "little")
    match chance.randrange(8):
        case 0:
            return _cut_or_extended(chance, content)
        case 1:
            return _bytes_changed(chance, content)
        case 2:
            return _bytes_changed(chance, content, 0, 9)
        case 3:
            return _bytes_changed(chance, content, header)
        case 4 | 5:
            changed = _bytes_changed(chance, content, 8, header)
            if chance.random() < 0.7:  # a header that is longer or shorter, and says so
                length = header - 8 + len(changed) - len(content)
                changed = max(length, 0).to_bytes(8, "little") + changed[8:]
            return changed
        case _:
            return _value_changed(chance, content)


def safetensors_accepts(content: bytes) -> set[str] | None:
    """The names in a file, None where safetensors refuses it."""
    try:
        return {name for name, _ in deserialize(content)}
    except (SafetensorError, ValueError, OverflowError):
        return None


def torch_accepts(content: bytes) -> set[str] | None:
    """The names in a file, None where `torch.load` refuses it."""
    try:
        found = torch.load(io.BytesIO(content), weights_only=True)
    except Exception:
        return None
    names, rest = set(), [found]
    while rest:
        for name, value in rest.pop().items():
            if isinstance(value, torch.Tensor):
                names.add(str(name))
            elif isinstance(value, dict):
                rest.append(value)
    return names


def numpy_accepts(content: bytes) -> set[str] | None:
    """The names in a file, None where NumPy refuses one of its arrays."""
    try:
        with np.load(io.BytesIO(content)) as found:
            names = set(found.files)
            for name in names:
                try:
                    found[name]
                except ValueError as error:
                    if "Object arrays" not in str(error):  # which are not judged
                        raise
    except Exception:
        return None
    return names


def saved(thing: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


def arrays(*, packed: bool) -> bytes:
    buffer = io.BytesIO()
    plain = {name: values for name, values in TENSORS.items() if isinstance(values, np.ndarray)}
    (np.savez_compressed if packed else np.savez)(buffer, **plain, other=np.asfortranarray(np.ones((3, 5))))
    return buffer.getvalue()


def mutated_archive(chance: random.Random, content: bytes) -> bytes:
    """An archive changed anywhere, in its directory, or in its records before they are archived anew."""
    kind = chance.randrange(6)
    if kind == 0:
        return _cut_or_extended(chance, content)
    if kind == 1:
        return _bytes_changed(chance, content)
    if kind == 2:
        return _bytes_changed(chance, content, content.find(b"PK\1\2"))
    if kind == 3:
        starts = [at for at in range(len(content)) if content[at : at + 4] == b"PK\3\4"]
        start = chance.choice(starts)
        return _bytes_changed(chance, content, start, start + 60)
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        records = {name: old.read(name) for name in old.namelist()}
    pickles = [name for name in records if name.endswith("data.pkl")]
    victim = pickles[0] if pickles and chance.random() < 0.7 else chance.choice(list(records))
    if records[victim]:
        records[victim] = _bytes_changed(chance, records[victim], 0, 140 if victim.endswith(".npy") else None)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, 8))) as new:
        for name, data in records.items():
            new.writestr(name, data)
    return buffer.getvalue()


def held(path: Path, content: bytes, accepts: Callable[[bytes], set[str] | None]) -> str:
    """How the audit of a file ended, once it is seen that it ended as it may."""
    path.write_bytes(content)
    report = initaudit.check(path)
    assert report.to_json()
    for failure in report.failures:
        assert "internal error" not in failure.message
        assert "crashed" not in failure.message
        assert "\n" not in failure.message
        assert failure.path == str(path)
    if report.failures:
        assert len(report.failures) == 1
        return "refused"
    names = accepts(content)
    assert names is not None
    (one,) = report.audited
    assert {entry.name for entry in one.checkpoint.entries} <= names
    return "audited"


def _run(count: int, seed: int, path: Path, contents: list[tuple[bytes, Any]], mutate: Any) -> Counter[str]:
    chance = random.Random(seed)
    ended: Counter[str] = Counter()
    for number in range(count):
        content, accepts = contents[number % len(contents)]
        changed = mutate(chance, content)
        try:
            ended[held(path, changed, accepts)] += 1
        except BaseException:
            kept = path.with_suffix(".failed")
            kept.write_bytes(changed)
            print(f"number {number} of seed {seed} is kept as {kept}")
            raise
    return ended


@pytest.mark.parametrize("seed", range(-(-SAFETENSORS // PER_TEST)))
def test_a_file_of_safetensors_that_was_changed_is_refused_or_accepted_by_safetensors(
    tmp_path: Path, seed: int
) -> None:
    plain = serialised(TENSORS)
    length = int.from_bytes(plain[:8], "little")
    header = b'{"__metadata__":{"format":"pt"},' + plain[9 : 8 + length]
    noted = len(header).to_bytes(8, "little") + header + plain[8 + length :]
    contents = [(plain, safetensors_accepts), (noted, safetensors_accepts)]
    count = min(PER_TEST, SAFETENSORS)
    ended = _run(count, seed, tmp_path / "model.safetensors", contents, mutated_safetensors)
    assert ended["refused"] > count / 4
    assert ended["audited"] > count / 20


@pytest.mark.parametrize("seed", range(-(-ARCHIVES // PER_TEST)))
def test_an_archive_that_was_changed_is_refused_or_accepted_by_its_library(tmp_path: Path, seed: int) -> None:
    net = {name: torch.from_numpy(values.copy()) for name, values in TENSORS.items() if isinstance(values, np.ndarray)}
    net["turned"] = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).t()
    net["tied"] = net["h.0.fc1.weight"]
    contents = [
        (saved(net), torch_accepts),
        (arrays(packed=False), numpy_accepts),
        (saved({"state_dict": net, "epoch": 1}), torch_accepts),
        (arrays(packed=True), numpy_accepts),
    ]
    count = min(PER_TEST, ARCHIVES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ended = _run(count, 1000 + seed, tmp_path / "model.bin", contents, mutated_archive)
    assert ended["refused"] > count / 10
    assert ended["audited"] > count / 100
