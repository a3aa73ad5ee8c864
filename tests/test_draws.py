"""The draw of `fix`: the same bytes everywhere, any of them alone, and distributed as the law says."""

import hashlib
import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy import stats

from initaudit.draws import HOST, Filling, drawn, pieces_of
from initaudit.draws.casting import NARROW, WIDTHS, cast
from initaudit.draws.functions import exponential, logarithm, normal_quantile, normal_within
from initaudit.draws.matrices import product
from initaudit.draws.torch_arrays import Torch
from initaudit.draws.words import Stream, mixed, words
from initaudit.errors import LawError
from initaudit.laws import parse_law, shrink
from initaudit.statistics.dtypes import decode

TORCH = Torch("cpu")
LAWS = (
    "normal(std = 0.02)",
    "normal(std = 0.02, mean = 1)",
    "trunc_normal(std = 0.02)",
    "trunc_normal(std = 1, cut = 3)",
    "uniform(bound = 0.05)",
    "uniform(low = 0.5, high = 2)",
    "log_uniform(low = 1, high = 16)",
    "log_uniform(low = 0, high = 2)",
    "time_step(low = 0.001, high = 0.1)",
    "orthogonal(gain = 1.4142)",
    "sparse(connections = 7, std = 0.3)",
    "identity",
    "table(log_arange)",
    "constant(0.1)",
    "zeros",
    "ones",
)


def filling(law: str, shape: tuple[int, ...] = (96, 130), dtype: str = "F32", **how: object) -> Filling:
    return Filling(dtype, shape, tuple(map(parse_law, law.split(" | "))), **how)  # type: ignore[arg-type]


def whole(
    what: Filling, seed: int = 0, name: str = "layer.weight", arrays: object = HOST, chunk: int = 1 << 15
) -> bytes:
    return drawn(arrays, what, seed, name, 0, what.count, chunk).tobytes()  # type: ignore[arg-type]


def values(what: Filling, seed: int = 0, name: str = "layer.weight") -> np.ndarray:
    return decode(np.frombuffer(whole(what, seed, name), np.uint8), what.dtype).astype(np.float64)


