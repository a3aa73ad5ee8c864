"""Findings that are known: written down once, not reported again, and said once they are gone."""

import json

import numpy as np
import pytest

from tests.checkpoints import FIXTURES, faulty, mlp, run, written


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a faulty checkpoint."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "out" / "model.safetensors", faulty())
    return tmp_path


def found(*arguments):
    """The findings as (rule, tensors)."""
    document = run("check", *arguments, "--output-format", "json").document
    return [(row["rule"], row["tensors"]) for row in document["findings"]]


def test_what_is_known_is_not_reported(folder):
    assert run("check", "out", "--write-baseline", "known.json").status == 0
    outcome = run("check", "out", "--baseline", "known.json")
    assert outcome.status == 0
    assert "1 waived (--show-intended)" in outcome.out
    assert "known in known.json" in run("check", "out", "--baseline", "known.json", "--show-intended").out


def test_a_baseline_outlives_a_new_seed(folder):
    run("check", "out", "--write-baseline", "known.json")
    written(folder / "out" / "model.safetensors", faulty(seed=7))
    assert found("out", "--baseline", "known.json") == []


def test_a_baseline_has_places_and_codes_and_no_numbers_sorted(folder):
    written(folder / "out" / "b.safetensors", {**faulty(), "fc1.weight": np.zeros((96, 64), np.float32)})
    run("check", "out", "--write-baseline", "known.json")
    document = json.loads((folder / "known.json").read_text())
    assert document["schema"] == "initaudit/baseline/1"
    rows = [(row["checkpoint"], row["tensor"], row["rule"]) for row in document["findings"]]
    assert rows == sorted(rows)
    assert ("out/model.safetensors", "fc2.weight", "IA101") in rows
    assert {key for row in document["findings"] for key in row} == {"checkpoint", "tensor", "rule"}


def test_a_new_finding_is_reported_beside_known_ones(folder):
    run("check", "out", "--write-baseline", "known.json")
    written(folder / "out" / "model.safetensors", {**faulty(), "fc3.weight": np.zeros((10, 64), np.float32)})
    assert found("out", "--baseline", "known.json") == [("IA101", ["fc3.weight"])]
    assert run("check", "out", "--baseline", "known.json").status == 1


def test_the_same_fault_in_another_file_is_new(folder):
    run("check", "out", "--write-baseline", "known.json")
    written(folder / "out" / "other.safetensors", faulty())
    assert found("out", "--baseline", "known.json") == [("IA101", ["fc2.weight"])]


def test_another_fault_of_the_same_tensor_is_new(folder):
    run("check", "out", "--write-baseline", "known.json")
    values = np.random.default_rng(99).standard_normal((64, 96)).astype(np.float32) / 10
    values[3, 4] = np.nan
    written(folder / "out" / "model.safetensors", {**faulty(), "fc2.weight": values})
    assert found("out", "--baseline", "known.json") == [("IA501", ["fc2.weight"])]


def test_paths_start_from_the_folder_of_the_baseline(folder, monkeypatch):
    (folder / "ci").mkdir()
    run("check", "out", "--write-baseline", "ci/known.json")
    assert json.loads((folder / "ci" / "known.json").read_text())["findings"][0]["checkpoint"].startswith("../out/")
    monkeypatch.chdir(folder / "out")
    assert found("model.safetensors", "--baseline", "../ci/known.json") == []
    assert found(folder / "out", "--baseline", folder / "ci" / "known.json") == []


def test_entries_that_are_no_longer_needed_are_said(folder):
    run("check", "out", "--write-baseline", "known.json")
    written(folder / "out" / "model.safetensors", mlp())
    outcome = run("check", "out", "--baseline", "known.json")
    assert outcome.status == 0
    assert "known.json: no longer needed: IA101 fc2.weight; --write-baseline renews it" in outcome.out
    run("check", "out", "--baseline", "known.json", "--write-baseline", "known.json")
    assert json.loads((folder / "known.json").read_text())["findings"] == []
    assert "no longer needed" not in run("check", "out", "--baseline", "known.json").out


@pytest.mark.parametrize(
    "arguments",
    [["other.safetensors"], ["out", "--select", "IA4"], ["out/missing.safetensors"]],
    ids=["another-file", "another-rule", "unread"],
)
def test_entries_that_were_not_looked_at_are_not_blamed(folder, arguments):
    run("check", "out", "--write-baseline", "known.json")
    written(folder / "out" / "model.safetensors", mlp())
    written(folder / "other.safetensors", mlp())
    assert "no longer needed" not in run("check", *arguments, "--baseline", "known.json").out


