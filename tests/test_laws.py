"""The grammar of laws: what is read, what is written, what it is in numbers, and what is refused."""

import ast
import math
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from initaudit.errors import InitauditError
from initaudit.laws import (
    FAMILIES,
    Expression,
    Law,
    LawError,
    Setting,
    evaluate,
    named_law,
    named_scale,
    number,
    parse_expression,
    parse_law,
    settle,
    shrink,
    words,
)
from initaudit.laws.expressions import Binary, Call, Name, Negative, Number
from initaudit.laws.scales import BASES, DEPTHS, SCALES
from initaudit.laws.setting import NAMES
from tests.checkpoints import ROOT

CONFIG = {"initializer_range": 0.02, "hidden": 64, "text_config": {"std": 0.5}, "tied": True, "act": "gelu"}
SETTING = Setting(
    fan_in=64,
    fan_out=96,
    torch_fan_in=32,
    torch_fan_out=48,
    rows=96,
    groups=2,
    block=3,
    blocks=12,
    width=128,
    config=CONFIG,
    units=96,
)
KNOWN = [*NAMES, "config.initializer_range", "config.hidden", "config.text_config.std"]

numbers = st.floats(0, 1e300, allow_subnormal=True).map(lambda value: Number(value + 0.0)) | st.integers(0, 9).map(
    number
)
names = st.sampled_from(KNOWN).map(Name)


def larger(parts: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    binary = st.builds(Binary, st.sampled_from(["+", "-", "*", "/", "**"]), parts, parts)
    one = st.builds(Call, st.sampled_from(["sqrt", "log", "exp"]), st.tuples(parts))
    several = st.builds(Call, st.sampled_from(["min", "max"]), st.lists(parts, min_size=2, max_size=3).map(tuple))
    return binary | one | several | st.builds(Negative, parts)


expressions = st.recursive(numbers | names, larger, max_leaves=12)
forms = [(family, [name for name, _ in form]) for family, forms in FAMILIES.items() for form in forms]
laws = st.sampled_from(forms).flatmap(
    lambda form: st.builds(Law, st.just(form[0]), st.tuples(*(st.tuples(st.just(n), expressions) for n in form[1])))
)


def readable(text: str) -> bool:
    """Whether a text is within the bounds of what is read at all."""
    return len(text) <= 900 and len(re.findall(r"\*\*|[\w.]+|\S", text)) < 180


@given(expressions)
def test_an_expression_reads_back_as_it_was_written(expression: Expression) -> None:
    if readable(str(expression)):
        assert parse_expression(str(expression)) == expression


@given(laws)
def test_a_law_reads_back_as_it_was_written(law: Law) -> None:
    if readable(str(law)):
        assert parse_law(str(law)) == law
        assert hash(parse_law(str(law))) == hash(law)


def by_python(text: str) -> float | None:
    """What Python makes of an expression, None where it is no finite real number, or not one on the way."""
    known = {name: SETTING.number(name) for name in KNOWN}
    safe = re.sub(r"config\.[\w.]+", lambda match: match[0].replace(".", "_"), text)
    # A number of Python's may be whole, and grow without end, or its power be complex; a float's may not.
    tree = ast.parse(safe, mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            node.value = float(node.value)
    scope: dict[str, Any] = {name.replace(".", "_"): float(value) for name, value in known.items()}
    scope |= {name: getattr(math, name) for name in ("sqrt", "log", "exp")} | {"min": min, "max": max}
    try:
        value = eval(compile(tree, "law", "eval"), {"__builtins__": {}}, scope)
    except (ArithmeticError, ValueError, TypeError):
        return None
    return value if isinstance(value, float) and math.isfinite(value) else None


@given(expressions)
@settings(max_examples=300)
def test_an_expression_has_the_number_that_python_gives_it(expression: Expression) -> None:
    expected = by_python(str(expression))
    try:
        value = evaluate(expression, SETTING)
    except LawError:  # an infinity on the way is refused here, and may vanish again there
        assert expected is None or "inf" in str(expression) or overflows_within(expression)
    else:
        assert expected is not None
        assert value == expected or math.isclose(value, expected, rel_tol=1e-12)


def overflows_within(expression: Expression) -> bool:
    """Whether a part of an expression has no number of its own."""
    match expression:
        case Negative(operand):
            return overflows_within(operand)
        case Binary(_, left, right):
            parts = [left, right]
        case Call(_, arguments):
            parts = list(arguments)
        case _:
            return False
    return any(by_python(str(part)) is None or overflows_within(part) for part in parts)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("normal(std = 0.02 / sqrt(2 * blocks))", "normal(std = 0.02 / sqrt(2 * blocks))"),
        ("normal(std=1/sqrt(fan_in))", "normal(std = 1 / sqrt(fan_in))"),
        (" uniform ( bound = 1 / sqrt( fan_in ) ) ", "uniform(bound = 1 / sqrt(fan_in))"),
        ("uniform(high = 1, low = -1)", "uniform(low = -1, high = 1)"),
        ("trunc_normal(std = 0.02, cut = 3)", "trunc_normal(std = 0.02, cut = 3)"),
        ("trunc_normal(std = .02)", "trunc_normal(std = 0.02, cut = 2)"),
        ("normal(std = 1e-05, mean = 1)", "normal(std = 1e-5, mean = 1)"),
        ("normal(std = 2e-2, mean = 0)", "normal(std = 0.02)"),
        ("orthogonal", "orthogonal(gain = 1)"),
        ("sparse(connections = 15, std = 1)", "sparse(connections = 15, std = 1)"),
        ("zeros", "zeros"),
        ("zeros()", "zeros"),
        ("constant(0.01)", "constant(0.01)"),
        ("constant(value = -0.5)", "constant(-0.5)"),
        ("sinusoidal", "table(sinusoidal)"),
        ("table(rotary, base = 500000)", "table(rotary, base = 500000)"),
        ("table(rotary)", "table(rotary, base = 10000)"),
        ("derived", "derived"),
        ("log_uniform(low = 1, high = 16)", "log_uniform(low = 1, high = 16)"),
        ("normal(std = config.initializer_range)", "normal(std = config.initializer_range)"),
        ("normal(std = ((2)) * (3 * 4))", "normal(std = 2 * (3 * 4))"),
        ("normal(std = (2 * 3) * 4)", "normal(std = 2 * 3 * 4)"),
        ("normal(std = (2 ** 3) ** 4)", "normal(std = (2 ** 3) ** 4)"),
        ("normal(std = 2 ** (3 ** 4))", "normal(std = 2 ** 3 ** 4)"),
        ("normal(std = (-2) ** -3)", "normal(std = (-2) ** -3)"),
        ("normal(std = min(1,\n max(2, 3)))", "normal(std = min(1, max(2, 3)))"),
    ],
)
def test_a_law_is_written_in_one_way(text: str, written: str) -> None:
    assert str(parse_law(text)) == written
    assert parse_law(written) == parse_law(text)


