"""Each form of the report is what its readers take, whatever the names of tensors hold."""

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from junitparser import Error, Failure, JUnitXml, Skipped
from markdown_it import MarkdownIt

import initaudit
from initaudit import findings
from initaudit.registry import load_rules
from initaudit.report import github, sarif
from initaudit.report.escaping import document, printable
from initaudit.report.formats import FOR_PEOPLE, FORMATS, render
from initaudit.rule import Severity
from initaudit.waivers import Waiver
from tests.checkpoints import FIXTURES, NO_FILE, ROOT, described, file_of, mlp, run, written
from tests.test_report import audited, finding

SARIF = json.loads((ROOT / "tests" / "schemas" / "sarif-2.1.0.json").read_text(encoding="utf-8"))
BAD = sorted((FIXTURES / "bad").iterdir())
HOSTILE = {
    "escape-codes": "a\x1b[2J\x1b]0;title\x07.weight",
    "markup": "<script>alert(1)</script>[red]x[/red]`code`|cell|**bold**.weight",
    "newlines": "a\r\n::error::owned\n## heading\n| a | b |\n.weight",
    "workflow-command": "::stop-commands::x%0A::error title=a,file=b::c.weight",
    "quotes": "\"'&amp;]]>\\.weight",
    "cells": "a|b`c``d`.weight",
    "control": "".join(map(chr, range(32))) + "\x7f\x9b\ufeff\ufffe\uffff.weight",
    "direction": "a\u202eb\u2028c.weight",
    "surrogate": "a\ud800b.weight",
    "megabyte": "a" * 1_000_000 + ".weight",
    "mention": "@team #1 https://example.org $a_b$ ~~no~~ .weight",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A report with everything in it: findings of all severities, what is intended, waived, unread, and notes."""
    missing = tmp_path_factory.mktemp("whole") / "missing.safetensors"
    rules = tuple(load_rules().values())
    from initaudit.audit import audit

    return replace(audit([*BAD, missing], rules), notes=("a note\nof two lines",))


def hostile_report(name):
    """A report on a checkpoint in which that name is everywhere."""
    found = [
        finding(severity, tensors=(name, "b"), message=f"{severity}: like {name}", advice=name) for severity in Severity
    ]
    path = f"{name[:200]}.safetensors".encode("utf-8", "replace").decode()
    about = {
        "intended": (findings.Intended("IA101", path, name, "zero residual"),),
        "not_judged": (findings.NotJudged(path, name, "I64", name),),
        "waived": (findings.Waived("IA101", path, name, Waiver("IA101", name, name), is_known=False),),
        "notes": (name,),
        "recipe": (name,),
    }
    return replace(
        initaudit.check(FIXTURES / "good" / "gpt2"),
        audited=(audited(*found, path=path, **about),),
        unread=(findings.Failure(name, f"like {name}"),),
        notes=(name,),
    )


def read_sarif(text):
    """The run of a document that is valid SARIF."""
    document = json.loads(text)
    jsonschema.Draft4Validator(SARIF, format_checker=jsonschema.FormatChecker()).validate(document)
    (one,) = document["runs"]
    return one


def read_github(text):
    """The commands that the runner would see, as it takes them apart: (command, properties, message)."""
    commands = []
    for line in text.splitlines():
        match = re.fullmatch(r"::(error|warning|notice) ([^:]*)::(.*)", line)
        assert match, line
        properties = dict(item.split("=", 1) for item in match[2].split(","))
        unescaped = {key: _unescaped(value, {"%3A": ":", "%2C": ","}) for key, value in properties.items()}
        commands.append((match[1], unescaped, _unescaped(match[3], {})))
    return commands


def _unescaped(text, more):
    for code, sign in {**more, "%0D": "\r", "%0A": "\n", "%25": "%"}.items():
        text = text.replace(code, sign)
    return text


def test_sarif_keeps_to_its_schema(whole):
    run_ = read_sarif(render(whole, "sarif"))
    assert {result["ruleId"] for result in run_["results"]} == set(load_rules()) - NO_FILE


def test_sarif_lists_all_rules_that_were_applied_and_results_point_at_theirs(whole):
    run_ = read_sarif(render(whole, "sarif"))
    rules = run_["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(load_rules())
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run_["results"])
    assert all(rule["help"]["markdown"] and rule["fullDescription"]["text"] for rule in rules)


def test_sarif_says_what_was_not_audited(whole):
    (invocation,) = read_sarif(render(whole, "sarif"))["invocations"]
    assert invocation["executionSuccessful"] is False
    assert "missing.safetensors" in invocation["toolExecutionNotifications"][0]["message"]["text"]
    assert read_sarif(render(replace(whole, unread=()), "sarif"))["invocations"][0]["executionSuccessful"] is True


def test_sarif_points_at_the_bytes_of_the_tensor_in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)
    path = "fixtures/bad/IA101-zero-weight.safetensors"
    (result,) = read_sarif(run("check", path, "--output-format", "sarif").out)["results"]
    (location,) = result["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == path
    region = location["physicalLocation"]["region"]
    begin, length = region["byteOffset"], region["byteLength"]
    assert region["startLine"] == 1
    assert (ROOT / path).read_bytes()[begin : begin + length] == bytes(length)
    assert location["logicalLocations"] == [{"fullyQualifiedName": "fc2.weight", "kind": "variable"}]


def test_a_fingerprint_outlives_another_seed_and_another_folder(tmp_path, monkeypatch):
    prints = []
    for seed in range(2):
        folder = tmp_path / str(seed)
        written(folder / "out" / "m.safetensors", {**mlp(seed), "fc2.weight": np.zeros((64, 96), np.float32)})
        monkeypatch.chdir(folder)
        results = read_sarif(run("check", "out", "--output-format", "sarif").out)["results"]
        entries = json.loads(run("check", "out", "--output-format", "gitlab").out)
        prints.append(([row["partialFingerprints"] for row in results], [row["fingerprint"] for row in entries]))
    assert prints[0] == prints[1]


def test_the_root_of_the_repository_is_what_the_service_says(tmp_path, monkeypatch):
    path = written(tmp_path / "work" / "out" / "a b.safetensors", {**mlp(), "fc2.weight": np.zeros((8, 8), np.float32)})
    monkeypatch.chdir(tmp_path / "work" / "out")
    variables = {"GITHUB_WORKSPACE": str(tmp_path / "work"), "CI_PROJECT_DIR": ""}
    (result,) = read_sarif(run("check", path.name, "--output-format", "sarif", variables=variables).out)["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "out/a%20b.safetensors"
    (_, properties, _) = read_github(run("check", path, "--output-format", "github", variables=variables).out)[0]
    assert properties["file"] == "out/a b.safetensors"
    variables = {"CI_PROJECT_DIR": str(tmp_path), "GITHUB_WORKSPACE": ""}
    (entry,) = json.loads(run("check", path, "--output-format", "gitlab", variables=variables).out)
    assert entry["location"]["path"] == "work/out/a b.safetensors"


def test_sarif_keeps_to_the_limit_of_its_reader_and_to_the_worst(monkeypatch):
    assert sarif.MOST_RESULTS <= 5000
    monkeypatch.setattr(sarif, "MOST_RESULTS", 50)
    many = [finding(Severity.INFO, tensors=(f"a.{at}",)) for at in range(sarif.MOST_RESULTS)]
    one = read_sarif(render(replace_audited(audited(*many, finding(Severity.ERROR))), "sarif"))
    assert len(one["results"]) == sarif.MOST_RESULTS
    assert one["results"][0]["level"] == "error"
    assert "1 more findings" in one["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]


def replace_audited(*rows):
    """A report on these, by the rules that there are."""
    return replace(initaudit.check(FIXTURES / "good" / "gpt2"), audited=rows)


def test_junit_is_read_by_another_parser(whole, tmp_path):
    file = tmp_path / "junit.xml"
    file.write_text(render(whole, "junit"), encoding="utf-8")
    suites = JUnitXml.fromfile(str(file))
    assert (suites.tests, suites.errors) == (len(BAD) * len(load_rules()) + 1, 1)
    failed = {suite.name: [case.name[:5] for case in suite if any(isinstance(r, Failure) for r in case.result)]
              for suite in suites}  # fmt: skip
    for path in BAD:
        name = next(name for name in failed if name.startswith(str(path)))
        is_info = load_rules()[path.stem[:5]].severity is Severity.INFO
        assert failed[name] == ([] if is_info else [path.stem[:5]])
    assert [suite.name for suite in suites for case in suite if any(isinstance(r, Error) for r in case.result)] == [
        whole.unread[0].path
    ]


def test_junit_counts_as_its_reader_does(whole):
    suites = JUnitXml.fromstring(render(whole, "junit").encode())
    stated = (suites.tests, suites.failures, suites.errors, suites.skipped)
    suites.update_statistics()
    assert (suites.tests, suites.failures, suites.errors, suites.skipped) == stated


def test_junit_skips_the_rules_that_were_not_held_to_what_is_not_fresh(tmp_path):
    path = FIXTURES / "bad" / "IA601-trained-checkpoint.safetensors"
    (suite,) = JUnitXml.fromstring(run("check", path, "--output-format", "junit").out.encode())
    skipped = {case.name[:5] for case in suite if any(isinstance(row, Skipped) for row in case.result)}
    assert skipped == {code for code in load_rules() if code[:3] in ("IA2", "IA3", "IA4")}
    document = run("check", path, "--output-format", "json").document
    assert set(document["checkpoints"][0]["skipped"]) == skipped


def test_junit_has_an_error_where_a_rule_crashed():
    crashed = findings.Failure("m.safetensors", "rule IA101 crashed: ValueError: x", "IA101")
    text = render(replace_audited(audited(failures=(crashed,))), "junit")
    (suite,) = JUnitXml.fromstring(text.encode())
    assert [case.name for case in suite if any(isinstance(row, Error) for row in case.result)] == ["IA101 zero-weight"]


def test_gitlab_drops_nothing_that_a_rule_says_twice_of_a_tensor():
    twice = [finding(message="one"), finding(message="two"), finding(message="two")]
    entries = json.loads(render(replace_audited(audited(*twice)), "gitlab"))
    assert [entry["description"].rpartition(" ")[2] for entry in entries] == ["one", "two"]
    assert len({entry["fingerprint"] for entry in entries}) == 2


def test_github_gets_one_annotation_for_a_rule_in_a_checkpoint(tmp_path):
    weights = {f"layer{at}.weight": np.zeros((8, at + 2), np.float32) for at in range(30)}
    path = written(tmp_path / "m.safetensors", weights)
    commands = read_github(run("check", path, "--select", "IA101", "--output-format", "github").out)
    assert [(command, properties["title"]) for command, properties, _ in commands] == [
        ("error", "initaudit: IA101 zero-weight")
    ]
    assert len(commands[0][2].splitlines()) <= github.MOST_FINDINGS + 1


def test_github_says_the_worst_first_and_what_was_not_read(whole):
    commands = read_github(render(whole, "github"))
    order = [["error", "warning", "notice"].index(command) for command, _, _ in commands]
    assert order == sorted(order)
    assert commands[0][1]["title"] == "initaudit: not audited"
    assert commands[-1][2] == "a note\\nof two lines"


def test_gitlab_gets_the_keys_of_its_contract(whole):
    entries = json.loads(render(whole, "gitlab"))
    for entry in entries:
        assert entry.keys() == {"description", "check_name", "fingerprint", "severity", "location"}
        assert entry["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert re.fullmatch(r"[0-9a-f]{64}", entry["fingerprint"])
        assert entry["location"]["lines"] == {"begin": 1}
        assert not entry["location"]["path"].startswith("./")
    assert len({entry["fingerprint"] for entry in entries}) == len(entries)
    assert [entry["severity"] for entry in entries if entry["check_name"] == "not-audited"] == ["blocker"]


def test_gitlab_gets_an_empty_list_where_nothing_was_found():
    assert run("check", FIXTURES / "good" / "gpt2", "--output-format", "gitlab").out == "[]\n"


def test_markdown_is_far_below_the_megabyte_of_a_step_summary():
    longest = "a*_|`<" * 200_000
    many = [finding(tensors=(f"{at}{longest}",) * 9, message=longest, advice=longest) for at in range(1000)]
    rows = [audited(*many[at::300], path=f"{at}{longest}", recipe=(longest,) * 3) for at in range(300)]
    text = render(replace(replace_audited(*rows), notes=(longest,) * 1000), "markdown")
    assert len(text.encode()) < 1_000_000
    assert re.search(r"^- and 9\d\d more$", text, re.MULTILINE)


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_markdown_shows_a_hostile_name_as_text(name):
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(
        render(hostile_report(name), "markdown")
    )  # fmt: skip
    ours = {"<details>", "</details>", "<summary>", "</summary>", "<br>", "<code>", "</code>"}
    html = "".join(
        token.content
        for parent in tokens
        for token in [parent, *(parent.children or [])]
        if token.type.startswith("html")
    )
    assert set(re.findall(r"<[^>]*>", html)) <= ours
    kinds = [token.type for parent in tokens for token in [parent, *(parent.children or [])]]
    assert kinds.count("heading_open") == 1
    assert not {"link_open", "image", "s_open", "em_open"} & set(kinds)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_name_survives_every_form(name, form):
    view = {"show_intended": True, "verbose": True} if form in FOR_PEOPLE else {}
    text = render(hostile_report(name), form, **view)
    assert len(text) < (40_000_000 if form == "json" else 300_000)
    text.encode("utf-8")
    if form != "json":  # which is for programs, and has names as they are, if escaped
        acting = {sign for sign in text if not sign.isprintable() and sign != "\n"}
        assert acting == set()
    if form == "sarif":
        assert len(read_sarif(text)["results"]) == 3
    elif form == "junit":
        assert JUnitXml.fromstring(text.encode()).tests == len(load_rules()) + 1
    elif form == "github":
        assert [command for command, _, _ in read_github(text)] == ["error", "error", "warning", "notice", "notice"]
    elif form == "gitlab":
        assert len(json.loads(text)) == 7
    elif form == "json":
        assert [row["tensor"] for row in json.loads(text)["findings"]] == [name] * 3
    elif form == "concise":
        assert len(text.splitlines()) == 6  # three findings, two notes and the verdict


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_survives_a_run_with_every_output(tmp_path, name):
    content = file_of({name: described("F32", (8, 8), 0, 256), "b.weight": described("F32", (8, 8), 256, 512)})
    path = written(tmp_path / "m.safetensors", content + bytes(512))
    outcome = run("check", path, *(f"--report={form}={tmp_path / f'out.{form}'}" for form in FORMATS))
    assert outcome.status in (1, 2)  # a lone surrogate is no name that a header can have
    assert "Traceback" not in outcome.err
    assert all((tmp_path / f"out.{form}").stat().st_size for form in FORMATS)
    read_sarif((tmp_path / "out.sarif").read_text(encoding="utf-8"))
    ElementTree.parse(tmp_path / "out.junit")
    read_github((tmp_path / "out.github").read_text(encoding="utf-8"))


@pytest.mark.parametrize("form", FORMATS)
def test_a_clean_report_is_said_in_every_form(form):
    outcome = run("check", FIXTURES / "good" / "gpt2", "--output-format", form)
    assert (outcome.status, outcome.err) == (0, "")
    assert bool(outcome.out) == (form != "github")


@pytest.mark.parametrize("form", FORMATS)
def test_no_form_depends_on_where_the_package_lies_or_on_the_time(form, whole):
    assert render(whole, form) == render(whole, form)
    assert str(Path(initaudit.__file__).parent) not in render(whole, form)


def test_concise_is_one_line_a_finding():
    lines = run("check", FIXTURES / "bad" / "IA105-equal-tensors.safetensors", "--output-format", "concise").out
    line, last = lines.splitlines()
    place = re.escape(str(FIXTURES / "bad" / "IA105-equal-tensors.safetensors"))
    assert re.fullmatch(place + r":fc2\.weight: warning\[IA105\] equal-tensors: .* \(and 1 more\)", line)
    assert last.startswith("Found 1 warning")


def test_concise_and_quiet_leaves_nothing_of_a_good_checkpoint():
    assert run("check", FIXTURES / "good" / "gpt2", "-q", "--output-format", "concise").out == ""


COMMANDS = (
    "::stop-commands::x",
    "  ::add-mask::e",
    "a##[error]b",
    "##vso[task.setvariable variable=PATH]/evil",
    "###[x",
)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", COMMANDS)
def test_no_name_is_a_command_of_the_runner_that_prints_it(name, form):
    view = {"show_intended": True, "verbose": True} if form in FOR_PEOPLE else {}
    text = render(hostile_report(name), form, **view)
    assert "##[" not in text
    assert "##vso[" not in text
    ours = re.compile(r"::(error|warning|notice) [^\n]*") if form == "github" else re.compile("(?!)")
    assert [line for line in text.split("\n") if line.lstrip().startswith("::") and not ours.match(line)] == []
    if form in ("json", "sarif", "gitlab"):
        assert name in str(json.loads(text)) or form != "json"  # a program gets the name as it is


@pytest.mark.parametrize("character", ["\u3164", "\u115f", "\uffa0", "\ufe0f", "\u2800", "\U000e0100", "\u034f"])
def test_what_nobody_sees_is_written_by_its_number(character):
    assert printable(f"fc{character}.weight") == f"fc{character.encode('unicode_escape').decode()}.weight"


def test_a_document_reads_as_the_value_it_was_written_from():
    value = {"####": ["\\##", "#", "a#b", "::x"], "n": [1, 2.5, None]}
    text = document(value)
    assert "##" not in text
    assert json.loads(text) == value
