"""The house: which module may know which, and what importing costs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import initaudit

ROOT = Path(__file__).parents[1]

# What each room may import from us, besides itself. The way of the data runs down this list.
ALLOWED = {
    "errors": set(),
    "version": set(),
    "laws": {"errors"},
    "draws": {"errors", "laws"},
    "checkpoint": {"errors"},
    "statistics": {"checkpoint"},
    "names": set(),
    "layers": {"checkpoint", "names", "statistics"},
    "significance": set(),
    "schemes": {"checkpoint", "layers", "names", "significance", "statistics"},
    "faults": set(),
    "reach": set(),
    "model": {"faults", "layers", "names", "reach", "schemes", "statistics"},
    "advice": {"model"},
    "copies": {"model", "names"},
    "places": {"model"},
    "zeros": {"model", "significance"},
    "signatures": {"model", "significance"},
    "scale": {"advice", "faults", "layers", "model", "names"},
    "paths": {"model", "names", "scale"},
    "recipes": {"advice", "faults", "laws", "model", "names", "scale", "schemes", "signatures", "significance"},
    "architectures": set(),
    "signal": {"architectures", "layers", "model", "names"},
    "gradients": {"architectures", "layers", "model", "names"},
    "biases": {"gradients", "model", "schemes", "significance"},
    "examples": set(),
    "remedies": {
        "advice",
        "architectures",
        "errors",
        "laws",
        "layers",
        "model",
        "recipes",
        "scale",
        "schemes",
        "statistics",
    },
    "locations": set(),
    "waivers": {"locations"},
    "rule": {"errors", "examples", "faults", "model", "waivers"},
    "rules": set(),
    "suggestions": set(),
    "causes": {"errors", "faults", "rule", "suggestions"},
    "registry": {"causes", "errors", "locations", "rule", "suggestions"},
    "drafts": {"errors", "rule"},
    "conventions": {"biases", "model", "names", "paths", "scale", "schemes", "significance"},
    "recipe": {"model", "recipes"},
    "findings": {"faults", "model", "remedies", "rule", "waivers"},
    "groups": {"findings", "model", "remedies", "rule"},
    "outcome": {"checkpoint", "findings", "groups", "model", "rule"},
    "baseline": {"errors", "locations", "outcome"},
    "depth": {"layers", "model", "names", "recipes", "remedies", "scale", "signal", "significance", "statistics"},
    "equality": {"checkpoint", "layers", "statistics"},
    "workers": {"checkpoint", "errors", "statistics"},
    "understanding": {
        "checkpoint",
        "equality",
        "errors",
        "findings",
        "layers",
        "model",
        "names",
        "reach",
        "schemes",
        "statistics",
        "workers",
    },
    "audit": {
        "causes",
        "checkpoint",
        "conventions",
        "errors",
        "faults",
        "findings",
        "model",
        "outcome",
        "recipe",
        "remedies",
        "rule",
        "signal",
        "understanding",
    },
    "modules": {
        "audit",
        "checkpoint",
        "errors",
        "findings",
        "layers",
        "names",
        "outcome",
        "reach",
        "rule",
        "statistics",
        "understanding",
    },
    "builders": {"checkpoint", "errors", "findings", "modules", "suggestions", "understanding"},
    "repair": {
        "audit",
        "checkpoint",
        "draws",
        "errors",
        "findings",
        "gradients",
        "laws",
        "layers",
        "model",
        "outcome",
        "remedies",
        "rule",
        "statistics",
        "understanding",
        "workers",
    },
    "report": {
        "checkpoint",
        "conventions",
        "depth",
        "draws",
        "errors",
        "faults",
        "findings",
        "groups",
        "laws",
        "layers",
        "locations",
        "model",
        "names",
        "outcome",
        "reach",
        "recipe",
        "remedies",
        "repair",
        "rule",
        "schemes",
        "signal",
        "statistics",
        "understanding",
        "version",
    },
    "": {
        "audit",
        "errors",
        "findings",
        "modules",
        "registry",
        "remedies",
        "repair",
        "report",
        "rule",
        "understanding",
        "version",
    },
    "trust": set(),
    "settings": {"builders", "errors", "locations", "report", "suggestions", "trust", "waivers"},
    "policy": {"baseline", "errors", "outcome", "registry", "rule", "settings", "waivers"},
    "cli": {
        "audit",
        "baseline",
        "builders",
        "checkpoint",
        "drafts",
        "errors",
        "findings",
        "locations",
        "policy",
        "registry",
        "remedies",
        "repair",
        "report",
        "rule",
        "settings",
        "suggestions",
        "understanding",
        "workers",
        "",
        "version",
    },
    "testing": {"audit", "examples", "modules", "outcome", "reach", "registry", "rule"},
    "__main__": {"cli"},
    "pytest_plugin": {"report", ""},
}
RULE_VOCABULARY = {
    "advice",
    "architectures",
    "biases",
    "copies",
    "examples",
    "gradients",
    "model",
    "names",
    "places",
    "recipes",
    "reach",
    "rule",
    "scale",
    "schemes",
    "signal",
    "significance",
    "zeros",
}


def imported(path: Path) -> Iterator[str]:
    """The rooms of ours that a module imports, anywhere in it; "" is the package itself."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        if isinstance(node, ast.ImportFrom) and node.level:
            yield room(path)
        for name in names:
            if name.split(".")[0] == "initaudit":
                yield [*name.split("."), ""][1]


def room(path: Path) -> str:
    first = path.relative_to(ROOT / "initaudit").parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


MODULES = sorted((ROOT / "initaudit").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_run_one_way(path: Path) -> None:
    own = room(path)
    assert set(imported(path)) - {own} <= ALLOWED[own]


def test_the_way_of_the_data_runs_down_the_list() -> None:
    rank = {name: number for number, name in enumerate(ALLOWED)}
    upward = {(own, other) for own, others in ALLOWED.items() for other in others if rank[other] >= rank[own]}
    assert upward == set()


@pytest.mark.parametrize("path", sorted((ROOT / "rules").glob("*.py")), ids=lambda path: path.stem)
def test_a_rule_imports_only_the_public_vocabulary(path: Path) -> None:
    assert set(imported(path)) <= RULE_VOCABULARY


def test_the_folder_of_rules_holds_nothing_but_rules() -> None:
    assert not [path for path in (ROOT / "rules").iterdir() if path.suffix != ".py" and path.name != "__pycache__"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_outgrows_its_room(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_what_the_package_exports_is_there_and_sorted() -> None:
    assert initaudit.__all__ == sorted(initaudit.__all__, key=lambda name: (name.islower(), name))
    assert all(getattr(initaudit, name) is not None for name in initaudit.__all__)


def test_importing_the_package_imports_neither_numpy_nor_torch() -> None:
    code = "import initaudit, sys; print(sorted({'numpy', 'torch', 'rich', 'click'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"
