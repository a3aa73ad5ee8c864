"""A law: the family that a tensor is drawn from, or what else it holds, with the formulas of its parameters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from initaudit.errors import LawError
from initaudit.laws.expressions import Expression, Number, names_in, number, shown


class Parameter(NamedTuple):
    """What a family takes, and what that is where a law does not say; None where it has to."""

    name: str
    usual: float | None = None


Form: TypeAlias = tuple[Parameter, ...]
"""One set of parameters that a family takes."""

_BOTH_ENDS = (Parameter("low"), Parameter("high"))

FAMILIES: Mapping[str, tuple[Form, ...]] = {
    "normal": ((Parameter("std"), Parameter("mean", 0.0)),),
    "uniform": ((Parameter("bound"),), _BOTH_ENDS),
    "trunc_normal": ((Parameter("std"), Parameter("cut", 2.0), Parameter("mean", 0.0)),),
    "orthogonal": ((Parameter("gain", 1.0),),),
    "sparse": ((Parameter("connections"), Parameter("std")),),
    "constant": ((Parameter("value"),),),
    "zeros": ((),),
    "ones": ((),),
    "identity": ((),),
    "log_uniform": (_BOTH_ENDS,),
    "time_step": (_BOTH_ENDS,),
    "sinusoidal": ((),),
    "rotary": ((Parameter("base", 10000.0),),),
    "log_arange": ((),),
    "derived": ((),),
}
"""The families and the parameters of each, in the order in which they are written."""

TABLES = ("sinusoidal", "rotary", "log_arange")
"""The families that are computed and not drawn, written as ``table(rotary, base = 10000)``."""

POSITIONAL = {"constant": "value"}
"""The parameters that go without their names."""


@dataclass(frozen=True, slots=True)
class Law:
    """A family and its parameters, all of them and in the family's order, whatever was given.

    - ``normal(std, mean = 0)``.
    - ``uniform(bound)`` within ±bound, or ``uniform(low, high)``.
    - ``trunc_normal(std, cut = 2, mean = 0)``: a normal cut at ±cut·std about its mean, where ``std`` is the deviation
      *before* the cut, as `torch.nn.init.trunc_normal_` and TensorFlow take it; what is drawn deviates by less
      (`shrink`). torch states its cut in values, not in deviations.
    - ``orthogonal(gain = 1)``.
    - ``sparse(connections, std)``: so many inputs of each unit drawn with ``std``, the others zero.
    - ``constant(value)``, ``zeros``, ``ones``; ``identity``: one on the diagonal, of a kernel's middle.
    - ``log_uniform(low, high)``: the logarithm of a uniform draw, as ``A_log`` of Mamba-2.
    - ``time_step(low, high)``: what softplus makes a step between the two of, drawn evenly in its logarithm, as
      Mamba's ``dt_bias``.
    - ``table(sinusoidal)``; ``table(rotary, base = 10000)``: base^(-2i/d); ``table(log_arange)``: ln 1 … ln N a row.
    - ``derived``: computed from other tensors.

    Raises:
        LawError: there is no such family, or it does not take these parameters.

    """

    family: str
    parameters: tuple[tuple[str, Expression], ...] = ()

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise LawError(f"no law is called {shown(self.family)}: there are {', '.join(FAMILIES)}")
        given = dict(self.parameters)
        if len(given) < len(self.parameters):
            raise LawError(f"{self.family} is given a parameter twice")
        form = _form(self.family, given)
        whole = tuple((name, given.get(name) or number(usual or 0.0)) for name, usual in form)
        object.__setattr__(self, "parameters", whole)

    @classmethod
    def of(cls, family: str, **parameters: float | Expression) -> "Law":
        """The law of a family with parameters that are numbers or formulas."""
        given = ((name, number(v) if isinstance(v, int | float) else v) for name, v in parameters.items())
        return cls(family, tuple(given))

    def __str__(self) -> str:
        is_table = self.family in TABLES
        given = [self.family] if is_table else []
        usual = {name: value for form in FAMILIES[self.family] for name, value in form}
        for name, expression in self.parameters:
            if usual[name] != 0 or expression != Number(0.0):
                is_named = POSITIONAL.get(self.family) != name
                given.append(f"{name} = {expression}" if is_named else str(expression))
        head = "table" if is_table else self.family
        return f"{head}({', '.join(given)})" if given else head

    def get(self, name: str) -> Expression | None:
        """The formula of a parameter, None where the law has no such parameter."""
        return dict(self.parameters).get(name)

    @property
    def names(self) -> frozenset[str]:
        """What its formulas name: a law without names holds the same numbers everywhere."""
        return frozenset(self._names())

    def _names(self) -> Iterator[str]:
        for _, expression in self.parameters:
            yield from names_in(expression)


def _form(family: str, given: Mapping[str, Expression]) -> Form:
    """The parameters of a family that some given ones belong to.

    Raises:
        LawError: one of them is none of the family's, or one is missing.

    """
    forms = FAMILIES[family]
    for form in forms:
        named = {name for name, _ in form}
        needed = {name for name, usual in form if usual is None}
        if needed <= given.keys() <= named:
            return form
    takes = " or ".join(", ".join(name for name, _ in form) for form in forms) or "no parameters"
    said = ", ".join(shown(name)[1:-1] for name in given) or "none"
    raise LawError(f"{family} takes {takes}, and was given {said}")
