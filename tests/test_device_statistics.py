"""The pass of torch over a device's memory says what numpy's says of the host's; on the CPU both can be asked."""

import math

import pytest
import torch

from initaudit.checkpoint.values import Entry
from initaudit.modules import measuring
from initaudit.modules.measuring import Fetched, bytes_of, measure_held, measure_on_device
from initaudit.statistics import Statistics, measure

SHAPES = [
    (1,), (7,), (70_000,), (64, 32), (33, 1), (1, 40), (3, 5, 7), (32, 3, 7, 7), (5, 40, 48), (2, 3, 32, 33),
    (300, 700),
]  # fmt: skip


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 0.02 + 0.003).to(dtype)


def with_odd_values(values: torch.Tensor) -> torch.Tensor:
    flat = values.reshape(-1)
    flat[0], flat[1], flat[2], flat[3] = math.nan, math.inf, -math.inf, 0.0
    return values


PLANTS = {
    "as drawn": lambda values: values,
    "zero": lambda values: values * 0,
    "constant": lambda values: values * 0 + 0.1,
    "odd values": with_odd_values,
    "equal rows": lambda values: values.index_copy(0, torch.tensor([1, 5]), values[[0, 4]]),
    "dead rows": lambda values: values.index_fill(0, torch.tensor([2]), 0.0),
    "equal columns": lambda values: values.index_copy(1, torch.tensor([3]), values[:, [1]]),
    "symmetric": lambda values: values[:, :32].t() @ values[:, :32],
    "clamped": lambda values: values.clamp(-0.01, 0.01),
}


def both(values: torch.Tensor, code: str = "F32") -> tuple[Statistics, Statistics]:
    entry = Entry("w", code, tuple(values.shape))
    return measure_on_device(values, entry), measure_held(values, entry)


def near(mine: float | None, theirs: float | None, *, rel: float, absolute: float = 1e-6) -> bool:
    """Whether two numbers agree, or neither is one."""
    if mine is None or theirs is None:
        return mine is theirs
    return math.isclose(mine, theirs, rel_tol=rel, abs_tol=absolute)


def assert_alike(device: Statistics, host: Statistics) -> None:
    """Counts and samples are equal; sums agree as far as float32 within a piece goes."""
    for name in ("count", "minimum", "maximum", "zeros", "nan", "positive_infinite", "negative_infinite"):
        assert getattr(device, name) == getattr(host, name), name
    assert (device.sample, device.is_symmetric, device.is_constant) == (
        host.sample,
        host.is_symmetric,
        host.is_constant,
    )
    assert device.moments.count == host.moments.count
    assert near(device.mean, host.mean, rel=1e-4, absolute=1e-8)
    assert near(device.std, host.std, rel=2e-6, absolute=1e-12)
    assert near(device.moments.kurtosis, host.moments.kurtosis, rel=5e-5)
    assert near(device.column_spread, host.column_spread, rel=1e-4)
    assert device.units.keys() == host.units.keys()
    for axis, mine in device.units.items():
        theirs = host.units[axis]
        for name in ("count", "size", "dead", "dead_at", "equal", "classes", "equal_at", "fewest", "most"):
            assert getattr(mine, name) == getattr(theirs, name), name
        assert near(mine.length_spread, theirs.length_spread, rel=1e-3)
        assert near(mine.lean, theirs.lean, rel=1e-2)
        assert mine.parts.keys() == theirs.parts.keys()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_shape_has_the_statistics_that_the_host_finds(shape: tuple[int, ...]) -> None:
    assert_alike(*both(drawn(*shape)))


@pytest.mark.parametrize("plant", PLANTS)
def test_every_kind_of_fault_leaves_the_same_numbers(plant: str) -> None:
    assert_alike(*both(PLANTS[plant](drawn(64, 48))))


@pytest.mark.parametrize(
    ("dtype", "code"),
    [
        (torch.float64, "F64"),
        (torch.float16, "F16"),
        (torch.bfloat16, "BF16"),
        (torch.float8_e4m3fn, "F8_E4M3"),
        (torch.float8_e5m2, "F8_E5M2"),
    ],
    ids=str,
)
def test_any_dtype_has_the_statistics_that_the_host_finds(dtype: torch.dtype, code: str) -> None:
    values = drawn(64, 48)
    values[7] = values[3]
    assert_alike(*both(values.to(dtype), code))


@pytest.mark.parametrize("block", [1, 40, 1000, 5000])
@pytest.mark.parametrize("shape", [(3000,), (50, 48), (6, 40, 33)], ids=str)
def test_blocks_of_any_size_say_the_same(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], block: int) -> None:
    if block == 1 and len(shape) == 3:
        pytest.skip("8,000 blocks of one element say nothing new")
    values = drawn(*shape)
    if len(shape) > 1:
        values[..., 5, :] = values[..., 3, :]
    monkeypatch.setattr(measuring, "BLOCK_ELEMENTS", block)
    assert_alike(*both(values))


def test_values_in_another_order_are_read_in_theirs() -> None:
    values = drawn(48, 64).t()
    assert_alike(*both(values))
    assert measure_held(values, Entry("w", "F32", (64, 48))) == measure_held(
        values.contiguous(), Entry("w", "F32", (64, 48))
    )


def test_what_is_fetched_piece_by_piece_is_the_same_to_the_last_bit() -> None:
    values = drawn(300, 700)
    entry = Entry("w", "F32", (300, 700))
    assert measure(Fetched(values), entry) == measure_held(values, entry)


def test_the_host_reads_a_tensor_without_a_copy_and_cannot_write_to_it() -> None:
    values = drawn(64, 32)
    raw = bytes_of(values)
    assert raw.ctypes.data == values.data_ptr()
    assert not raw.flags.writeable


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("plant", PLANTS)
def test_a_cuda_device_says_what_the_host_says(plant: str) -> None:
    values = PLANTS[plant](drawn(64, 48))
    entry = Entry("w", "F32", tuple(values.shape))
    assert_alike(measure_held(values.cuda(), entry), measure_held(values, entry))
