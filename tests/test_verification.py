"""``fix --verify``: a repair is drawn again from its report, without torch, and held against a file."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from initaudit import workers
from initaudit.draws import HOST, Filling, drawn
from initaudit.draws.devices import Device
from initaudit.draws.torch_arrays import Torch
from initaudit.errors import InitauditError
from initaudit.repair import drawing
from tests.checkpoints import FIXTURES, Outcome, indexed, run
from tests.test_faults import gpt

ROOT = Path(__file__).parents[1]


def broken(folder: Path, *names: str) -> Path:
    """A small GPT with weights of zeros."""
    path = gpt(folder)
    tensors = load_file(path)
    for name in names or ("transformer.h.1.mlp.c_fc.weight", "transformer.h.2.attn.c_attn.weight"):
        tensors[name] = np.zeros_like(tensors[name])
    save_file(tensors, path)
    return path


def fixed(path: Path, *options: object) -> tuple[Path, dict[str, Any]]:
    """The report of a repair in place, and what it holds."""
    outcome = run("fix", path, "--in-place", "--output-format", "json", *options)
    assert outcome.status == 0, outcome.err
    report = path.parent / "repair.json"
    report.write_text(outcome.out)
    return report, json.loads(outcome.out)


def verified(report: Path, path: Path, *options: object) -> Outcome:
    return run("fix", "--verify", report, path, *options)


def test_a_repair_says_what_it_drew_and_can_be_drawn_again(tmp_path: Path) -> None:
    path = broken(tmp_path)
    report, said = fixed(path, "--seed", 11)
    assert (said["stream"], said["seed"], set(said["tool"])) == (1, 11, {"name", "version"})
    assert len(said["repairs"]) == 2
    for row in said["repairs"]:
        assert row["before"]["law"] == "zeros"
        assert row["after"]["law"] == row["law"]
        assert row["draw"]["shape"] == list(load_file(path)[row["tensor"]].shape)
    outcome = verified(report, path)
    assert (outcome.status, outcome.err) == (0, "")
    assert "2 tensors" in outcome.out
    document = verified(report, path, "--output-format", "json").document
    assert (document["schema"], len(document["equal"]), document["unlike"]) == ("initaudit/verification/1", 2, [])


def test_one_bit_that_differs_is_found_and_named(tmp_path: Path) -> None:
    path = broken(tmp_path)
    report, said = fixed(path)
    tensors = load_file(path)
    name = said["repairs"][1]["tensor"]
    tensors[name].view(np.uint32)[-1, -1] ^= 1
    save_file(tensors, path)
    outcome = verified(report, path)
    assert outcome.status == 1
    assert outcome.out.startswith(f"differs  {name}: 1 of ")
    document = verified(report, path, "--output-format", "json").document
    assert [row["tensor"] for row in document["unlike"]] == [name]


@pytest.mark.parametrize("change", [{"seed": 1}, {"law": "normal(std = 0.021)"}, {"digest_after": "sha256:00"}])
def test_a_report_of_another_draw_is_not_equal(change: dict[str, Any], tmp_path: Path) -> None:
    path = broken(tmp_path)
    report, said = fixed(path)
    where = said if "seed" in change else said["repairs"][0]
    where.update(change)
    report.write_text(json.dumps(said))
    assert verified(report, path).status == 1


@pytest.mark.parametrize(
    "scheme", ["orthogonal", "sparse:connections=4", "trunc_normal:std=0.02", "uniform:bound=0.1", "constant:value=0.1"]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_every_scheme_is_drawn_again_from_its_report(scheme: str, dtype: type, tmp_path: Path) -> None:
    path = broken(tmp_path)
    save_file({name: value.astype(dtype) for name, value in load_file(path).items()}, path)
    outcome = run("fix", path, "--in-place", "--scheme", scheme, "--output-format", "json")
    (tmp_path / "repair.json").write_text(outcome.out)
    assert outcome.document["repairs"]
    assert verified(tmp_path / "repair.json", path).status == 0


def test_shards_and_archives_are_verified_as_well(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    tensors = load_file(broken(tmp_path))
    names = sorted(tensors)
    indexed(
        folder,
        {"a.safetensors": {n: tensors[n] for n in names[::2]}, "b.safetensors": {n: tensors[n] for n in names[1::2]}},
    )
    report, said = fixed(folder / "model.safetensors.index.json")
    assert len(said["repairs"]) == 2
    assert verified(report, folder).status == 0
    archive = tmp_path / "pytorch_model.bin"
    weights = {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}
    torch.save({name: value.T.contiguous().T if value.ndim == 2 else value for name, value in weights.items()}, archive)
    report, said = fixed(archive)
    assert len(said["repairs"]) == 2
    assert verified(report, archive).status == 0


def replaced(said: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**said, **changes}


def in_row(said: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**said, "repairs": [{**said["repairs"][0], **changes}]}


def in_draw(said: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return in_row(said, draw={**said["repairs"][0]["draw"], **changes})


HOSTILE: Mapping[str, Any] = {
    "a list": lambda said: [],
    "another schema": lambda said: replaced(said, schema="initaudit/report/1"),
    "a later stream": lambda said: replaced(said, stream=2),
    "no stream": lambda said: {key: value for key, value in said.items() if key != "stream"},
    "a stream that is true": lambda said: replaced(said, stream=True),
    "a negative seed": lambda said: replaced(said, seed=-1),
    "a seed with a point": lambda said: replaced(said, seed=1.5),
    "no repairs": lambda said: replaced(said, repairs=[]),
    "repairs that are none": lambda said: replaced(said, repairs=[7, None]),
    "a tensor twice": lambda said: replaced(said, repairs=said["repairs"][:1] * 2),
    "a tensor that is not there": lambda said: in_row(said, tensor="nobody\n\x1b[31m"),
    "a tensor that is no name": lambda said: in_row(said, tensor=["x"]),
    "a digest that is a number": lambda said: in_row(said, digest_after=5),
    "a law that is none": lambda said: in_row(said, law="__import__('os').system('true')"),
    "a law that is null": lambda said: in_row(said, law=None),
    "a law with names": lambda said: in_row(said, law="normal(std = 1 / sqrt(fan_in))"),
    "a law of depth": lambda said: in_row(said, law="normal(std = " + "(" * 500),
    "laws that are a text": lambda said: in_row(said, laws="ones"),
    "no laws": lambda said: in_row(said, laws=[]),
    "no draw": lambda said: in_row(said, draw=None),
    "another shape": lambda said: in_draw(said, shape=[10**9, 10**9]),
    "a negative shape": lambda said: in_draw(said, shape=[-1, -1]),
    "a shape that is a text": lambda said: in_draw(said, shape="12"),
    "another dtype": lambda said: in_draw(said, dtype="BF16"),
    "a dtype that is none": lambda said: in_draw(said, dtype="F33"),
    "no groups": lambda said: in_row(
        said, law="identity", draw={**said["repairs"][0]["draw"], "groups": 0}
    ),
    "a row beyond the table": lambda said: in_draw(said, padding=10**30),
    "borders out of order": lambda said: in_draw(said, borders=[5, 3]),
}  # fmt: skip


@pytest.fixture(scope="module")
def repair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = broken(tmp_path_factory.mktemp("hostile"))
    return path, fixed(path)[1]


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_report_that_is_hostile_or_foreign_is_one_line(
    kind: str, repair: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    path, said = repair
    report = tmp_path / "report.json"
    report.write_text(json.dumps(HOSTILE[kind](said)))
    outcome = verified(report, path)
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert "internal error" not in outcome.err
    assert "\x1b" not in outcome.err


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"[" * 100_000, b'{"seed": ' + b"9" * 10_000 + b"}", b"NaN", b"{"])
def test_a_report_that_is_no_json_is_one_line(text: bytes, repair: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_bytes(text)
    outcome = verified(report, repair[0])
    assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "internal error" not in outcome.err


def test_what_is_no_file_or_no_checkpoint_is_one_line(repair: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    path, said = repair
    report = tmp_path / "report.json"
    report.write_text(json.dumps(said))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert verified(tmp_path / "pipe", path).status == 2
    for one, other in (
        (tmp_path, path),
        (tmp_path / "missing", path),
        (report, report),
        (report, tmp_path / "missing"),
    ):
        outcome = verified(one, other)
        assert (outcome.status, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    for option in (["--in-place"], ["--output", "x"], ["--scheme", "ones"], ["--seed", 3], ["--select", "IA101"]):
        outcome = verified(report, path, *option)
        assert (outcome.status, outcome.err.count("\n")) == (2, 1)


def test_repair_and_its_verification_need_no_torch(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    shutil.copy(FIXTURES / "bad" / "IA101-zero-weight.safetensors", path)
    code = """
