"""A fault has one answer: what the finding expects, advises and proposes, what is planned, written and drawn is one."""

import json
import math
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import initaudit
from initaudit.audit import audit
from initaudit.depth import lanes, std_of
from initaudit.findings import Finding, healthy
from initaudit.model import Tensor
from initaudit.outcome import Outcome
from initaudit.remedies import Remedy, laws_of
from initaudit.report import html
from initaudit.understanding import Reading
from tests.checkpoints import run, written
from tests.laws.judging import RULES, verdicts
from tests.laws.not_yet import cases
from tests.laws.subjects import SUBJECTS, THOROUGH
from tests.recipes import Tensors

DIGITS = 2e-3
"""How far a number that is written with three digits may be from another one."""

LUCK = 6.0
"""Standard errors that a draw may be off the deviation that it is drawn with."""

SMALL = ("structure ", "fixture bad", "plant zero", "plant bias of one", "plant norm scale zero", "plant ten times")
CANDIDATES = [
    name for name in SUBJECTS if name.startswith(("shipped ", "plant ") if THOROUGH else ()) or name.startswith(SMALL)
]
OPEN = {
    "fixture bad/IA409-short-vocabulary",
    "fixture bad/IA601-trained-checkpoint.safetensors",
    "shipped never_filled",
}
"""Subjects that no other values would mend, or of which nothing says what they should hold, as `fix` says."""


@dataclass(frozen=True)
class Answer:
    """All that is said of one checkpoint, and what came of its repair."""

    before: Outcome
    document: dict[str, object]
    planned: dict[str, object]
    repair: initaudit.Repair
    after: Outcome
    tensors: Tensors
    mended: Tensors
    headers: tuple[bytes, bytes]

    @property
    def asking(self) -> list[Finding]:
        """The findings that ask for a repair and say which."""
        return [finding for finding in self.before.findings if finding.is_repairable]

    def tensor(self, finding: Finding) -> Tensor:
        """What was measured where a finding is."""
        return self.before.audited[0].model[finding.tensor]


@contextmanager
def a_file_of(subject: str) -> Iterator[Path]:
    """A folder with a subject in one file, and its configuration beside it."""
    model = SUBJECTS[subject]()
    with tempfile.TemporaryDirectory(prefix="initaudit-") as folder:
        tensors = {name: np.ascontiguousarray(values).reshape(values.shape) for name, values in model.tensors.items()}
        path = written(Path(folder) / "model" / "model.safetensors", tensors)
        path.with_name("config.json").write_text(json.dumps(dict(model.config)), encoding="utf-8")
        yield path


@cache
def answer(subject: str) -> Answer:
    """Audited, planned, repaired and audited again."""
    with a_file_of(subject) as path:
        fixed = path.parents[1] / "fixed.safetensors"
        before = audit([path], RULES)
        assert before.failures == ()
        document = json.loads(initaudit.check(path).to_json())
        planned = run("fix", path, "--dry-run", "--output-format", "json").document
        repair = initaudit.fix(path, output=fixed, device="cpu")
        mended = fixed if fixed.exists() else path
        copy = written(path.parents[1] / "again" / "model.safetensors", mended.read_bytes())
        copy.with_name("config.json").write_bytes(path.with_name("config.json").read_bytes())
        headers = _header(path), _header(copy)
        return Answer(
            before, document, planned, repair, audit([copy], RULES), load_file(path), load_file(copy), headers
        )


def _header(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: 8 + int.from_bytes(content[:8], "little")]


def in_document(remedy: Remedy) -> dict[str, object]:
    """A repair as JSON has it, numbers rounded as there, with its law as the remedy itself is read."""
    parameters = {
        name: float(f"{value:.7g}") if isinstance(value, float) else value for name, value in remedy.parameters.items()
    }
    laws = [str(law) for law in laws_of(remedy)]
    return {
        "scheme": remedy.scheme,
        **({"laws": laws} if remedy.law == "blocks" else {"law": laws[0]}),
        "parameters": json.loads(json.dumps(parameters)),
        "reason": remedy.reason,
    }


def shortened(row: dict[str, object]) -> dict[str, object]:
    """What `in_document` says of a row in some document."""
    return {name: row[name] for name in ("scheme", "law", "laws", "parameters", "reason") if name in row}


FAULTY = [name for name in CANDIDATES if not name.startswith("structure transformer")]


@pytest.mark.parametrize(("way", "subject"), cases("expectation", ["repair"], FAULTY))
def test_a_finding_expects_what_its_repair_draws(way: str, subject: str) -> None:
    said = answer(subject)
    for finding in said.asking:
        assert finding.repair is not None
        expected = finding.expectation
        if expected is not None and expected.value is not None:
            assert finding.repair.parameters.get("value") == expected.value, finding.tensor
        if expected is not None and expected.std is not None:
            std = std_of(finding.repair, said.tensor(finding))
            assert std is not None, finding.tensor
            assert math.isclose(std, expected.std, rel_tol=DIGITS), finding.tensor


@pytest.mark.parametrize(("way", "subject"), cases("expectation", ["advice"], FAULTY))
def test_the_deviation_that_is_advised_is_the_one_that_is_drawn(way: str, subject: str) -> None:
    said = answer(subject)
    for finding in said.asking:
        assert finding.repair is not None
        std = std_of(finding.repair, said.tensor(finding))
        for number in re.findall(r"(?:std |, )([\d.]+(?:e-?\d+)?)(?= \(|[,;]|$)", finding.advice):
            assert std is not None, finding.tensor
            assert math.isclose(float(number), std, rel_tol=5 * DIGITS), (finding.tensor, finding.advice)


