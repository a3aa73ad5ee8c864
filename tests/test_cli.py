import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import initaudit
from initaudit.registry import load_rules
from initaudit.report.formats import FORMATS
from initaudit.rule import RULES, Rule, Severity
from tests.checkpoints import (
    FIXTURES,
    ROOT,
    described,
    environment,
    faulty,
    file_of,
    indexed,
    mlp,
    run,
    spawn_python,
    written,
)

GOOD = FIXTURES / "good" / "mlp-lecun-normal.safetensors"
ERROR = FIXTURES / "bad" / "IA101-zero-weight.safetensors"
WARNING = FIXTURES / "bad" / "IA401-nonzero-bias.safetensors"
INFO = FIXTURES / "bad" / "IA402-positive-bias.safetensors"


def codes(outcome):
    """The rules of the findings of a JSON report."""
    return [finding["rule"] for finding in outcome.document["findings"]]


@pytest.fixture
def crashing_rule(monkeypatch):
    """A rule IA999 that raises at the tensor named fc2.weight."""

    def check(tensor):
        """A rule for this test."""
        if tensor.name == "fc2.weight":
            raise LookupError("the cat\nis away")
        return iter(())

    load_rules()
    monkeypatch.setitem(RULES, "IA999", Rule("IA999", "away-cat", Severity.ERROR, (), check, ("tensor",)))


@pytest.mark.parametrize("name", sorted(path.name for path in (FIXTURES / "good").iterdir()))
def test_a_good_checkpoint_passes(name):
    outcome = run("check", FIXTURES / "good" / name, "--fail-on", "info")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1].startswith("No findings in 1 checkpoint (")


@pytest.mark.parametrize("path", sorted((FIXTURES / "bad").iterdir()), ids=lambda path: path.stem)
def test_a_bad_checkpoint_is_found_by_the_rule_it_is_named_after(path):
    outcome = run("check", path, "--fail-on", "info", "--output-format", "json")
    assert (outcome.status, outcome.err) == (1, "")
    assert set(codes(outcome)) == {path.stem[:5]}


@pytest.mark.parametrize(
    ("path", "fail_on", "status"),
    [
        (ERROR, None, 1),
        (ERROR, "error", 1),
        (ERROR, "warning", 1),
        (ERROR, "info", 1),
        (ERROR, "never", 0),
        (WARNING, None, 0),
        (WARNING, "error", 0),
        (WARNING, "warning", 1),
        (WARNING, "info", 1),
        (WARNING, "never", 0),
        (INFO, None, 0),
        (INFO, "warning", 0),
        (INFO, "info", 1),
        (INFO, "never", 0),
        (GOOD, "info", 0),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else str(value),
)
def test_the_status_says_whether_findings_reach_fail_on(path, fail_on, status):
    assert run("check", path, *(["--fail-on", fail_on] if fail_on else [])).status == status


@pytest.mark.parametrize("fail_on", ["error", "never"])
def test_what_was_not_audited_outweighs_findings_and_fail_on(tmp_path, fail_on):
    assert run("check", ERROR, tmp_path / "missing.safetensors", "--fail-on", fail_on).status == 2


def test_what_could_be_audited_is_reported_beside_what_could_not(tmp_path):
    missing = tmp_path / "missing.safetensors"
    outcome = run("check", ERROR, missing, GOOD)
    assert "IA101 zero-weight" in outcome.out
    assert "in 2 checkpoints" in outcome.out
    assert "1 failure" in outcome.out
    (complaint,) = outcome.complaints
    assert str(missing) in complaint


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        pytest.param(["check"], "PATH", id="no-path"),
        pytest.param(["inspect"], "PATH", id="inspect-no-path"),
        pytest.param(["check", "--colour", GOOD], "--colour", id="unknown-option"),
        pytest.param(["audit", GOOD], "audit", id="unknown-command"),
        pytest.param(["check", GOOD, "--fail-on", "fatal"], "fatal", id="unknown-severity"),
        pytest.param(["check", GOOD, "--output-format", "yaml"], "yaml", id="unknown-format"),
        pytest.param(["inspect", GOOD, "--output-format", "yaml"], "yaml", id="inspect-unknown-format"),
        pytest.param(["check", GOOD, "--output-file"], "--output-file", id="no-value"),
        pytest.param(["--nonsense"], "--nonsense", id="unknown-option-of-all"),
    ],
)
def test_bad_usage_is_status_2(arguments, word):
    outcome = run(*arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    assert word in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", GOOD, "--select", "zero-wieght"],
        ["check", GOOD, "--ignore", "zero-wieght"],
        ["check", GOOD, "--extend-select", "zero-wieght"],
        ["check", GOOD, "--select", "IA101", "--extend-select", "zero-wieght"],
        ["rule", "zero-wieght"],
    ],
    ids=lambda arguments: " ".join(map(str, [arguments[0], *arguments[2:]])),
)
def test_an_unknown_rule_is_status_2_with_a_suggestion(arguments):
    outcome = run(*arguments)
    assert outcome.status == 2
    assert outcome.out == ""
    (complaint,) = outcome.complaints
    assert "'zero-wieght'" in complaint
    assert "did you mean 'zero-weight'?" in complaint


