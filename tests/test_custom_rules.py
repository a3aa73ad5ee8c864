"""Rules that others write: from a folder, or from an installed distribution, by the loop that loads ours."""

import re
import sys

import pytest

from initaudit.errors import RuleError
from initaudit.registry import load_rules
from initaudit.testing import cases, check_case
from tests.checkpoints import FIXTURES, ROOT, run, spawn_python, written

GOOD = FIXTURES / "good" / "mlp-lecun-normal.safetensors"
OURS = set(load_rules())

RULE = '''
from initaudit.examples import bad, constant, good, normal
from initaudit.rule import Severity, rule


@rule(
    code="{code}",
    severity=Severity.WARNING,
    examples=[
        good("nothing called fc2", {{"fc1.weight": normal(8, 8, std=0.3)}}),
        bad("a layer called fc2", {{"fc2.weight": normal(8, 8, std=0.3)}}, at="{at}"),
    ],
)
def {name}(tensor):
    """{page}

    ## Why is this bad?

    It is for a test.
    """
    if tensor.name == "fc2.weight":
        yield tensor.fault("is called fc2", advice="call it otherwise")
'''


def rule_file(path, *, code="XX001", name="called_fc2", page="A layer is called fc2.", at="fc2.weight"):
    """A module with a rule that speaks at fc2.weight."""
    return written(path, RULE.format(code=code, name=name, page=page, at=at).encode())


@pytest.fixture
def folder(tmp_path):
    """A folder of one rule."""
    rule_file(tmp_path / "rules" / "called_fc2.py")
    return tmp_path / "rules"


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ("zero-wieght", "takes 'zero-wieght' for granted, which is no rule: did you mean 'zero-weight'?"),
        ("called-fc2", "takes itself for granted"),
    ],
)
def test_a_rule_that_takes_for_granted_what_is_no_rule_or_itself_is_refused(taken, said, tmp_path):
    file = rule_file(tmp_path / "rules" / "called_fc2.py")
    text = file.read_text(encoding="utf-8")
    declared = f'    takes_for_granted=["{taken}"],\n    examples=['
    file.write_text(text.replace("    examples=[", declared), encoding="utf-8")
    outcome = run("check", GOOD, "--rules", tmp_path / "rules")
    assert (outcome.status, outcome.out) == (2, "")
    assert said in outcome.err


def test_a_new_rule_is_drafted_and_passes_its_own_examples(tmp_path):
    outcome = run("rule", "--new", "lonely-weight", "--rules", tmp_path / "mine")
    assert (outcome.status, outcome.err) == (0, "")
    assert "LOCAL001 lonely-weight" in outcome.out
    drafted = cases(tmp_path / "mine")
    assert [case.rule.name for case in drafted] == ["lonely-weight"] * 2
    for case in drafted:
        check_case(case)
    assert run("rule", "--new", "another", "--rules", tmp_path / "mine").out.count("LOCAL002") == 1


def test_a_draft_follows_the_codes_of_its_folder(folder):
    assert "XX002 second" in run("rule", "--new", "second", "--rules", folder).out
    assert "ACME7 third" in run("rule", "--new", "third", "--rules", folder, "--code", "ACME7").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--new", "Zero Weight"], "is no name for a rule"),
        (["--new", "class"], "is no name for a rule"),
        (["--new", "zero-weight"], "a rule called zero-weight is there already"),
        (["--new", "a-b", "--code", "IA101"], "code IA101 is in use by zero-weight"),
        (["--new", "a-b", "--code", "acme"], "is no code for a rule"),
        (["--new", "a-b", "IA101"], "--new writes a rule, and explains none"),
        (["--code", "ACME1"], "--code goes with --new"),
    ],
)
def test_a_draft_that_would_be_no_rule_is_refused(arguments, said, tmp_path):
    outcome = run("rule", *arguments, "--rules", tmp_path)
    assert outcome.status == 2
    assert said in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_draft_is_never_written_over_a_file(tmp_path):
    written(tmp_path / "taken.py", b"# mine")
    outcome = run("rule", "--new", "taken", "--rules", tmp_path)
    assert (outcome.status, (tmp_path / "taken.py").read_bytes()) == (2, b"# mine")