BAD = {
    "": "begins with the name of its family",
    "0.02": "begins with the name of its family",
    "norm(std = 1)": "no law is called 'norm'",
    "normal": "normal takes std, mean, and was given none",
    "normal(0.02)": "by name, as in normal(std = …)",
    "normal(std)": "by name",
    "normal(std = )": "')' is not expected there",
    "normal(std = 1": "')' is expected at its end",
    "normal(std = 1) x": "'x' is not expected there",
    "normal(std = 1,)": "by name",
    "normal(std = 1, std = 2)": "twice",
    "normal(bound = 1)": "normal takes std, mean, and was given bound",
    "uniform(bound = 1, low = 0)": "uniform takes bound or low, high",
    "uniform(low = 0)": "uniform takes bound or low, high",
    "zeros(1)": "zeros takes no parameters",
    "constant(1, 2)": "twice",
    "table": "'(' is expected",
    "table(ramp)": "no table is called 'ramp'",
    "table(normal, std = 1)": "no table is called 'normal'",
    "normal(std = fan)": "'fan' is no name of a law",
    "normal(std = config)": "'config' is no name",
    "normal(std = config.)": "no meaning",
    "normal(std = lambda)": "'lambda' is no name",
    "normal(std = None)": "'None' is no name",
    "normal(std = nan)": "'nan' is no name",
    "normal(std = inf)": "'inf' is no name",
    "normal(std = __import__('os'))": "no meaning",
    "normal(std = fan_in.real)": "'fan_in.real' is no name",
    "normal(std = (1).real)": "no meaning",
    "normal(std = 1e999)": "too large a number",
    "normal(std = 1_000)": "'_000'",
    "normal(std = 0x10)": "'x10'",
    "normal(std = 1j)": "'j'",
    "normal(std = ٣)": "no meaning",
    "normal(std = ²)": "no meaning",
    "normal(std = +1)": "'+' is not expected there",
    "normal(std = 1 // 2)": "'/' is not expected there",
    "normal(std = 1 ^ 2)": "no meaning",
    "normal(std = sqrt)": "'sqrt' is no name",
    "normal(std = sqrt())": "sqrt takes one argument",
    "normal(std = sqrt(1, 2))": "sqrt takes one argument",
    "normal(std = min(1))": "min takes two",
    "normal(std = pow(1, 2))": "no function",
    "normal(std = 1 2)": "')' is expected",
    "nor\x00mal": "no meaning",
    "\ud800": "no meaning",
    "normal(std = " + "(" * 90 + ")": "deep",
    "normal(std = " + "-" * 90 + "1)": "deep",
    "normal(std = " + "2**" * 60 + "2)": "deep",
    "normal(std = " + "sqrt(" * 60 + "2)": "deep",
    "normal(std = " + "1+" * 300 + "1)": "more than 200 parts",
    "normal(std = " + "(" * 1_000_000 + ")": "more than 1,000 characters",
    "9" * 1_000_000: "more than 1,000 characters",
    "normal(std = " + "9" * 900 + ")": "too large a number",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text[:30]))
