import json
import math
import re
from pathlib import Path

import pytest

import initaudit
from initaudit.checkpoint.values import Checkpoint, Entry, Shard, Stamp
from initaudit.faults import Cause
from initaudit.findings import Failure, Finding, Intended, NotJudged
from initaudit.outcome import Audited
from initaudit.remedies import Remedy
from initaudit.report import concise, markdown
from initaudit.report.escaping import LONGEST, printable
from initaudit.report.face import FindingsError, Report
from initaudit.report.json import plain
from initaudit.report.text import MOST_OF_A_RULE, MOST_TENSORS, byte_size, counted, render
from initaudit.rule import Severity
from tests.checkpoints import FIXTURES

ERROR, WARNING, INFO = Severity


def finding(severity=ERROR, rule="IA101", tensors=("fc.weight",), **changes):
    """A finding of one tensor, or findings of several with one cause."""
    message = changes.get("message", "all 12 elements are zero")
    cause = Cause(tensors[0], message) if len(tensors) > 1 else None
    parts = {
        "rule": rule,
        "name": "zero-weight",
        "severity": severity,
        "checkpoint": "m.safetensors",
        "message": message,
        "cause": cause,
        "advice": "draw it",
        "evidence": {},
    }
    several = tuple(Finding(**{**parts, **changes, "tensor": tensor}) for tensor in tensors)
    return several if cause else several[0]


def audited(
    *findings, path="m.safetensors", notes=(), intended=(), not_judged=(), failures=(), judged=1, recipe=(), waived=()
):
    """What was found in a checkpoint of one tensor."""
    shard = Shard(Path(path), Stamp(0, 0, 0, 0), (Entry("fc.weight", "F32", (3, 4), 0, 48),))
    checkpoint = Checkpoint(path, "safetensors", (shard,), {}, notes)
    return Audited(
        checkpoint=checkpoint,
        recipe=recipe,
        judged=judged,
        findings=tuple(one for some in findings for one in (some if isinstance(some, tuple) else (some,))),
        intended=intended,
        not_judged=not_judged,
        failures=failures,
        waived=waived,
    )


def report(*findings, unread=(), **about):
    """A report on one checkpoint."""
    return Report((audited(*findings, **about),), unread, ())


def verdict(of, **options):
    """The last line of the text."""
    return render(of, **options).splitlines()[-1]


def test_a_finding_is_said_in_three_lines():
    lines = render(report(finding())).splitlines()
    assert lines[1:4] == [
        "  error   IA101 zero-weight  fc.weight",
        "          all 12 elements are zero",
        "          -> draw it",
    ]


def test_a_finding_without_advice_is_said_in_two_lines():
    assert "->" not in render(report(finding(advice="")))


def test_a_checkpoint_is_headed_by_its_path_and_size():
    assert render(report()).splitlines()[0] == "m.safetensors  1 tensor, 12 parameters, F32"


def test_the_recipe_stands_under_the_heading():
    assert render(report(recipe=("identity: 2 weights",))).splitlines()[1] == "  identity: 2 weights"


@pytest.mark.parametrize("number", [1, MOST_TENSORS, MOST_TENSORS + 1, MOST_TENSORS + 1234])
def test_a_long_list_of_tensors_is_cut_and_counted(number):
    tensors = tuple(f"h.{at}.weight" for at in range(number))
    text = render(report(finding(tensors=tensors)))
    assert text.count(".weight") == min(number, MOST_TENSORS)
    rest = number - MOST_TENSORS
    assert (f" and {rest:,} more" in text) == (rest > 0)
    assert render(report(finding(tensors=tensors)), verbose=True).count(".weight") == number


@pytest.mark.parametrize("number", [1, MOST_OF_A_RULE, MOST_OF_A_RULE + 1, MOST_OF_A_RULE + 200])
def test_many_findings_of_one_rule_are_cut_and_counted(number):
    findings = [finding(tensors=(f"h.{at}.weight",)) for at in range(number)]
    text = render(report(*findings))
    assert text.count("error   IA101") == min(number, MOST_OF_A_RULE)
    rest = number - MOST_OF_A_RULE
    assert (f"{rest:,} more of IA101" in text) == (rest > 0)
    assert render(report(*findings), verbose=True).count("error   IA101") == number


def test_findings_of_one_rule_do_not_hide_those_of_another():
    findings = [finding(tensors=(f"h.{at}.weight",)) for at in range(3 * MOST_OF_A_RULE)]
    assert "IA401" in render(report(*findings, finding(WARNING, "IA401")))