# Random123 1.14, kat_vectors, philox4x32 of 10 rounds: counter, key, words.
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_the_words_are_those_of_the_authors_of_philox(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    lanes = mixed(np.array([counter[0]], np.uint64), np.array([counter[1]], np.uint64), counter[2:], key)  # type: ignore[arg-type]
    assert tuple(int(lane[0]) for lane in lanes) == expected
    lanes = mixed(torch.tensor([counter[0]]), torch.tensor([counter[1]]), counter[2:], key)  # type: ignore[arg-type]
    assert tuple(int(lane[0]) for lane in lanes) == expected


def test_the_counter_goes_on_beyond_32_bits() -> None:
    stream, at = Stream.of(1, 0, "x"), 4 << 32
    across = words(HOST, stream, at - 6, at + 6)
    assert across.tobytes() == np.concatenate([words(HOST, stream, n, n + 1) for n in range(at - 6, at + 6)]).tobytes()
    assert len(set(across)) == 12
    assert set(words(HOST, stream, 0, 6)).isdisjoint(across)


@pytest.mark.parametrize("dtype", WIDTHS)
@pytest.mark.parametrize("law", LAWS)
def test_torch_draws_the_bytes_of_numpy_however_they_are_cut(law: str, dtype: str) -> None:
    what = filling(law, dtype=dtype)
    assert whole(what, arrays=TORCH, chunk=5000) == whole(what)


def test_a_rotary_table_is_the_same_on_both_and_that_of_torch() -> None:
    what = filling("table(rotary, base = 10000)", (64,))
    assert whole(what) == whole(what, arrays=TORCH)
    assert whole(what) == (1 / 10000 ** (torch.arange(64, dtype=torch.float64) / 64)).float().numpy().tobytes()


def test_the_root_of_torch_is_rounded_as_that_of_numpy_is() -> None:
    numbers = np.random.default_rng(0).uniform(1e-3, 1e3, 1 << 19)
    assert TORCH.root(torch.from_numpy(numbers)).numpy().tobytes() == np.sqrt(numbers).tobytes()
    assert float(TORCH.root(torch.zeros(1, dtype=torch.float64))) == 0.0


@pytest.mark.parametrize("law", [law for law in LAWS if not filling(law).is_whole])
def test_any_values_can_be_drawn_alone(law: str) -> None:
    for dtype in ("F32", "F64", "BF16"):
        what = filling(law, (40_000,), dtype)
        complete, width = whole(what), WIDTHS[dtype]
        for begin, end in ((0, 1), (3, 4), (7, 29_003), (12_345, 12_350), (39_999, 40_000), (5, 5)):
            assert drawn(HOST, what, 0, "layer.weight", begin, end).tobytes() == complete[begin * width : end * width]
        assert (
            b"".join(drawn(HOST, what, 0, "layer.weight", *span).tobytes() for span in pieces_of(what, 9_999))
            == complete
        )


PINNED = {
    ("normal(std = 0.02)", "F32"): "9381afb61f09da864785e8a943332c83b902333e1060afbcb274ed0a81cc34e2",
    ("normal(std = 0.02)", "BF16"): "de7ae3192191dafdd314b56b1cdd346ec1e0285b8482742f20a6a52b42085767",
    ("normal(std = 0.02)", "F64"): "2495b6a7459ee0aaf21611a9edd4650b49d208c8ef9d187ec193f6a4614a5871",
    ("normal(std = 0.02, mean = 1)", "F16"): "4f876d09886736190d9fe706cb6b1495ff19b44a2b289c867e9c3eeded6f90e2",
    ("trunc_normal(std = 0.02)", "F32"): "277e5b5e9cbdb1d96af5d4cfe4121a4604e4c01e8cbadce7da80539ff0a0fe20",
    ("trunc_normal(std = 1, cut = 3)", "F8_E4M3"): "e995eb90462005b78285089421a05c775874416a19dc8d2572424d1387b4390c",
    ("uniform(bound = 0.05)", "F32"): "3a36488d77712add30bdde56ae4c5e0a8876b66e13837b368515d2b8840bb0b5",
    ("uniform(low = 0.5, high = 2)", "BF16"): "4d76231452e38792093ed5901b1d348ff9caf4ed84fa1e70baa558948123f3ea",
    ("log_uniform(low = 1, high = 16)", "F32"): "3f960aabb3e252e9a72553b94d4185562382e232a31ec591f3565c74b1796456",
    ("time_step(low = 0.001, high = 0.1)", "F32"): "17d7367927adbebfc6e367c244c1f22a48ca7d671e3f6d4632087572fc94a9e5",
    ("orthogonal(gain = 1.4142)", "F32"): "8a4da0cb47ee0f7b4e129f737cd9a6b8ecea0babf7293fe0c58c05c2ac988f59",
    ("sparse(connections = 7, std = 0.3)", "F32"): "0f7f3c68ed3f6e26018ba0602d849b657051618d72c6bb7a0144e6cfc468b71a",
    ("table(log_arange)", "F32"): "fa5eef2b1d129e7fe3960585f3beeae5bcdbc5ab257a956abc8686dd93cfd0cd",
}
"""SHA-256 of each draw of 96 x 130 by seed 0 under ``layer.weight``: stream 1 stays what it is on every machine."""


@pytest.mark.parametrize(("law", "dtype"), PINNED)
def test_the_draws_of_stream_1_are_pinned(law: str, dtype: str) -> None:
    assert hashlib.sha256(whole(filling(law, dtype=dtype))).hexdigest() == PINNED[law, dtype]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("law", "dtype"), PINNED)
