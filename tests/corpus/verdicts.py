"""What is said of all models of a corpus, in under a minute: for looking at what a change of the rules changes.

    python tests/corpus/verdicts.py CORPUS OUT.json [--cache DIR] [--sample N] [--cast bfloat16] [--rules IA2,IA303]
    python tests/corpus/verdicts.py BEFORE.json AFTER.json          # what differs between two of its files

Models are measured once and kept in the cache, which is removed by hand; they are understood and judged in every run.
"""

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from cache import measured
from corpus import models

from initaudit.audit import judge
from initaudit.registry import load_rules

Verdict = tuple[str, str, str, str]
"""A tensor, the rule, the severity, and the message."""


def said_of(root: Path, cache: Path, cast: str | None, rules: Sequence[str], names: Iterable[str]) -> dict[str, Any]:
    """The verdicts on some models of a corpus, by name."""
    chosen = [rule for code, rule in load_rules().items() if not rules or code.startswith(tuple(rules))]
    found: dict[str, Any] = {}
    for one, _ in measured(root, cache, cast, set(names)):
        start = time.perf_counter()
        audited = judge(one.understood(), chosen)
        row = found.setdefault(one.name, {"tensors": 0, "seconds": 0.0, "findings": [], "failures": []})
        row["tensors"] += audited.judged
        row["seconds"] += time.perf_counter() - start
        row["findings"] += [(f.tensor, f.rule, f.severity.value, f.message) for f in audited.findings]
        row["failures"] += [str(failure) for failure in audited.failures]
    return found


def verdicts(of: dict[str, Any]) -> dict[tuple[str, str, str], tuple[str, str]]:
    """Severity and message by model, tensor and rule."""
    return {
        (model, tensor, rule): (severity, message)
        for model, row in of.items()
        for tensor, rule, severity, message in row["findings"]
    }


def show(of: dict[str, Any], examples: int) -> None:
    """Counts by rule and severity, and the models of which anything above an info is said."""
    counts = Counter((severity, rule) for row in of.values() for _, rule, severity, _ in row["findings"])
    where = Counter(pair for row in of.values() for pair in {(s, rule) for _, rule, s, _ in row["findings"]})
    for (severity, rule), count in sorted(counts.items()):
        print(f"{severity:8s} {rule}: {count:5d} in {where[severity, rule]:4d} models")
    worst = Counter[str]()
    for model, row in sorted(of.items()):
        loud = [finding for finding in row["findings"] if finding[2] != "info"]
        worst["error" if any(f[2] == "error" for f in loud) else "warning" if loud else "silent"] += 1
        for tensor, rule, severity, message in loud[:examples]:
            print(f"{model}: {severity} {rule} {tensor}: {message[:160]}")
        if len(loud) > examples:
            print(f"{model}: and {len(loud) - examples} more")
        for failure in row["failures"]:
            print(f"{model}: FAILED {failure}")
    tensors = sum(row["tensors"] for row in of.values())
    seconds = sum(row["seconds"] for row in of.values())
    share = worst["silent"] / max(1, len(of))
    print(
        f"{len(of)} models, {tensors:,} tensors: {worst['silent']} silent ({share:.1%}), {worst['warning']} with a"
        f" warning, {worst['error']} with an error; {seconds:.0f} s of judgement"
    )


def compare(before: dict[str, Any], after: dict[str, Any], examples: int) -> None:
    """What two runs say differently of the models that both have seen."""
    both = before.keys() & after.keys()
    one = verdicts({model: before[model] for model in both})
    other = verdicts({model: after[model] for model in both})
    moved = Counter[tuple[str, str, str]]()
    shown = Counter[tuple[str, str, str]]()
    for key in sorted(one.keys() | other.keys()):
        was, now = one.get(key, ("-", ""))[0], other.get(key, ("-", ""))[0]
        if was == now:
            continue
        kind = key[2], was, now
        moved[kind] += 1
        if shown[kind] < examples:
            shown[kind] += 1
            message = (other.get(key) or one[key])[1]
            print(f"{was} -> {now} {key[2]} {key[0]} {key[1]}: {message[:140]}")
    for (rule, was, now), count in sorted(moved.items()):
        print(f"{rule} {was:8s} -> {now:8s} {count:5d}")
    alone = len(before.keys() ^ after.keys())
    print(f"{len(both)} models in both, {alone} in one alone; {moved.total()} verdicts differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="the corpus, or an earlier OUT to compare with")
    parser.add_argument("out", type=Path)
    parser.add_argument("--cache", type=Path, help="where measured models are kept; beside the corpus unless given")
    parser.add_argument("--sample", type=int, help="so many models, the same in every run")
    parser.add_argument("--match", default="", help="only models whose name contains this")
    parser.add_argument("--cast", help="the dtype as which they are saved first: bfloat16, float16")
    parser.add_argument("--rules", default="", help="codes or their beginnings, with commas; all unless given")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--examples", type=int, default=3, help="findings shown of a model, differences of a kind")
    arguments = parser.parse_args()
    if arguments.corpus.suffix == ".json":
        before, after = (json.loads(path.read_text("utf-8")) for path in (arguments.corpus, arguments.out))
        compare(before, after, arguments.examples)
        return
    names = [folder.name for folder, _ in models(arguments.corpus) if arguments.match in folder.name]
    if arguments.sample is not None:
        names = sorted(random.Random(0).sample(names, min(arguments.sample, len(names))))
    cache = arguments.cache or arguments.corpus.parent / f"cache-{arguments.corpus.name}"
    rules = [code for code in arguments.rules.split(",") if code]
    start = time.perf_counter()
    shares = [names[at :: arguments.jobs] for at in range(arguments.jobs)]
    said: dict[str, Any] = {}
    if arguments.jobs == 1:
        said = said_of(arguments.corpus, cache, arguments.cast, rules, names)
    else:
        with ProcessPoolExecutor(arguments.jobs) as pool:
            jobs = [
                pool.submit(said_of, arguments.corpus, cache, arguments.cast, rules, share) for share in shares if share
            ]
            for job in jobs:
                said |= job.result()
    arguments.out.write_text(json.dumps(said), encoding="utf-8")
    show(said, arguments.examples)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
