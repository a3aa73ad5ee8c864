"""Several processes measure what one does, to the last bit, and fail as one does."""

import signal
from pathlib import Path

import pytest

from initaudit import workers
from initaudit.audit import audit
from initaudit.errors import CheckpointError
from initaudit.registry import load_rules
from initaudit.report.json import render
from initaudit.understanding import Reading, open_paths, read
from tests.checkpoints import indexed, run, spawn_python, written
from tests.recipes import Draw, gpt2, vit

RULES = tuple(load_rules().values())


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)  # the processes are to add up as this one does
    monkeypatch.setattr(workers, "WORTH_IT", 0)
    monkeypatch.setattr(workers, "BATCH_BYTES", 500_000)


def test_several_workers_say_what_one_says(tmp_path: Path) -> None:
    model = gpt2(Draw())
    model["transformer.h.2.mlp.c_fc.weight"][3] = model["transformer.h.2.mlp.c_fc.weight"][5]
    names = sorted(model)
    index = indexed(
        tmp_path,
        {"a.safetensors": {n: model[n] for n in names[:40]}, "b.safetensors": {n: model[n] for n in names[40:]}},
    )
    (checkpoint,), _ = open_paths([index])
    assert read(checkpoint, workers=3).statistics == read(checkpoint, workers=1).statistics
    assert render(audit([index], RULES, Reading(workers=3))) == render(audit([index], RULES))


def test_progress_is_told_of_every_byte(tmp_path: Path) -> None:
    (checkpoint,), _ = open_paths([written(tmp_path / "model.safetensors", vit(Draw()))])
    told: list[int] = []
    read(checkpoint, workers=2, progress=told.append)
    assert sum(told) == checkpoint.bytes
    assert len(told) > 2


def test_a_file_that_was_changed_is_an_error_whoever_reads_it(tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", vit(Draw()))
    (checkpoint,), _ = open_paths([path])
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="was changed while it was audited"):
        read(checkpoint, workers=2)


def test_the_number_of_workers_can_be_chosen(tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", vit(Draw()))
    assert run("check", path, "--workers", 1).out == run("check", path, "--workers", 2).out
    assert run("check", path, "--workers", 0).status == 2


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="helpers are forked where this can be seen alone")
@pytest.mark.parametrize(
    ("what", "status", "words"),
    [
        ("helper", 2, "a process that read it was killed, perhaps for want of memory"),
        ("interrupt", 130, ""),
        ("parent", -signal.SIGKILL, ""),
    ],
)
def test_whoever_is_killed_the_others_end_and_nobody_waits(tmp_path: Path, what: str, status: int, words: str) -> None:
    path = written(tmp_path / "model.safetensors", vit(Draw()))
    alone = {"OPENBLAS_NUM_THREADS": "1"}  # else numpy has threads, and helpers are started afresh
    arguments = ("-m", "tests.killed", what, "check", path, "--workers", 2)
    outcome = spawn_python(*arguments, variables=alone, timeout=15)
    assert outcome.status == status
    assert words in outcome.err
    assert len(outcome.err.split("\n")) <= 2
    assert "Traceback" not in outcome.err
    assert "No findings" not in outcome.out


@pytest.mark.parametrize("refusal", [OSError(11, "Resource temporarily unavailable"), NotImplementedError("no locks")])
def test_where_no_process_can_be_started_it_is_said(
    tmp_path: Path, refusal: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise refusal

    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", refuse)
    (checkpoint,), _ = open_paths([written(tmp_path / "model.safetensors", vit(Draw()))])
    with pytest.raises(CheckpointError, match=r"no process can be started .*--workers 1"):
        read(checkpoint, workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_was_replaced_once_it_was_read_is_an_error(tmp_path: Path, workers: int) -> None:
    model = vit(Draw())
    names = sorted(model)
    shards = {"a.safetensors": {n: model[n] for n in names[:9]}, "b.safetensors": {n: model[n] for n in names[9:]}}
    (checkpoint,), _ = open_paths([indexed(tmp_path, shards)])
    other = written(tmp_path / "other", shards["a.safetensors"])
    left = checkpoint.bytes

    def replace_at_the_end(count: int) -> None:
        nonlocal left
        left -= count
        if left == 0:
            other.replace(tmp_path / "a.safetensors")

    with pytest.raises(CheckpointError, match=r"a\.safetensors: was changed while it was audited"):
        read(checkpoint, workers=workers, progress=replace_at_the_end)
