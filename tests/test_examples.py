"""The examples of docs/code.md: they run as they stand, and each would have ended a training that starts wrong."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints import ROOT, environment

PAGE = (ROOT / "docs" / "code.md").read_text(encoding="utf-8")
EXAMPLES = dict(
    zip(("torch", "lightning", "accelerate"), re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S), strict=True)
)


def ran(library: str, source: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    (folder / "example.py").write_text(source)
    return subprocess.run(
        [sys.executable, "example.py"], cwd=folder, env=environment(), capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("library", EXAMPLES)
def test_an_example_runs_as_it_stands(library: str, tmp_path: Path) -> None:
    done = ran(library, EXAMPLES[library], tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("library", EXAMPLES)
def test_an_example_ends_where_a_weight_starts_at_zero(library: str, tmp_path: Path) -> None:
    harm = "import torch.nn as _nn\n_nn.Linear.reset_parameters = lambda self: _nn.init.zeros_(self.weight)\n"
    done = ran(library, harm + EXAMPLES[library], tmp_path)
    assert done.returncode == 1
    assert "FindingsError" in done.stderr
    assert "IA101 zero-weight" in done.stderr