def test_a_gpu_draws_what_is_pinned(law: str, dtype: str) -> None:
    draw = whole(filling(law, dtype=dtype), arrays=Torch("cuda"), chunk=1 << 24)
    assert hashlib.sha256(draw).hexdigest() == PINNED[law, dtype]


def test_the_quantile_of_the_normal_has_its_stated_error() -> None:
    centred = np.concatenate([np.linspace(-0.4999, 0.4999, 20_001), 0.5 - 2.0 ** -np.arange(2, 54), [2.0**-33, 1e-300]])
    exact = stats.norm.ppf(centred + 0.5)
    exact = np.where(centred > 0.25, -stats.norm.ppf(0.5 - centred), exact)
    tiny = np.abs(centred) < 1e-3  # 1/2 + c loses the digits of c: there it is c·√(2π)(1 + πc²/3)
    exact = np.where(tiny, centred * math.sqrt(2 * math.pi) * (1 + math.pi * centred**2 / 3), exact)
    found = normal_quantile(HOST, centred)
    assert np.all(np.abs(found - exact) <= 4e-15 * np.maximum(np.abs(exact), 1) + tiny * 1e-11 * np.abs(exact))
    inverse = NormalDist().inv_cdf
    assert (
        max(abs(float(f) - inverse(c + 0.5)) for f, c in zip(found[:20_001:97], centred[:20_001:97], strict=True))
        < 4e-15
    )


def test_the_logarithm_and_the_exponential_are_within_two_ulp() -> None:
    rng = np.random.default_rng(0)
    numbers = np.exp(rng.uniform(-700, 700, 20_000))
    exact = np.array([math.log(number) for number in numbers])
    assert np.all(np.abs(logarithm(HOST, numbers) - exact) <= 2 * np.spacing(np.abs(exact)))
    powers = rng.uniform(-690, 690, 20_000)
    exact = np.array([math.exp(power) for power in powers])
    assert np.all(np.abs(exponential(HOST, powers) - exact) <= 2 * np.spacing(exact))
    for cut in (1e-9, 0.1, 1.0, 2.0, 3.0, 6.0, 8.2, 9.0, 1e9):
        assert normal_within(HOST, cut) == pytest.approx(math.erf(cut / math.sqrt(2)), rel=1e-14)


@pytest.mark.parametrize("dtype", ["F32", "F64"])
@pytest.mark.parametrize(
    ("law", "expected"),
    [
        ("normal(std = 0.02)", stats.norm(0, 0.02)),
        ("normal(std = 0.5, mean = 3)", stats.norm(3, 0.5)),
        ("trunc_normal(std = 0.02)", stats.truncnorm(-2, 2, 0, 0.02)),
        ("trunc_normal(std = 0.1, cut = 3, mean = 1)", stats.truncnorm(-3, 3, 1, 0.1)),
        ("trunc_normal(std = 1, cut = 0.5)", stats.truncnorm(-0.5, 0.5)),
        ("uniform(bound = 0.05)", stats.uniform(-0.05, 0.1)),
        ("uniform(low = 2, high = 5)", stats.uniform(2, 3)),
        ("log_uniform(low = 1, high = 16)", None),
        ("time_step(low = 0.001, high = 0.1)", None),
    ],
)
def test_values_are_distributed_as_their_law(law: str, expected: object, dtype: str) -> None:
    found = values(filling(law, (1 << 18,), dtype), name=law)
    if law.startswith("log_uniform"):
        found, expected = np.exp(found), stats.uniform(1, 15)
    if law.startswith("time_step"):
        found, expected = np.log(np.log1p(np.exp(found))), stats.uniform(math.log(1e-3), math.log(100))
    assert stats.kstest(found, expected.cdf).pvalue > 1e-4  # type: ignore[attr-defined]
    assert len(set(found)) > len(found) * (0.999 if dtype == "F64" else 0.5)