def test_a_baseline_that_is_renewed_keeps_what_is_still_known(folder):
    run("check", "out", "--write-baseline", "known.json")
    before = (folder / "known.json").read_text()
    assert run("check", "out", "--baseline", "known.json", "--write-baseline", "known.json").status == 0
    assert (folder / "known.json").read_text() == before


@pytest.mark.parametrize("arguments", [["other.safetensors"], ["out", "other.safetensors", "--select", "IA4"]])
def test_a_baseline_that_is_renewed_keeps_what_was_not_looked_at(folder, arguments):
    written(folder / "other.safetensors", mlp())
    run("check", "out", "--write-baseline", "known.json")
    before = json.loads((folder / "known.json").read_text())
    assert run("check", *arguments, "--baseline", "known.json", "--write-baseline", "known.json").status == 0
    assert json.loads((folder / "known.json").read_text()) == before


def test_the_baseline_of_the_configuration_can_be_written_first(folder, monkeypatch):
    written(folder / "initaudit.toml", b'baseline = "known.json"')
    monkeypatch.chdir(folder / "out")
    assert "no such baseline" in run("check", ".").err
    assert run("check", ".", "--write-baseline", "../known.json").status == 0
    assert run("check", ".").status == 0


def test_a_baseline_has_a_file_of_its_own(folder):
    outcome = run("check", "out", "--write-baseline", "known.json", "--report", "json=known.json")
    assert (outcome.status, "two outputs would go to" in outcome.err) == (2, True)


def test_all_members_of_a_finding_are_known(folder):
    written(folder / "m.safetensors", (FIXTURES / "bad" / "IA105-equal-tensors.safetensors").read_bytes())
    run("check", "m.safetensors", "--write-baseline", "known.json")
    assert len(json.loads((folder / "known.json").read_text())["findings"]) == 2
    assert found("m.safetensors", "--baseline", "known.json") == []


def test_every_fault_of_the_catalogue_can_be_known(folder):
    paths = sorted((FIXTURES / "bad").iterdir())
    run("check", *paths, "--write-baseline", "known.json")
    assert found(*paths, "--baseline", "known.json") == []
    assert "no longer needed" not in run("check", *paths, "--baseline", "known.json").out


def test_a_baseline_is_not_written_where_not_all_was_audited(folder):
    outcome = run("check", "out", "missing.safetensors", "--write-baseline", "known.json")
    assert outcome.status == 2
    assert "known.json: not written" in outcome.err
    assert not (folder / "known.json").exists()


def test_a_baseline_is_never_written_over_a_checkpoint(folder):
    before = (folder / "out" / "model.safetensors").read_bytes()
    outcome = run("check", "out", "--write-baseline", "out/model.safetensors")
    assert outcome.status == 2
    assert (folder / "out" / "model.safetensors").read_bytes() == before


def test_fix_repairs_what_is_known(folder):
    run("check", "out", "--write-baseline", "known.json")
    written(folder / "initaudit.toml", b'baseline = "known.json"')
    assert run("check", "out").status == 0
    assert "Would redraw 1 tensor" in run("fix", "out", "--dry-run").out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such baseline: --write-baseline"),
        (b"", "is no baseline"),
        (b"[]", "is no baseline"),
        (b"{}", "is no baseline"),
        (b"\xff", "is no baseline"),
        (b"[" * 100_000, "is no baseline"),
        (b'{"schema": "initaudit/report/1", "findings": []}', "its schema is 'initaudit/report/1'"),
        (b'{"schema": "initaudit/baseline/1", "findings": [1]}', "is no baseline"),
        (b'{"schema": "initaudit/baseline/1", "findings": [{"tensor": "a"}]}', "is no baseline"),
        (b'{"schema": "initaudit/baseline/1", "findings": [{"checkpoint": 1}]}', "is no baseline"),
    ],
    ids=["missing", "empty", "list", "no-schema", "no-utf8", "deep", "another", "no-row", "no-path", "odd-path"],
)
def test_what_is_no_baseline_is_status_2_in_one_line(folder, content, words):
    if content is not None:
        written(folder / "known.json", content)
    outcome = run("check", "out", "--baseline", "known.json")
    assert (outcome.status, outcome.out) == (2, "")
    (complaint,) = outcome.complaints
    assert words in complaint
