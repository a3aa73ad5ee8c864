"""A repair never loses: to a kill between two renames, to another program that saves, to a second repair."""

import errno
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pytest

import initaudit
from initaudit.checkpoint import interrupted
from initaudit.repair import locks, names, patching, takeover
from tests.checkpoints import ROOT, indexed, run, spawn_python
from tests.recipes import Draw

WAYS = ["one", "shards", "backup", "file", "folder", "force"]
RUNS = [*((way, "swap") for way in WAYS), *((way, "links") for way in ("one", "shards", "backup", "file", "force"))]
"""The last are on a system that has links alone, as NFS."""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="each run is a fork")


def faulty_shards(folder: Path, width: int = 64) -> Path:
    """A checkpoint of three shards, each with one weight of one value; only their owner and his group may read them."""
    draw, shards = Draw(), {}
    for number in range(3):
        names = [f"layers.{number}.{part}.weight" for part in ("a", "b", "c")]
        shards[f"model-{number}.safetensors"] = {name: draw.normal(width, width, std=width**-0.5) for name in names}
        shards[f"model-{number}.safetensors"][names[number]][:] = 0.5
    indexed(folder, shards)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o640)
    return folder


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """What became of each kill, by the way in which it was repaired and what the system can do."""
    found = {}
    for way, system in RUNS:
        start = tmp_path_factory.mktemp(way) / "start"
        faulty_shards(start / "in")
        outcome = spawn_python("-m", "tests.renames", start, way, system, timeout=200)
        assert (outcome.status, outcome.err) == (0, "")
        found[way, system] = json.loads(outcome.out)
    return found


Kills = dict[tuple[str, str], list[dict[str, Any]]]


@needs_fork
@pytest.mark.parametrize(("way", "system"), RUNS)
def test_a_kill_before_any_change_of_a_name_loses_nothing(way: str, system: str, kills: Kills) -> None:
    *killed, last = kills[way, system]
    assert last == {"number": len(killed) + 1, "status": 0, "killed": False}  # access was never wider, says the status
    assert len(killed) >= 4
    assert [kill for kill in killed if kill["odd"] or kill["lost"]] == []


@needs_fork
@pytest.mark.parametrize(("way", "system"), RUNS)
def test_the_run_after_a_kill_completes(way: str, system: str, kills: Kills) -> None:
    for kill in kills[way, system][:-1]:
        assert kill["whole"], kill
        there_already = way in ("file", "folder") and kill["again"] == 2
        assert kill["again"] == 0 or there_already


@needs_fork
def test_kills_met_the_repair_at_forty_moments(kills: Kills) -> None:
    assert sum(kill["killed"] for (_, system), found in kills.items() for kill in found if system == "swap") >= 40


@needs_fork
@pytest.mark.parametrize(("way", "system"), [run for run in RUNS if run[0] in ("shards", "backup", "force")])
def test_a_kill_between_two_renames_is_seen_by_check(way: str, system: str, kills: Kills) -> None:
    half = [kill for kill in kills[way, system] if kill.get("half")]
    assert len(half) >= 2
    for kill in half:
        for status, complaint in kill["checked"]:
            assert status == 2
            assert len(complaint.splitlines()) == 1
            assert "a repair was interrupted between two renames" in complaint
            assert "--in-place` finishes it" in complaint


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return faulty_shards(tmp_path / "model")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def before_the_second_renaming(monkeypatch: pytest.MonkeyPatch, meddle: Callable[[], None]) -> None:
    """Have something happen between two renames of a repair."""
    swap, calls = takeover.swap, []

    def swapped(copy: Path, target: Path) -> bool:
        calls.append(target)
        if len(calls) == 2:
            meddle()
        return swap(copy, target)

    monkeypatch.setattr(takeover, "swap", swapped)


