"""How a model is stored, in which dtype and over how many files, changes no verdict; rounding moves no repair."""

import tempfile
from functools import cache
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from initaudit.understanding import open_paths, read
from tests.checkpoints import indexed
from tests.laws.judging import assert_agree, judged, measured, subject_judged
from tests.laws.not_yet import cases
from tests.laws.subjects import SUBJECTS, THOROUGH
from tests.recipes import Tensors

DTYPES = {"BF16": ml_dtypes.bfloat16, "F16": np.float16}
ROUNDED = 2.0**-8
"""What rounding to the coarser of the two may change of a value."""

SUBNORMAL = 1e-4
"""Below it float16 has fewer digits: a tensor all of whose values are smaller is another one there."""

POWER = 0.02
"""How far rounding may move a deviation that is measured to be prescribed."""

SHARDS = {"two": 2, "three": 3, "one for each tensor": 1000}

ROUNDED_SUBJECTS = [name for name in SUBJECTS if THOROUGH or name.startswith(("structure ", "plant ", "fixture bad"))]
SHARDED = [name for name in SUBJECTS if THOROUGH or name.startswith(("structure ", "fixture bad"))]


@cache
def rounded(way: str, subject: str) -> Tensors | None:
    """The tensors of a subject in another dtype, None where that makes another model of it."""
    tensors: Tensors = {}
    for name, values in SUBJECTS[subject]().tensors.items():
        tensors[name] = values
        if values.dtype == np.float32 and values.size:
            with np.errstate(over="ignore"):
                tensors[name] = values.astype(DTYPES[way])
            if not _survives(values, tensors[name].astype(np.float32), way):
                return None
    return tensors


def _survives(values: np.ndarray, after: np.ndarray, way: str) -> bool:
    """Whether values are the same but for rounding: none overflows, no scale is lost, no rows become equal."""
    finite = np.isfinite(values)
    largest = np.abs(values[finite]).max(initial=0.0)
    if way == "F16" and 0 < largest < SUBNORMAL:
        return False
    if not np.allclose(after[finite], values[finite], rtol=ROUNDED, atol=ROUNDED * SUBNORMAL):
        return False
    return values.ndim < 2 or _distinct(values) == _distinct(after)


def _distinct(values: np.ndarray) -> int:
    """How many of the rows differ."""
    return len({row.tobytes() for row in values})


@pytest.mark.parametrize(("way", "subject"), cases("dtype", DTYPES, ROUNDED_SUBJECTS))
def test_the_same_is_said_of_a_model_that_was_rounded(way: str, subject: str) -> None:
    tensors = rounded(way, subject)
    if tensors is None:
        pytest.skip("rounding makes another model of it")
    assert_agree(judged(measured(tensors, SUBJECTS[subject]().config)), subject_judged(subject), within=POWER)


@pytest.mark.parametrize(("way", "subject"), cases("shards", SHARDS, SHARDED))
def test_the_same_is_said_of_a_model_in_one_file_and_in_several(way: str, subject: str) -> None:
    tensors, count = SUBJECTS[subject]().tensors, SHARDS[way]
    shards: dict[str, Tensors] = {}
    for number, (name, values) in enumerate(tensors.items()):  # neighbours stand in different files
        part = number % min(count, len(tensors))
        shards.setdefault(f"model-{part}.safetensors", {})[name] = np.ascontiguousarray(values).reshape(values.shape)
    with tempfile.TemporaryDirectory(prefix="initaudit-") as folder:
        (checkpoint,), failures = open_paths([indexed(Path(folder), shards)])
        assert not failures
        object.__setattr__(checkpoint, "config", SUBJECTS[subject]().config)
        assert_agree(judged(read(checkpoint)), subject_judged(subject))