def test_what_is_no_law_is_one_short_line(text: str) -> None:
    begin = time.perf_counter()
    with pytest.raises(InitauditError) as caught:
        parse_law(text)
    assert time.perf_counter() - begin < 0.5
    assert isinstance(caught.value, LawError)
    assert BAD[text] in str(caught.value)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def read_or_refused(read: Callable[[str], object], text: str) -> object:
    """What a text is read as, or the message that it is none."""
    try:
        return read(text)
    except LawError as error:
        return str(error)


@given(st.text(max_size=60) | st.text("()*-+/,.=0 \n sqrtnormal", max_size=200))
def test_any_text_is_a_law_or_an_error_of_ours(text: str) -> None:
    for read in (parse_law, parse_expression):
        found = read_or_refused(read, text)
        if isinstance(found, str):
            assert found.isprintable()
        else:
            assert read(str(found)) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10 ** 10 ** 10", "10 ** 10 ** 10 has no number here"),
        ("1 / 0", "1 / 0 has no number here"),
        ("0 ** -1", "has no number here"),
        ("(-8) ** 0.5", "has no number here"),
        ("sqrt(-1)", "has no number here"),
        ("log(0)", "has no number here"),
        ("exp(1e9)", "has no number here"),
        ("1e308 * 10", "overflows"),
        ("1 / (1e308 * 10)", "overflows"),
        ("min(1, 1e308 + 1e308)", "overflows"),
        ("config.nothing", "config.json holds no number nothing"),
        ("config.text_config", "config.json holds no number text_config"),
        ("config.text_config.std.more", "config.json holds no number text_config.std.more"),
        ("config.tied", "config.json holds no number tied"),
        ("config.act", "config.json holds no number act"),
        ("config.huge", "config.json holds no number huge"),
        ("config.none", "config.json holds no number none"),
        ("fan_out", "fan_out is not known here"),
    ],
)
def test_what_has_no_number_is_an_error_and_no_number(text: str, words: str) -> None:
    setting = Setting(fan_in=1, config={**CONFIG, "huge": 10**400, "none": math.nan})
    with pytest.raises(LawError, match=re.escape(words)):
        evaluate(parse_expression(text), setting)


def test_every_name_stands_for_what_its_setting_says() -> None:
    stated = {name: evaluate(parse_expression(name), SETTING) for name in KNOWN}
    assert stated == {
        "fan_in": 64,
        "fan_out": 96,
        "torch_fan_in": 32,
        "torch_fan_out": 48,
        "rows": 96,
        "groups": 2,
        "block": 3,
        "blocks": 12,
        "width": 128,
        "config.initializer_range": 0.02,
        "config.hidden": 64,
        "config.text_config.std": 0.5,
    }
    assert parse_law("normal(std = 0.02 / sqrt(2 * blocks), mean = config.hidden)").names == {"blocks", "config.hidden"}
    assert parse_law("trunc_normal(std = 1 / sqrt(3), cut = 2)").names == frozenset()