@pytest.fixture(autouse=True)
def _only_ours():
    yield
    load_rules()


def found(*arguments):
    """The rules of the findings."""
    return [row["rule"] for row in run("check", GOOD, *arguments, "--output-format", "json").document["findings"]]


def test_a_rule_of_a_folder_is_applied_and_explained(folder):
    assert found("--rules", folder) == ["XX001"]
    assert found("--rules", folder, "--ignore", "called-fc2") == []
    assert found("--rules", folder, "--select", "XX") == ["XX001"]
    assert "A layer is called fc2." in run("rule", "XX001", "--rules", folder).out
    assert "XX001" in run("rule", "--rules", folder).out
    assert "XX001" in run("check", GOOD, "--rules", folder, "--output-format", "sarif").out


def test_a_rule_of_the_configuration_is_applied(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "initaudit.toml", b'rules = ["rules"]\n[severity]\nXX001 = "error"\n')
    assert found() == ["XX001"]
    assert run("check", GOOD).status == 1
    assert "called-fc2" in run("rule", "XX001").out
    assert found("--isolated") == []


def test_rules_of_one_run_are_not_those_of_the_next(folder, tmp_path):
    rule_file(tmp_path / "others" / "called_fc2.py", page="Another one.")
    assert found("--rules", folder) == ["XX001"]
    assert set(load_rules()) == OURS
    assert load_rules(tmp_path / "others")["XX001"].summary == "Another one."
    assert "XX001" in run("check", GOOD, "--select", "XX001").err


def test_a_rule_that_was_edited_is_read_again(folder):
    assert load_rules(folder)["XX001"].summary == "A layer is called fc2."
    rule_file(folder / "called_fc2.py", page="It says something else now.")
    assert load_rules(folder)["XX001"].summary == "It says something else now."


def test_two_folders_may_have_files_of_one_name_and_import_their_own(tmp_path):
    for number in (1, 2):
        rule_file(tmp_path / str(number) / "called.py", code=f"XX00{number}", name=f"called_{number}")
        text = (tmp_path / str(number) / "called.py").read_text()
        written(tmp_path / str(number) / "called.py", text.replace('"is called fc2"', "WORDS").encode()
                + b"\nfrom ._words import WORDS\n")  # fmt: skip
        written(tmp_path / str(number) / "_words.py", f"WORDS = 'words of {number}'".encode())
    outcome = run("check", GOOD, "--rules", tmp_path / "1", "--rules", tmp_path / "2", "--output-format", "json")
    assert {row["message"] for row in outcome.document["findings"]} == {"words of 1", "words of 2"}


def test_a_folder_of_any_name_will_do(tmp_path):
    rule_file(tmp_path / "my rules-1.0" / "a.py")
    assert found("--rules", tmp_path / "my rules-1.0") == ["XX001"]


def test_the_working_directory_is_not_made_importable(folder, monkeypatch):
    monkeypatch.chdir(folder)
    before = list(sys.path)
    load_rules(folder)
    assert sys.path == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("1 / 0", "ZeroDivisionError"),
        ("def (", "SyntaxError"),
        ("raise SystemExit(0)", "SystemExit"),
        (RULE.format(code="IA101", name="my_zero", page="x", at="fc2.weight"), "code IA101 is in use"),
        (RULE.format(code="XX001", name="zero_weight", page="x", at="fc2.weight"), "name zero-weight is in use"),
        (RULE.format(code="x1", name="odd_code", page="x", at="fc2.weight"), "letters and digits, not 'x1'"),
        (RULE.format(code="XX001", name="called", page="x", at="").replace("(tensor)", "(weights)"), "a rule takes"),
    ],
    ids=["import", "raise", "syntax", "exit", "code-in-use", "name-in-use", "odd-code", "odd-parameter"],
)
@pytest.mark.parametrize("command", ["check", "rule", "fix"])
def test_a_rule_that_cannot_be_loaded_is_status_2_in_one_line(tmp_path, command, content, words):
    written(tmp_path / "rules" / "mine.py", content.encode())
    arguments = {"check": [GOOD], "rule": [], "fix": [GOOD, "--dry-run"]}[command]
    outcome = run(command, *arguments, "--rules", tmp_path / "rules")
    assert (outcome.status, outcome.out) == (2, "")
    (complaint,) = outcome.complaints
    assert words in complaint
    assert str(tmp_path / "rules") in complaint or "mine.py" in complaint