def test_an_audit_puts_the_worst_findings_first():
    found = initaudit.check(FIXTURES / "bad").findings
    for path in {one.checkpoint for one in found}:
        ranks = [(one.severity.rank, one.rule) for one in found if one.checkpoint == path]
        assert ranks == sorted(ranks)


def test_findings_are_ordered_by_severity_then_rule_then_place():
    rows = [
        finding(ERROR, "IA101", ("a",)),
        finding(ERROR, "IA101", ("b",)),
        finding(ERROR, "IA501", ("a",)),
        finding(WARNING, "IA102", ("a",)),
        finding(INFO, "IA101", ("a",)),
    ]
    assert sorted([rows[4], *rows[1:4], rows[0]], key=Finding.order) == rows


@pytest.mark.parametrize(
    ("findings", "words"),
    [
        ([], "No findings in 1 checkpoint (1 tensor judged by 0 rules)"),
        ([ERROR], "Found 1 error in"),
        ([ERROR] * 2, "Found 2 errors in"),
        ([WARNING], "Found 1 warning in"),
        ([WARNING] * 3, "Found 3 warnings in"),
        ([INFO], "Found 1 info in"),
        ([INFO] * 2, "Found 2 info in"),
        ([ERROR, WARNING, INFO], "Found 1 error, 1 warning, 1 info in"),
        ([WARNING, INFO], "Found 1 warning, 1 info in"),
    ],
    ids=lambda value: "-".join(value) or "none" if isinstance(value, list) else "",
)
def test_the_verdict_counts_by_severity(findings, words):
    assert verdict(report(*map(finding, findings))).startswith(words)


def test_the_verdict_points_at_the_page_of_the_worst_rule():
    assert verdict(report(finding(ERROR, "IA501"), finding(WARNING, "IA401"))).endswith("Why: initaudit rule IA501")


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"unread": (Failure("x", "is empty"),)}, "1 failure"),
        ({"unread": (Failure("x", "is empty"),) * 2}, "2 failures"),
        ({"failures": (Failure("m.safetensors", "rule IA999 crashed"),)}, "1 failure"),
        ({"not_judged": (NotJudged("m.safetensors", "step", "I64", "integers"),)}, "1 not judged (--verbose)"),
        ({"intended": (Intended("IA101", "m.safetensors", "b", "zero residual"),)}, "1 intended (--show-intended)"),
        ({"judged": 1234}, "(1,234 tensors judged by"),
    ],
    ids=["failure", "failures", "crashed-rule", "not-judged", "intended", "many"],
)
def test_the_verdict_says_what_was_not_looked_at(about, words):
    assert words in verdict(report(**about))


def test_where_nothing_was_audited_the_verdict_is_no_praise():
    line = verdict(Report((), (Failure("x", "is empty"),), ()))
    assert line.startswith("Nothing was audited")
    assert "No findings" not in line


def test_what_was_asked_for_is_not_offered_again():
    about = {
        "not_judged": (NotJudged("m.safetensors", "step", "I64", "integers"),),
        "intended": (Intended("IA101", "m.safetensors", "b", "zero residual"),),
    }
    assert "--" not in verdict(report(**about), verbose=True, show_intended=True)


def test_notes_are_shown_with_the_checkpoint():
    assert "note  left alone: b.safetensors" in render(report(notes=("left alone: b.safetensors",)))


def test_quiet_leaves_a_checkpoint_without_findings_out():
    mixed = Report((audited(path="good.safetensors"), audited(finding(), path="bad.safetensors")), (), ())
    text = render(mixed, quiet=True)
    assert "good.safetensors" not in text
    assert "bad.safetensors" in text
    assert "Found" not in text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_lines_keep_to_the_width_of_the_terminal(width):
    long = finding(tensors=tuple(f"transformer.h.{at}.mlp.c_fc.weight" for at in range(9)), message="zero " * 60)
    text = render(report(long), width=width)
    assert max(map(len, text.splitlines())) <= width


def test_lines_are_not_broken_where_there_is_no_terminal():
    message = "zero " * 100
    assert f"          {message.strip()}" in render(report(finding(message=message.strip()))).splitlines()


