"""The audit of a live bfloat16 module of a billion parameters against that of its file; on a GPU also against one pass.

    python tests/benchmarks/live.py [--parameters 1.0] [--runs 3]

Both are audited by one process, and the file lies in the page cache; what counts is the ratio. Where there is a CUDA
device, the module is audited there as well, and its time held against one pass of a sum over the same memory.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

import initaudit


def seconds(action: Callable[[], object], runs: int) -> float:
    """The median time of an action."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def summed(model: nn.Module) -> None:
    """One pass over a module's memory, on the device."""
    for parameter in model.parameters():
        parameter.detach().sum(dtype=torch.float32)
    torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=float, default=1.0, help="in billions")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    width = 4096
    depth = max(1, round(arguments.parameters * 1e9 / width**2))
    with torch.device("meta"):
        model = nn.Sequential(*(nn.Linear(width, width, bias=False, dtype=torch.bfloat16) for _ in range(depth)))
    model = model.to_empty(device="cpu")
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=width**-0.5)
    with tempfile.TemporaryDirectory() as scratch:
        safe, pickled = Path(scratch) / "model.safetensors", Path(scratch) / "model.pt"
        save_file(model.state_dict(), safe)
        torch.save(model.state_dict(), pickled)
        sources = {"its safetensors file": safe, "its file of torch.save": pickled, "the module": model}
        took = {}
        print(f"{sum(p.numel() for p in model.parameters()) / 1e9:.2f} B parameters of bfloat16, {depth} layers")
        for name, source in sources.items():
            initaudit.check(source)
            took[name] = seconds(partial(initaudit.check, source), arguments.runs)
            print(f"  {name:24s} {took[name]:6.2f} s")
    print(f"  the module / its safetensors file {took['the module'] / took['its safetensors file']:.2f}")
    if not torch.cuda.is_available():
        print("  no CUDA device: nothing was measured there")
        return
    model.cuda()
    initaudit.check(model)
    ours, once = seconds(lambda: initaudit.check(model), arguments.runs), seconds(lambda: summed(model), arguments.runs)
    print(f"  on {torch.cuda.get_device_name()} {ours:.3f} s; one pass of a sum {once:.4f} s, ratio {ours / once:.0f}")


if __name__ == "__main__":
    main()
