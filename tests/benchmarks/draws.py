"""The draw on this machine, against numpy's generator and torch's, and on its GPU against its cores, as JSON.

``python -m tests.benchmarks.draws [--values N] [--file GB --folder DIR]``. On a GPU it also says whether the pinned
digests are those that it draws. With ``--file`` a checkpoint of so many GB, half of it zero, is repaired on each
device.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from initaudit.draws import HOST, Filling, drawn
from initaudit.draws.torch_arrays import Torch
from initaudit.laws import parse_law
from initaudit.workers import available_cores
from tests.test_draws import PINNED, filling, whole

PIECE, DEVICE_PIECE = 1 << 22, 1 << 24
LAWS = ("normal(std = 0.02)", "trunc_normal(std = 0.02)", "uniform(bound = 0.1)")
WIDTH, BLOCK_BYTES = 4096, 4 * 4096 * 4096


def rate(count: int, work: Callable[[], Any]) -> float:
    """Millions of values a second, the best of three."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return round(count / min(times) / 1e6, 1)


def on_one_core() -> dict[str, float]:
    """This draw beside the generators of numpy and torch."""
    torch.set_num_threads(1)
    generator, values = np.random.default_rng(0), torch.empty(PIECE)
    found = {
        "numpy standard_normal (F64)": rate(PIECE, lambda: generator.standard_normal(PIECE)),
        "torch normal_": rate(PIECE, lambda: values.normal_(0, 0.02)),
        "torch trunc_normal_": rate(PIECE, lambda: torch.nn.init.trunc_normal_(values, 0, 0.02, -0.04, 0.04)),
    }
    for law in LAWS:
        for dtype in ("F32", "BF16"):
            what = Filling(dtype, (PIECE,), (parse_law(law),))
            found[f"{law} {dtype}"] = rate(PIECE, lambda what=what: drawn(HOST, what, 0, "w", 0, PIECE))
    return found


def on_host(span: tuple[int, int]) -> int:
    return len(drawn(HOST, Filling("BF16", (span[1],), (parse_law(LAWS[0]),)), 0, "w", *span))


def on_device(count: int) -> None:
    what = Filling("BF16", (count,), (parse_law(LAWS[0]),))
    for begin in range(0, count, DEVICE_PIECE):
        drawn(Torch("cuda"), what, 0, "w", begin, min(begin + DEVICE_PIECE, count), DEVICE_PIECE)
    torch.cuda.synchronize()


def many(count: int) -> dict[str, Any]:
    """So many values by all cores, and by the GPU where there is one."""
    spans = [(begin, min(begin + PIECE, count)) for begin in range(0, count, PIECE)]
    begin = time.perf_counter()
    with ProcessPoolExecutor(available_cores()) as pool:
        assert sum(pool.map(on_host, spans)) == 2 * count
    found: dict[str, Any] = {
        "values": count,
        "cores": available_cores(),
        "seconds on the cores": time.perf_counter() - begin,
    }
    if torch.cuda.is_available():
        on_device(DEVICE_PIECE)
        begin = time.perf_counter()
        on_device(count)
        found["seconds on the GPU"] = time.perf_counter() - begin
    return found


def pinned() -> dict[str, bool]:
    """Whether the GPU draws what is pinned."""
    device = Torch("cuda")
    return {
        f"{law} {dtype}": hashlib.sha256(whole(filling(law, dtype=dtype), arrays=device, chunk=1 << 24)).hexdigest()
        == digest
        for (law, dtype), digest in PINNED.items()
    }


def of_a_file(gigabytes: float, folder: Path) -> dict[str, Any]:
    """Seconds of `fix` of a checkpoint, half of whose weights are zero, on each device, and whether the bytes agree."""
    count, rng = max(int(gigabytes * 1e9 / BLOCK_BYTES / 2), 1), np.random.default_rng(0)
    healthy = (rng.standard_normal((WIDTH, WIDTH), np.float32) * 0.02).astype(np.float32)
    tensors = {}
    for block in range(count):
        tensors[f"h.{block}.mlp.up.weight"] = np.roll(healthy, block + 1, axis=1) * np.float32(1 + block * 1e-6)
        tensors[f"h.{block}.mlp.down.weight"] = np.zeros_like(healthy)
    path = folder / "half.safetensors"
    save_file(tensors, path)
    del tensors
    found: dict[str, Any] = {"bytes": path.stat().st_size}
    digests = set()
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        output = folder / f"{device}.safetensors"
        command = [
            sys.executable,
            "-m",
            "initaudit",
            "fix",
            path,
            "--output",
            output,
            "--scheme",
            LAWS[0].replace(" ", ""),
        ]
        begin = time.perf_counter()
        subprocess.run([*command, "--force", "--device", device], check=False, stdout=subprocess.DEVNULL)
        found[f"seconds on {device}"] = time.perf_counter() - begin
        with output.open("rb") as file:
            digests.add(hashlib.file_digest(file, "sha256").hexdigest())
        output.unlink()
    path.unlink()
    return {**found, "same bytes": len(digests) == 1}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--values", type=int, default=10**8)
    parser.add_argument("--file", type=float, default=0.0)
    parser.add_argument("--folder", type=Path, default=Path())
    given = parser.parse_args()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    found: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "gpu": gpu,
        "load": os.getloadavg()[0],
    }
    found["M values/s on one core"] = on_one_core()
    found["many"] = many(given.values)
    if gpu:
        found["pinned"] = pinned()
    if given.file:
        if shutil.disk_usage(given.folder).free < 2.2e9 * given.file:
            sys.exit(f"{given.folder} has no room for two files of {given.file} GB")
        found["file"] = of_a_file(given.file, given.folder)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