@pytest.mark.parametrize(("way", "subject"), cases("expectation", ["document"], FAULTY))
def test_what_the_document_proposes_is_what_a_dry_run_plans(way: str, subject: str) -> None:
    said = answer(subject)
    rows = {row["tensor"]: shortened(row) for row in said.planned["repairs"]}  # type: ignore[index]
    proposed = {
        row["tensor"]: row["repair"]
        for group in said.document["findings"]  # type: ignore[attr-defined]
        for row in group["per_tensor"]
        if row["repair"] is not None
    }
    assert proposed == {finding.tensor: in_document(finding.repair) for finding in said.asking if finding.repair}
    left = {row["tensor"] for row in said.planned["unrepaired"]}  # type: ignore[attr-defined]
    assert rows.keys() <= proposed.keys()
    assert {name: proposed[name] for name in rows} == rows
    assert proposed.keys() - rows.keys() <= left | kept_zeros(said)


def kept_zeros(said: Answer) -> set[str]:
    """Second factors of adapters, which are right at zero once their partners are drawn."""
    return {finding.tensor for finding in said.asking if "lora_B" in finding.tensor}


@pytest.mark.parametrize(("way", "subject"), cases("expectation", ["bytes"], FAULTY))
def test_what_is_written_is_what_was_planned_and_nothing_else_changes(way: str, subject: str) -> None:
    said = answer(subject)
    planned = {row["tensor"]: shortened(row) for row in said.planned["repairs"]}  # type: ignore[index]
    drawn = {row.redraw.tensor: row.redraw.remedy for row in said.repair.repaired}
    assert {name: in_document(remedy) for name, remedy in drawn.items()} == planned
    changed = {name for name in said.tensors if said.tensors[name].tobytes() != said.mended[name].tobytes()}
    assert changed == drawn.keys()
    assert said.headers[0] == said.headers[1]
    for name, remedy in drawn.items():
        assert_drawn(said.mended[name], remedy, said.before.audited[0].model[name])


def assert_drawn(values: np.ndarray, remedy: Remedy, tensor: Tensor) -> None:
    """Values are those of a remedy, as far as chance allows."""
    if remedy.law == "constant":
        assert np.all(values == np.asarray(remedy.parameters["value"], values.dtype))
    std = std_of(remedy, tensor)
    if remedy.law in ("normal", "uniform", "trunc_normal") and std:
        if "padding" in remedy.parameters:
            values = np.delete(values, remedy.parameters["padding"], axis=0)
        off = math.log(float(np.sqrt(np.mean(values.astype(np.float64) ** 2))) / std)
        assert abs(off) < LUCK / math.sqrt(2 * values.size), tensor.name


@pytest.mark.parametrize(("way", "subject"), cases("expectation", ["silence"], FAULTY))
def test_nothing_is_said_at_warning_once_all_was_repaired(way: str, subject: str) -> None:
    said = answer(subject)
    if subject in OPEN:
        assert said.repair.unrepaired
        assert said.repair.repaired == ()
        return
    assert said.repair.unrepaired == ()
    assert verdicts(said.after.failing("warning")) == frozenset()


@pytest.mark.parametrize(("way", "subject"), cases("expectation", ["band"], FAULTY))
def test_the_band_of_the_page_lies_about_what_is_drawn(way: str, subject: str) -> None:
    said = answer(subject)
    (one,) = said.before.audited
    remedies = {finding.tensor: finding.repair for finding in said.asking}
    for lane in lanes(one.model, healthy(one.model, one.findings, one.waived, one.intended)):
        for level in lane.levels:
            remedy = remedies.get(level.tensor.name)
            std = std_of(remedy, level.tensor) if remedy is not None else None
            if level.predicted is not None and std is not None and level.tensor.part.fan_in:
                gain = std * math.sqrt(level.tensor.part.fan_in)
                assert math.isclose(level.predicted, gain, rel_tol=DIGITS), level.tensor.name


@pytest.mark.parametrize("subject", ["plant zero", "plant ten times"])
def test_the_page_names_the_gain_that_is_drawn(subject: str) -> None:
    (finding,) = answer(subject).asking
    assert finding.repair is not None
    with a_file_of(subject) as path:
        page = html.render(audit([path], RULES, Reading(histograms=True)))
    std = std_of(finding.repair, answer(subject).tensor(finding))
    (gain,) = re.findall(rf"{re.escape(finding.tensor)}: gain [\d.]+, predicted ([\d.]+)", unescape(page))
    assert std is not None
    assert math.isclose(float(gain), std * 8, rel_tol=5 * DIGITS)  # the fan-in is 64


@pytest.mark.parametrize(
    ("way", "subject"),
    cases("form", [".pt", "state dict", ".npz"], [n for n in FAULTY if not n.startswith("shipped ")]),
)
def test_the_same_is_said_of_every_form_of_a_model(way: str, subject: str) -> None:
    model, said = SUBJECTS[subject](), answer(subject)
    if model.config:
        pytest.skip("a state dict has no configuration beside it")
    state = {name: torch.from_numpy(np.array(values)) for name, values in model.tensors.items()}
    with tempfile.TemporaryDirectory(prefix="initaudit-") as folder:
        source: object = state
        if way == ".pt":
            source = Path(folder) / "model.pt"
            torch.save(state, source)
        elif way == ".npz":
            source = Path(folder) / "model.npz"
            np.savez(source, **model.tensors)
        report = initaudit.check(source)  # type: ignore[arg-type]
    assert report.failures == ()
    assert verdicts(report.findings) == verdicts(said.before.findings)
    assert [f.repair for f in report.findings] == [f.repair for f in said.before.findings]
