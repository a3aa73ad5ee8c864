"""Whether a live model, its state dict and its files are said the same of, over models of libraries.

    python tests/corpus/live.py CORPUS_SCRIPTS [--names FILE] [--match REGEX] [--plant] [--examples N]

CORPUS_SCRIPTS is the folder with the corpus's ``build.py``; run it with the environment that builds models. Each model
is built, audited live, and again through a safetensors file and a file of ``torch.save`` of its state dict. Of the
tensors whose true role is certain, it is also said how many are understood, by types and by names.
"""

import argparse
import gc
import importlib
import json
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from measure import understanding
from safetensors.torch import save_file

import initaudit
from initaudit.modules import understood_live
from initaudit.outcome import Outcome
from initaudit.understanding import open_paths, read


def found(report: Outcome) -> set[tuple[str, str]]:
    """Rule and tensor of every finding of some weight."""
    return {(finding.rule, name) for finding in report.failing("warning") for name in finding.tensors}


HARMS = (
    torch.Tensor.zero_,
    lambda weight: weight.mul_(100),
    lambda weight: weight[: len(weight) // 2].zero_(),
    lambda weight: weight.reshape(-1)[3].fill_(torch.nan),
    lambda weight: weight.fill_(0.1),
)
"""What is done, in turn, to some weights of a model."""

EVERY = 6
"""Of so many weights one is harmed."""


@torch.no_grad()
def plant(model: torch.nn.Module) -> int:
    """Harm some weights of a model, and how many."""
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1 and parameter.is_contiguous()]
    chosen = weights[1::EVERY]
    for number, weight in enumerate(chosen):
        HARMS[number % len(HARMS)](weight)
    return len(chosen)


def audited(job: Any, folder: Path, truth_of: Any, build: Any, planted: bool) -> tuple[dict[str, Any], Counter[str]]:
    """What is found in one model by each way, and how well its tensors are understood."""
    build.seed_all(job.key)
    model, extra = job.build()
    if extra.get("state") is not None or not isinstance(model, torch.nn.Module):
        raise ValueError("its file is not its state dict")
    harmed = plant(model) if planted else 0
    records, tensors = truth_of(model, None)
    if extra.get("fix"):
        extra["fix"](records)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    torch.save(model.state_dict(), folder / "model.pt")
    config = extra.get("config")
    if extra.get("save_config"):
        extra["save_config"](folder)
    elif config is not None:
        (folder / "config.json").write_text(json.dumps(config, default=str), encoding="utf-8")
    ways = {
        "file": found(initaudit.check(folder / "model.safetensors")),
        "pt": found(initaudit.check(folder / "model.pt")),
        "module": found(initaudit.check(model)),
    }
    counts: Counter[str] = Counter({"harmed": harmed, "found": len(ways["module"])})
    (checkpoint,), _ = open_paths([folder / "model.safetensors"])
    in_file, live = read(checkpoint), understood_live(model)
    known = {"tensors": [row for row in records if row["name"] in live.parts and row["name"] in in_file.parts]}
    counts |= Counter({f"by names {key}": number for key, number in understanding(in_file, known).items()})
    counts |= Counter({f"by types {key}": number for key, number in understanding(live, known).items()})
    shared = live.statistics.keys() & in_file.statistics.keys()
    counts["tensors measured alike"] = sum(live.statistics[n] == in_file.statistics[n] for n in shared)
    counts["tensors measured otherwise"] = len(shared) - counts["tensors measured alike"]
    for row in known["tensors"]:
        if understanding(live, {"tensors": [row]})["wrong"]:
            part = live.parts[row["name"]]
            ways.setdefault("misunderstood", set()).add(
                (
                    row["name"],
                    f"{row['role']} {row['layout']} {row['fan_in']}, not {part.role} {part.layout} {part.fan_in}",
                )
            )
    return ways, counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", type=Path)
    parser.add_argument("--names", type=Path)
    parser.add_argument("--match", default="")
    parser.add_argument("--plant", action="store_true", help="harm some weights of each model first")
    parser.add_argument("--examples", type=int, default=5)
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.scripts))
    build = importlib.import_module("build")
    kept = build.prep()
    libraries = importlib.import_module("families").LIBS
    truth_of = importlib.import_module("truth").collect
    names = (arguments.names or arguments.scripts / "quick.txt").read_text(encoding="utf-8").split()
    wanted = [name for name in names if re.search(arguments.match, name)]
    totals: Counter[str] = Counter()
    for library, (module, function) in libraries.items():
        if not any(name.startswith(f"{library}__") for name in wanted):
            continue
        jobs = getattr(importlib.import_module(module), function)(
            argparse.Namespace(match="", limit=0, lib=library, out=tempfile.gettempdir(), verbose=False)
        )
        for job in {job.key: job for job in jobs if job.key in wanted}.values():
            start = time.perf_counter()
            try:
                with tempfile.TemporaryDirectory() as scratch:
                    ways, counts = audited(job, Path(scratch), truth_of, build, arguments.plant)
            except Exception as error:  # a model that cannot be built here says nothing about us
                totals["not built"] += 1
                print(f"{job.key}: {type(error).__name__}: {str(error)[:100]}")
                continue
            totals += counts
            totals["models"] += 1
            for one, other in (("file", "pt"), ("file", "module")):
                totals[f"{one} and {other} agree"] += ways[one] == ways[other]
                only = [f"-{rule} {name}" for rule, name in sorted(ways[one] - ways[other])]
                more = [f"+{rule} {name}" for rule, name in sorted(ways[other] - ways[one])]
                if only or more:
                    print(f"{job.key}: {one} -> {other}: {(only + more)[: arguments.examples]} of {len(only + more)}")
            for row in sorted(ways.get("misunderstood", set()))[: arguments.examples]:
                print(f"{job.key}: misunderstood: {row}")
            totals["seconds"] += round(time.perf_counter() - start)
            gc.collect()
    print(dict(totals))
    del kept


if __name__ == "__main__":
    main()
