"""The list of what a verdict does not obey yet names what there is, and work that will mend it."""

from tests.laws.conventions import PAIRS
from tests.laws.not_yet import GRADIENT, NOT_YET, ONE_RECIPE, SIBLINGS
from tests.laws.subjects import SUBJECTS
from tests.laws.test_chance import LAWS
from tests.laws.test_nesting import LIVE


def test_every_listed_case_is_a_subject() -> None:
    listed = {name for reasons in NOT_YET.values() for names in reasons.values() for name in names}
    assert listed <= SUBJECTS.keys() | LIVE.keys() | PAIRS.keys() | set(LAWS)


def test_every_reason_is_work_that_is_known() -> None:
    reasons = {reason for reasons in NOT_YET.values() for reason in reasons}
    assert reasons <= {ONE_RECIPE, SIBLINGS, GRADIENT}


def test_no_case_is_listed_twice() -> None:
    for reasons in NOT_YET.values():
        names = [name for listed in reasons.values() for name in listed]
        assert len(names) == len(set(names))
