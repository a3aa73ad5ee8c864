"""How well a corpus of healthy fresh models is understood, how many schemes are named, and what is said of them."""

import argparse
import json
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from corpus import models

from initaudit.audit import judge
from initaudit.registry import load_rules
from initaudit.rule import Severity
from initaudit.understanding import Understood, open_paths, read

CHECKED = ("role", "layout", "fan_in", "fan_out")


def understanding(understood: Understood, truth: dict[str, Any]) -> Counter[str]:
    """Right and wrong tensors among those whose truth is certain; layout and fans count for weights."""
    counts: Counter[str] = Counter()
    for known in truth["tensors"]:
        if not known.get("in_file") or known.get("is_buffer") or known.get("tied_to") or not known.get("certain"):
            continue
        part = understood.parts[known["name"]]
        keys = CHECKED if known["role"] in ("weight", "rnn_weight") else CHECKED[:1]
        if (known.get("groups") or 1) not in (1, known["shape"][0] if known["shape"] else 1):
            keys = tuple(key for key in keys if key != "fan_out")  # groups do not stand in the file
        right = all(known[key] is None or getattr(part, key) == known[key] for key in keys)
        counts["right" if right else "wrong"] += 1
    return counts


def schemes(understood: Understood, truth: dict[str, Any]) -> Counter[str]:
    """How the schemes of weights of at least 4096 elements are known."""
    counts: Counter[str] = Counter()
    for known in truth["tensors"]:
        if known["role"] not in ("weight", "rnn_weight") or known["name"] not in understood.statistics:
            continue
        if understood.statistics[known["name"]].count >= 4096:
            scheme = understood.schemes.get(known["name"])
            counts[scheme.certainty if scheme else "nothing"] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--known", type=Path, help="suspects: real or likely defects, which may be reported")
    parser.add_argument("--examples", type=int, default=3)
    arguments = parser.parse_args()
    suspects = json.loads(arguments.known.read_text())["models"] if arguments.known else {}
    rules = tuple(load_rules().values())
    by_library: defaultdict[str, Counter[str]] = defaultdict(Counter)
    named: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    said: defaultdict[str, list[str]] = defaultdict(list)
    start = time.perf_counter()
    for folder, truth in models(arguments.corpus):
        checkpoints, failures = open_paths([folder])
        for checkpoint in checkpoints:
            understood = read(checkpoint)
            audited = judge(understood, rules)
            by_library[truth["lib"]] += understanding(understood, truth)
            named += schemes(understood, truth)
            kept = [f for f in audited.findings if not set(f.tensors) <= suspects.get(folder.name, {}).keys()]
            for finding in kept:
                said[f"{finding.severity.value} {finding.rule} {finding.name}"].append(
                    f"{folder.name}: {finding.tensor}"
                )
            worst = {finding.severity for finding in kept}
            totals["models without an error"] += Severity.ERROR not in worst
            totals["models without an error or warning"] += not worst & {Severity.ERROR, Severity.WARNING}
            totals["tensors"] += audited.judged
            failures += audited.failures
        totals["models"] += 1
        totals["failures"] += len(failures)
    everything = sum(by_library.values(), Counter())
    for library, counts in sorted({**by_library, "all": everything}.items()):
        share = counts["right"] / max(1, counts.total())
        print(f"{library:16s} {counts['right']:6d} of {counts.total():6d} right, {share:.2%}")
    print(f"schemes of weights from 4096 elements: {dict(named)}")
    for what, places in sorted(said.items(), key=lambda item: -len(item[1])):
        print(f"{len(places):4d} {what}: {'; '.join(places[: arguments.examples])}")
    print(f"{dict(totals)} in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
