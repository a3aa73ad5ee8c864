"""What a project settles in its configuration, and what the command line says over it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from initaudit.settings import SettingsError, find_settings, read_settings
from tests.checkpoints import FIXTURES, ROOT, faulty, mlp, run, spawn, written
from tests.recipes import Draw, gpt2

ERROR = FIXTURES / "bad" / "IA101-zero-weight.safetensors"
WARNING = FIXTURES / "bad" / "IA401-nonzero-bias.safetensors"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A working directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def settle(folder, text):
    """Write a configuration."""
    return written(folder / "initaudit.toml", text.encode())


def codes(*arguments):
    """The rules of the findings."""
    return [row["rule"] for row in run("check", *arguments, "--output-format", "json").document["findings"]]


@pytest.mark.parametrize("name", ["initaudit.toml", "pyproject.toml"])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_nearest_file_upward_is_read(project, monkeypatch, name, depth):
    head = "[tool.initaudit]\n" if name == "pyproject.toml" else ""
    written(project / name, f'{head}ignore = ["IA101"]\n'.encode())
    settle(project.parent, 'ignore = ["IA4"]')
    folder = project.joinpath(*"abc"[:depth])
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    assert codes(ERROR) == []
    assert codes(WARNING) == ["IA401"]


def test_a_pyproject_that_says_nothing_to_us_is_passed_by(project):
    written(project / "pyproject.toml", b"[tool.ruff]\nline-length = 3\n")
    settle(project.parent, 'ignore = ["IA101"]')
    assert codes(ERROR) == []


def test_our_own_file_comes_before_a_pyproject(project):
    settle(project, 'ignore = ["IA101"]')
    written(project / "pyproject.toml", b"[tool.initaudit]\nnonsense = 1\n")
    assert codes(ERROR) == []


def test_what_lies_beside_a_checkpoint_is_never_read(project):
    model = project / "model"
    written(model / "model.safetensors", faulty())
    settle(model, 'ignore = ["ALL"]\nrules = ["."]')
    written(model / "pyproject.toml", b"not even TOML")
    assert codes(model) == ["IA101"]


def test_isolated_reads_none(project):
    settle(project, "nonsense = 1")
    assert codes(ERROR, "--isolated") == ["IA101"]


def test_a_file_can_be_named(project):
    settle(project, "nonsense = 1")
    file = written(project / "other.toml", b'ignore = ["IA101"]')
    assert codes(ERROR, "--config", file) == []
    assert run("check", ERROR, "--config", file, "--isolated").status == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('ingore = ["IA1"]', "there is no setting 'ingore': did you mean 'ignore'?"),
        ("fail_on = 'error'", "did you mean 'fail-on'?"),
        ("zzzz = 1", "there are select, extend-select"),
        ("fail-on = 'warn'", "fail-on: 'warn' is none of its values: did you mean 'warning'?"),
        ("fail-on = 3", "fail-on: 3 is none of its values"),
        ("select = 'IA1'", "select: takes a list of strings, not 'IA1'"),
        ("select = [1]", "takes a list of strings"),
        ("ignore = ['zero-wieght']", "did you mean 'zero-weight'?"),
        ("output-format = 'sarfi'", "did you mean 'sarif'?"),
        ("show-intended = 'yes'", "takes true or false"),
        ("rules = ['missing']", "is no folder of rules"),
        ("baseline = 'missing.json'", "no such baseline"),
        ("[severity]\nIA101 = 'fatal'", "severity: 'fatal' is none of its values"),
        ("[severity]\nzero-wieght = 'info'", "did you mean 'zero-weight'?"),
        ("severity = 'error'", "takes a table"),
        ("[report]\nsarfi = 'x'", "report: 'sarfi' is none of its values: did you mean 'sarif'?"),
        ("[report]\nsarif = 1", "report: takes a string"),
        ("[per-tensor-ignores]\n'a' = { reason = 'x' }", "'a' names no rules"),
        ("[per-tensor-ignores]\n'a' = { rules = ['IA101'], raeson = 'x' }", "did you mean 'reason'?"),
        ("[per-tensor-ignores]\n'a' = ['IA999']", "no rule is called 'IA999'"),
        ("[per-tensor-ignores]\n'a' = 'IA101'", "takes a table"),
        ("select = [", "is no TOML"),
        ("x = \"\\ud800\"", "is no TOML"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_status_2_in_one_line_with_a_way_out(project, text, words):
    settle(project, text)
    outcome = run("check", ERROR)
    assert (outcome.status, outcome.out) == (2, "")
    (complaint,) = outcome.complaints
    assert "initaudit.toml" in complaint or "missing" in complaint
    assert words in complaint


@pytest.mark.parametrize("command", ["check", "inspect", "fix", "rule"])
def test_every_command_reads_the_configuration(project, command):
    settle(project, "nonsense = 1")
    arguments = {"fix": [ERROR, "--dry-run"], "rule": []}.get(command, [ERROR])
    assert run(command, *arguments).status == 2
    assert run(command, *arguments, "--isolated").status in (0, 1)


@pytest.mark.parametrize(
    ("file", "words"),
    [("missing.toml", "no such file"), (".", "directory"), ("pyproject.toml", "has no table [tool.initaudit]")],
)
def test_a_named_file_that_is_none_is_status_2(project, file, words):
    written(project / "pyproject.toml", b"[tool.ruff]\n")
    outcome = run("check", ERROR, "--config", project / file)
    assert outcome.status == 2
    assert words in outcome.err


def test_a_file_that_is_no_utf8_is_status_2(project):
    written(project / "initaudit.toml", b"\xff\xfe")
    assert "is no TOML" in run("check", ERROR).err


@pytest.mark.parametrize(
    ("text", "arguments", "found"),
    [
        ('select = ["IA1"]', [], ["IA101"]),
        ('select = ["IA1"]', ["--select", "IA4"], ["IA401"]),
        ('select = ["IA1"]', ["--extend-select", "IA4"], ["IA101", "IA401"]),
        ('select = ["IA1"]\nextend-select = ["IA4"]', [], ["IA101", "IA401"]),
        ('select = ["IA1"]\nextend-select = ["IA4"]', ["--ignore", "IA1"], ["IA401"]),
        ('ignore = ["IA101"]', ["--extend-select", "IA101"], ["IA101", "IA401"]),
        ('ignore = ["IA101"]', ["--select", "ALL"], ["IA101", "IA401"]),
        ('ignore = ["IA101"]', ["--ignore", "IA4"], []),
        ('exclude = ["fc2.*"]', [], ["IA401"]),
        ('exclude = ["fc2.*"]', ["--exclude", "*.bias"], ["IA101"]),
    ],
)
def test_the_command_line_has_the_last_word(project, text, arguments, found):
    model = {**faulty(), "fc1.bias": np.random.default_rng(0).standard_normal(96).astype(np.float32)}
    path = written(project / "model.safetensors", model)
    settle(project, text)
    assert codes(path, *arguments) == found


def test_the_status_is_that_of_the_configuration_unless_told(project):
    settle(project, 'fail-on = "warning"')
    assert run("check", WARNING).status == 1
    assert run("check", WARNING, "--fail-on", "error").status == 0


def test_outputs_of_the_configuration_are_written_beside_it(project, monkeypatch):
    settle(project, 'output-format = "concise"\n[report]\nsarif = "out.sarif"\njson = "out.json"')
    below = project / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert "error[IA101]" in run("check", ERROR).out
    assert json.loads((project / "out.sarif").read_text())["version"] == "2.1.0"
    assert json.loads((project / "out.json").read_text())["findings"]
    (project / "out.json").unlink()
    assert "  error   IA101" in run("check", ERROR, "--output-format", "text", "--report", "junit=j.xml").out
    assert not (project / "out.json").exists()


def test_a_severity_is_imposed_on_all_findings_of_a_rule(project):
    settle(project, '[severity]\nIA4 = "info"\nnonzero-bias = "error"\nIA1 = "warning"')
    assert run("check", WARNING).status == 1
    assert run("check", ERROR).status == 0
    (row,) = run("check", ERROR, "--output-format", "json").document["findings"]
    assert row["severity"] == "warning"


def test_what_is_an_info_by_the_configuration_is_not_repaired(project):
    settle(project, '[severity]\nIA101 = "info"')
    assert "Nothing to redraw" in run("fix", ERROR, "--dry-run").out


@pytest.mark.parametrize("glob", ["fc2.weight", "fc2.*", "*.weight", "fc[23].weight"])
@pytest.mark.parametrize("selector", ["IA101", "IA1", "zero-weight", "ALL"])
def test_a_rule_is_not_heard_at_a_tensor_for_a_reason(project, glob, selector):
    settle(project, f'[per-tensor-ignores]\n"{glob}" = {{ rules = ["{selector}"], reason = "it is meant" }}')
    assert run("check", ERROR).status == 0
    document = run("check", ERROR, "--output-format", "json").document
    assert document["waived"] == [
        {
            "rule": "IA101",
            "checkpoint": str(ERROR),
            "tensor": "fc2.weight",
            "reason": "it is meant",
            "origin": f"initaudit.toml: per-tensor-ignores '{glob}'",
        }
    ]
    assert document["notes"] == []
    assert "it is meant" in run("check", ERROR, "--show-intended").out
    assert "1 waived (--show-intended)" in run("check", ERROR).out


def test_a_list_of_rules_alone_is_an_ignore_too(project):
    settle(project, '[per-tensor-ignores]\n"fc2.weight" = ["IA101"]')
    assert codes(ERROR) == []


def test_a_name_with_brackets_fits_as_it_is_written(project):
    path = written(project / "m.safetensors", {**mlp(), "a[0].weight": np.zeros((8, 8), np.float32)})
    settle(project, '[per-tensor-ignores]\n"a[0].weight" = ["IA101"]')
    assert codes(path, "--select", "IA101") == []


def test_fix_leaves_alone_what_is_waived(project):
    settle(project, '[per-tensor-ignores]\n"fc2.weight" = ["IA101"]')
    outcome = run("fix", ERROR, "--dry-run")
    assert (outcome.status, "Nothing to redraw" in outcome.out) == (0, True)


def test_fix_does_not_draw_as_siblings_whose_fault_is_waived(project):
    model = gpt2(Draw())
    model |= {name: model[name] * 100 for name in model if name.endswith("c_fc.weight")}
    model["transformer.h.2.mlp.c_fc.weight"] *= 0
    path = written(project / "model.safetensors", model)
    settle(project, '[per-tensor-ignores]\n"*.c_fc.weight" = ["IA202"]')
    outcome = run("fix", path, "--dry-run")
    assert "normal, std 0.02  as 6 of 6 weights of this model" in outcome.out


@pytest.mark.parametrize("glob", ["m.safetensors", "out/m.safetensors", "out/*", "*"])
def test_a_rule_is_not_heard_in_a_file(project, glob):
    path = written(project / "out" / "m.safetensors", faulty())
    written(project / "other.safetensors", faulty())
    settle(project, f'[per-file-ignores]\n"{glob}" = {{ rules = ["IA101"], reason = "a sketch" }}')
    assert codes(path) == []
    assert codes("other.safetensors") == ([] if glob == "*" else ["IA101"])


def test_of_copies_the_one_that_is_left_when_the_others_are_waived_is_no_finding(project):
    path = FIXTURES / "bad" / "IA105-equal-tensors.safetensors"
    (row,) = run("check", path, "--output-format", "json").document["findings"]
    _, copy = row["tensors"]
    settle(project, f'[per-tensor-ignores]\n"{copy}" = ["IA105"]')
    assert codes(path) == []


@pytest.mark.parametrize("form", ["text", "json", "sarif", "github", "markdown", "junit"])
def test_an_ignore_that_matched_nothing_is_said(project, form):
    settle(project, '[per-tensor-ignores]\n"gone.*" = ["IA101", "IA102"]\n"fc2.*" = ["IA101"]')
    out = run("check", ERROR, "--output-format", form).out
    assert len(re.findall(r"gone.{0,12}the ignore of IA10[12] matched nothing", out)) == 2
    assert "'fc2" not in re.sub(r"waived.*", "", out) or form == "json"


def test_an_ignore_of_a_rule_that_was_not_asked_or_in_what_was_not_read_is_not_blamed(project):
    settle(project, '[per-tensor-ignores]\n"gone.*" = ["IA101"]')
    assert "matched nothing" not in run("check", WARNING, "--select", "IA4").out
    assert "matched nothing" not in run("check", ERROR, "missing.safetensors").out
    assert "matched nothing" in run("check", WARNING).out


def test_a_trained_checkpoint_whose_finding_is_waived_is_still_not_judged_as_fresh(project):
    path = FIXTURES / "bad" / "IA601-trained-checkpoint.safetensors"
    settle(project, '[per-tensor-ignores]\n"*" = ["IA601"]')
    assert codes(path) == []


def test_inspect_leaves_out_what_the_configuration_excludes(project):
    settle(project, 'exclude = ["*.bias"]')
    rows = run("inspect", ERROR, "--output-format", "json").document["tensors"]
    assert {row["name"].split(".")[1] for row in rows if row["stats"]} == {"weight"}


def test_the_configuration_in_the_readme_is_one(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    settings = read_settings(settle(tmp_path, block[1]))
    assert settings.rules == (tmp_path / "tools" / "rules",)
    assert settings.baseline == tmp_path / "initaudit-baseline.json"
    assert [waiver.reason for waiver in settings.waivers] == ["the readout starts at zero (muP)"]
    for key in ("select", "extend-select", "output-format", "show-intended", "per-file-ignores"):
        assert key in block[1]


def test_there_are_no_settings_where_there_is_no_file(tmp_path):
    assert find_settings(tmp_path).source is None or not find_settings(tmp_path).source.is_relative_to(tmp_path)


def test_an_unreadable_file_is_an_error_and_not_passed_by(tmp_path):
    with pytest.raises(SettingsError, match="no such file"):
        read_settings(tmp_path / "initaudit.toml")


def test_a_link_to_the_working_directory_does_not_matter(project, tmp_path):
    settle(project, 'ignore = ["IA101"]')
    (tmp_path / "link").symlink_to(project)
    assert find_settings(tmp_path / "link").ignore == ("IA101",)


def test_the_configuration_is_read_by_the_command_itself(project):
    settle(project, 'fail-on = "never"')
    assert spawn("check", ERROR, "--config", Path("initaudit.toml").resolve()).status == 0
