import math

import numpy as np
import pytest
import scipy.stats

from initaudit.checkpoint.values import Entry
from initaudit.statistics import JUDGED
from initaudit.statistics.dtypes import decode, width
from initaudit.statistics.grid import PIECE_ELEMENTS, STACK_EDGE
from initaudit.statistics.measuring import SMALL
from initaudit.statistics.moments import merge, moments_of
from initaudit.statistics.values import Moments
from tests.checkpoints import DTYPES, Raw, statistics, written

FLOATS = ["F64", "F32", "F16", "BF16"]
FLOAT8 = ["F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0"]
SIZES = [1, 2, 7, SMALL, SMALL + 1, PIECE_ELEMENTS - 1, PIECE_ELEMENTS, PIECE_ELEMENTS + 1, 3 * PIECE_ELEMENTS + 5]


# How far a deviation (relatively) and a kurtosis may be off. float64 is summed as such; the others, where there are
# many values, in float32 within a piece, where the squares of values with few bits round alike.
CLOSE = {"F64": (1e-12, 1e-11), "F32": (1e-7, 1e-5)}
CLOSE_OF_FEW_BITS = (2e-6, 2e-5)


def drawn(shape, *, seed=0, dtype="F32", mean=0.0, std=1.0):
    """Normal values."""
    return (np.random.default_rng(seed).standard_normal(shape) * std + mean).astype(DTYPES[dtype])


@pytest.fixture
def measured(tmp_path):
    """Statistics of one array, or `Raw` tensor, by way of a file."""

    def measure(values):
        return statistics(written(tmp_path / "one.safetensors", {"w": values}))["w"]

    return measure


@pytest.mark.parametrize("dtype", FLOAT8)
def test_each_of_the_256_codes_of_a_float8_kind_is_its_value(dtype):
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(decode(codes, dtype), codes.view(DTYPES[dtype]).astype(np.float32))


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_each_of_the_65536_codes_of_a_half_is_its_value(dtype):
    codes = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(decode(codes.view(np.uint8), dtype), codes.view(DTYPES[dtype]).astype(np.float32))


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0"])
def test_torch_reads_the_codes_alike(dtype):
    torch = pytest.importorskip("torch")
    kind = {
        "BF16": "bfloat16",
        "F8_E4M3": "float8_e4m3fn",
        "F8_E5M2": "float8_e5m2",
        "F8_E4M3FNUZ": "float8_e4m3fnuz",
        "F8_E5M2FNUZ": "float8_e5m2fnuz",
        "F8_E8M0": "float8_e8m0fnu",
    }[dtype]
    raw = np.arange(256, dtype=np.uint8) if width(dtype) == 1 else np.arange(65536, dtype=np.uint16).view(np.uint8)
    theirs = torch.from_numpy(raw).view(getattr(torch, kind)).to(torch.float32).numpy()
    ours = decode(raw, dtype)
    if dtype == "F8_E8M0":  # torch makes zero of 2^-127, which is denormal in float32
        ours, theirs = ours[1:], theirs[1:]
    np.testing.assert_array_equal(ours, theirs)


def test_every_judged_dtype_is_tested_here():
    assert set(FLOATS + FLOAT8) == JUDGED


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_moments_are_those_of_numpy_and_scipy(measured, dtype, size):
    values = drawn(size, dtype=dtype, mean=0.01, std=0.02)
    exact = values.astype(np.float64)
    close, close_kurtosis = CLOSE["F64"] if size <= SMALL else CLOSE.get(dtype, CLOSE_OF_FEW_BITS)
    found = measured(values)
    assert found.count == found.moments.count == size
    assert found.mean == pytest.approx(exact.mean(), abs=close * max(exact.std(), abs(exact.mean())))
    assert found.std == pytest.approx(exact.std(), rel=close, abs=0)
    assert (found.minimum, found.maximum) == (exact.min(), exact.max())
    if size > 2:
        skewness = found.moments.m3 / (size * found.std**3)
        assert skewness == pytest.approx(scipy.stats.skew(exact), abs=close_kurtosis)
        assert found.moments.kurtosis == pytest.approx(scipy.stats.kurtosis(exact, fisher=False), abs=close_kurtosis)