@pytest.mark.parametrize("system", ["swap", "links"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_shard_that_is_saved_between_two_renames_is_left_and_named(
    number: int, system: str, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if system == "links":
        monkeypatch.setattr(names, "_system_call", lambda: None)
    before, saved = content(shards), tmp_path / "saved"
    saved.write_bytes(b"what was saved meanwhile")
    before_the_second_renaming(monkeypatch, lambda: saved.replace(shards / f"model-{number}.safetensors") and None)
    outcome = run("fix", shards, "--in-place")
    assert outcome.status == 2
    after = content(shards)
    assert after.pop(f"model-{number}.safetensors") == b"what was saved meanwhile"
    before.pop(f"model-{number}.safetensors")
    assert f"model-{number}.safetensors: was saved by another program meanwhile" in outcome.err
    assert after == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_ends_a_repair_between_two_renames_undoes_the_first(
    error: type[BaseException], shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(shards)

    def fail() -> None:
        raise error

    before_the_second_renaming(monkeypatch, fail)
    assert run("fix", shards, "--in-place", "--backup").status == (2 if error is OSError else 130)
    assert content(shards) == before


def test_an_output_that_appears_meanwhile_is_not_written_over(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source, output in ((shards / "model-0.safetensors", tmp_path / "out.st"), (shards, tmp_path / "out")):
        for system in ("swap", "links"):
            for force in ((), ("--force",)):
                if system == "links":
                    monkeypatch.setattr(names, "_system_call", lambda: None)
                settle = patching.settle

                def settled(copy: patching.Copy, output: Path = output, settle: Any = settle) -> Any:
                    output.write_bytes(b"precious")
                    return settle(copy)

                with monkeypatch.context() as patch:
                    patch.setattr("initaudit.repair.fixing.settle", settled)
                    outcome = run("fix", source, "--output", output, *force)
                assert (outcome.status, output.read_bytes()) == (2, b"precious")
                assert f"{output}: appeared meanwhile" in outcome.err
                assert sorted(path.name for path in tmp_path.iterdir()) == sorted({output.name, "model"})
                output.unlink()


def test_what_was_saved_in_an_output_meanwhile_is_kept_even_by_force(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    shutil.copytree(shards, output)
    before = content(output)
    before_the_second_renaming(monkeypatch, lambda: (output / "model-1.safetensors").write_bytes(b"precious") and None)
    outcome = run("fix", shards, "--output", output, "--force")
    assert outcome.status == 2
    assert content(output) == {**before, "model-1.safetensors": b"precious"}


# Journals.


def half_done(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a folder as a kill between two renames does, the first of three shards being new."""

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        before_the_second_renaming(patch, kill)
        patch.setattr(takeover, "_undo", lambda taking: False)
        with pytest.raises(Killed):
            initaudit.fix(folder, in_place=True)


@pytest.mark.parametrize("name", ["", "model-1.safetensors", "model.safetensors.index.json"])
@pytest.mark.parametrize("command", ["check", "inspect", "fix --dry-run"])
def test_nothing_in_a_half_done_folder_is_audited(
    command: str, name: str, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_done(shards, monkeypatch)
    outcome = run(*command.split(), shards / name)
    assert (outcome.status, len(outcome.complaints)) == (2, 1)
    assert f"`initaudit fix {shards} --in-place` finishes it" in outcome.err


def test_the_next_repair_finishes_and_says_so(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half_done(shards, monkeypatch)
    outcome = run("fix", shards, "--in-place")
    assert outcome.status == 0
    assert "finished what a killed run had left between two renames" in outcome.out
    assert sorted(content(shards)) == [*(f"model-{n}.safetensors" for n in range(3)), "model.safetensors.index.json"]
    assert run("check", shards, "--fail-on", "warning").status == 0


def test_a_half_done_folder_is_finished_where_it_was_moved_to(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half_done(shards, monkeypatch)
    moved = shards.with_name("moved")
    shutil.copytree(shards, moved)
    assert run("fix", moved, "--in-place").status == 0
    assert run("check", moved, "--fail-on", "warning").status == 0


def test_a_half_done_folder_whose_copies_are_gone_is_undone(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(shards)
    half_done(shards, monkeypatch)
    steps = interrupted.read_steps(shards)
    (shards / steps[2].copy).unlink()
    assert "undone what a killed run had left" in str(takeover.complete(shards))
    assert content(shards) == before


def test_a_file_that_was_saved_since_is_neither_finished_nor_undone(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_done(shards, monkeypatch)
    (shards / "model-2.safetensors").write_bytes(b"new")
    outcome = run("fix", shards, "--in-place")
    assert (outcome.status, len(outcome.complaints)) == (2, 1)
    assert "can be neither finished nor undone: remove" in outcome.err
    assert (shards / "model-2.safetensors").read_bytes() == b"new"


def test_shards_in_subfolders_of_a_half_done_folder_are_not_audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = Draw()
    tensors = {f"layers.{n}.fc.weight": draw.normal(64, 64, std=0.125) for n in range(8)}
    tensors["layers.1.fc.weight"][:] = 0
    tensors["layers.5.fc.weight"][0, 0] = np.nan
    items = list(tensors.items())
    parts = {"parts/1.safetensors": dict(items[:4]), "parts/2.safetensors": dict(items[4:])}
    folder = indexed(tmp_path / "model", parts).parent
    half_done(folder, monkeypatch)
    for path in (folder, folder / "parts", folder / "parts" / "2.safetensors"):
        outcome = run("check", path)
        assert outcome.status == 2
        assert f"`initaudit fix {folder} --in-place` finishes it" in outcome.err
    assert run("fix", folder, "--in-place").status == 0
    assert run("check", folder / "parts" / "2.safetensors", "--fail-on", "warning").status == 0


def journal(name: str, copy: str) -> str:
    """A journal that would rename what a stranger laid ready."""
    step = {"name": name, "copy": copy, "old": [6, 1], "new": [4, 1]}
    return json.dumps({"schema": interrupted.SCHEMA, "files": [step]})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps({"schema": interrupted.SCHEMA, "files": [{"name": "a", "copy": "x.initaudit-tmp"}]}),
        journal("../outside/victim", ".x.initaudit-tmp"),
        journal("/etc/passwd", ".x.initaudit-tmp"),
        journal("out/victim", ".x.initaudit-tmp"),
        journal("victim", "out/.x.initaudit-tmp"),
        journal("model-0.safetensors", "model-1.safetensors"),
        "[" * 100_000,
    ],
    ids=["empty", "list", "object", "fields", "upward", "absolute", "link", "linked copy", "copy", "deep"],
)
def test_a_journal_of_a_stranger_renames_nothing(text: str, shards: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"victim")
    (shards / "out").symlink_to(outside)
    (shards / ".x.initaudit-tmp").write_bytes(b"evil")
    for path in (outside / "victim", shards / ".x.initaudit-tmp"):
        os.utime(path, ns=(1, 1))
    (shards / interrupted.JOURNAL).write_text(text, encoding="utf-8")
    before = content(shards)
    outcome = run("fix", shards, "--in-place")
    assert (outcome.status, len(outcome.complaints)) == (2, 1)
    assert "remove" in outcome.err
    assert content(shards) == before
    assert (outside / "victim").read_bytes() == b"victim"
    assert run("check", shards).status == 2


# Locks.


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that holds a folder's lock until its input ends."""
    code = (
        "import sys; from pathlib import Path; from initaudit.repair.locks import Locks\n"
        "with Locks() as locks:\n"
        "    locks.take(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_repair_is_told_who_is_at_work(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0.5)
    monkeypatch.setattr(locks, "SAY_SECONDS", 0.1)
    before = content(shards)
    with holder(shards) as process:
        outcome = run("fix", shards, "--in-place")
        assert process.stdin is not None
        process.stdin.close()
    assert outcome.status == 2
    assert "waits for" in outcome.complaints[0]
    assert "is being repaired by" in outcome.complaints[1]
    if sys.platform == "linux":
        assert f"process {process.pid} on {platform.node()}" in outcome.complaints[1]
    assert content(shards) == before


def test_a_second_repair_waits_for_the_first(shards: Path) -> None:
    with holder(shards) as process:
        assert process.stdin is not None
        Timer(0.5, process.stdin.close).start()
        assert run("fix", shards, "--in-place").status == 0


@pytest.mark.parametrize("system", ["folders", "files"])
def test_a_lock_ends_with_its_process(system: str, shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if system == "files":
        monkeypatch.setattr(locks, "_lock_folder", lambda folder, stack: False)
        said = {"host": platform.node(), "process": 2**22 + 1, "started": None}
        (shards / locks.LOCK_FILE).write_text(json.dumps(said), encoding="utf-8")
    else:
        process = holder(shards)
        process.kill()
        process.communicate()
    assert run("fix", shards, "--in-place").status == 0
    assert not (shards / locks.LOCK_FILE).exists()


@pytest.mark.parametrize("there", ["same host", "other host", "unreadable"])
def test_a_lock_file_of_one_at_work_is_respected_and_named(
    there: str, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0.3)
    host = platform.node() if there == "same host" else "elsewhere"
    said = json.dumps({"host": host, "process": os.getppid(), "started": None})
    (shards / locks.LOCK_FILE).write_text("" if there == "unreadable" else said, encoding="utf-8")
    if there == "unreadable":
        later = time.time() + 1000
        os.utime(shards / locks.LOCK_FILE, (later, later))
    for system in ("folders", "files"):
        if system == "files":
            monkeypatch.setattr(locks, "_lock_folder", lambda folder, stack: False)
        outcome = run("fix", shards, "--in-place")
        assert outcome.status == 2
        who = "another process" if there == "unreadable" else f"process {os.getppid()} on {host}"
        assert f"is being repaired by {who}" in outcome.err
        assert (shards / locks.LOCK_FILE).exists()


def test_where_nothing_can_be_locked_it_goes_on_and_says_so(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path, stack: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(locks, "_lock_folder", lambda folder, stack: False)
    monkeypatch.setattr(locks, "_make_lock_file", refuse)
    outcome = run("fix", shards, "--in-place")
    assert outcome.status == 0
    assert "could not be locked (read-only file system)" in " ".join(outcome.out.split())


# Signals and full disks.


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT", "SIGTERM"])
def test_a_signal_that_ends_a_repair_leaves_nothing_behind(name: str, shards: Path) -> None:
    before = content(shards)
    code = (  # whoever runs the tests may ignore the signal, and a process inherits that
        f"import os, signal, sys; signal.signal(signal.{name}, signal.SIG_DFL)\n"
        "from initaudit.repair import fixing; settle = fixing.settle\n"
        f"def signalled(copy):\n    os.kill(os.getpid(), signal.{name}); return settle(copy)\n"
        "fixing.settle = signalled; from initaudit.cli import main; sys.exit(main())"
    )
    outcome = spawn_python("-c", code, "fix", shards, "--in-place")
    assert outcome.status == 128 + getattr(signal, name)
    assert content(shards) == before


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
def test_a_hangup_that_is_ignored_stays_ignored(shards: Path) -> None:
    code = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from initaudit.repair import fixing; settle = fixing.settle\n"
        "def signalled(copy):\n    os.kill(os.getpid(), signal.SIGHUP); return settle(copy)\n"
        "fixing.settle = signalled; from initaudit.cli import main; sys.exit(main())"
    )
    assert spawn_python("-c", code, "fix", shards, "--in-place").status == 0


@pytest.mark.parametrize("moment", ["copy_bytes", "_write_journal", "swap", "keep_attributes"])
def test_a_full_disk_at_any_moment_loses_nothing_and_the_next_run_completes(
    moment: str, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(shards)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    room = patching if hasattr(patching, moment) else takeover
    with monkeypatch.context() as patch:
        patch.setattr(room, moment, full)
        outcome = run("fix", shards, "--in-place", "--backup")
    assert (outcome.status, len(outcome.complaints)) == (2, 1)
    assert "no space left on device" in outcome.err
    assert content(shards) == before
    assert run("fix", shards, "--in-place", "--backup").status == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no disk that is always full")
def test_a_report_that_finds_the_disk_full_says_so_and_the_repair_stands(shards: Path) -> None:
    outcome = run("fix", shards, "--in-place", "--output-file", "/dev/full")
    assert (outcome.status, len(outcome.complaints)) == (2, 1)
    assert run("check", shards, "--fail-on", "warning").status == 0