def test_colour_changes_no_word():
    plain_text = render(report(finding()))
    coloured = render(report(finding()), color=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain_text


def test_no_line_ends_in_blanks_and_the_text_in_one_newline():
    text = render(report(finding(), finding(WARNING)))
    assert [line for line in text.splitlines() if line != line.rstrip()] == []
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@pytest.mark.parametrize("text", ["[red]x[/red]", "a[/b]", ":smile:", "[link=x]y[/link]"])
def test_markup_in_a_message_or_a_name_is_text(text):
    shown = render(report(finding(message=text, tensors=(text,), advice=text), path=text))
    assert shown.count(text) == 4


@pytest.mark.parametrize("field", ["message", "advice"])
@pytest.mark.parametrize("text", ["a\x1b[31mb", "a\rb", "a\x9bb", "a\u202eb"], ids=ascii)
def test_a_message_that_repeats_a_name_is_never_obeyed(field, text):
    shown = render(report(finding(**{field: f"like {text}"})))
    assert {character for character in shown if not character.isprintable() and character != "\n"} == set()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("fc.weight", "fc.weight"),
        ("größe ☃", "größe ☃"),
        ("", ""),
        ("a\nb", "a\\nb"),
        ("\x1b[0m", "\\x1b[0m"),
        ("\0", "\\x00"),
        ("\ud800", "\\ud800"),
        ("\u2028", "\\u2028"),
    ],
    ids=ascii,
)
def test_what_a_terminal_would_act_upon_is_written_as_an_escape(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("length", [LONGEST, LONGEST + 1, 10**6])
def test_a_long_name_is_cut_in_the_middle(length):
    text = "a" * (length - 7) + ".weight"
    shown = printable(text)
    assert len(shown) == LONGEST
    assert shown.endswith(".weight")
    assert ("..." in shown) == (length > LONGEST)


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [
        (0, "tensor", "0 tensors"),
        (1, "tensor", "1 tensor"),
        (2, "tensor", "2 tensors"),
        (1, "info", "1 info"),
        (2, "info", "2 info"),
        (1234, "failure", "1,234 failures"),
    ],
)
def test_nouns_are_counted(number, noun, words):
    assert counted(number, noun) == words


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1 / 3, 0.3333333),
        (123456789.0, 123456800.0),
        (1.23456789e-30, 1.234568e-30),
        (0.0, 0.0),
        (0.02, 0.02),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (12345678901234, 12345678901234),
        (True, True),
        (None, None),
        ("1/3", "1/3"),
        ((1 / 3, [math.inf]), [0.3333333, [None]]),
        ({"a": {"b": math.nan}}, {"a": {"b": None}}),
    ],
    ids=repr,
)
def test_json_has_finite_numbers_of_some_digits(value, shown):
    found = plain(value)
    assert found == shown
    assert type(found) is type(shown)


def test_sums_that_differ_by_rounding_print_alike():
    values = [math.fsum([0.1] * 10), sum([0.1] * 10), 1.0 + 4e-16]
    assert len(set(values)) > 1
    assert len({json.dumps(plain(value)) for value in values}) == 1


def test_the_json_of_a_report_holds_all_tensors_however_many():
    tensors = tuple(f"h.{at}.weight" for at in range(100))
    (row,) = json.loads(report(finding(tensors=tensors)).to_json())["findings"]
    assert row["tensors"] == list(tensors)
    assert row["tensor"] == "h.0.weight"


def test_evidence_that_is_no_number_is_null():
    (row,) = json.loads(report(finding(evidence={"gain": math.nan, "stds": [math.inf, 0.5]})).to_json())["findings"]
    assert row["evidence"] == {"gain": None, "stds": [None, 0.5]}


@pytest.mark.parametrize(
    ("fail_on", "rules"),
    [
        ("error", ["IA101"]),
        ("warning", ["IA101", "IA401"]),
        ("info", ["IA101", "IA401", "IA402"]),
        ("never", []),
    ],
)
def test_failing_are_the_findings_at_or_above_a_severity(fail_on, rules):
    mixed = report(finding(ERROR, "IA101"), finding(WARNING, "IA401"), finding(INFO, "IA402"))
    assert [one.rule for one in mixed.failing(fail_on)] == rules


@pytest.mark.parametrize(
    ("severity", "fail_on", "ok"),
    [
        (ERROR, "error", False),
        (WARNING, "error", True),
        (WARNING, "warning", False),
        (INFO, "warning", True),
        (INFO, "info", False),
        (ERROR, "never", True),
    ],
    ids=str,
)
def test_a_report_is_ok_where_nothing_fails(severity, fail_on, ok):
    one = report(finding(severity))
    assert one.ok(fail_on) == ok
    assert one.exit_status(fail_on) == int(not ok)


def test_a_report_that_is_not_whole_is_never_ok():
    one = report(unread=(Failure("x", "is empty"),))
    assert not one.ok("never")
    assert one.exit_status("never") == 2
    with pytest.raises(FindingsError):
        one.raise_for_findings("never")


