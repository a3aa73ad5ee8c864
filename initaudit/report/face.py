"""The report as `initaudit.check` returns it: an outcome that can print itself."""

from initaudit.errors import InitauditError
from initaudit.outcome import Outcome
from initaudit.report import json, text


class FindingsError(InitauditError):
    """A report has findings at or above the severity that was asked about, or is not whole."""


class Report(Outcome):
    """The outcome of one audit. As a string it is what ``initaudit check`` prints, with what was not audited below."""

    @classmethod
    def of(cls, outcome: Outcome) -> "Report":
        """The same outcome, which can print itself."""
        return cls(outcome.audited, outcome.unread, outcome.rules, outcome.notes)

    def __str__(self) -> str:
        return "\n".join([text.render(self).rstrip("\n"), *map(str, self.failures)])

    def __repr__(self) -> str:
        said = ", ".join(text.found(self)) or "no findings"
        failed = f", {text.counted(len(self.failures), 'failure')}" if self.failures else ""
        return f"<Report: {said} in {text.counted(len(self.audited), 'checkpoint')}{failed}>"

    def raise_for_findings(self, fail_on: str = "error") -> None:
        """Do nothing where `ok` holds.

        Raises:
            FindingsError: its message is the report as text.

        """
        if not self.ok(fail_on):
            raise FindingsError(str(self))

    def to_json(self) -> str:
        """The report as the JSON document that ``--output-format json`` prints."""
        return json.render(self)