@pytest.mark.parametrize("dtype", FLOAT8[:4])
def test_moments_of_float8_are_those_of_its_values(measured, dtype):
    values = drawn((300, 700), dtype=dtype)
    exact = values.astype(np.float64)
    close, close_kurtosis = CLOSE_OF_FEW_BITS
    found = measured(values)
    assert found.mean == pytest.approx(exact.mean(), abs=close * exact.std())
    assert found.std == pytest.approx(exact.std(), rel=close)
    kurtosis = scipy.stats.kurtosis(exact, axis=None, fisher=False)
    assert found.moments.kurtosis == pytest.approx(kurtosis, abs=close_kurtosis)
    assert found.zeros == np.count_nonzero(exact == 0)


def test_moments_of_powers_of_two_are_those_of_their_values(measured):
    codes = np.random.default_rng(0).integers(117, 138, 5000, np.uint8)
    exact = np.exp2(codes.astype(np.float64) - 127)
    found = measured(Raw("F8_E8M0", (5000,), codes.tobytes()))
    assert (found.mean, found.std) == pytest.approx((exact.mean(), exact.std()), rel=1e-12)


@pytest.mark.parametrize("ratio", [0, 1, 100, 1e3, 1e4])
@pytest.mark.parametrize("size", [SMALL, 10 * PIECE_ELEMENTS + 3])
@pytest.mark.parametrize("dtype", ["F32", "F64"])
def test_a_mean_far_above_the_deviation_costs_no_digits(measured, dtype, size, ratio):
    values = drawn(size, dtype=dtype, mean=0.02 * ratio, std=0.02)
    exact = values.astype(np.float64)
    found = measured(values)
    assert found.std == pytest.approx(exact.std(), rel=2e-6)
    assert found.mean == pytest.approx(exact.mean(), abs=1e-6 * exact.std())
    assert found.moments.kurtosis == pytest.approx(scipy.stats.kurtosis(exact, fisher=False), abs=2e-5)


@pytest.mark.parametrize("value", [1.0, 0.1, -0.02, 1e30, 1e-30])
@pytest.mark.parametrize("size", [100, 2 * PIECE_ELEMENTS + 3])
def test_a_constant_deviates_by_nothing(measured, size, value):
    found = measured(np.full(size, value, np.float32))
    assert found.is_constant
    assert (found.std, found.moments.kurtosis) == (0, None)
    assert found.mean == np.float32(value)


@pytest.mark.parametrize(
    "shape", [(2, 3 * PIECE_ELEMENTS + 1), (3, PIECE_ELEMENTS + 1), (2, 2, PIECE_ELEMENTS)], ids=str
)
def test_rows_longer_than_a_piece_are_summed_whole(measured, shape):
    values = drawn(shape)
    values[1, ..., -1] = 0
    found = measured(values)
    assert found.std == pytest.approx(values.std(dtype=np.float64), rel=CLOSE["F32"][0])
    assert found.zeros == np.count_nonzero(values == 0)
    assert found.units[0].fewest == np.count_nonzero(values[1])


def test_merging_is_associative_and_equals_the_whole():
    parts = [drawn(size, dtype="F64", seed=size, mean=size / 100, std=0.5) for size in (3, 1000, 40, 1)]
    a, b, c, d = (moments_of(part) for part in parts)
    whole = moments_of(np.concatenate(parts))
    for merged in (merge(merge(merge(a, b), c), d), merge(a, merge(b, merge(c, d))), merge(merge(d, b), merge(a, c))):
        assert merged.count == whole.count
        assert (merged.mean, merged.m2, merged.m3, merged.m4) == pytest.approx(
            (whole.mean, whole.m2, whole.m3, whole.m4), rel=1e-10
        )


def test_merging_with_nothing_changes_nothing():
    some = moments_of(drawn(10, dtype="F64"))
    assert merge(some, Moments()) == merge(Moments(), some) == some
    assert merge(Moments(), Moments()) == moments_of(np.empty(0)) == Moments()


