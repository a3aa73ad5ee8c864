"""A repair that is refused, killed or out of room leaves the original whole, and says why in one line."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from safetensors.numpy import load_file

from initaudit.repair import names, patching
from tests.checkpoints import (
    FIXTURES,
    PERMISSIONS_BIND,
    ROOT,
    environment,
    indexed,
    run,
    spawn_python,
    spawn_unprivileged,
    written,
)
from tests.recipes import Draw, Tensors

BROKEN = FIXTURES / "bad" / "IA101-zero-weight.safetensors"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A file with one fault, alone in its folder."""
    path = tmp_path / "here" / "model.safetensors"
    path.parent.mkdir()
    shutil.copy(BROKEN, path)
    return path


def refused(*arguments: object) -> str:
    """What is said on stderr where nothing could be done."""
    outcome = run("fix", *arguments)
    assert outcome.status == 2
    assert len(outcome.complaints) == 1
    return outcome.err


def test_it_must_be_said_where_to_write(broken: Path) -> None:
    assert "say where to write: --output OUT or --in-place" in refused(broken)
    assert "say where to write" in refused(broken, "--in-place", "--output", "x")
    assert "--backup goes with --in-place" in refused(broken, "--output", "x", "--backup")


def test_a_link_is_not_replaced_by_a_file(broken: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.safetensors"
    link.symlink_to(broken)
    assert f"is a link to {broken}" in refused(link, "--in-place")
    assert run("fix", link, "--output", tmp_path / "out.safetensors").status == 0
    assert link.is_symlink()
    assert broken.read_bytes() == BROKEN.read_bytes()


def test_a_file_of_several_names_is_not_rewritten(broken: Path, tmp_path: Path) -> None:
    (tmp_path / "other.safetensors").hardlink_to(broken)
    assert "has 2 names (hard links)" in refused(broken, "--in-place")
    assert broken.read_bytes() == BROKEN.read_bytes()


def test_a_shared_cache_is_not_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "models--a--b" / "snapshots" / "abc" / "model.safetensors"
    path.parent.mkdir(parents=True)
    shutil.copy(BROKEN, path)
    assert "lies in a cache" in refused(path, "--in-place")


def test_an_output_that_is_there_is_not_overwritten_without_force(broken: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.safetensors"
    output.write_text("precious", encoding="utf-8")
    assert "is there already: name another output, or --force" in refused(broken, "--output", output)
    assert output.read_text(encoding="utf-8") == "precious"
    assert run("fix", broken, "--output", output, "--force").status == 0
    assert load_file(output)["fc2.weight"].any()


def test_the_input_is_no_output(broken: Path) -> None:
    assert "is the input itself: use --in-place" in refused(broken, "--output", broken, "--force")
    assert "is the input itself" in refused(broken.parent, "--output", broken.parent, "--force")


def test_an_output_in_no_folder_is_one_line(broken: Path, tmp_path: Path) -> None:
    assert "no such folder to write to" in refused(broken, "--output", tmp_path / "none" / "out.safetensors")


def test_a_folder_may_be_written_over_a_folder_by_force(broken: Path, tmp_path: Path) -> None:
    (broken.parent / "config.json").write_text("{}", encoding="utf-8")
    output = tmp_path / "out"
    output.mkdir()
    (output / "notes.txt").write_text("kept", encoding="utf-8")
    assert "is there already" in refused(broken.parent, "--output", output)
    assert run("fix", broken.parent, "--output", output, "--force").status == 0
    assert sorted(path.name for path in output.iterdir()) == ["config.json", "model.safetensors", "notes.txt"]
    assert load_file(output / "model.safetensors")["fc2.weight"].any()


def test_a_pipe_or_device_is_not_replaced_even_by_force(broken: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is a device or pipe" in refused(broken, "--output", tmp_path / "pipe", "--force")
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_that_leads_nowhere_is_there_already(broken: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "is there already" in refused(broken, "--output", tmp_path / "link")


def test_a_folder_around_the_input_is_no_output(broken: Path, tmp_path: Path) -> None:
    assert "holds the input" in refused(broken.parent, "--output", tmp_path, "--force")
    assert [path.name for path in tmp_path.iterdir()] == [broken.parent.name]


def test_a_folder_inside_the_input_is_an_output_that_does_not_hold_itself(broken: Path) -> None:
    for more in ((), ("--force",)):
        assert run("fix", broken.parent, "--output", broken.parent / "fixed", *more).status == 0
    assert sorted(path.name for path in broken.parent.rglob("*")) == ["fixed", "model.safetensors", "model.safetensors"]


def test_what_is_no_file_stays_behind(broken: Path, tmp_path: Path) -> None:
    os.mkfifo(broken.parent / "pipe")
    (broken.parent / "gone.json").symlink_to("nowhere")
    assert run("fix", broken.parent, "--output", tmp_path / "out").status == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.safetensors"]


def test_a_repair_goes_to_another_file_system(broken: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == broken.stat().st_dev:
        pytest.skip("there is no other file system")
    with tempfile.TemporaryDirectory(dir=memory) as other:
        assert run("fix", broken, "--output", Path(other) / "out.safetensors").status == 0
        assert load_file(Path(other) / "out.safetensors")["fc2.weight"].any()


def test_a_sparse_file_is_copied_byte_for_byte(tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", large())
    content = path.read_bytes()
    blocks = [content[at : at + 4096] for at in range(0, len(content), 4096)]
    with path.open("wb") as file:
        for block in blocks:
            file.write(block) if any(block) else file.seek(len(block), os.SEEK_CUR)
        file.truncate(len(content))
    assert path.stat().st_blocks * 512 < len(content)
    assert run("fix", path, "--output", tmp_path / "out.safetensors").status == 0
    before, after = load_file(path), load_file(tmp_path / "out.safetensors")
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {"layers.4.fc.weight"}


def test_a_backup_keeps_the_original_and_is_never_overwritten(broken: Path) -> None:
    backup = broken.with_name("model.safetensors.orig")
    assert run("fix", broken, "--in-place", "--backup").status == 0
    assert backup.read_bytes() == BROKEN.read_bytes()
    shutil.copy(BROKEN, broken)
    assert "its backup model.safetensors.orig is there already" in refused(broken, "--in-place", "--backup")


def test_a_run_that_was_killed_at_its_backup_is_completed_by_the_next(broken: Path) -> None:
    backup = broken.with_name("model.safetensors.orig")
    backup.hardlink_to(broken)  # the backup is made, the name not taken
    assert run("fix", broken, "--in-place", "--backup").status == 0
    assert backup.read_bytes() == BROKEN.read_bytes()
    assert load_file(broken)["fc2.weight"].any()


def test_a_backup_is_a_copy_where_there_are_no_hard_links(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*names: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert run("fix", broken, "--in-place", "--backup").status == 0
    assert broken.with_name("model.safetensors.orig").read_bytes() == BROKEN.read_bytes()
    assert len(list(broken.parent.iterdir())) == 2


@pytest.mark.parametrize("more", [(), ("--backup",)], ids=["plain", "backup"])
def test_shards_of_which_half_were_renamed_are_completed_by_the_next_run(tmp_path: Path, more: tuple[str, ...]) -> None:
    model = large()
    model["layers.7.fc.weight"][:] = 0
    names = sorted(model)
    parts = {"1.safetensors": {n: model[n] for n in names[:5]}, "parts/2.safetensors": {n: model[n] for n in names[5:]}}
    paths = [indexed(tmp_path / folder, parts).parent for folder in ("whole", "killed")]
    assert run("fix", paths[0], "--in-place", *more).status == 0
    code = (
        "import os, sys; from initaudit.repair import takeover; swap, names = takeover.swap, []\n"
        "def killed(*names_of_one):\n    names.append(names_of_one)\n"
        "    return os.kill(os.getpid(), 9) if len(names) > 1 else swap(*names_of_one)\n"
        "takeover.swap = killed; from initaudit.cli import main; sys.exit(main())"
    )
    killed = spawn_python("-c", code, "fix", paths[1], "--in-place", *more)
    assert killed.status == -signal.SIGKILL
    outcome = run("fix", paths[1], "--in-place", *more)
    assert outcome.status == 0
    assert "finished what a killed run had left between two renames: 1.safetensors" in " ".join(outcome.out.split())
    whole, completed = ({p.relative_to(path): p.read_bytes() for p in path.rglob("*.*")} for path in paths)
    assert completed == whole


def test_where_a_killed_run_fills_the_disk_it_is_said(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = broken.with_name(f".model{names.SUFFIX}")
    monkeypatch.setattr(patching.shutil, "disk_usage", lambda folder: mock.Mock(free=10))
    assert "has 10 bytes free, a copy needs" in refused(broken, "--in-place")
    left.touch()
    assert f"remove {left.name}, left by a run that was killed" in refused(broken, "--in-place")


def test_mode_and_metadata_stay(broken: Path) -> None:
    broken.chmod(0o640)
    header = broken.read_bytes()[:1000]
    assert run("fix", broken, "--in-place").status == 0
    assert broken.stat().st_mode & 0o777 == 0o640
    assert broken.read_bytes()[:1000] == header


def test_a_file_that_changes_meanwhile_is_left_alone(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle = patching.settle

    def meddle(copy: patching.Copy) -> None:
        broken.touch()
        settle(copy)

    monkeypatch.setattr("initaudit.repair.fixing.settle", meddle)
    assert "was changed since it was audited" in refused(broken, "--in-place")
    assert broken.read_bytes() == BROKEN.read_bytes()
    assert [path.name for path in broken.parent.iterdir()] == ["model.safetensors"]


def test_a_copy_that_differs_where_nothing_was_drawn_is_thrown_away(
    broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = patching.settle

    def corrupt(copy: patching.Copy) -> None:
        with copy.path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x55")
        settle(copy)

    monkeypatch.setattr("initaudit.repair.fixing.settle", corrupt)
    assert "its copy differs where nothing was drawn" in refused(broken, "--in-place")
    assert broken.read_bytes() == BROKEN.read_bytes()


def test_a_broken_file_is_not_half_repaired(broken: Path) -> None:
    damaged = broken.with_name("damaged.safetensors")
    damaged.write_bytes(BROKEN.read_bytes()[:-10])
    outcome = run("fix", broken.parent, "--in-place")
    assert outcome.status == 2
    assert "Nothing was written" in outcome.out
    assert broken.read_bytes() == BROKEN.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_a_full_disk_costs_nothing(broken: Path) -> None:
    before = broken.read_bytes()
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000));"
        "from initaudit.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "fix", str(broken), "--in-place"],
        capture_output=True, text=True, cwd=ROOT, env=environment(), check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "cannot be" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert broken.read_bytes() == before
    assert [path.name for path in broken.parent.iterdir()] == ["model.safetensors"]


@pytest.mark.skipif(not PERMISSIONS_BIND, reason="root may write anywhere")
@pytest.mark.parametrize("arguments", [("--in-place",), ("--in-place", "--backup"), ("--output", "out")], ids=" ".join)
def test_a_folder_that_cannot_be_written_to_is_one_line(broken: Path, arguments: tuple[str, ...]) -> None:
    broken.parent.chmod(0o500)
    to = [broken.parent / word if word == "out" else word for word in arguments]
    outcome = spawn_unprivileged("fix", broken, *to)
    broken.parent.chmod(0o700)
    assert outcome.status == 2
    assert outcome.err == f"initaudit: {broken.parent}: cannot be written to: permission denied\n"
    assert [path.read_bytes() for path in broken.parent.iterdir()] == [BROKEN.read_bytes()]


@pytest.mark.skipif(not PERMISSIONS_BIND, reason="root may read anything")
def test_what_cannot_come_along_is_named_before_anything_is_written(broken: Path, tmp_path: Path) -> None:
    closed = written(broken.parent / "tokenizer.json", b"{}")
    closed.chmod(0)
    outcome = spawn_unprivileged("fix", broken.parent, "--output", tmp_path / "out")
    assert outcome.status == 2
    assert outcome.err == f"initaudit: {closed}: permission denied\n"
    assert [path.name for path in tmp_path.iterdir()] == [broken.parent.name]


def large(width: int = 2048) -> Tensors:
    """Ten layers, of eighty megabytes where they are wide, with one fault, so that a kill meets every stage."""
    draw = Draw()
    model = {f"layers.{layer}.fc.weight": draw.normal(width // 2, width, std=width**-0.5) for layer in range(10)}
    model["layers.4.fc.weight"] = np.zeros((width // 2, width), np.float32)
    return model


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each run is a fork")
def test_a_kill_at_any_moment_leaves_the_original_or_the_whole_result(tmp_path: Path) -> None:
    path, whole = written(tmp_path / "model.safetensors", large(width=512)), tmp_path / "whole.safetensors"
    assert run("fix", path, "--output", whole).status == 0
    outcome = spawn_python("-m", "tests.kills", path, whole, timeout=120)
    assert (outcome.status, outcome.err) == (0, "")
    kills = json.loads(outcome.out)
    assert {kill["file"] for kill in kills} <= {"original", "whole"}
    at_random = [kill for kill in kills if kill["when"] == "random"]
    at_a_copy = [kill for kill in kills if kill["when"] == "copy"]
    assert len(at_random) == 20
    assert sum(kill["met"] for kill in at_random) >= 10
    assert len(at_a_copy) >= 3
    assert any(kill["left"] for kill in at_a_copy)
    left = names.leftovers(tmp_path)
    assert len(left) == sum(kill["left"] for kill in kills)
    again = run("fix", path, "--in-place")
    assert again.status == 0
    assert all(child.name in again.out for child in left)
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGTERM")
def test_a_polite_kill_leaves_nothing_behind(tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", large())
    broken = path.read_bytes()
    command = [sys.executable, "-m", "initaudit", "fix", str(path), "--in-place"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        if names.leftovers(tmp_path):
            process.terminate()
            break
        time.sleep(0.005)
    process.wait()
    assert names.leftovers(tmp_path) == []
    assert process.returncode == 0 or (process.returncode, path.read_bytes()) == (143, broken)
