"""Reading laws and their expressions from text that may be anything: in one pass, with bounds on length and depth."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from initaudit.errors import LawError
from initaudit.laws.expressions import Binary, Call, Expression, Name, Negative, Number, shown
from initaudit.laws.law import FAMILIES, POSITIONAL, TABLES, Law

LONGEST = 1000
"""Characters of a law: those of the field have under a hundred."""

MOST_TOKENS = 200
DEEPEST = 32
"""Parts of a law, and how deep they may lie within each other."""

_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
        (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
      | (?P<sign>\*\*|[-+*/(),=])
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)


def parse_law(text: str) -> Law:
    """The law that a text is: a family alone, or ``family(parameter = expression, …)``.

    Raises:
        LawError: it is none.

    """
    reader = _Reader(text)
    law = reader.law()
    reader.finish()
    return law


def parse_expression(text: str) -> Expression:
    """The expression that a text is.

    Raises:
        LawError: it is none.

    """
    reader = _Reader(text)
    expression = reader.expression()
    reader.finish()
    return expression


class _Reader:
    """A text, read token by token from its start."""

    def __init__(self, text: str) -> None:
        self._text = text
        if len(text) > LONGEST:
            raise LawError(f"{shown(text)} is no law: it has more than {LONGEST:,} characters")
        self._tokens = list(self._split())
        self._at = self._depth = 0

    def _split(self) -> Iterator[tuple[str, str]]:
        """The kind and the text of each token; the last is the end."""
        at = 0
        for _ in range(MOST_TOKENS):
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise self._error(f"{shown(self._text[at:].strip()[:1])} has no meaning in a law")
            kind = str(match.lastgroup)
            yield kind, match[kind]
            if kind == "end":
                return
            at = match.end()
        raise self._error(f"it has more than {MOST_TOKENS} parts")

    def law(self) -> Law:
        """A law."""
        kind, family = self._next()
        if kind != "name":
            raise self._error("a law begins with the name of its family")
        if family == "table":
            self._expect("(")
            kind, family = self._next()
            if family not in TABLES:
                raise self._error(f"no table is called {shown(family)}: there are {', '.join(TABLES)}")
            return Law(family, self._parameters(family) if self._takes(",") else self._closed())
        if family not in FAMILIES:
            raise LawError(f"no law is called {shown(family)}: there are {', '.join(FAMILIES)}")
        if not self._takes("("):
            return Law(family)
        return Law(family, self._closed() if self._peek() == ")" else self._parameters(family))

    def _closed(self) -> tuple[tuple[str, Expression], ...]:
        self._expect(")")
        return ()

    def _parameters(self, family: str) -> tuple[tuple[str, Expression], ...]:
        """The parameters of a family, up to the closing parenthesis."""
        if not FAMILIES[family][0]:
            raise self._error(f"{family} takes no parameters")
        found = []
        while True:
            name = POSITIONAL.get(family, "")
            if not name or self._tokens[self._at : self._at + 2] == [("name", name), ("sign", "=")]:
                kind, name = self._next()
                if kind != "name" or not self._takes("="):
                    raise self._error(f"{family} takes its parameters by name, as in {_example(family)}")
            found.append((name, self.expression()))
            if not self._takes(","):
                self._expect(")")
                return tuple(found)

    def expression(self) -> Expression:
        """A sum, or less."""
        found = self._product()
        while (operator := self._peek()) in ("+", "-"):
            self._next()
            found = Binary(operator, found, self._product())
        return found

    def finish(self) -> None:
        """See that nothing follows."""
        kind, token = self._next()
        if kind != "end":
            raise self._error(f"{shown(token)} is not expected there")

    def _product(self) -> Expression:
        found = self._unary()
        while (operator := self._peek()) in ("*", "/"):
            self._next()
            found = Binary(operator, found, self._unary())
        return found

    def _unary(self) -> Expression:
        with self._deeper():
            if self._takes("-"):
                return Negative(self._unary())
            base = self._atom()
            return Binary("**", base, self._unary()) if self._takes("**") else base

    def _atom(self) -> Expression:
        kind, token = self._next()
        if kind == "number":
            return self._number(token)
        if kind == "name":
            return self._call(token) if self._takes("(") else Name(token)
        if token == "(":
            found = self.expression()
            self._expect(")")
            return found
        raise self._error(f"{shown(token)} is not expected there" if token else "it ends too early")

    def _number(self, token: str) -> Number:
        try:
            return Number(float(token))
        except LawError:
            raise self._error(f"{shown(token)} is too large a number") from None

    def _call(self, function: str) -> Call:
        arguments = []
        while self._peek() != ")":
            arguments.append(self.expression())
            if not self._takes(","):
                break
        self._expect(")")
        return Call(function, tuple(arguments))

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error(f"its parts lie more than {DEEPEST} deep within each other")
        yield
        self._depth -= 1

    def _peek(self) -> str:
        return self._tokens[self._at][1]

    def _next(self) -> tuple[str, str]:
        """The next token; the end is there however often one asks."""
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _takes(self, sign: str) -> bool:
        """Whether the next token is a sign, which is passed then."""
        if self._tokens[self._at] != ("sign", sign):
            return False
        self._next()
        return True

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            following = self._peek()
            where = f"before {shown(following)}" if following else "at its end"
            raise self._error(f"{shown(sign)} is expected {where}")

    def _error(self, what: str) -> LawError:
        return LawError(f"{shown(self._text)} is no law: {what}")


def _example(family: str) -> str:
    return f"{family}({', '.join(f'{name} = …' for name, usual in FAMILIES[family][0] if usual != 0)})"