def test_no_values_have_no_deviation_and_no_kurtosis():
    assert (Moments().std, Moments().rms, Moments().kurtosis) == (0, 0, None)


@pytest.mark.parametrize("shape", [(50,), (10, 5), (PIECE_ELEMENTS + 50,), (7, PIECE_ELEMENTS)], ids=str)
@pytest.mark.parametrize("dtype", [*FLOATS, "F8_E5M2"])
def test_zeros_and_what_is_not_finite_are_counted(measured, dtype, shape):
    values = drawn(shape, dtype=dtype)
    flat = values.reshape(-1)
    flat[flat == 0] = 1
    for at, value in zip((0, -1, 3, 11, 17, 19, 23, 29), (0.0, -0.0, 0.0, *3 * [np.nan], np.inf, -np.inf), strict=True):
        flat[at] = value
    flat[31] = np.inf
    found = measured(values)
    assert (found.zeros, found.nan, found.positive_infinite, found.negative_infinite) == (3, 3, 2, 1)
    assert found.nonfinite == 6
    finite = flat.astype(np.float64)[np.isfinite(flat.astype(np.float64))]
    assert (found.moments.count, found.count) == (finite.size, flat.size)
    assert (found.mean, found.std) == pytest.approx((finite.mean(), finite.std()), rel=3e-6, abs=1e-7)
    assert (found.minimum, found.maximum) == (finite.min(), finite.max())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_where_nothing_is_finite_there_are_no_extremes_and_no_constant(measured, value):
    found = measured(np.full((4, 5), value, np.float32))
    assert (found.minimum, found.maximum, found.mean, found.std, found.nonfinite) == (0, 0, 0, 0, 20)
    assert not found.is_constant


def test_a_scalar_is_a_tensor_of_one_value(measured):
    found = measured(np.array(0.5, np.float32))
    assert (found.count, found.mean, found.std, found.minimum, found.maximum) == (1, 0.5, 0, 0.5, 0.5)
    assert found.units == {}


def test_an_empty_tensor_has_no_statistics(tmp_path):
    path = written(tmp_path / "m.safetensors", {"empty": np.empty((0, 3), np.float32), "full": np.ones(1, np.float32)})
    assert set(statistics(path)) == {"full"}


@pytest.mark.parametrize("edge", [3, 300], ids=["small", "several-pieces"])
@pytest.mark.parametrize("scale", [1e300, 1e-300, 5e-324])
def test_the_whole_range_of_float64_has_extremes_and_a_mean(measured, scale, edge):
    values = np.sign(drawn((edge, edge), dtype="F64")) * scale
    found = measured(values)
    assert (found.minimum, found.maximum) == (-scale, scale)
    assert found.mean == pytest.approx(0, abs=scale)


@pytest.mark.parametrize("edge", [3, 400], ids=["small", "several-pieces"])
@pytest.mark.parametrize("scale", [1e37, 1e-37, 1e-44])
def test_the_whole_range_of_float32_has_a_deviation(measured, scale, edge):
    values = drawn((edge, edge), dtype="F64", std=scale).astype(np.float32)
    found = measured(values)
    assert found.std == pytest.approx(values.astype(np.float64).std(), rel=1e-6)


def is_stack(shape):
    return len(shape) > 2 and min(shape[-2:]) >= STACK_EDGE


def units_along(values, axis):
    """The units along an axis as rows of raw words and of numbers: in a stack, rows or columns of its matrices."""
    words = values.view(f"u{values.itemsize}")
    if is_stack(values.shape):
        words = words.reshape(-1, *words.shape[-2:])
        if axis == values.ndim - 1:
            words = np.moveaxis(words, 2, 1)
        words = words.reshape(len(words), -1) if axis == 0 else words.reshape(-1, words.shape[2])
    else:
        words = np.moveaxis(words, axis, 0)
        words = words.reshape(words.shape[0], -1)
    words = np.ascontiguousarray(words)
    return words, words.view(values.dtype).astype(np.float64)


