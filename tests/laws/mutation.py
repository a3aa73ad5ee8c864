"""Move every number by which verdicts are made by half, and by double, and list those that no test notices.

A threshold that may be half or twice what it is, and nothing that is promised breaks, is none. Run by hand: it takes
about an hour on two cores. ``python tests/laws/mutation.py [--only NAME] [--room ROOM] [--sample N]``
"""

import argparse
import ast
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[2]
COPIED = ("initaudit", "rules", "tests", "fixtures", "pyproject.toml", "README.md")

FACTORS = {"halved": 0.5, "doubled": 2.0}
TOO_LONG = 300
"""Seconds after which tests that never end count as having noticed."""

ALWAYS = ("laws/test_each_convention", "test_conventions", "test_styles", "test_rules", "test_faults")
ROOMS = {
    "significance": ("test_scale", "test_statistics", "test_shipped_faults"),
    "scale": ("test_scale", "test_signatures", "test_shipped_faults", "test_recipes"),
    "signatures": ("test_signatures", "test_scale"),
    "places": (),
    "zeros": (),
    "paths": ("test_shipped_faults",),
    "model": ("test_scale", "test_recipe", "test_shipped_faults"),
    "causes": ("test_causes",),
    "groups": ("test_causes", "test_report"),
    "depth": ("test_page",),
    "recipe": ("test_recipe",),
    "advice": ("test_scale",),
    "architectures": (),
    "conventions": ("test_shipped_faults",),
    "schemes": ("test_schemes", "test_recipe", "test_scale"),
    "remedies": ("laws/test_one_answer",),
    "rules": ("test_shipped_faults", "test_streams"),
}
"""The rooms that judge, and the tests that ask them besides those that ask them all; quick ones first."""


@dataclass(frozen=True)
class Number:
    """A named number at the level of a module, and where its value stands."""

    path: Path
    name: str
    value: float
    begin: int
    end: int

    @property
    def room(self) -> str:
        """The room that it is in."""
        parts = self.path.parts
        return parts[0] if parts[0] == "rules" else parts[1].removesuffix(".py")

    def __str__(self) -> str:
        return f"{self.path.as_posix()} {self.name} = {self.value:g}"

    def moved(self, source: bytes, factor: float) -> bytes | None:
        """The module with the number multiplied; None where that leaves it as it is."""
        value = self.value * factor
        if isinstance(self.value, int):
            value = math.floor(value) if factor < 1 else math.ceil(value)
        if value == self.value:
            return None
        return source[: self.begin] + repr(value).encode() + source[self.end :]


def numbers_of(path: Path) -> Iterator[Number]:
    """The numbers that a module names; those within tables and functions are none of them."""
    source = (ROOT / path).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in ast.parse(source).body:
        for name, value in _named(node):
            number = _number(value)
            if number is not None:
                begin = starts[value.lineno - 1] + value.col_offset
                end = starts[(value.end_lineno or value.lineno) - 1] + (value.end_col_offset or 0)
                yield Number(path, name, number, begin, end)


def _named(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """The names that a statement gives, and to what; several may be given at once."""
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    elif isinstance(node, ast.Assign):
        targets = node.targets
    else:
        return
    for target in targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = zip(target.elts, node.value.elts, strict=True)
            yield from ((one.id, value) for one, value in pairs if isinstance(one, ast.Name))
        elif isinstance(target, ast.Name) and node.value is not None:
            yield target.id, node.value


def _number(value: ast.expr) -> float | None:
    """What an expression without names other than those of `math` is, if it is a number."""
    names = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
    if names - {"math"} or not isinstance(value, ast.Constant | ast.UnaryOp | ast.BinOp | ast.Call):
        return None
    found = eval(compile(ast.Expression(value), "<number>", "eval"), {"math": math})  # the project's own source
    return found if isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found) else None


def judging() -> Iterator[Number]:
    """All numbers of the rooms that judge."""
    for room in ROOMS:
        folder = ROOT / ("rules" if room == "rules" else f"initaudit/{room}")
        paths = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
        for path in paths:
            yield from numbers_of(path.relative_to(ROOT))


def copy_to(folder: Path) -> Path:
    """A copy of the project in which one number after another is moved."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def noticed_by(copy: Path, number: Number, factor: float) -> str | None:
    """The first test that fails once a number was moved, "" where none does, None where it cannot be moved."""
    place = copy / number.path
    source = place.read_bytes()
    moved = number.moved(source, factor)
    if moved is None:
        return None
    place.write_bytes(moved)
    try:
        return first_failure(copy, (*ALWAYS, *ROOMS[number.room]))
    finally:
        place.write_bytes(source)


def first_failure(copy: Path, tests: tuple[str, ...]) -> str:
    """The first of some tests that fails in a copy, "" where none does."""
    files = [f"tests/{name}.py" for name in tests]
    options = ["-x", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider"]
    # A module whose length and second of writing are those of another one would be taken for it.
    variables = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "300"}
    command = [sys.executable, "-m", "pytest", *options, *files]
    try:
        done = subprocess.run(
            command, cwd=copy, env=variables, capture_output=True, text=True, timeout=TOO_LONG, check=False
        )
    except subprocess.TimeoutExpired:
        return "(they never end)"
    if done.returncode == 0:
        return ""
    said = [line.split(" ", 1)[1] for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return said[0] if said else f"(pytest ended with {done.returncode})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="a number by its name; may be repeated")
    parser.add_argument("--room", action="append", default=[], help="a room; may be repeated")
    parser.add_argument("--sample", type=int, default=0, help="so many numbers, chosen by chance, the same each time")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    numbers = [
        number
        for number in judging()
        if (not arguments.only or number.name in arguments.only)
        and (not arguments.room or number.room in arguments.room)
    ]
    if arguments.sample:
        numbers = random.Random(0).sample(numbers, min(arguments.sample, len(numbers)))
    with tempfile.TemporaryDirectory(prefix="initaudit-mutation-") as scratch:
        copies: SimpleQueue[Path] = SimpleQueue()
        for job in range(arguments.jobs):
            copies.put(copy_to(Path(scratch) / str(job)))

        def tried(number: Number) -> list[str]:
            copy = copies.get()
            try:
                outcomes = {how: noticed_by(copy, number, factor) for how, factor in FACTORS.items()}
            finally:
                copies.put(copy)
            for how, test in outcomes.items():
                print(f"{number} {how}: {'NOT NOTICED' if test == '' else test or 'cannot be'}", flush=True)
            return [how for how, test in outcomes.items() if test == ""]

        untouched = copies.get()
        broken = first_failure(
            untouched, tuple({test: None for number in numbers for test in (*ALWAYS, *ROOMS[number.room])})
        )
        copies.put(untouched)
        if broken:
            print(f"the tests fail as it is: {broken}")
            return 2
        with ThreadPoolExecutor(arguments.jobs) as pool:
            unnoticed = list(pool.map(tried, numbers))
    silent = [(number, how) for number, how in zip(numbers, unnoticed, strict=True) if how]
    print(f"\n{len(silent)} of {len(numbers)} numbers may be moved in one direction or both, and no test notices:")
    for number, how in silent:
        print(f"  {number} ({', '.join(how)})")
    return int(bool(silent))


if __name__ == "__main__":
    sys.exit(main())
