"""`fix` against the script that people write today (load, reinitialise, save), on one large file in the page cache.

    python tests/benchmarks/repair.py [--gigabytes 2] [--runs 3]

Each run is a whole process; fsync is reported apart, as the script does none.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from processes import median, run
from safetensors.numpy import save_file

SCRIPT = """
import sys, torch
from safetensors.torch import load_file, save_file
tensors = load_file(sys.argv[1])
torch.nn.init.normal_(tensors["layers.1.weight"], std=0.02)
save_file(tensors, sys.argv[2])
"""


def synced(path: Path) -> float:
    """Seconds to bring a file to the disk."""
    start = time.perf_counter()
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    layers = round(arguments.gigabytes * 1e9 / (4096 * 4096 * 4))
    tensors = {f"layers.{i}.weight": generator.standard_normal((4096, 4096), np.float32) * 0.02 for i in range(layers)}
    tensors["layers.1.weight"][:] = 0
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "model.safetensors", Path(scratch) / "out.safetensors"
        save_file({name: values.astype(np.float32) for name, values in tensors.items()}, source)
        del tensors
        print(f"{source.stat().st_size / 1e9:.2f} GB, {layers} tensors, one of them zero")
        ours, theirs, disk = [], [], []
        for _ in range(arguments.runs):
            theirs.append(run(SCRIPT, str(source), str(target)))
            disk.append(synced(target))
            target.unlink()
            ours.append(run("initaudit", "fix", str(source), "--output", str(target)))
            target.unlink()
        for name, runs in (("load, reinitialise, save", theirs), ("fix", ours)):
            print(f"{name:26s} {median(runs):6.2f} s, peak {max(one.peak for one in runs):,.0f} MB")
        alone = f"fsync alone takes {statistics.median(disk):.2f} s"
        print(f"ratio {median(ours) / median(theirs):.2f}, fsync included in ours; {alone}")


if __name__ == "__main__":
    main()
