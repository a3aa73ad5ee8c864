"""Histograms: what numpy counts, of a sample that misses no part of a tensor."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from initaudit import workers
from initaudit.checkpoint.reading import Reader
from initaudit.statistics import JUDGED, PIECE_BYTES, measure
from initaudit.statistics.grid import PIECE_ELEMENTS
from initaudit.statistics.histogram import SAMPLED, Sampler, bins_of, histogram_of, stride_of
from initaudit.understanding import open_paths, read
from tests.checkpoints import written
from tests.recipes import Draw, gpt2


def normal(*shape, std=0.02, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * std).astype(np.float32)


@pytest.fixture
def measured(tmp_path):
    """The histogram of one array, by way of a file."""

    def histogram(values):
        (checkpoint,), _ = open_paths([written(tmp_path / "one.safetensors", {"w": values})])
        (shard,) = checkpoint.shards
        with Reader.opened(shard, PIECE_BYTES) as reader:
            return measure(reader, shard.entries[0], histogram=True).histogram

    return histogram


@pytest.mark.parametrize("shape", [(50,), (64, 64), (8, 8, 3, 3)], ids=str)
def test_all_of_a_small_tensor_is_counted_as_numpy_counts_it(measured, shape):
    values = normal(*shape)
    found = measured(values)
    counts, edges = np.histogram(values.astype(np.float64), bins_of(values.size), (found.low, found.high))
    assert found.sampled == values.size
    assert found.counts == tuple(counts)
    np.testing.assert_allclose(found.edges, edges, rtol=1e-12, atol=1e-15)


def test_a_large_tensor_is_sampled_evenly(measured):
    values = normal(3 * PIECE_ELEMENTS // 512 + 1, 512)
    found, stride = measured(values), stride_of(values.shape)
    assert SAMPLED / 2 < found.sampled <= SAMPLED
    assert found == histogram_of(values.ravel()[::stride].astype(np.float64))


@pytest.mark.parametrize("axis", [0, 1])
def test_a_part_that_was_not_filled_shows_whichever_way_it_lies(measured, axis):
    values = normal(1024, 1024)
    values[(slice(None),) * axis + (slice(256),)] = 0
    found = measured(values)
    (zeros,) = [n for low, high, n in found.bars if low <= 0 <= high]
    assert zeros / found.sampled == pytest.approx(0.25 + 0.75 * 0.05, abs=0.03)
    assert max(found.counts) == zeros


@given(shape=st.lists(st.integers(1, 5000), min_size=1, max_size=4).map(tuple))
def test_the_step_is_prime_to_every_dimension_and_takes_no_more_than_the_sample(shape):
    step = stride_of(shape)
    assert math.ceil(math.prod(shape) / step) <= SAMPLED
    assert step == 1 or all(math.gcd(step, size) == 1 for size in shape)


@given(arrays(np.float64, st.integers(1, 300), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_every_finite_value_is_counted_once(values):
    with np.errstate(over="ignore"):
        found = histogram_of(values)
    if found is not None:
        assert found.sampled == len(values)
        assert found.low <= found.high
        assert len(found.counts) == (bins_of(len(values)) if found.low < found.high else 1)


def test_one_far_value_does_not_squeeze_the_others(measured):
    values = normal(64, 64)
    values[3, 3] = 1e6
    found = measured(values)
    assert found.above == 1
    assert found.high < 0.2


def test_what_is_not_finite_is_left_out(measured):
    values = normal(64, 64)
    values[0, :3] = [np.nan, np.inf, -np.inf]
    assert measured(values).sampled == 64 * 64 - 3
    assert measured(np.full((4, 4), np.nan, np.float32)) is None


def test_a_constant_has_one_bin(measured):
    found = measured(np.full(7, 0.5, np.float32))
    assert (found.low, found.high, found.counts) == (0.5, 0.5, (7,))


def test_pieces_of_any_size_give_the_same_sample():
    values = normal(300, 331)
    whole, parts = Sampler(values.shape), Sampler(values.shape)
    whole.add(values.ravel())
    for part in np.array_split(values.ravel(), 97):
        parts.add(part)
    assert whole.histogram() == parts.histogram()


def test_any_number_of_workers_finds_the_same_and_none_is_kept_unasked(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setattr(workers, "WORTH_IT", 0)
    monkeypatch.setattr(workers, "BATCH_BYTES", 500_000)
    (checkpoint,), _ = open_paths([written(tmp_path / "m.safetensors", gpt2(Draw()))])
    one = read(checkpoint, histograms=True).statistics
    assert read(checkpoint, workers=3, histograms=True).statistics == one
    assert all(found.histogram for found in one.values())
    assert not any(found.histogram for found in read(checkpoint).statistics.values())
    assert {entry.dtype for entry in checkpoint.entries} <= JUDGED
