"""JUnit's XML, which every CI shows: a suite for each checkpoint, a case for each rule that was held to it."""

from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from initaudit.findings import Audited, Failure, Finding, Report
from initaudit.report.escaping import printable
from initaudit.rule import Rule, Severity

LONGEST_TEXT = 2000


def render(report: Report) -> str:
    """A case fails by an error or a warning of its rule; an info is written under it. What was not read is an error."""
    suites = Element("testsuites", name="initaudit")
    for one in report.audited:
        suites.append(_suite(one, report.rules))
    for failure in report.unread:
        suite = Element("testsuite", name=printable(failure.path), tests="1", failures="0", errors="1", skipped="0")
        suite.append(_error(failure))
        suites.append(suite)
    for number in ("tests", "failures", "errors", "skipped"):
        suites.set(number, str(sum(int(suite.get(number, "0")) for suite in suites)))
    for note in report.notes:
        SubElement(SubElement(suites, "properties"), "property", name="note", value=printable(note, longest=2000))
    ElementTree.indent(suites, " ")
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _suite(one: Audited, rules: tuple[Rule, ...]) -> Element:
    found: dict[str, list[Finding]] = {}
    for finding in one.findings:
        found.setdefault(finding.rule, []).append(finding)
    cases = [_case(one.checkpoint.path, rule, found.get(rule.code, [])) for rule in rules]
    cases += [_error(failure) for failure in one.failures]
    suite = Element("testsuite", name=printable(one.checkpoint.path))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("tests", str(len(cases)))
    suite.extend(cases)
    return suite


def _case(path: str, rule: Rule, findings: list[Finding]) -> Element:
    case = Element("testcase", classname=printable(path), name=f"{rule.code} {rule.name}", time="0")
    wrong = [finding for finding in findings if finding.severity is not Severity.INFO]
    if wrong:
        failure = SubElement(case, "failure", message=rule.summary, type=wrong[0].severity.value)
        failure.text = "\n".join(map(_line, wrong))
    known = [finding for finding in findings if finding.severity is Severity.INFO]
    if known:
        SubElement(case, "system-out").text = "\n".join(map(_line, known))
    return case


def _error(failure: Failure) -> Element:
    case = Element("testcase", classname=printable(failure.path), name="read", time="0")
    SubElement(case, "error", message=printable(failure.message, longest=LONGEST_TEXT), type="error")
    return case


def _line(finding: Finding) -> str:
    names = ", ".join(map(printable, finding.tensors))
    return f"{finding.severity.value}: {names}: {printable(finding.message, longest=LONGEST_TEXT)}"