import sys
sys.modules["torch"] = None  # to import it fails, as where it is not installed
from initaudit.cli import main
fixed = main(["fix", "model.safetensors", "--output", "out.safetensors", "--report", "json=repair.json"])
same = main(["fix", "--verify", "repair.json", "out.safetensors"])
other = main(["fix", "--verify", "repair.json", "model.safetensors"])
print(fixed, same, other, sorted(name for name, module in sys.modules.items() if name.startswith("torch") and module))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert result.stdout.splitlines()[-1] == "0 0 1 []"
    code = code.replace('sys.modules["torch"] = None', "pass").replace("out.safetensors", "again.safetensors")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    if not torch.cuda.is_available():
        assert result.stdout.splitlines()[-1] == "0 0 1 []"
    assert (tmp_path / "out.safetensors").read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_without_torch_a_gpu_that_is_asked_for_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    shutil.copy(FIXTURES / "bad" / "IA101-zero-weight.safetensors", path)
    code = (
        "import sys; sys.modules['torch'] = None; from initaudit.cli import main;"
        "sys.exit(main(['fix', 'model.safetensors', '--in-place', '--device', 'cuda']))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "torch" in result.stderr


@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_number_of_processes_draws_the_same_bytes(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "WORTH_A_TEAM", 1)
    what = Filling("F32", (2_500, 1_000), drawing_laws("normal(std = 0.02)"))
    with drawing.Draftsman(3, "cpu", count, [what]) as draftsman:
        found = b"".join(piece.tobytes() for piece in draftsman.draw("h.0.w", what))
        again = b"".join(piece.tobytes() for piece in draftsman.draw("h.1.w", what))
    assert found == drawn(HOST, what, 3, "h.0.w", 0, what.count).tobytes()
    assert again == drawn(HOST, what, 3, "h.1.w", 0, what.count).tobytes()


def drawing_laws(text: str) -> Any:
    from initaudit.laws import parse_law

    return (parse_law(text),)


def squared(number: int) -> int:
    return number * number


def test_a_team_answers_in_order_and_says_when_a_helper_was_killed() -> None:
    for helpers in (0, 1, 3):
        team = workers.Team(helpers)
        assert list(team.each(squared, range(30))) == [number * number for number in range(30)]
        assert list(team.each(squared, range(0))) == []
        team.close()
    team = workers.Team(2)
    with pytest.raises(InitauditError, match="was killed"):
        list(team.each(killed_in_a_helper, [os.getpid()] * 12))
    team.close()


def killed_in_a_helper(parent: int) -> int:
    import time

    if os.getpid() != parent:
        os._exit(9)
    time.sleep(0.3)
    return 0


class Wrong(Torch):
    """A device whose roots are off by one in their last place, as some may be."""

    def root(self, values: Any) -> Any:
        return torch.sqrt(values) * (1 + 2.0**-40)


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_a_device_draws_what_the_host_draws_or_leaves_it_to_the_host(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = {}
    for kind, arrays in (("host", HOST), ("right", Torch("cpu")), ("wrong", Wrong("cpu"))):
        folder = tmp_path / kind
        folder.mkdir()
        path = broken(folder)
        device = Device("cpu" if kind == "host" else "cuda", arrays)
        monkeypatch.setattr(drawing, "device_of", lambda asked, device=device: device)
        said = fixed(path, "--device", asked)[1]
        results[kind] = path.read_bytes(), said["device"], said["notes"]
    assert results["host"][0] == results["right"][0] == results["wrong"][0]
    assert [results[kind][1] for kind in results] == ["cpu", "cuda", "cpu"]
    assert results["right"][2] == []
    assert "the GPU draws other bytes than the host" in results["wrong"][2][0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_repairs_with_the_bytes_of_the_host(tmp_path: Path) -> None:
    found = []
    for device in ("cpu", "cuda", "auto"):
        folder = tmp_path / device
        folder.mkdir()
        path = broken(folder)
        said = fixed(path, "--device", device)[1]
        assert said["device"] == ("cpu" if device == "cpu" else "cuda")
        found.append(path.read_bytes())
    assert found[0] == found[1] == found[2]