@pytest.mark.parametrize("ask", ["ok", "failing", "exit_status", "raise_for_findings"])
def test_a_severity_that_is_none_is_refused(ask):
    with pytest.raises(ValueError, match="fatal"):
        getattr(report(finding()), ask)("fatal")


def test_raising_for_findings_says_what_was_found():
    with pytest.raises(FindingsError, match=r"IA101 zero-weight  fc\.weight"):
        report(finding()).raise_for_findings()


def test_raising_for_what_could_not_be_read_says_why():
    with pytest.raises(FindingsError, match="is empty"):
        report(unread=(Failure("x.safetensors", "is empty"),)).raise_for_findings()


def test_nothing_is_raised_where_nothing_was_found():
    report(finding(WARNING)).raise_for_findings()
    report(finding(ERROR)).raise_for_findings("never")


def test_counts_are_those_of_all_checkpoints():
    intended = (Intended("IA101", "a", "b", "zero residual"),)
    whole = Report((audited(finding(), finding(INFO)), audited(finding(), intended=intended)), (), ())
    assert whole.counts == {"error": 2, "warning": 0, "info": 1, "intended": 1}


def test_failures_are_those_of_files_and_of_rules():
    one = report(unread=(Failure("x", "is empty"),), failures=(Failure("m.safetensors", "rule IA999 crashed"),))
    assert [failure.path for failure in one.failures] == ["x", "m.safetensors"]


def test_a_good_checkpoint_makes_no_fuss_in_python():
    initaudit.check(FIXTURES / "good" / "gpt2").raise_for_findings("info")


@pytest.mark.parametrize(
    ("of", "shown"),
    [
        (report(finding(), finding(WARNING), finding(WARNING)), "<Report: 1 error, 2 warnings in 1 checkpoint>"),
        (report(), "<Report: no findings in 1 checkpoint>"),
        (report(unread=(Failure("x", "no such file"),)), "<Report: no findings in 1 checkpoint, 1 failure>"),
    ],
    ids=["findings", "none", "failure"],
)
def test_a_notebook_shows_a_report_in_one_line(of, shown):
    assert repr(of) == shown


def test_a_report_prints_as_the_command_does_with_what_was_not_audited_below():
    assert str(report(finding())) + "\n" == render(report(finding()))
    assert str(report(unread=(Failure("x", "no such file"),))).endswith("\nx: no such file")


REMEDY = Remedy("constant", "constant", {"value": 1.0}, "by its role")


@pytest.mark.parametrize(
    ("of", "command"),
    [
        (report(finding(repair=REMEDY)), "initaudit fix m.safetensors --dry-run"),
        (report(finding(repair=REMEDY), path="my model.pt"), "initaudit fix 'my model.pt' --dry-run"),
    ],
    ids=["plain", "quoted"],
)
def test_the_verdict_says_how_to_redraw(of, command):
    assert verdict(of).endswith(f"Why: initaudit rule IA101. Redraw: {command}")


@pytest.mark.parametrize(
    "of",
    [
        report(finding()),
        report(finding(INFO, repair=REMEDY)),
        report(finding(repair=REMEDY, beyond_repair="it is trained")),
    ],
    ids=["no remedy", "info", "beyond repair"],
)
def test_the_verdict_offers_no_repair_where_there_is_none(of):
    assert verdict(of).endswith(f"Why: initaudit rule {of.findings[0].rule}")


@pytest.mark.parametrize(
    ("number", "words"), [(1, "1 byte"), (999, "999 bytes"), (1500, "1.5 kB"), (10**10, "10.0 GB")]
)
def test_sizes_are_said_in_decimal_units(number, words):
    assert byte_size(number) == words


LONG_NOTE = "left alone: " + ", ".join(f"shard-{number}.safetensors" for number in range(20))


@pytest.mark.parametrize("form", [render, concise.render, markdown.render], ids=["text", "concise", "markdown"])
def test_notes_are_said_in_full_in_what_people_read(form):
    said = form(Report((audited(notes=(LONG_NOTE,)),), (), (), ("an ignore matched nothing",)))
    assert LONG_NOTE in said
    assert "an ignore matched nothing" in said


def test_concise_and_quiet_has_no_notes():
    assert concise.render(report(notes=(LONG_NOTE,)), quiet=True) == ""


@pytest.mark.parametrize("form", [render, concise.render], ids=["text", "concise"])
def test_there_is_no_table_of_statistics_without_findings(form):
    assert form(report(), statistics=True).splitlines() == [verdict(report())]
