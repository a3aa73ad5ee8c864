"""JUnit's XML, which every CI shows: a suite for each checkpoint, a case for each rule that was held to it."""

from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from initaudit.findings import Failure
from initaudit.groups import Group
from initaudit.outcome import Audited, Outcome
from initaudit.report.escaping import LONGEST_TEXT, printable
from initaudit.rule import Rule, Severity


def render(report: Outcome) -> str:
    """A case fails by an error or a warning of its rule; an info is written under it. What was not read is an error."""
    suites = Element("testsuites", name="initaudit")
    for one in report.audited:
        suites.append(_suite(one, report.rules))
    for failure in report.unread:
        suite = Element(
            "testsuite", name=printable(failure.path), tests="1", failures="0", errors="1", skipped="0", time="0"
        )
        suite.append(_error(failure))
        suites.append(suite)
    for number in ("tests", "failures", "errors", "skipped"):
        suites.set(number, str(sum(int(suite.get(number, "0")) for suite in suites)))
    suites.set("time", "0")
    for note in report.notes:
        SubElement(
            SubElement(suites, "properties"), "property", name="note", value=printable(note, longest=LONGEST_TEXT)
        )
    ElementTree.indent(suites, " ")
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _suite(one: Audited, rules: tuple[Rule, ...]) -> Element:
    cases = [_case(one, rule) for rule in rules]
    cases += [_error(failure) for failure in one.failures if not failure.rule]
    suite = Element("testsuite", name=printable(one.checkpoint.path))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("tests", str(len(cases)))
    suite.set("time", "0")  # equal runs are to print alike
    suite.extend(cases)
    return suite


def _case(one: Audited, rule: Rule) -> Element:
    case = Element("testcase", classname=printable(one.checkpoint.path), name=f"{rule.code} {rule.name}", time="0")
    for failure in one.failures:
        if failure.rule == rule.code:
            SubElement(case, "error", message=printable(failure.message, longest=LONGEST_TEXT), type="error")
    if rule.code in one.skipped:
        SubElement(case, "skipped", message="the checkpoint is not fresh")
    found = [finding for finding in one.groups if finding.rule == rule.code]
    wrong = [finding for finding in found if finding.severity is not Severity.INFO]
    if wrong:
        failed = SubElement(case, "failure", message=rule.summary, type=wrong[0].severity.value)
        failed.text = "\n".join(map(_line, wrong))
    known = [finding for finding in found if finding.severity is Severity.INFO]
    if known:
        SubElement(case, "system-out").text = "\n".join(map(_line, known))
    return case


def _error(failure: Failure) -> Element:
    case = Element("testcase", classname=printable(failure.path), name="read", time="0")
    SubElement(case, "error", message=printable(failure.message, longest=LONGEST_TEXT), type="error")
    return case


def _line(finding: Group) -> str:
    names = ", ".join(map(printable, finding.tensors))
    return f"{finding.severity.value}: {names}: {printable(finding.message, longest=LONGEST_TEXT)}"
