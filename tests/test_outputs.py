"""The outputs of one run, and where they go."""

import errno
import json
import os
import shutil
import threading

import pytest

from initaudit.registry import load_rules
from initaudit.report.formats import FORMATS
from tests.checkpoints import FIXTURES, faulty, indexed, mlp, run, spawn, written

ERROR = FIXTURES / "bad" / "IA101-zero-weight.safetensors"
MACHINES = [form for form in FORMATS if form not in ("text", "concise")]


def test_one_run_writes_several_outputs_and_reads_once(tmp_path, monkeypatch):
    import initaudit.audit

    calls = []
    audit = initaudit.audit.judge_all
    monkeypatch.setattr("initaudit.audit.judge_all", lambda *a, **k: calls.append(a) or audit(*a, **k))
    outcome = run("check", ERROR, *(f"--report={form}={tmp_path / form}" for form in FORMATS))
    assert outcome.status == 1
    assert len(calls) == 1
    assert outcome.out == (tmp_path / "text").read_text(encoding="utf-8")
    for form in FORMATS:
        alone = run("check", ERROR, "--output-format", form).out
        assert (tmp_path / form).read_text(encoding="utf-8") == alone


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_names_what_was_found(form):
    out = run("check", ERROR, "--output-format", form).out
    assert "IA101" in out
    assert "fc2.weight" in out