def drawn(text: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Many values of a law, as torch or numpy draw them."""
    generator, many = torch.Generator().manual_seed(0), 1_000_000
    values, rng = torch.empty(many, dtype=torch.float64), np.random.default_rng(0)
    match text:
        case "trunc_normal(std = 0.5, cut = 1, mean = 2)":
            torch.nn.init.trunc_normal_(values, 2.0, 0.5, 1.5, 2.5, generator=generator)
        case "trunc_normal(std = 1, cut = 3)":
            torch.nn.init.trunc_normal_(values, 0.0, 1.0, -3.0, 3.0, generator=generator)
        case "uniform(bound = 0.5)":
            values.uniform_(-0.5, 0.5, generator=generator)
        case "uniform(low = 0, high = 3)":
            values.uniform_(0, 3, generator=generator)
        case "normal(std = 2, mean = -1)":
            values.normal_(-1, 2, generator=generator)
        case "log_uniform(low = 1, high = 16)":
            return np.log(rng.uniform(1, 16, many))
        case "log_uniform(low = 0, high = 16)":
            return np.log(rng.uniform(0, 16, many))
        case "time_step(low = 0.001, high = 0.1)":
            steps = torch.from_numpy(np.exp(rng.uniform(math.log(0.001), math.log(0.1), many)))
            return (steps + torch.log(-torch.expm1(-steps))).numpy()
        case "orthogonal(gain = 2)":
            return torch.nn.init.orthogonal_(torch.empty(96, 64), 2.0, generator=generator).double().numpy().ravel()
        case "sparse(connections = 16, std = 3)":
            chosen = rng.permuted(np.tile(np.arange(64) < 16, (20_000, 1)), axis=1)
            return (chosen * rng.normal(0, 3, chosen.shape)).ravel()
        case _:
            return np.full(4, -0.5)
    return values.numpy()


@pytest.mark.parametrize(
    "text",
    [
        "normal(std = 2, mean = -1)",
        "uniform(bound = 0.5)",
        "uniform(low = 0, high = 3)",
        "trunc_normal(std = 1, cut = 3)",
        "trunc_normal(std = 0.5, cut = 1, mean = 2)",
        "log_uniform(low = 1, high = 16)",
        "log_uniform(low = 0, high = 16)",
        "time_step(low = 0.001, high = 0.1)",
        "orthogonal(gain = 2)",
        "sparse(connections = 16, std = 3)",
        "constant(-0.5)",
    ],
)
def test_the_deviation_mean_and_bounds_of_a_law_are_those_of_its_draws(text: str) -> None:
    law = parse_law(text)
    settled, values = settle(law, SETTING), drawn(text)
    assert settled.std == pytest.approx(values.std(), rel=0.005)
    assert settled.mean == pytest.approx(values.mean(), abs=0.01)
    assert settled.rms == pytest.approx(math.sqrt((values**2).mean()), rel=0.005)
    assert settled.low - 1e-12 <= values.min()
    assert values.max() <= settled.high + 1e-12
    assert settled.is_draw is (law.family != "constant")


@pytest.mark.parametrize("text", ["zeros", "ones", "identity", "derived", "table(sinusoidal)", "table(rotary)"])
def test_what_is_no_draw_says_so(text: str) -> None:
    settled = settle(parse_law(text), SETTING)
    assert not settled.is_draw
    assert (settled.std, settled.mean) == {"zeros": (0, 0), "ones": (0, 1)}.get(text, (None, None))


def test_a_law_without_the_shape_that_it_needs_has_no_deviation() -> None:
    for text in ("orthogonal", "sparse(connections = 4, std = 1)"):
        assert settle(parse_law(text), Setting()).std is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("normal(std = 0)", "std is to be above zero, not 0"),
        ("normal(std = -0.02)", "std is to be above zero, not -0.02"),
        ("uniform(bound = 0)", "bound is to be above zero"),
        ("uniform(low = 1, high = 1)", "low is to be below high"),
        ("uniform(low = -1e308, high = 1e308)", "overflows"),
        ("trunc_normal(std = 1, cut = -2)", "cut is to be above zero"),
        ("orthogonal(gain = 0)", "gain is to be above zero"),
        ("sparse(connections = 0, std = 1)", "connections are to be one or more"),
        ("log_uniform(low = -1, high = 1)", "no logarithm"),
        ("time_step(low = 0, high = 1)", "no logarithm"),
        ("time_step(low = 1e-300, high = 1e300)", "overflows"),
        ("table(rotary, base = 0)", "base is to be above zero"),
    ],
)
def test_a_law_that_cannot_be_drawn_is_an_error(text: str, words: str) -> None:
    with pytest.raises(LawError, match=words):
        settle(parse_law(text), SETTING)


def test_a_narrow_cut_and_a_narrow_interval_keep_their_digits() -> None:
    cuts = [1e-8, 0.0099999, 0.0100001, 0.5, 2, 3, 40]
    squares = [1 - 2 * c * math.exp(-c * c / 2) / math.sqrt(2 * math.pi) / math.erf(c / math.sqrt(2)) for c in cuts[3:]]
    assert [shrink(cut) for cut in cuts[3:]] == pytest.approx([math.sqrt(square) for square in squares], rel=1e-12)
    assert shrink(1e-8) == pytest.approx(1e-8 / math.sqrt(3), rel=1e-12)
    assert shrink(cuts[1]) / cuts[1] == pytest.approx(shrink(cuts[2]) / cuts[2], rel=1e-9)
    for high in (1 + 1e-9, 1 + 1.99e-4, 1 + 2.01e-4):
        settled = settle(Law.of("log_uniform", low=1.0, high=high), Setting())
        assert settled.std == pytest.approx((high - 1) / math.sqrt(12), rel=2e-4)


SAID = [
    ("normal", "fan_in", 1, "", "normal(std = 1 / sqrt(fan_in))", "normal, LeCun"),
    ("normal", "fan_in", math.sqrt(2), "", "normal(std = sqrt(2 / fan_in))", "normal, He"),
    ("normal", "fan_out", math.sqrt(2), "", "normal(std = sqrt(2 / fan_out))", "normal, He by fan_out"),
    (
        "normal",
        "torch_fan_out",
        math.sqrt(2),
        "",
        "normal(std = sqrt(2 / torch_fan_out))",
        "normal, He by torch's fan_out",
    ),
    ("uniform", "fan_in", 3**-0.5, "", "uniform(bound = 1 / sqrt(fan_in))", "uniform, PyTorch's default"),
    ("uniform", "fan_in", 1, "", "uniform(bound = sqrt(3 / fan_in))", "uniform, LeCun"),
    (
        "normal",
        "fan_in",
        3**-0.5,
        "",
        "normal(std = 1 / sqrt(3 * fan_in))",
        "normal, the variance of PyTorch's default",
    ),
    ("normal", "fan_mean", 1, "", "normal(std = sqrt(2 / (fan_in + fan_out)))", "normal, Xavier"),
    ("uniform", "fan_mean", 1, "", "uniform(bound = sqrt(6 / (fan_in + fan_out)))", "uniform, Xavier"),
    (
        "normal",
        "fan_mean",
        5 / 3,
        "",
        "normal(std = 5 / 3 * sqrt(2 / (fan_in + fan_out)))",
        "normal, Xavier with tanh's gain 5/3",
    ),
    (
        "normal",
        "fan_mean",
        0.5,
        "",
        "normal(std = 0.5 * sqrt(2 / (fan_in + fan_out)))",
        "normal, std 0.5 * sqrt(2 / (fan_in + fan_out))",
    ),
    ("normal", "fixed", 0.02, "", "normal(std = 0.02)", "normal, std 0.02"),
    ("normal", "fixed", 0.0417, "", "normal(std = 0.0417)", "normal, std 0.0417"),
    ("normal", "fixed", 1 / 24, "", "normal(std = 0.04167)", "normal, std 0.04167"),
    ("normal", "fan_in", 0.554256, "", "normal(std = 0.5543 / sqrt(fan_in))", "normal, std 0.5543 / sqrt(fan_in)"),
    (
        "normal",
        "fixed",
        0.02,
        "sqrt(2 * blocks)",
        "normal(std = 0.02 / sqrt(2 * blocks))",
        "normal, std 0.02, by depth 1/√(2L)",
    ),
    ("normal", "fixed", 0.02, "sqrt(blocks)", "normal(std = 0.02 / sqrt(blocks))", "normal, std 0.02, by depth 1/√L"),
    (
        "normal",
        "fixed",
        0.02,
        "sqrt(2 * (block + 1))",
        "normal(std = 0.02 / sqrt(2 * (block + 1)))",
        "normal, std 0.02, by depth 1/√(2(l + 1))",
    ),
    (
        "normal",
        "fan_in",
        1,
        "sqrt(2 * (block + 1))",
        "normal(std = 1 / sqrt(fan_in) / sqrt(2 * (block + 1)))",
        "normal, LeCun, by depth 1/√(2(l + 1))",
    ),
    ("uniform", "fixed", 0.05 / math.sqrt(3), "", "uniform(bound = 0.05)", "uniform, bound 0.05"),
    ("uniform", "fixed", 0.02, "", "uniform(bound = 0.02 * sqrt(3))", "uniform, bound 0.02 * sqrt(3)"),
    (
        "trunc_normal",
        "fixed",
        0.02 * shrink(2),
        "",
        "trunc_normal(std = 0.02, cut = 2)",
        "truncated normal, std 0.02, cut 2",
    ),
    (
        "trunc_normal",
        "fan_in",
        1,
        "",
        "trunc_normal(std = 1 / sqrt(fan_in) / 0.87962566, cut = 2)",
        "truncated normal, LeCun, corrected for its cut, cut 2",
    ),
    (
        "orthogonal",
        "fixed",
        math.sqrt(2),
        "sqrt(blocks)",
        "orthogonal(gain = sqrt(2) / sqrt(blocks))",
        "orthogonal, gain sqrt(2) / sqrt(blocks)",
    ),
]


@pytest.mark.parametrize(("family", "base", "constant", "depth", "text", "said"), SAID)
def test_a_known_scale_is_written_and_said_as_the_field_does(
    family: str, base: Any, constant: float, depth: str, text: str, said: str
) -> None:
    law = named_law(family, base, constant, depth=depth)
    assert str(law) == text
    assert parse_law(text) == law
    assert words(law) == said


@pytest.mark.parametrize("depth", ["", *DEPTHS])
@pytest.mark.parametrize("base", ["fixed", *BASES])
@given(st.floats(1e-8, 1e4) | st.sampled_from([scale.constant for scale in SCALES]))
@settings(max_examples=25)
def test_a_scale_that_was_written_is_the_number_it_was_written_for(base: Any, depth: str, constant: float) -> None:
    root = {
        "fixed": 1.0,
        "fan_mean": (SETTING.number("fan_in") + SETTING.number("fan_out")) / 2,
        "torch_fan_mean": (SETTING.number("torch_fan_in") + SETTING.number("torch_fan_out")) / 2,
    }.get(base) or SETTING.number(base)
    shallow = evaluate(parse_expression(depth), SETTING) if depth else 1.0
    expected = constant / math.sqrt(root) / shallow
    assert evaluate(named_scale(base, constant, depth=depth), SETTING) == pytest.approx(expected, rel=6e-4)
    for family in ("normal", "uniform", "trunc_normal"):
        law = named_law(family, base, constant, depth=depth)
        assert parse_law(str(law)) == law
        assert settle(law, SETTING).std == pytest.approx(expected, rel=6e-4)


@pytest.mark.parametrize("constant", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_is_a_finite_number_above_zero(constant: float) -> None:
    with pytest.raises(LawError, match="above zero"):
        named_scale("fixed", constant)


def test_every_family_can_be_said_in_words() -> None:
    texts = ["zeros", "constant(0.01)", "log_uniform(low = 1, high = 16)", "table(rotary)", "normal(std = 1, mean = 2)"]
    assert [words(parse_law(text)) for text in texts] == [
        "zeros",
        "constant 0.01",
        "logarithm of a uniform draw, low 1, high 16",
        "rotary table, base 10000",
        "normal, std 1, mean 2",
    ]


def test_the_page_of_laws_gives_laws_and_knows_every_family_and_name() -> None:
    page = (ROOT / "docs" / "laws.md").read_text(encoding="utf-8")
    examples = re.findall(r"```text\n(.*?)```", page, re.DOTALL)[0].splitlines()
    texts = [line.partition("#")[0].strip() for line in examples]
    assert [words(parse_law(text)) for text in texts if text]
    for name in (*FAMILIES, *NAMES):
        assert re.search(rf"[`(]{name}\b", page), name
