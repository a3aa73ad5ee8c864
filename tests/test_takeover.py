"""A repair never loses: not to a kill between two renames, not to another program that saves, not to a second repair."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoints import indexed, spawn_python
from tests.recipes import Draw

WAYS = ["one", "shards", "backup", "file", "folder", "force"]


def faulty_shards(folder: Path, width: int = 64) -> Path:
    """A checkpoint of three shards, each with one weight that is zero; only their owner and his group may read them."""
    draw, shards = Draw(), {}
    for number in range(3):
        names = [f"layers.{number}.{part}.weight" for part in ("a", "b", "c")]
        shards[f"model-{number}.safetensors"] = {name: draw.normal(width, width, std=width**-0.5) for name in names}
        shards[f"model-{number}.safetensors"][names[number]][:] = 0
    indexed(folder, shards)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o640)
    return folder


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What became of each kill, by the way in which it was repaired."""
    found = {}
    for way in WAYS:
        start = tmp_path_factory.mktemp(way) / "start"
        faulty_shards(start / "in")
        outcome = spawn_python("-m", "tests.renames", start, way, timeout=200)
        assert (outcome.status, outcome.err) == (0, "")
        found[way] = json.loads(outcome.out)
    return found


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="each run is a fork")


@needs_fork
@pytest.mark.parametrize("way", WAYS)
def test_a_kill_before_any_change_of_a_name_loses_nothing(way: str, kills: dict[str, list[dict[str, Any]]]) -> None:
    *killed, last = kills[way]
    assert last == {"number": len(killed) + 1, "status": 0, "killed": False}  # access was never wider, says the status
    assert len(killed) >= 3
    assert [kill for kill in killed if kill["odd"] or kill["lost"]] == []


@needs_fork
@pytest.mark.parametrize("way", WAYS)
def test_the_run_after_a_kill_completes(way: str, kills: dict[str, list[dict[str, Any]]]) -> None:
    for kill in kills[way][:-1]:
        assert kill["whole"], kill
        there_already = way in ("file", "folder") and kill["again"] == 2
        assert kill["again"] == 0 or there_already


@needs_fork
def test_kills_met_the_repair_at_forty_moments(kills: dict[str, list[dict[str, Any]]]) -> None:
    assert sum(kill["killed"] for found in kills.values() for kill in found) >= 40


@needs_fork
@pytest.mark.parametrize("way", ["shards", "backup", "force"])
def test_a_kill_between_two_renames_is_seen_by_check(way: str, kills: dict[str, list[dict[str, Any]]]) -> None:
    half = [kill for kill in kills[way] if kill.get("half")]
    assert half
    for kill in half:
        for status, complaint in kill["checked"]:
            assert status == 2
            assert len(complaint.splitlines()) == 1
            assert "a repair was interrupted between two renames" in complaint
            assert "--in-place` finishes it" in complaint
