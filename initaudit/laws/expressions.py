"""The expressions of laws: numbers, names, ``+ - * / **``, unary minus, and a few functions.

They bind as in Python. An expression is a tree of frozen values: two are equal if they are written alike.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from initaudit.errors import LawError
from initaudit.laws.setting import CONFIG, NAMES, Setting, is_name

FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "sqrt": math.sqrt,
    "log": math.log,
    "exp": math.exp,
    "min": min,
    "max": max,
}
SEVERAL = ("min", "max")
"""The functions of two and more arguments; the others take one."""

_OPERATORS: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "**": math.pow,
}
_SUM, _PRODUCT, _MINUS, _POWER, _ATOM = range(5)
_RANKS = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "**": _POWER}

WHOLE = 1e15
"""Up to here all digits of a whole number are shown."""

LONGEST_SHOWN = 60
"""Characters of somebody's text that a message repeats."""


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number from zero up; a negative one is the `Negative` of another."""

    value: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value) or math.copysign(1, self.value) < 0:
            raise LawError(f"{self.value!r} is no finite number from zero up")

    def __str__(self) -> str:
        return digits(self.value)


@dataclass(frozen=True, slots=True)
class Name:
    """Something of the tensor or its model: ``fan_in``, ``config.initializer_range``."""

    text: str

    def __post_init__(self) -> None:
        if not is_name(self.text):
            names = ", ".join(NAMES)
            raise LawError(f"{shown(self.text)} is no name of a law: there are {names}, and keys as {CONFIG}KEY")

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Negative:
    """A number with its sign turned."""

    operand: "Expression"

    def __str__(self) -> str:
        return f"-{_within(self.operand, _MINUS)}"


@dataclass(frozen=True, slots=True)
class Binary:
    """Two expressions joined by an operator."""

    operator: str
    left: "Expression"
    right: "Expression"

    def __post_init__(self) -> None:
        if self.operator not in _OPERATORS:
            raise LawError(f"{shown(self.operator)} is no operator of a law")

    def __str__(self) -> str:
        rank = _RANKS[self.operator]
        to_the_right = self.operator == "**"
        left = _within(self.left, rank + to_the_right)
        right = _within(self.right, _MINUS if to_the_right else rank + 1)
        return f"{left} {self.operator} {right}"


@dataclass(frozen=True, slots=True)
class Call:
    """A function of one expression or, for ``min`` and ``max``, of several."""

    function: str
    arguments: tuple["Expression", ...]

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise LawError(f"{shown(self.function)} is no function of a law: there are {', '.join(FUNCTIONS)}")
        several = self.function in SEVERAL
        if len(self.arguments) < 2 if several else len(self.arguments) != 1:
            raise LawError(f"{self.function} takes {'two arguments or more' if several else 'one argument'}")

    def __str__(self) -> str:
        return f"{self.function}({', '.join(map(str, self.arguments))})"


Expression: TypeAlias = Number | Name | Negative | Binary | Call


def number(value: float) -> Expression:
    """The expression of a finite number of either sign."""
    return Negative(Number(-value)) if value < 0 else Number(float(value) + 0.0)


def evaluate(expression: Expression, setting: Setting) -> float:
    """The number that an expression has in a setting, always finite.

    Raises:
        LawError: a name is not known there, or there is no such number.

    """
    try:
        value = _evaluated(expression, setting)
    except (ZeroDivisionError, ValueError, OverflowError) as error:
        raise LawError(f"{expression} has no number here: {error}") from error
    if not math.isfinite(value):
        raise LawError(f"{expression} has no number here: it overflows")
    return value


def _evaluated(expression: Expression, setting: Setting) -> float:
    """The number of an expression; one that is not finite within it may come out as anything but finite."""
    match expression:
        case Number(value):
            return value
        case Name(text):
            return setting.number(text)
        case Negative(operand):
            return -_evaluated(operand, setting)
        case Binary(operator, left, right):
            return _finite(_OPERATORS[operator](_evaluated(left, setting), _evaluated(right, setting)))
        case Call(function, arguments):
            return _finite(FUNCTIONS[function](*(_evaluated(argument, setting) for argument in arguments)))


def _finite(value: float) -> float:
    """A number as it is, if it is one: an infinity might vanish again, in a division or in ``min``."""
    if not math.isfinite(value):
        raise OverflowError("it overflows")
    return value


def names_in(expression: Expression) -> Iterator[str]:
    """The names that an expression holds, from left to right."""
    match expression:
        case Name(text):
            yield text
        case Negative(operand):
            yield from names_in(operand)
        case Binary(_, left, right):
            yield from names_in(left)
            yield from names_in(right)
        case Call(_, arguments):
            for argument in arguments:
                yield from names_in(argument)


def digits(value: float) -> str:
    """The fewest digits that read back as the same number: ``2``, ``0.02``, ``1e-5``."""
    if value == int(value) and value < WHOLE:
        return str(int(value))
    mantissa, found, exponent = repr(value).partition("e")
    return f"{mantissa}e{int(exponent)}" if found else mantissa


def shown(text: str) -> str:
    """Somebody's text as a message repeats it: quoted, on one line and not long."""
    return repr(text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…")


def _within(expression: Expression, lowest: int) -> str:
    """An expression as part of another, in parentheses where it binds less than that asks for."""
    rank = _ATOM
    if isinstance(expression, Binary):
        rank = _RANKS[expression.operator]
    elif isinstance(expression, Negative):
        rank = _MINUS
    return str(expression) if rank >= lowest else f"({expression})"
