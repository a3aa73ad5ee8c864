"""The draft of a rule: a module that works as it stands, for its author to say what is wrong and how it is decided."""

import keyword
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from initaudit.errors import InitauditError, errno_text
from initaudit.rule import CODE, Rule

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
FIRST_LETTERS = "LOCAL"
"""What the codes of a project's first rule begin with; later ones follow those that are there."""

_DRAFT = '''"""{code}: say in a few words what is wrong."""

from collections.abc import Iterator

from initaudit.examples import bad, constant, good, normal
from initaudit.rule import Fault, Severity, Tensor, rule


@rule(
    code="{code}",
    severity=Severity.WARNING,
    examples=[  # they are the rule's tests: initaudit.testing.cases and check_case run them
        good("a weight that was drawn", {{"fc1.weight": normal(64, 32, std=0.18)}}),
        bad("a weight of one value", {{"fc1.weight": constant(0.5, 64, 32)}}, at="fc1.weight"),
    ],
)
def {function}(tensor: Tensor) -> Iterator[Fault]:
    """Every value of a weight is the same: say here, in one sentence, what your rule finds.

    ## Why is this bad?

    What happens to a training run that starts so.

    ## How is it decided?

    What is measured, held against what, and how often chance would give that.

    ## When is it right?

    Where the finding would be wrong, and how to say so: an ignore with its reason.

    ## What to do

    How to draw it instead.
    """
    values = tensor.statistics  # taken from the one pass over the file: mean, std, extremes, zeros, rows and columns
    if tensor.is_weight and values.is_constant:
        yield tensor.fault(
            f"all {{tensor.count:,}} values are {{values.minimum:.4g}}; expected a draw",
            advice="draw it at random",
            value=values.minimum,
        )
'''


def draft_rule(name: str, folder: Path, rules: Mapping[str, Rule], *, code: str | None = None) -> tuple[Path, str]:
    """Write the draft of a rule called ``name`` into a folder of rules, and return its file and its code.

    The folder is made where there is none. Without a ``code`` the next of those that the folder's rules have is taken.

    Raises:
        InitauditError: the name or code is none, or in use; the file is there already, or cannot be written.

    """
    function = name.replace("-", "_")
    if not NAME.fullmatch(name) or keyword.iskeyword(function):
        raise InitauditError(f"{name!r} is no name for a rule: lower-case words joined by hyphens, as zero-weight")
    if any(rule.name == name for rule in rules.values()):
        raise InitauditError(f"a rule called {name} is there already")
    code = code or _next_code(rules.values(), folder)
    if not CODE.fullmatch(code):
        raise InitauditError(f"{code!r} is no code for a rule: capital letters and digits, as ACME001")
    if code in rules:
        raise InitauditError(f"code {code} is in use by {rules[code].name}")
    file = folder / f"{function}.py"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as written:
            written.write(_DRAFT.format(code=code, function=function))
    except OSError as error:
        raise InitauditError(f"{file}: cannot be written: {errno_text(error)}") from error
    return file, code


def _next_code(rules: Iterable[Rule], folder: Path) -> str:
    """The code behind the last of a folder's own rules, in their letters."""
    ours = folder.absolute()
    codes = sorted(rule.code for rule in rules if rule.file is not None and rule.file.absolute().parent == ours)
    letters = codes[-1].rstrip("0123456789") if codes else FIRST_LETTERS
    taken = {int(rule.code[len(letters) :]) for rule in rules if re.fullmatch(rf"{letters}\d{{1,9}}", rule.code)}
    return f"{letters}{max(taken, default=0) + 1:03d}"