@pytest.mark.parametrize("selector", ["IA9", "IA1011", "zero", "", "IA101 IA102", "*"], ids=repr)
def test_a_selector_that_fits_no_rule_is_status_2(selector):
    outcome = run("rule", selector)
    assert outcome.status == 2
    assert repr(selector) in outcome.err


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], ["IA101", "IA401"]),
        (["--select", "IA1"], ["IA101"]),
        (["--select", "IA101"], ["IA101"]),
        (["--select", "zero-weight"], ["IA101"]),
        (["--select", "IA1,IA4"], ["IA101", "IA401"]),
        (["--select", "IA1", "--select", "IA4"], ["IA101", "IA401"]),
        (["--select", "ALL"], ["IA101", "IA401"]),
        (["--select", "IA2"], []),
        (["--select", "IA2", "--extend-select", "IA401"], ["IA401"]),
        (["--extend-select", "IA401"], ["IA101", "IA401"]),
        (["--ignore", "IA1"], ["IA401"]),
        (["--ignore", "zero-weight"], ["IA401"]),
        (["--ignore", "IA1,nonzero-bias"], []),
        (["--select", "IA101", "--ignore", "IA1"], ["IA101"]),
        (["--select", "IA1", "--ignore", "IA101"], []),
        (["--select", "IA1", "--ignore", "ALL"], ["IA101"]),
        (["--select", "ALL", "--ignore", "IA4"], ["IA101"]),
        (["--ignore", "IA1", "--extend-select", "IA101"], ["IA101", "IA401"]),
    ],
    ids=lambda value: " ".join(value) or "none",
)
def test_the_more_exact_selector_wins_and_ignore_among_equals(tmp_path, arguments, found):
    model = faulty()
    model["fc1.bias"] = np.random.default_rng(0).standard_normal(96).astype(np.float32)
    path = written(tmp_path / "model.safetensors", model)
    assert codes(run("check", path, "--output-format", "json", *arguments)) == found


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ignore", "ALL"],
        ["--select", "IA101", "--ignore", "IA101"],
        ["--select", "IA101", "--ignore", "zero-weight"],
        ["--select", "IA1", "--ignore", "IA1"],
    ],
    ids=" ".join,
)
def test_a_gate_that_no_rule_is_left_to_keep_has_not_passed(tmp_path, arguments):
    outcome = run("check", written(tmp_path / "model.safetensors", faulty()), *arguments)
    assert outcome.status == 2
    assert "no rule is left" in outcome.err


@pytest.mark.parametrize(
    ("globs", "judged", "status"),
    [
        ([], 6, 1),
        (["fc2.weight"], 5, 0),
        (["fc2.*"], 4, 0),
        (["*.bias"], 3, 1),
        (["*.bias", "fc2.weight"], 2, 0),
        (["FC2.weight"], 6, 1),
        (["fc2"], 6, 1),
        (["fc[23].weight"], 4, 0),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, list) else str(value),
)
def test_an_excluded_tensor_is_not_judged(tmp_path, globs, judged, status):
    path = written(tmp_path / "model.safetensors", faulty())
    excluded = [argument for glob in globs for argument in ("--exclude", glob)]
    outcome = run("check", path, "--output-format", "json", *excluded)
    assert outcome.status == status
    assert outcome.document["checkpoints"][0]["judged"] == judged
    assert [row["reason"] for row in outcome.document["not_judged"]] == ["excluded"] * (6 - judged)


