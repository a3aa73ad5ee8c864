"""The plugin of pytest: a fixture that fails a test with the report, and costs nothing until it is used."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints import FIXTURES, environment

TESTS = """
import pytest, torch
from torch import nn

@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 10))

def test_good(assert_initialised, model):
    assert assert_initialised(model).findings == ()

def test_bad(assert_initialised, model):
    nn.init.zeros_(model[2].weight)
    assert_initialised(model)

def test_excluded(assert_initialised, model):
    nn.init.zeros_(model[2].weight)
    assert_initialised(model, exclude=["2.*"])
    assert_initialised(model, ignore=["zero-weight"])

def test_warning(assert_initialised, model):
    nn.init.normal_(model[0].weight, std=0.6)
    assert_initialised(model)
    with pytest.raises(pytest.fail.Exception, match="IA202"):
        assert_initialised(model, fail_on="warning")

def test_file(assert_initialised):
    assert_initialised(PATH)

def test_missing(assert_initialised):
    assert_initialised("nowhere.safetensors")
"""


def pytest_run(folder: Path, content: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A run of pytest on a file of tests, with nothing of this repository's settings."""
    (folder / "test_it.py").write_text(content, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=120,
        check=False,
    )


def test_the_fixture_fails_with_the_report_as_its_message(tmp_path: Path) -> None:
    path = FIXTURES / "bad" / "IA103-equal-units.safetensors"
    done = pytest_run(tmp_path, TESTS.replace("PATH", repr(str(path))), "-q")
    assert "3 failed, 3 passed" in done.stdout, done.stdout
    assert "error   IA101 zero-weight  2.weight" in done.stdout
    assert "IA103 equal-units  fc2.weight" in done.stdout
    assert "nowhere.safetensors: no such file" in done.stdout
    assert "During handling" not in done.stdout
    assert "initaudit/__init__.py" not in done.stdout  # no line of ours stands between the test and the report


def test_the_plugin_is_found_by_its_entry_point(tmp_path: Path) -> None:
    done = pytest_run(tmp_path, "def test_it(): pass\n", "--fixtures")
    assert "assert_initialised" in done.stdout


HEAVY = ("torch", "numpy", "rich", "click", "safetensors", "initaudit.audit", "initaudit.rule", "initaudit.findings")


def test_a_run_that_does_not_use_it_imports_nothing_for_it(tmp_path: Path) -> None:
    content = f"import sys\n\ndef test_it():\n    assert not set(sys.modules) & {set(HEAVY)!r}\n"
    done = pytest_run(tmp_path, content, "-q")
    assert "1 passed" in done.stdout, done.stdout


def test_the_fixture_is_here_as_well(assert_initialised: object) -> None:
    assert callable(assert_initialised)


@pytest.mark.parametrize("fail_on", ["error", "warning"])
def test_a_healthy_file_passes(assert_initialised, fail_on):  # type: ignore[no-untyped-def]
    report = assert_initialised(FIXTURES / "good" / "gpt2", fail_on=fail_on)
    assert report.ok("info")