def test_two_rules_of_one_code_are_refused_wherever_they_are(tmp_path):
    rule_file(tmp_path / "a" / "one.py", name="one")
    rule_file(tmp_path / "b" / "two.py", name="two")
    with pytest.raises(RuleError, match=r"code XX001 is in use by .*one\.py"):
        load_rules(tmp_path / "a", tmp_path / "b")
    both = (tmp_path / "a" / "one.py").read_text() + RULE.format(code="XX001", name="three", page="x", at="x")
    written(tmp_path / "a" / "one.py", both.encode())
    with pytest.raises(RuleError, match="code XX001 is in use"):
        load_rules(tmp_path / "a")


@pytest.mark.parametrize(("name", "words"), [("missing", "is no folder"), ("empty", "has no rules")])
def test_a_folder_without_rules_is_status_2(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    outcome = run("check", GOOD, "--rules", tmp_path / name)
    assert outcome.status == 2
    assert words in outcome.err


def test_a_rule_that_crashes_is_status_2_and_hides_no_finding(folder):
    text = (folder / "called_fc2.py").read_text().replace('"call it otherwise")', '"x")\n        1 / 0')
    written(folder / "crashes.py", text.replace("XX001", "XX002").replace("called_fc2", "crashes").encode())
    outcome = run("check", GOOD, "--rules", folder, "--output-format", "json")
    assert outcome.status == 2
    assert "rule XX002 crashed: ZeroDivisionError" in outcome.err
    assert [row["rule"] for row in outcome.document["findings"]] == ["XX001"]


@pytest.mark.parametrize("kind", ["module", "package"])
def test_an_installed_distribution_offers_rules(tmp_path, kind):
    site = tmp_path / "site"
    if kind == "module":
        rule_file(site / "acme.py")
    else:
        written(site / "acme" / "__init__.py", b"")
        rule_file(site / "acme" / "called_fc2.py")
    written(site / "acme-1.0.dist-info" / "METADATA", b"Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    written(site / "acme-1.0.dist-info" / "entry_points.txt", b"[initaudit.rules]\nacme = acme\n")
    variables = {"PYTHONPATH": str(site)}
    outcome = spawn_python("-m", "initaudit", "check", GOOD, "--output-format", "concise", variables=variables)
    assert (outcome.status, outcome.err) == (0, "")
    assert "warning[XX001] called-fc2" in outcome.out
    (site / ("acme.py" if kind == "module" else "acme/called_fc2.py")).write_text("1 / 0")
    broken = spawn_python("-m", "initaudit", "check", GOOD, variables=variables)
    assert (broken.status, broken.out) == (2, "")
    assert "ZeroDivisionError" in broken.err


def test_authors_test_a_rule_by_its_examples(folder):
    found_cases = cases(folder)
    assert [str(case) for case in found_cases] == ["XX001-nothing called fc2", "XX001-a layer called fc2"]
    for case in found_cases:
        check_case(case)


def test_an_example_that_does_not_hold_is_an_assertion_that_says_why(tmp_path):
    rule_file(tmp_path / "called_fc2.py", at="fc3.weight")
    _, case = cases(tmp_path)
    with pytest.raises(AssertionError, match=r"expected findings at \('fc3.weight',\), not \('fc2.weight',\) \(fc2"):
        check_case(case)


def test_without_a_folder_the_cases_are_those_of_our_rules():
    assert {case.rule.code for case in cases()} == OURS


def test_the_rule_in_the_readme_holds_its_examples(tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(from initaudit\.examples.*?)^```$", text, re.MULTILINE | re.DOTALL)
    written(tmp_path / "drawn_readout.py", block.encode())
    assert len(cases(tmp_path)) == 2
    for case in cases(tmp_path):
        check_case(case)
