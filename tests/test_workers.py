"""Several processes measure what one does, to the last bit, and fail as one does."""

from pathlib import Path

import pytest

from initaudit import workers
from initaudit.audit import audit
from initaudit.errors import CheckpointError
from initaudit.registry import load_rules
from initaudit.understanding import open_paths, read
from tests.checkpoints import indexed, run, written
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
    assert audit([index], RULES, workers=3).to_json() == audit([index], RULES).to_json()


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