def expected(values, axis):
    """What `Units` is to say, by brute force."""
    words, numbers = units_along(values, axis)
    filled = np.count_nonzero(numbers, axis=1)
    members = {}
    for at in np.flatnonzero(filled):
        members.setdefault(words[at].tobytes(), []).append(int(at))
    classes = sorted((found for found in members.values() if len(found) > 1), key=lambda found: (-len(found), found[0]))
    dead = np.flatnonzero(filled == 0)
    living, size = filled[filled > 0], words.shape[1]
    density = living.mean() / size if living.size else 0
    return {
        "count": len(words),
        "size": size,
        "dead": len(dead),
        "dead_at": tuple(dead[:8].tolist()),
        "equal": sum(map(len, classes)),
        "classes": len(classes),
        "equal_at": tuple(classes[0][:8]) if classes else (),
        "fewest": filled.min(),
        "most": filled.max(),
        "occupancy": pytest.approx(living.var() / (size * density * (1 - density))) if 0 < density < 1 else None,
    }


def assert_units_are_exact(found, values):
    for axis, units in found.units.items():
        truth = expected(values, axis)
        assert {key: getattr(units, key) for key in truth} == truth, f"axis {axis}"


SHAPES = {
    "tiny": (2, 2),
    "matrix": (40, 30),
    "wide": (3, 500),
    "tall": (500, 3),
    "one-row": (1, 64),
    "one-column": (64, 1),
    "conv1d": (12, 6, 5),
    "conv2d": (16, 8, 3, 3),
    "conv3d": (6, 4, 2, 3, 2),
    "depthwise": (20, 1, 3, 3),
    "stack": (3, 40, 36),
    "stack-of-stacks": (2, 3, 33, 32),
    "several-pieces": (500, 700),
    "long-rows": (2, PIECE_ELEMENTS + 9),
}


def planted(values, generator):
    """The values with some units made dead or equal along random axes, and zeros thrown in."""
    for _ in range(generator.integers(1, 5)):
        view = np.moveaxis(values, generator.integers(values.ndim), 0)
        some = generator.integers(0, len(view), min(len(view), generator.integers(1, 6)))
        match generator.choice(["dead", "minus", "equal", "zeros", "same"]):
            case "dead":
                view[some] = 0
            case "minus":
                view[some] = -0.0
            case "equal":
                view[some] = view[some[0]].copy()
            case "zeros":
                values[generator.random(values.shape) < 0.2] = 0
            case "same":
                values[generator.random(values.shape) < 0.2] = 0.5
    return values


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("dtype", [*FLOATS, "F8_E4M3", "F8_E5M2FNUZ"])
def test_dead_and_equal_units_are_those_of_brute_force(measured, dtype, shape):
    for seed in range(1 if math.prod(shape) > PIECE_ELEMENTS else 5):
        values = planted(drawn(shape, seed=seed, dtype=dtype), np.random.default_rng(seed))
        found = measured(values)
        if not found.is_constant:
            assert set(found.units) == {0, len(shape) - 1, len(shape) - 2 if is_stack(shape) else 1}
            assert_units_are_exact(found, values)


def test_units_of_a_constant_need_no_second_look(measured):
    assert measured(np.full((8, 8), 0.5, np.float32)).units == {}


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_equal_slices_of_a_kernel_are_seen_along_their_axis(measured, axis):
    values = drawn((10, 9, 5, 4))
    view = np.moveaxis(values, axis, 0)
    view[3] = view[1]
    assert_units_are_exact(measured(values), values)


def test_equal_outputs_of_a_transposed_convolution_lie_along_its_second_axis(measured):
    values = drawn((16, 12, 4, 4))
    values[:, 6:] = values[:, :6]
    units = measured(values).units[1]
    assert (units.count, units.equal, units.classes, units.equal_at) == (12, 12, 6, (0, 6))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("scale", [1e-6, 1, 1e6])
def test_equal_units_are_found_whatever_their_scale_among_the_others(measured, axis, scale):
    values = drawn((900, 1100))
    view = np.moveaxis(values, axis, 0)
    view[3] *= scale
    view[-1] = view[3]
    units = measured(values).units[axis]
    assert (units.equal, units.equal_at) == (2, (3, len(view) - 1))


