"""Streams that are closed or full change no exit status but that of a report which nobody gets."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints import ROOT, environment, faulty, mlp, serialised, written

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is always full")


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    return {
        "good": written(tmp_path / "good.safetensors", mlp()),
        "bad": written(tmp_path / "bad.safetensors", faulty()),
        "cut": written(tmp_path / "cut.safetensors", serialised(mlp())[:-1]),
    }


BUFFERED = {"PYTHONUNBUFFERED": ""}  # else what cannot be written would be noticed at once, not at the end


def redirected(redirection: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A run of the command by a shell that redirects its streams."""
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "initaudit", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment(BUFFERED), check=False, timeout=30
    )


@pytest.mark.parametrize("arguments", [("check", "bad"), ("inspect", "good"), ("rule",), ("--help",)], ids=" ".join)
@pytest.mark.parametrize(
    ("redirection", "words"), [(">/dev/full", "no space left on device"), (">&-", "bad file descriptor")]
)
def test_a_report_that_is_lost_is_said_in_one_line(
    paths: dict[str, Path], arguments: tuple[str, ...], redirection: str, words: str
) -> None:
    done = redirected(redirection, *(paths.get(argument, argument) for argument in arguments))
    assert done.returncode == 2
    assert done.stderr == f"initaudit: the report cannot be written to stdout: {words}\n"


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "<&-", "<&- 2>&-"])
@pytest.mark.parametrize(("file", "status"), [("good", 0), ("bad", 1), ("cut", 2)])
def test_the_status_is_what_was_found_whatever_becomes_of_complaints(
    paths: dict[str, Path], file: str, status: int, redirection: str
) -> None:
    done = redirected(redirection, "check", paths[file])
    assert done.returncode == status
    assert done.stdout


def test_a_report_goes_into_a_file_where_stdout_is_closed(paths: dict[str, Path], tmp_path: Path) -> None:
    done = redirected(">&- 2>&-", "check", paths["bad"], "--output-file", tmp_path / "report")
    assert done.returncode == 1
    assert "zero-weight" in (tmp_path / "report").read_text(encoding="utf-8")


def test_what_is_written_to_closed_streams_goes_into_no_checkpoint(paths: dict[str, Path], tmp_path: Path) -> None:
    assert redirected("", "fix", paths["bad"], "--output", tmp_path / "one.safetensors").returncode == 0
    done = redirected("<&- >&- 2>&-", "fix", paths["bad"], "--output", tmp_path / "two.safetensors")
    assert done.returncode == 2  # its summary was lost
    assert (tmp_path / "two.safetensors").read_bytes() == (tmp_path / "one.safetensors").read_bytes()


def test_any_locale_will_do(tmp_path: Path) -> None:
    path = written(tmp_path / "ü→漢.safetensors", faulty() | {"ü→漢.weight": faulty()["fc2.weight"]})
    plain = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "initaudit", "check", path, tmp_path / "nö"],
        capture_output=True, cwd=ROOT, env=environment(plain), check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"IA101" in done.stdout
    assert done.stderr.endswith(b": no such file or directory\n")
    assert b"Traceback" not in done.stderr