def test_where_all_is_excluded_nothing_is_passed():
    assert run("check", GOOD, "--exclude", "*").status == 2


def test_quiet_leaves_nothing_of_a_good_checkpoint():
    outcome = run("check", "--quiet", GOOD)
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")


def test_quiet_leaves_findings_and_no_verdict():
    outcome = run("check", "-q", ERROR)
    assert outcome.status == 1
    assert "IA101 zero-weight" in outcome.out
    assert "Found" not in outcome.out


def test_quiet_hides_no_failure(tmp_path):
    assert len(run("check", "-q", tmp_path / "missing.safetensors").complaints) == 1


def test_verbose_names_what_was_not_judged(tmp_path):
    path = written(tmp_path / "model.safetensors", {**mlp(), "step": np.ones((), np.int64)})
    assert "; 1 not judged (--verbose)" in run("check", path).out
    assert "not judged  step: I64" in run("check", path, "-v").out


def _residual_block(seed):
    generator = np.random.default_rng(seed)
    return {
        "mlp.fc1.weight": (generator.standard_normal((64, 16)) / 4).astype(np.float32),
        "mlp.fc2.weight": np.zeros((16, 64), np.float32),
    }


def test_what_is_intended_is_listed_when_asked_for(tmp_path):
    blocks = {f"blocks.{at}.{name}": values for at in range(2) for name, values in _residual_block(at).items()}
    path = written(tmp_path / "model.safetensors", blocks)
    brief, full = run("check", path), run("check", path, "--show-intended")
    assert (brief.status, full.status) == (0, 0)
    assert "; 2 intended (--show-intended)" in brief.out
    lines = [line for line in full.out.splitlines() if "intended  IA101" in line]
    assert [line.split()[2].rstrip(":") for line in lines] == ["blocks.0.mlp.fc2.weight", "blocks.1.mlp.fc2.weight"]
    rows = run("check", path, "--output-format", "json").document["intended"]
    assert all(row["convention"] for row in rows)
    assert [row["convention"] in line for row, line in zip(rows, lines, strict=True)] == [True, True]