def test_a_report_for_stdout_takes_the_place_of_the_text():
    assert run("check", ERROR, "--report", "json=-").document["findings"]
    assert run("check", ERROR, "--output-file", "-", "--output-format", "json").document["findings"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--report", "sarfi=x"], "did you mean 'sarif'?"),
        (["--report", "zzz=x"], "there are text, concise"),
        (["--report", "sarif"], "write sarif=FILE"),
        (["--report", "markdown="], "an empty variable?"),
        (["--report", "json=-", "--report", "sarif=-"], "two outputs would go to stdout"),
        (["--report", "json=-", "--output-format", "text"], "two outputs would go to stdout"),
        (["--report", "json=x", "--report", "sarif=x"], "two outputs would go to"),
        (["--report", "json=x", "--output-file", "./x"], "two outputs would go to"),
        (["--report", "sarif=new/a.sarif"], "new/a.sarif: cannot be written: there is no folder new"),
        (["--output-file", "new/x"], "new/x: cannot be written: there is no folder new"),
        (["--write-baseline", "new/b.json"], "new/b.json: cannot be written: there is no folder new"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_output_that_cannot_be_meant_is_bad_usage(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    outcome = run("check", ERROR, *arguments)
    assert (outcome.status, outcome.out) == (2, "")
    (complaint,) = outcome.complaints
    assert words in complaint
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_stops_no_other_output(tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    outcome = run("check", ERROR, f"--report=sarif={taken}", f"--report=json={tmp_path / 'out.json'}")
    assert outcome.status == 2
    (complaint,) = outcome.complaints
    assert str(taken) in complaint
    assert json.loads((tmp_path / "out.json").read_text())["findings"]
    assert "IA101" in outcome.out


@pytest.mark.parametrize("how", ["file", "link", "folder"])
@pytest.mark.parametrize("command", ["check", "inspect"])
def test_a_report_is_never_written_over_what_was_read(tmp_path, command, how):
    path = written(tmp_path / "model" / "model.safetensors", ERROR.read_bytes())
    target = path
    if how == "link":
        target = tmp_path / "link"
        target.symlink_to(path)
    outcome = run(command, path.parent if how == "folder" else path, "--report", f"json={target}")
    assert outcome.status == 2
    assert "not written over it" in outcome.err
    assert path.read_bytes() == ERROR.read_bytes()


@pytest.fixture
def sharded(tmp_path):
    """A folder with an index, two shards, both names of a configuration, settings and a baseline."""
    tensors = list(faulty().items())
    indexed(tmp_path, {"a.safetensors": dict(tensors[:3]), "b.safetensors": dict(tensors[3:])})
    written(tmp_path / "config.json", b"{}")
    written(tmp_path / "adapter_config.json", b'{"peft_type": "LORA"}')
    written(tmp_path / "initaudit.toml", b'fail-on = "never"\n')
    run("check", tmp_path, "--isolated", "--write-baseline", tmp_path / "known.json")
    return tmp_path


INPUTS = ["a.safetensors", "b.safetensors", "config.json", "adapter_config.json", "initaudit.toml"]


@pytest.mark.parametrize("name", [*INPUTS, "model.safetensors.index.json"])
@pytest.mark.parametrize("command", [["check"], ["inspect"], ["fix", "--dry-run"]], ids=lambda words: words[0])
def test_a_report_is_never_written_over_a_shard_a_configuration_or_the_settings(sharded, monkeypatch, command, name):
    monkeypatch.chdir(sharded)
    before = {path: path.read_bytes() for path in sharded.iterdir()}
    outcome = run(*command, "model.safetensors.index.json", "--report", f"json={name}")
    assert outcome.status == 2
    assert "not written over it" in outcome.err
    assert {path: path.read_bytes() for path in sharded.iterdir()} == before


@pytest.mark.parametrize("command", [["check"], ["inspect"], ["fix", "--dry-run"]], ids=lambda words: words[0])
def test_a_report_is_never_written_over_weights_even_where_their_index_cannot_be_read(sharded, command):
    written(sharded / "a.safetensors", b"torn")
    before = (sharded / "b.safetensors").read_bytes()
    outcome = run(*command, sharded, "--report", f"json={sharded / 'b.safetensors'}")
    assert outcome.status == 2
    assert "holds weights; the report is not written over it" in outcome.err
    assert (sharded / "b.safetensors").read_bytes() == before


def test_a_dry_run_writes_no_report_over_a_healthy_checkpoint(tmp_path):
    path = written(tmp_path / "model.safetensors", mlp())
    before = path.read_bytes()
    assert run("fix", tmp_path, "--dry-run", "--report", f"json={path}").status == 2
    assert path.read_bytes() == before


def test_a_report_is_never_written_over_the_baseline_which_alone_may_renew_itself(sharded):
    known = sharded / "known.json"
    before = known.read_bytes()
    assert run("check", sharded, "--baseline", known, "--output-file", known).status == 2
    assert known.read_bytes() == before
    assert run("check", sharded, "--baseline", known, "--write-baseline", known).status == 0
    assert known.read_bytes() == before


def test_a_report_is_never_written_over_the_configuration_of_a_model_or_over_what_was_just_repaired(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(FIXTURES / "bad" / "IA408-doubled-norm-scale", model)
    before = (model / "config.json").read_bytes()
    assert run("check", model, "--report", f"json={model / 'config.json'}").status == 2
    assert (model / "config.json").read_bytes() == before
    fixed = tmp_path / "fixed.safetensors"
    outcome = run("fix", ERROR, "--output", fixed, "--report", f"json={fixed}")
    assert outcome.status == 2
    assert run("check", fixed).status == 0


def test_a_step_summary_grows(tmp_path):
    summary = written(tmp_path / "summary", b"before\n")
    variables = {"GITHUB_STEP_SUMMARY": str(summary)}
    for _ in range(2):
        run("check", ERROR, "--report", f"markdown={summary}", variables=variables)
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("before\n## initaudit")
    assert text.count("## initaudit") == 2


def test_another_file_is_written_anew(tmp_path):
    file = written(tmp_path / "report", b"before\n")
    run("check", ERROR, "--report", f"markdown={file}")
    assert not file.read_text(encoding="utf-8").startswith("before")


def test_inspect_and_fix_take_several_outputs_too(tmp_path):
    inspected = run("inspect", ERROR, "--report", f"json={tmp_path / 'inspect.json'}")
    assert "fc2.weight" in inspected.out
    assert json.loads((tmp_path / "inspect.json").read_text())["tensors"]
    fixed = run("fix", ERROR, "--dry-run", "--report", f"json={tmp_path / 'fix.json'}")
    assert "fc2.weight" in fixed.out
    assert json.loads((tmp_path / "fix.json").read_text())["repairs"]


@pytest.mark.skipif(os.name != "posix", reason="there is no such file here")
def test_a_report_can_go_into_a_pipe():
    assert spawn("check", ERROR, "--report", "json=/dev/stdout", "--output-file", "/dev/null").document["findings"]


def test_rules_are_listed_for_programs_and_for_documents():
    document = run("rule", "--output-format", "json").document
    assert document["schema"] == "initaudit/rules/1"
    assert [row["code"] for row in document["rules"]] == list(load_rules())
    assert all(row["page"].startswith(f"# {row['code']} {row['name']}") for row in document["rules"])
    assert len(run("rule", "IA4", "--output-format", "json").document["rules"]) == 9
    assert run("rule", "--output-format", "markdown").out.startswith("| code | name |")


def test_statistics_count_the_findings_of_each_rule():
    lines = run("check", FIXTURES / "bad", "--statistics").out.splitlines()
    rows = [line.split() for line in lines if " IA" in line and not line.startswith("Found")]
    assert ["1", "1", "IA101", "zero-weight"] in rows
    counted = run("check", FIXTURES / "bad", "--output-format", "json").document["statistics"]
    assert [[str(row["findings"]), str(row["tensors"]), row["rule"], row["name"]] for row in counted] == rows


def test_a_report_replaces_a_link_and_not_what_it_leads_to(tmp_path):
    precious = written(tmp_path / "precious", b"mine")
    link = tmp_path / "report.json"
    link.symlink_to(precious)
    assert run("check", FIXTURES / "bad" / "IA101-zero-weight.safetensors", "--report", f"json={link}").status == 1
    assert precious.read_bytes() == b"mine"
    assert not link.is_symlink()
    assert json.loads(link.read_text(encoding="utf-8"))["summary"]["error"] == 1


def test_a_report_that_cannot_be_written_leaves_the_old_one_and_nothing_beside_it(tmp_path, monkeypatch):
    old = written(tmp_path / "report.json", b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    outcome = run("check", FIXTURES / "good" / "mlp-lecun-normal.safetensors", "--report", f"json={old}")
    assert (outcome.status, old.read_bytes()) == (2, b"old")
    assert "no space left on device" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_report_keeps_the_mode_of_the_old_one(mode, tmp_path):
    old = written(tmp_path / "report.json", b"old")
    old.chmod(mode)
    run("check", FIXTURES / "good" / "mlp-lecun-normal.safetensors", "--report", f"json={old}")
    assert old.stat().st_mode & 0o777 == mode
    assert old.read_bytes() != b"old"


def test_a_report_goes_into_a_pipe_that_somebody_reads(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    read = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    run("check", FIXTURES / "good" / "mlp-lecun-normal.safetensors", "--report", f"json={tmp_path / 'pipe'}")
    reader.join(timeout=20)
    assert json.loads(read[0])["summary"]["error"] == 0
    assert (tmp_path / "pipe").is_fifo()