def test_a_cut_and_a_bound_are_never_passed() -> None:
    for dtype in ("F32", "BF16"):
        assert np.abs(values(filling("trunc_normal(std = 0.5)", (1 << 18,), dtype))).max() <= 1
        assert np.abs(values(filling("uniform(bound = 0.25)", (1 << 18,), dtype))).max() <= 0.25


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_a_cast_rounds_once(dtype: str) -> None:
    table = decode(np.arange(1 << 16, dtype=np.uint16).view(np.uint8), dtype)
    codes = np.unique(table[np.isfinite(table)].astype(np.float64))
    middles = (codes[1:] + codes[:-1]) / 2
    between = np.concatenate([codes, middles, np.nextafter(middles, np.inf), np.nextafter(middles, -np.inf)])
    assert cast(HOST, between, dtype).tobytes() == cast(TORCH, torch.from_numpy(between), dtype).tobytes()
    found = decode(cast(HOST, between, dtype), dtype).astype(np.float64)
    at = np.clip(np.searchsorted(codes, between), 1, len(codes) - 1)
    nearest = np.minimum(np.abs(codes[at] - between), np.abs(codes[at - 1] - between))
    assert np.array_equal(np.abs(found - between), nearest)
    assert np.array_equal(found[: len(codes)], codes)
    assert not (cast(HOST, middles, dtype).view("<u2") & 1).any()


@pytest.mark.parametrize("dtype", [name for name in NARROW if name.startswith("F8")])
def test_a_cast_to_float8_takes_the_nearest_code_and_of_two_the_even_one(dtype: str) -> None:
    table = decode(np.arange(256, dtype=np.uint8), dtype).astype(np.float64)
    codes = np.unique(table[np.isfinite(table)])
    numbers = np.concatenate([codes, (codes[1:] + codes[:-1]) / 2, np.random.default_rng(0).normal(size=20_000)])
    raw = cast(HOST, numbers, dtype)
    found = table[raw]
    nearest = np.abs(codes[:, None] - numbers).min(axis=0)
    assert np.array_equal(np.abs(found - numbers), nearest)
    assert not (raw[len(codes) : 2 * len(codes) - 1] & 1).any()
    beyond = table[cast(HOST, np.array([1e9, -1e9, math.inf]), dtype)]
    assert not np.isfinite(beyond).any()
    assert table[cast(HOST, np.array([-1e-30]), dtype)] == 0


def test_what_is_too_large_is_infinite_and_no_warning() -> None:
    assert np.isinf(values(filling("normal(std = 1e39)", (1000,)))).any()
    assert np.isinf(values(filling("normal(std = 1e308)", (1000,), "F64"))).any()


def test_no_two_of_a_million_names_share_a_stream() -> None:
    names = (f"layers.{at // 8}.mlp.experts.{at % 8}.{kind}" for at in range(500_000) for kind in ("up", "down"))
    streams = {(stream.key, stream.upper) for stream in (Stream.of(1, 0, name) for name in names)}
    assert len(streams) == 1_000_000


def test_seed_name_and_purpose_make_a_stream_and_cannot_be_taken_for_each_other() -> None:
    texts = [(0, "a", ""), (1, "a", ""), (0, "b", ""), (0, "a", "order 0 0"), (0, "order 0 0\0a", ""), (0, "\0a", "")]
    texts += [(1, "0\0a", ""), (0, "\ud800", ""), (0, "", "")]
    assert len({Stream.of(1, *text) for text in texts}) == len(texts)
    first = "layers.85368.mlp.experts.56.up_proj.weight", "layers.90518.mlp.experts.22.up_proj.weight"
    one, other = (whole(filling("normal(std = 1)", (64,)), name=name) for name in first)
    assert one != other  # by torch's generator these two were the same