@pytest.mark.parametrize("command", ["check", "inspect"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_an_output_file_gets_what_stdout_would(tmp_path, command, form):
    file = tmp_path / "report"
    shown = run(command, ERROR, "--output-format", form)
    saved = run(command, ERROR, "--output-format", form, "--output-file", file)
    assert saved.out == ""
    assert saved.status == shown.status
    assert file.read_text(encoding="utf-8") == shown.out


@pytest.mark.parametrize("command", ["check", "inspect"])
@pytest.mark.parametrize("where", ["a/missing/folder/report", "."])
def test_an_output_file_that_cannot_be_written_is_status_2(tmp_path, command, where):
    outcome = run(command, GOOD, "--output-file", tmp_path / where)
    assert outcome.status == 2
    (complaint,) = outcome.complaints
    assert str(tmp_path) in complaint


@pytest.mark.parametrize(
    "arguments",
    [["check", ERROR], ["check", GOOD], ["inspect", GOOD], ["rule"], ["rule", "IA101"]],
    ids=lambda arguments: " ".join(Path(str(argument)).stem for argument in arguments),
)
def test_there_are_no_escape_codes_where_there_is_no_terminal(arguments):
    outcome = run(*arguments)
    assert outcome.out
    assert "\x1b" not in outcome.out + outcome.err


def test_force_color_colours_and_no_color_option_wins():
    assert "\x1b[" in run("check", ERROR, variables={"FORCE_COLOR": "1"}).out
    assert "\x1b" not in run("check", ERROR, "--no-color", variables={"FORCE_COLOR": "1"}).out


@pytest.mark.parametrize(
    ("variables", "arguments", "coloured"),
    [
        ({}, [], True),
        ({"NO_COLOR": "1"}, [], False),
        ({"NO_COLOR": ""}, [], True),
        ({"TERM": "dumb"}, [], False),
        ({}, ["--no-color"], False),
    ],
    ids=["terminal", "no-color", "no-color-empty", "dumb-terminal", "option"],
)
def test_a_terminal_is_coloured_unless_told_otherwise(variables, arguments, coloured):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "initaudit", "check", ERROR, *arguments],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment({"TERM": "xterm-256color", **variables}),
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # how Linux says that the other end has closed
            pass
        os.close(ours)
    assert process.returncode == 1
    assert b"IA101" in shown
    assert (b"\x1b[" in shown) == coloured


def test_a_report_that_stdout_cannot_encode_is_escaped(tmp_path):
    path = written(tmp_path / "model.safetensors", {**mlp(), "größe.weight": np.zeros((4, 4), np.float32)})
    outcome = spawn_python(
        "-m", "initaudit", "check", path, "--fail-on", "info", variables={"PYTHONIOENCODING": "ascii"}
    )
    assert (outcome.status, outcome.err) == (1, "")
    assert "gr\\xf6\\xdfe.weight" in outcome.out


def test_the_rules_are_listed_in_the_order_of_their_codes():
    lines = run("rule").out.splitlines()[1:]
    rules = load_rules()
    assert [line.split()[:3] for line in lines if line] == [
        [rule.code, rule.name, rule.severity.value] for rule in rules.values()
    ]
    assert list(rules) == sorted(rules)


@pytest.mark.parametrize("selector", ["IA101", "zero-weight"])
def test_a_rule_is_explained_by_code_and_by_name(selector):
    outcome = run("rule", selector)
    assert outcome.status == 0
    for words in ("IA101 zero-weight (error)", "Why is this bad?", "What to do", "Examples"):
        assert words in outcome.out


def test_a_rule_asked_for_twice_is_explained_once():
    assert run("rule", "IA101", "zero-weight").out == run("rule", "IA101").out


def test_a_prefix_explains_its_group():
    assert [run("rule", "IA4").out.count(f"IA{code} ") for code in (401, 402)] == [1, 1]


TENSOR_KEYS = {
    "checkpoint": str,
    "name": str,
    "dtype": str,
    "shape": list,
    "layer": str,
    "kind": str,
    "role": str,
    "layout": str,
    "fan_in": (int, type(None)),
    "fan_out": (int, type(None)),
    "groups": (int, type(None)),
    "evidence": (str, type(None)),
    "stats": (dict, type(None)),
    "gain": (float, int, type(None)),
    "scheme": (dict, type(None)),
}
STATS_KEYS = {"count", "mean", "std", "min", "max", "zeros", "nonfinite", "excess_kurtosis"}
KINDS = [
    "linear",
    "conv",
    "conv_transposed",
    "bilinear",
    "embedding",
    "norm",
    "recurrent",
    "attention",
    "experts",
    "ssm",
    "adapter",
    "other",
    "unknown",
]
ROLES = [
    "weight",
    "bias",
    "norm_scale",
    "norm_shift",
    "running_stat",
    "embedding",
    "positional",
    "token",
    "rnn_weight",
    "rnn_bias",
    "buffer",
    "other_param",
    "unknown",
]
LAYOUTS = ["out_in", "in_out", "conv_transposed", "embedding", "expert_3d", "none"]


@pytest.mark.parametrize("name", ["gpt2", "resnet", "mlp-lecun-normal.safetensors"])
def test_inspect_has_the_keys_of_its_contract(name):
    outcome = run("inspect", FIXTURES / "good" / name, "--output-format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    document = outcome.document
    assert document["schema"] == "initaudit/inspect/1"
    for row in document["tensors"]:
        assert {key: row[key] for key, kind in TENSOR_KEYS.items() if not isinstance(row[key], kind)} == {}
        assert row["kind"] in KINDS
        assert row["role"] in ROLES
        assert row["layout"] in LAYOUTS
        if row["stats"] is not None:
            assert set(row["stats"]) >= STATS_KEYS
        if row["scheme"] is not None:
            assert set(row["scheme"]) >= {"name", "parameters", "formula", "certainty"}
            assert row["scheme"]["certainty"] in ("is", "consistent with")


def test_inspect_says_what_numpy_says(tmp_path):
    values = mlp()["fc1.weight"]
    path = written(tmp_path / "model.safetensors", mlp())
    rows = {row["name"]: row for row in run("inspect", path, "--output-format", "json").document["tensors"]}
    row, exact = rows["fc1.weight"], values.astype(np.float64)
    assert (row["dtype"], row["shape"], row["fan_in"], row["fan_out"]) == ("F32", [96, 64], 64, 96)
    assert row["stats"]["std"] == pytest.approx(exact.std(), rel=1e-6)
    assert (row["stats"]["min"], row["stats"]["max"]) == pytest.approx((exact.min(), exact.max()), rel=1e-6)
    assert row["gain"] == pytest.approx(exact.std() * 8, rel=1e-6)


def test_inspect_lists_each_tensor_in_a_row():
    outcome = run("inspect", FIXTURES / "good" / "gpt2")
    assert outcome.status == 0
    (row,) = (line.split() for line in outcome.out.splitlines() if line.startswith("transformer.h.1.mlp.c_fc.weight"))
    assert row[1:8] == ["F32", "20x80", "linear", "weight", "in_out", "20", "80"]


def test_inspect_shows_what_it_can_and_complains_of_the_rest(tmp_path):
    outcome = run("inspect", GOOD, tmp_path / "missing.safetensors", "--output-format", "json")
    assert outcome.status == 2
    assert len(outcome.document["tensors"]) == 8
    assert len(outcome.complaints) == 1


def test_inspect_leaves_out_the_values_of_what_is_excluded():
    outcome = run("inspect", GOOD, "--exclude", "*.bias", "--output-format", "json")
    assert {row["name"].split(".")[1] for row in outcome.document["tensors"] if row["stats"]} == {"weight"}


FINDING_KEYS = {
    "rule": str,
    "name": str,
    "severity": str,
    "checkpoint": str,
    "tensor": str,
    "tensors": list,
    "message": str,
    "evidence": dict,
    "repair": (dict, type(None)),
}


def numbers_in(value):
    """All numbers of a document."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers_in(item)
    elif isinstance(value, int | float):
        yield value


def test_the_report_has_the_keys_of_its_contract(tmp_path):
    missing = tmp_path / "missing.safetensors"
    document = run("check", FIXTURES / "bad", FIXTURES / "good", missing, "--output-format", "json").document
    assert document["schema"] == "initaudit/report/1"
    assert document["tool"] == {"name": "initaudit", "version": initaudit.__version__}
    assert document["summary"].keys() == {"error", "warning", "info", "intended"}
    assert document["errors"] == [{"path": str(missing), "message": "no such file or directory"}]
    for finding in document["findings"]:
        assert {key: finding.get(key) for key, kind in FINDING_KEYS.items() if not isinstance(finding[key], kind)} == {}
        assert finding["tensor"] in finding["tensors"]
        assert load_rules()[finding["rule"]].name == finding["name"]
    for row in document["checkpoints"]:
        assert row["format"] == "safetensors"
        assert [type(row[key]) for key in ("path", "tensors", "parameters", "bytes", "recipe")] == [
            str,
            int,
            int,
            int,
            list,
        ]
    for row in document["intended"]:
        assert row.keys() >= {"rule", "checkpoint", "tensor", "convention"}
    assert all(map(math.isfinite, numbers_in(document)))


def test_the_summary_counts_the_findings():
    document = run("check", FIXTURES / "bad", "--output-format", "json").document
    severities = [finding["severity"] for finding in document["findings"]]
    assert {name: document["summary"][name] for name in set(severities)} == {
        name: severities.count(name) for name in set(severities)
    }


def test_what_is_not_judged_has_the_keys_of_its_contract(tmp_path):
    path = written(tmp_path / "model.safetensors", {**mlp(), "step": np.ones((), np.int64)})
    (row,) = run("check", path, "--output-format", "json").document["not_judged"]
    assert row.keys() >= {"checkpoint", "tensor", "dtype", "reason"}
    assert (row["checkpoint"], row["tensor"], row["dtype"]) == (str(path), "step", "I64")


def test_a_checkpoint_is_measured_by_its_tensors(tmp_path):
    path = written(tmp_path / "model.safetensors", {"fc.weight": np.eye(4, 3, dtype=np.float16)})
    (row,) = run("check", path, "--output-format", "json").document["checkpoints"]
    assert [row[key] for key in ("path", "tensors", "parameters", "bytes")] == [str(path), 1, 12, 24]


@pytest.mark.parametrize("command", ["check", "inspect"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_equal_runs_print_alike_whatever_the_seed_of_hashes(command, form):
    arguments = ["-m", "initaudit", command, "fixtures/bad", "fixtures/good/gpt2", "--output-format", form]
    one, other = (spawn_python(*arguments, variables={"PYTHONHASHSEED": seed}) for seed in ("1", "2"))
    assert one.out
    assert one == other


def test_the_order_of_tensors_in_the_file_changes_no_report(tmp_path):
    model = {**faulty(), "fc1.bias": np.ones(96, np.float32)}
    written(tmp_path / "a" / "m.safetensors", model)
    written(tmp_path / "b" / "m.safetensors", dict(reversed(model.items())))
    one, other = (run("check", tmp_path / folder, "--output-format", "json") for folder in "ab")
    assert one.out == other.out.replace(str(tmp_path / "b"), str(tmp_path / "a"))


def test_paths_are_reported_as_given(monkeypatch):
    monkeypatch.chdir(ROOT)
    document = run("check", "fixtures/good/gpt2", "--output-format", "json").document
    assert document["checkpoints"][0]["path"] == str(Path("fixtures/good/gpt2/model.safetensors"))


@pytest.mark.usefixtures("crashing_rule")
def test_a_rule_that_raises_is_a_failure_and_hides_no_finding(tmp_path):
    path = written(tmp_path / "model.safetensors", faulty())
    outcome = run("check", path, "--output-format", "json")
    assert outcome.status == 2
    assert codes(outcome) == ["IA101"]
    (complaint,) = outcome.complaints
    assert [word for word in (str(path), "IA999", "LookupError", "the cat") if word not in complaint] == []
    assert [error["path"] for error in outcome.document["errors"]] == [str(path)]


@pytest.mark.usefixtures("crashing_rule")
def test_a_rule_that_raises_in_one_checkpoint_still_judges_the_next(tmp_path):
    bad = written(tmp_path / "a.safetensors", mlp())
    written(tmp_path / "b.safetensors", {name.replace("fc", "dense"): values for name, values in faulty().items()})
    outcome = run("check", tmp_path, "--output-format", "json")
    assert codes(outcome) == ["IA101"]
    assert [error["path"] for error in outcome.document["errors"]] == [str(bad)]


@pytest.mark.usefixtures("crashing_rule")
def test_a_rule_that_raises_does_no_harm_where_it_is_ignored():
    assert run("check", GOOD, "--ignore", "IA999").status == 0


@pytest.mark.parametrize(
    "evidence", [np.float32(2.5), np.int64(3), np.nan, float("inf"), {"a": np.bool_(True)}, (1, 2)], ids=repr
)
def test_evidence_of_any_number_is_printed(monkeypatch, evidence):
    def check(tensor):
        """A rule for this test."""
        yield tensor.fault("has evidence", advice="", number=evidence)

    load_rules()
    monkeypatch.setitem(RULES, "IA998", Rule("IA998", "odd-evidence", Severity.INFO, (), check, ("tensor",)))
    outcome = run("check", GOOD, "--select", "IA998", "--output-format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    assert sum(len(finding["tensors"]) for finding in outcome.document["findings"]) == 8


def test_an_interruption_is_status_130(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("initaudit.audit.judge_all", interrupted)
    outcome = run("check", GOOD)
    assert outcome.status == 130
    assert "Traceback" not in outcome.err


def test_what_nobody_thought_of_is_status_2_in_one_line(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("one\ntwo")

    monkeypatch.setattr("initaudit.audit.judge_all", broken)
    outcome = run("check", GOOD)
    assert outcome.status == 2
    (complaint,) = outcome.complaints
    assert "RuntimeError" in complaint


SLOW = [
    *["torch", "scipy", "pandas", "ml_dtypes", "hypothesis", "pytest", "matplotlib", "tensorflow", "jax"],
    *["transformers", "numpy.random", "numpy.testing", "asyncio", "unittest", "multiprocessing", "http", "ssl"],
]


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["check", GOOD], SLOW),
        (["check", ERROR, "--output-format", "json"], SLOW),
        *((["check", ERROR, "--output-format", form], SLOW) for form in FORMATS if form not in ("text", "json")),
        (["inspect", GOOD], SLOW),
        (["rule"], SLOW),
        (["rule", "IA101"], SLOW),
        (["--help"], [*SLOW, "numpy", "rich", "safetensors"]),
        (["check", "--help"], [*SLOW, "numpy", "rich", "safetensors"]),
        (["--version"], [*SLOW, "numpy", "rich", "safetensors"]),
    ],
    ids=lambda value: " ".join(Path(str(part)).stem for part in value) if len(value) < 5 else "",
)
def test_nothing_slow_is_imported(arguments, unwanted):
    program = (
        "import sys\nfrom initaudit.cli import main\nstatus = main()\n"
        "print(*sys.modules, file=sys.stderr)\nsys.exit(status)"
    )
    outcome = spawn_python("-c", program, *arguments)
    assert outcome.status in (0, 1)
    assert set(outcome.err.split()) & set(unwanted) == set()
    assert outcome.out


def test_importing_the_package_imports_nothing_else():
    program = "import sys, initaudit\nprint(*(name for name in sys.modules if name.startswith('initaudit')))"
    assert set(spawn_python("-c", program).out.split()) == {"initaudit", "initaudit.errors", "initaudit.version"}


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the peak of a process cannot be read here")
def test_a_large_file_is_read_in_pieces(tmp_path):
    size = 600_000_000
    path = written(tmp_path / "model.safetensors", file_of({"fc.weight": described("F32", (15_000, 10_000), 0, size)}))
    os.truncate(path, path.stat().st_size + size)
    program = (
        "import sys\nfrom pathlib import Path\nfrom initaudit.cli import main\nstatus = main()\n"
        "print(Path('/proc/self/status').read_text(), file=sys.stderr)\nsys.exit(status)"
    )
    outcome = spawn_python("-c", program, "check", path, "--fail-on", "never")
    assert outcome.status == 0
    (peak,) = (int(line.split()[1]) for line in outcome.complaints if line.startswith("VmHWM:"))
    assert peak * 1024 < 200_000_000


@pytest.mark.skipif(os.name != "posix", reason="pipes break otherwise here")
@pytest.mark.parametrize("tensors", [1, 3000], ids=["short-report", "long-report"])
@pytest.mark.parametrize("command", ["check", "inspect"])
def test_a_reader_that_goes_away_is_neither_a_traceback_nor_a_finding(tmp_path, command, tensors):
    model = {f"h.{at}.mask": np.ones(1, np.int64) for at in range(tensors)}
    path = written(tmp_path / "model.safetensors", {**mlp(), **model})
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "initaudit", command, path, "--output-format", "json"],
            stdout=closed,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=environment(),
            timeout=30,
            check=False,
        )
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert done.returncode not in (1, 120)


def test_the_same_is_said_of_a_checkpoint_from_python():
    report = initaudit.check(ERROR)
    assert json.loads(report.to_json()) == run("check", ERROR, "--output-format", "json").document


def test_python_selects_as_the_command_does():
    assert initaudit.check(ERROR, ignore=["IA1"]).ok()
    assert initaudit.check(str(ERROR), exclude=["fc2.*"]).ok()
    with pytest.raises(initaudit.InitauditError, match="did you mean"):
        initaudit.check(ERROR, select=["zero-wieght"])


def test_an_index_of_good_shards_passes(tmp_path):
    model = mlp()
    shards = {
        "a.safetensors": {name: values for name, values in model.items() if "weight" in name},
        "b.safetensors": {name: values for name, values in model.items() if "bias" in name},
    }
    outcome = run("check", indexed(tmp_path, shards))
    assert outcome.status == 0
    assert ", 2 shards" in outcome.out


def test_without_a_command_the_help_is_shown_where_complaints_are():
    outcome = run()
    assert (outcome.status, outcome.out) == (2, "")
    assert "Commands:\n  check " in outcome.err
