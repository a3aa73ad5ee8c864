"""`check` against a raw read, and against the script that people write today, on one large file in the page cache.

    python tests/benchmarks/audit.py [--gigabytes 4] [--runs 3]

Each run is a whole process; what counts are the ratios within one run. A file of 20,000 small tensors is timed as well.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from processes import median, run
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file

RAW = """
import sys
with open(sys.argv[1], "rb", buffering=0) as file:
    buffer = bytearray(1 << 20)
    while file.readinto(buffer):
        pass
"""

NAIVE = """
import sys
from safetensors import safe_open
with safe_open(sys.argv[1], "pt") as file:
    for name in file.keys():
        t = file.get_tensor(name).float()
        print(name, t.mean().item(), t.std().item(), t.min().item(), t.max().item(), (t == 0).sum().item())
"""


def compare(path: Path, runs: int) -> None:
    """Print what each way takes, and the ratios."""
    raw, ours, single, naive = [], [], [], []
    for _ in range(runs):
        raw.append(run(RAW, str(path)))
        ours.append(run("initaudit", "check", str(path)))
        single.append(run("initaudit", "check", str(path), "--workers", "1"))
        naive.append(run(NAIVE, str(path)))
    gigabytes = path.stat().st_size / 1e9
    for name, one in (("raw read", raw), ("check", ours), ("check, one worker", single), ("naive script", naive)):
        speed = gigabytes / median(one)
        print(f"  {name:18s} {median(one):6.2f} s  {speed:5.2f} GB/s  peak {max(r.peak for r in one):,.0f} MB")
    print(f"  check / raw {median(ours) / median(raw):.2f}, naive / check {median(naive) / median(ours):.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.safetensors"
        for dtype, width in ((torch.float32, 4), (torch.bfloat16, 2)):
            layers = round(arguments.gigabytes * 1e9 / (4096 * 4096 * width))
            save_file({f"layers.{i}.weight": (torch.randn(4096, 4096) / 64).to(dtype) for i in range(layers)}, path)
            print(f"{path.stat().st_size / 1e9:.2f} GB of {dtype}")
            run(RAW, str(path))
            compare(path, arguments.runs)
        generator, model = np.random.default_rng(0), {}
        for layer in range(5000):
            model[f"layers.{layer}.fc.weight"] = (generator.standard_normal((64, 64)) / 8).astype(np.float32)
            model[f"layers.{layer}.fc.bias"] = np.zeros(64, np.float32)
            model[f"layers.{layer}.norm.weight"] = np.ones(64, np.float32)
            model[f"layers.{layer}.norm.bias"] = np.zeros(64, np.float32)
        save_numpy(model, path)
        small = [run("initaudit", "check", str(path)) for _ in range(arguments.runs)]
        print(f"20,000 small tensors: {median(small):.2f} s, peak {max(one.peak for one in small):,.0f} MB")


if __name__ == "__main__":
    main()