def test_streams_and_lags_correlate_as_noise() -> None:
    count, length = 200, 1 << 13
    drawn_values = np.stack(
        [values(filling("normal(std = 1)", (length,)), name=f"layers.{n}.weight") for n in range(count)]
    )
    pairs = np.corrcoef(drawn_values)[np.triu_indices(count, 1)] * math.sqrt(length)
    assert stats.kstest(pairs, "norm").pvalue > 1e-4
    assert np.abs(pairs).max() < 6
    lags = [
        (row[:-lag] * row[lag:]).sum() / math.sqrt(length - lag)
        for row in drawn_values
        for lag in (1, 2, 3, 4, 5, 64, 4096)
    ]
    assert stats.kstest(lags, "norm").pvalue > 1e-4
    neighbours = np.stack([values(filling("normal(std = 1)", (length,)), seed=seed) for seed in range(50)])
    assert np.abs(np.corrcoef(neighbours)[np.triu_indices(50, 1)]).max() * math.sqrt(length) < 5.5


@pytest.mark.parametrize("shape", [(64, 64), (100, 33), (33, 100), (1, 7), (7, 1), (5, 3, 4), (200, 150)])
@pytest.mark.parametrize("units_last", [False, True])
def test_an_orthogonal_draw_is_orthonormal_along_its_shorter_side(shape: tuple[int, ...], units_last: bool) -> None:
    found = values(filling("orthogonal(gain = 2)", shape, "F64", units_last=units_last)).reshape(shape)
    matrix = found.reshape(-1, shape[-1]) if units_last else found.reshape(shape[0], -1)
    square = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    assert np.abs(square - 4 * np.eye(len(square))).max() < 1e-11


def test_orthogonal_draws_are_spread_evenly() -> None:
    """Of an even draw of n dimensions the square of each element is Beta(1/2, (n - 1)/2), and the sign is even."""
    draws = np.stack([values(filling("orthogonal", (5, 5), "F64"), name=f"{n}").reshape(5, 5) for n in range(2000)])
    for at in ((0, 0), (0, 4), (2, 3), (4, 0), (4, 4)):
        element = draws[:, at[0], at[1]]
        assert stats.kstest(element**2, stats.beta(0.5, 2).cdf).pvalue > 1e-4
        assert abs((element > 0).mean() - 0.5) < 0.06
    assert abs((np.linalg.det(draws) > 0).mean() - 0.5) < 0.06
    traces = np.trace(draws, axis1=1, axis2=2)
    torchs = [float(torch.nn.init.orthogonal_(torch.empty(5, 5)).trace()) for _ in range(2000)]
    assert stats.ks_2samp(traces, torchs).pvalue > 1e-4


def test_a_product_is_exact_in_any_order() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(40, 3000)), rng.normal(size=(3000, 20))
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    other /= np.linalg.norm(other, axis=0)
    order = rng.permutation(3000)
    found = product(HOST, one, other)
    assert found.tobytes() == product(HOST, one[:, order], other[order]).tobytes()
    assert np.abs(found - one @ other).max() < 1e-11


def test_each_matrix_of_a_stack_and_each_block_of_rows_is_orthogonal_by_itself() -> None:
    stack = values(filling("orthogonal", (3, 8, 16), "F64", stacked=True)).reshape(3, 8, 16)
    assert np.abs(stack @ stack.transpose(0, 2, 1) - np.eye(8)).max() < 1e-11
    assert np.abs(stack[0] - stack[1]).max() > 0.1
    gates = values(filling("orthogonal | orthogonal(gain = 3) | zeros", (24, 8), "F64")).reshape(3, 8, 8)
    assert np.abs(gates[0] @ gates[0].T - np.eye(8)).max() < 1e-11
    assert np.abs(gates[1] @ gates[1].T - 9 * np.eye(8)).max() < 1e-11
    assert not gates[2].any()


