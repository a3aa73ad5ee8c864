"""Checkpoints for tests, byte by byte: good ones, ones that nothing would write, and what the command says of them."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import ml_dtypes
import numpy as np

from initaudit.checkpoint.reading import Reader
from initaudit.cli import main
from initaudit.statistics import JUDGED, PIECE_BYTES, measure
from initaudit.understanding import open_paths

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "fixtures"

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "F8_E4M3FNUZ": np.dtype(ml_dtypes.float8_e4m3fnuz),
    "F8_E5M2FNUZ": np.dtype(ml_dtypes.float8_e5m2fnuz),
    "F8_E8M0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "I64": np.dtype(np.int64),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
    "C64": np.dtype(np.complex64),
}
CODES = {dtype: code for code, dtype in DTYPES.items()}


NO_FILE = {"IA110", "IA504"}
"""Rules whose fault no safetensors file can show: it has values for all that it names."""


@dataclass(frozen=True)
class Raw:
    """A tensor of a dtype that numpy may not have, by its bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def described(dtype="F32", shape=(2,), begin=0, end=8, **more):
    """One entry of a header."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}


def file_of(header, data=b"", *, length=None):
    """A file's bytes: a header (a dictionary, text or bytes) and data; ``length`` is the header's stated one."""
    if isinstance(header, dict):
        header = json.dumps(header)
    if isinstance(header, str):
        header = header.encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def serialised(tensors):
    """The bytes of a well-formed file of some arrays or `Raw` tensors, in the order given."""
    header, data = {}, b""
    for name, tensor in tensors.items():
        if not isinstance(tensor, Raw):
            tensor = Raw(CODES[tensor.dtype], tensor.shape, tensor.tobytes())
        header[name] = described(tensor.dtype, tensor.shape, len(data), len(data) + len(tensor.data))
        data += tensor.data
    return file_of(header, data)


def written(path, content):
    """A path, once bytes or a file of these tensors are written there; its folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(serialised(content) if isinstance(content, Mapping) else content)
    return path


def indexed(folder, shards, *, weight_map=None, total_size=None, name="model.safetensors.index.json"):
    """The path of an index, once it and its shards (tensors by file name) are written; its map may be a wrong one."""
    for file, tensors in shards.items():
        written(folder / file, tensors)
    true_map = {tensor: file for file, tensors in shards.items() for tensor in tensors}
    index = {"metadata": {}, "weight_map": true_map if weight_map is None else weight_map}
    if total_size is not None:
        index["metadata"]["total_size"] = total_size
    return written(folder / name, json.dumps(index).encode())


def mlp(seed=0, *, prefix=""):
    """The tensors of a net of three layers in which there is nothing to find."""
    generator, model = np.random.default_rng(seed), {}
    for number, (outputs, inputs) in enumerate(((96, 64), (64, 96), (10, 64)), start=1):
        weight = generator.standard_normal((outputs, inputs)) / np.sqrt(inputs)
        model[f"{prefix}fc{number}.weight"] = weight.astype(np.float32)
        model[f"{prefix}fc{number}.bias"] = np.zeros(outputs, np.float32)
    return model


def faulty(seed=0, *, layer="fc2"):
    """The same net with one weight all zero, which is an error and nothing else."""
    model = mlp(seed)
    model[f"{layer}.weight"] = np.zeros_like(model[f"{layer}.weight"])
    return model


def statistics(path):
    """The statistics of all judged tensors of one checkpoint, by name."""
    (checkpoint,), failures = open_paths([path])
    assert not failures
    found = {}
    for shard in checkpoint.shards:
        with Reader.opened(shard, PIECE_BYTES) as reader:
            judged = [entry for entry in shard.entries if entry.dtype in JUDGED and entry.count]
            found |= {entry.name: measure(reader, entry) for entry in judged}
    return found


@dataclass(frozen=True)
class Outcome:
    """What a run of the command left behind."""

    status: int
    out: str
    err: str

    @property
    def document(self):
        """What was printed, as JSON: NaN and infinities, which Python would take, are none."""

        def refuse(number):
            raise AssertionError(f"{number} is not JSON")

        return json.loads(self.out, parse_constant=refuse)

    @property
    def complaints(self):
        """The lines on stderr."""
        return self.err.splitlines()


def environment(more=None):
    """The variables of this process without those that colour or narrow a report."""
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**kept, **(more or {})}


def run(*arguments, variables=None):
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with mock.patch.dict(os.environ, environment(variables), clear=True), redirect_stdout(out), redirect_stderr(err):
        status = main([str(argument) for argument in arguments])
    return Outcome(status, out.getvalue(), err.getvalue())


def spawn(*arguments, variables=None, timeout=30):
    """Run the command in a process of its own; one that hangs fails the test."""
    return spawn_python("-m", "initaudit", *arguments, variables=variables, timeout=timeout)


PERMISSIONS_BIND = os.name == "posix" and (os.geteuid() != 0 or shutil.which("setpriv") is not None)
"""Whether there is a way to run as one who may not read or write all."""


def spawn_unprivileged(*arguments):
    """Run the command in a process that permissions bind, as they do not bind root."""
    bound = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    return _spawned([*bound, sys.executable, "-m", "initaudit", *arguments], None, 30)


def spawn_python(*arguments, variables=None, timeout=30):
    """Run Python in a process of its own, with the package of this checkout."""
    return _spawned([sys.executable, *arguments], variables, timeout)


def _spawned(command, variables, timeout):
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        cwd=ROOT,
        env=environment(variables),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)