def test_equal_units_are_found_under_a_large_common_mean(measured):
    values = drawn((900, 700), mean=1.0, std=1e-3)
    values[899] = values[5]
    found = measured(values).units
    assert (found[0].equal, found[0].equal_at, found[1].equal) == (2, (5, 899), 0)


def test_units_that_differ_in_one_last_bit_are_not_equal(measured):
    values = drawn((300, 400))
    values[7] = values[250]
    values[7, 399] = np.nextafter(values[7, 399], np.float32(2))
    assert measured(values).units[0].equal == 0


def test_units_that_differ_in_the_sign_of_zero_are_not_equal(measured):
    values = drawn((4, 5))
    values[3] = values[0]
    values[0, 2], values[3, 2] = 0.0, -0.0
    assert measured(values).units[0].equal == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_units_of_the_same_values_in_another_order_are_not_equal(measured, axis):
    period = np.arange(2 * PIECE_ELEMENTS, dtype=np.float32)
    turned = np.roll(period, PIECE_ELEMENTS)
    found = measured(np.ascontiguousarray(np.stack([period, turned], axis=axis)))
    assert found.units[axis].equal == 0


def test_no_units_of_random_matrices_are_equal(measured):
    generator = np.random.default_rng(0)
    for seed in range(200):
        shape = tuple(generator.integers(2, 80, generator.integers(2, 4)))
        values = drawn((shape[0] + 8, *shape[1:]), seed=seed)
        found = measured(values).units
        assert [units.equal + units.dead for units in found.values()] == [0] * len(found)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [0, 1])
def test_values_that_are_not_finite_make_no_unit_dead(measured, axis, value):
    values = drawn((6, 7))
    np.moveaxis(values, axis, 0)[2] = value
    np.moveaxis(values, axis, 0)[4] = 0
    units = measured(values).units[axis]
    assert (units.dead, units.dead_at) == (1, (4,))


def test_one_value_that_is_not_finite_does_not_hide_equal_units(measured):
    values = drawn((8, 9))
    values[5] = values[1]
    values[7, 3] = np.nan
    units = measured(values).units[0]
    assert (units.equal, units.equal_at) == (2, (1, 5))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (1000,), (3 * PIECE_ELEMENTS,)], ids=str)
def test_vectors_and_scalars_have_no_units(tmp_path, shape):
    path = written(tmp_path / "m.safetensors", {"w": drawn(shape), "other": drawn(4)})
    found = statistics(path)
    assert all(one.units == {} for one in found.values())
    assert ("w" in found) == (0 not in shape)


@pytest.mark.parametrize("connections", [1, 5, 20])
def test_units_with_a_fixed_number_of_connections_are_more_regular_than_chance(measured, connections):
    generator = np.random.default_rng(0)
    values = drawn((200, 50))
    for row in values:
        row[generator.permutation(50)[connections:]] = 0
    units = measured(values).units[0]
    assert (units.fewest, units.most, units.occupancy) == (connections, connections, 0)


def test_zeros_thrown_at_random_occupy_units_as_a_binomial(measured):
    values = drawn((4000, 50))
    values[np.random.default_rng(1).random(values.shape) < 0.9] = 0
    assert measured(values).units[0].occupancy == pytest.approx(1, abs=6 * math.sqrt(2 / 4000))


def test_the_count_of_an_entry_is_that_of_its_elements():
    assert [Entry("x", "F32", shape).count for shape in ((), (0, 2**62), (3, 4))] == [1, 0, 12]


def test_extremes_are_exact_behind_a_piece_that_was_looked_at_in_another_precision(measured):
    values = np.zeros(2 * PIECE_ELEMENTS, np.float32)
    values[:3] = np.nan, 1e-22, -1e-22
    values[-2:] = 1.0004e-22, -1.0004e-22  # their squares round down below those of the first
    found = measured(values)
    assert (found.minimum, found.maximum) == (values[-1], values[-2])