@pytest.mark.parametrize("units_last", [False, True])
def test_a_sparse_draw_connects_each_unit_to_as_many_inputs(units_last: bool) -> None:
    found = values(filling("sparse(connections = 10, std = 0.5)", (400, 60), units_last=units_last)).reshape(400, 60)
    matrix = found.T if units_last else found
    assert set((matrix != 0).sum(axis=1)) == {10}
    assert stats.kstest(found[found != 0], stats.norm(0, 0.5).cdf).pvalue > 1e-4
    inputs = (matrix != 0).sum(axis=0)
    assert abs(inputs.mean() - 10 * matrix.shape[0] / matrix.shape[1]) < 1e-9
    assert inputs.std() > 0
    stack = values(filling("sparse(connections = 3, std = 1)", (2, 20, 8), units_last=True, stacked=True)).reshape(
        2, 20, 8
    )
    assert set((stack != 0).sum(axis=1).reshape(-1)) == {3}


@pytest.mark.parametrize(("shape", "groups"), [((5, 7), 1), ((8, 4, 3), 1), ((8, 2, 3, 3), 4), ((6, 6, 3, 5, 2), 2)])
def test_an_identity_is_that_of_torch(shape: tuple[int, ...], groups: int) -> None:
    empty = torch.empty(shape)
    expected = torch.nn.init.eye_(empty) if len(shape) == 2 else torch.nn.init.dirac_(empty, groups)
    assert whole(filling("identity", shape, groups=groups)) == expected.numpy().tobytes()


def test_blocks_have_their_own_laws_and_borders_and_a_padding_row_is_zero() -> None:
    packed = values(
        filling("normal(std = 1) | normal(std = 0.1) | uniform(bound = 5)", (96, 64), borders=(4096, 5120, 6144))
    )
    assert packed[:4096].std() == pytest.approx(1, rel=0.05)
    assert packed[4096:5120].std() == pytest.approx(0.1, rel=0.1)
    assert 4.9 < np.abs(packed[5120:]).max() <= 5
    even = values(filling("normal(std = 1) | normal(std = 0.1)", (10, 1000))).reshape(2, 5000).std(axis=1)
    assert even == pytest.approx([1, 0.1], rel=0.1)
    table = values(filling("normal(std = 1)", (50, 700), padding=3)).reshape(50, 700)
    assert [row for row in range(50) if not table[row].any()] == [3]
    without = values(filling("normal(std = 1)", (50, 700))).reshape(50, 700)
    assert np.array_equal(np.delete(table, 3, axis=0), np.delete(without, 3, axis=0))


@pytest.mark.parametrize(
    ("law", "how"),
    [
        ("normal(std = 1 / sqrt(fan_in))", {}),
        ("table(sinusoidal)", {}),
        ("derived", {}),
        ("orthogonal", {"shape": (5,)}),
        ("identity", {"shape": ()}),
        ("identity", {"shape": (6, 2, 3), "groups": 4}),
        ("table(rotary)", {"shape": (4, 4)}),
        ("table(log_arange)", {"shape": ()}),
        ("normal(std = 1)", {"dtype": "F8_E8M0"}),
        ("normal(std = 1)", {"dtype": "I64"}),
        ("normal(std = -1)", {}),
        ("uniform(low = -1e308, high = 1e308)", {}),
        ("normal(std = 1)", {"padding": 9, "shape": (4, 4)}),
        ("normal(std = 1)", {"padding": 0, "shape": ()}),
        ("normal(std = 1) | zeros", {"borders": (3, 2), "shape": (2,)}),
        ("normal(std = 1) | zeros", {"borders": (1,), "shape": (2,)}),
        ("orthogonal | orthogonal", {"shape": (3, 4)}),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_it_is_tried(law: str, how: dict[str, object]) -> None:
    with pytest.raises(LawError):
        filling(law, **how)  # type: ignore[arg-type]


def test_the_deviation_of_a_cut_draw_is_that_which_laws_state() -> None:
    for cut in (0.5, 1, 2, 3):
        found = values(filling(f"trunc_normal(std = 1, cut = {cut})", (1 << 18,)))
        assert found.std() == pytest.approx(shrink(cut), rel=0.01)
