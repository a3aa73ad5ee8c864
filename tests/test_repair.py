"""``fix`` redraws what is faulty as its siblings are, and nothing else changes by a byte."""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch

from initaudit import workers as workers_module
from initaudit.audit import audit
from initaudit.draws.devices import device_of
from initaudit.errors import InitauditError
from initaudit.registry import load_rules
from initaudit.repair import Destination, Repair, fix
from tests.checkpoints import DTYPES, FIXTURES, faulty, indexed, mlp, run, written
from tests.recipes import DEPTH, Draw, Tensors, gpt2, llama, lora, mixture, olmo
from tests.test_faults import PLANTS, VECTORS, Plant, gpt
from tests.test_recipes import FAULTS
from tests.test_shipped_faults import SHIPPED, Shipped

RULES = tuple(load_rules().values())
BAD = sorted((FIXTURES / "bad").iterdir())
IN_PLACE = Destination(in_place=True)

UNREPAIRABLE = {"IA409-short-vocabulary", "IA601-trained-checkpoint"}


def warned(path: Path) -> set[str]:
    """The tensors of which a warning or an error is reported."""
    return {name for finding in audit([path], RULES).failing("warning") for name in finding.tensors}


def repaired(path: Path, **more: Any) -> Repair:
    return fix(path, RULES, IN_PLACE, **more)


def header_and_tensors(path: Path) -> tuple[bytes, dict[str, bytes]]:
    """The bytes of a file before its data, and those of each tensor."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    places = {name: row["data_offsets"] for name, row in header.items() if name != "__metadata__"}
    data = content[8 + length :]
    return content[: 8 + length], {name: data[begin:end] for name, (begin, end) in places.items()}


def assert_whole(path: Path, before: tuple[bytes, dict[str, bytes]], repair: Repair) -> None:
    """The audit is clean, a second repair does nothing, and what was not redrawn is as it was."""
    header, tensors = header_and_tensors(path)
    redrawn = {row.redraw.tensor for row in repair.repaired}
    assert redrawn
    assert header == before[0]
    assert {name for name in tensors if tensors[name] != before[1][name]} == redrawn
    assert warned(path) == set()
    again = repaired(path)
    assert (again.repaired, again.output) == ((), None)


@pytest.mark.parametrize("path", [path for path in BAD if path.stem not in UNREPAIRABLE], ids=lambda path: path.stem)
def test_a_broken_fixture_is_clean_once_it_was_fixed(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    shutil.copytree(path, copy) if path.is_dir() else shutil.copy(path, copy)
    weights = copy / "model.safetensors" if copy.is_dir() else copy
    before, wanted = header_and_tensors(weights), warned(copy)
    repair = repaired(copy)
    assert repair.unrepaired == ()
    if wanted:
        assert_whole(weights, before, repair)
    else:  # an info is no reason to change anything
        assert repair.repaired == ()
        assert header_and_tensors(weights) == before


def test_a_trained_checkpoint_is_not_repaired_and_it_is_said_why(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    shutil.copy(FIXTURES / "bad" / "IA601-trained-checkpoint.safetensors", path)
    before = path.read_bytes()
    outcome = run("fix", path, "--in-place")
    assert outcome.status == 1
    assert "not repaired" in outcome.out
    assert "trained, not drawn" in outcome.out
    assert path.read_bytes() == before


def test_a_table_that_is_too_short_is_not_repaired_by_other_values(tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(FIXTURES / "bad" / "IA409-short-vocabulary", copy)
    before = (copy / "model.safetensors").read_bytes()
    outcome = run("fix", copy, "--in-place")
    assert outcome.status == 1
    assert "no values make up for rows that are not there" in outcome.out
    assert (copy / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("fault", PLANTS)
def test_a_planted_fault_is_redrawn_as_its_siblings_are(fault: str, tmp_path: Path) -> None:
    path, name = gpt(tmp_path), "transformer.h.2.mlp.c_fc.weight"
    plant(path, name, PLANTS[fault][0])
    before = header_and_tensors(path)
    repair = repaired(path)
    (row,) = repair.repaired
    assert (row.redraw.tensor, row.redraw.remedy.reason) == (name, "as 4 of 4 siblings")
    assert_whole(path, before, repair)
    inspected = run("inspect", path, "--output-format", "json").document["tensors"]
    schemes = {tensor["name"]: tensor["scheme"]["name"] for tensor in inspected if ".mlp.c_fc.weight" in tensor["name"]}
    assert set(schemes.values()) == {"normal"}


@pytest.mark.parametrize("fault", VECTORS)
def test_a_planted_fault_in_a_vector_is_mended(fault: str, tmp_path: Path) -> None:
    leaf, harm, _ = VECTORS[fault]
    path = gpt(tmp_path)
    plant(path, f"transformer.h.2.{leaf}", harm)
    before = header_and_tensors(path)
    assert_whole(path, before, repaired(path))


def plant(path: Path, name: str, harm: Plant) -> None:
    """Do a fault's harm to one tensor of a file."""
    tensors = load_file(path)
    values = harm(tensors[name].astype(np.float64), np.random.default_rng(0))
    written(path, {**tensors, name: np.ascontiguousarray(values.astype(tensors[name].dtype))})


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_recipe_of_the_field_is_mended(fault: str, tmp_path: Path) -> None:
    recipe, harm = FAULTS[fault]
    model = recipe(Draw())
    harm(model, Draw(1))
    path = written(tmp_path / "model.safetensors", model)
    before = header_and_tensors(path)
    assert_whole(path, before, repaired(path))


@pytest.mark.parametrize("enact", SHIPPED, ids=lambda enact: enact.__name__)
def test_a_fault_that_was_shipped_is_mended_or_said_to_be_beyond_it(
    enact: Callable[[Draw], Shipped], tmp_path: Path
) -> None:
    shipped = enact(Draw())
    path = written(tmp_path / "model.safetensors", shipped.model)
    (tmp_path / "config.json").write_text(json.dumps(dict(shipped.config)), encoding="utf-8")
    before = header_and_tensors(path)
    repair = repaired(path)
    if enact.__name__ == "never_filled":  # a matrix of no known layer, beside no sibling
        assert [row.tensor for row in repair.unrepaired] == ["conv.l2"]
        assert header_and_tensors(path) == before
    else:
        assert_whole(path, before, repair)


def test_residual_outputs_get_their_scaling_and_layers_their_own(tmp_path: Path) -> None:
    model = gpt2(Draw())
    name = "transformer.h.4.mlp.c_proj.weight"
    model[name] *= 0
    path = written(tmp_path / "model.safetensors", model)
    (row,) = repaired(path).repaired
    assert row.redraw.remedy.scheme == "residual_scaled"
    assert load_file(path)[name].std() == pytest.approx(0.02 / math.sqrt(2 * DEPTH), rel=0.02)
    per_layer = llama(Draw())
    name = "layers.4.attention.wo.weight"
    per_layer[name] *= 0
    path = written(tmp_path / "layered" / "model.safetensors", per_layer)
    repaired(path)
    assert load_file(path)[name].std() == pytest.approx(0.02 / math.sqrt(2 * 5), rel=0.02)


def test_truncated_draws_stay_within_their_cut(tmp_path: Path) -> None:
    model = olmo(Draw())
    name = "transformer.blocks.3.ff_out.weight"
    model[name] *= 0
    path = written(tmp_path / "model.safetensors", model)
    (row,) = repaired(path).repaired
    assert row.redraw.remedy.law == "trunc_normal"
    values, std = load_file(path)[name], model["transformer.blocks.2.ff_out.weight"].std()
    assert values.std() == pytest.approx(std, rel=0.02)
    assert 2.9 * std < np.abs(values).max() < 3.1 * std


def test_an_intended_zero_stays_zero(tmp_path: Path) -> None:
    model = lora(Draw())
    names = [name for name in model if "lora_A" in name]
    model.update({name: model[name] * 0 for name in names})
    path = written(tmp_path / "adapter_model.safetensors", model)
    assert {row.redraw.tensor for row in repaired(path).repaired} == set(names)
    assert all(not values.any() for name, values in load_file(path).items() if "lora_B" in name)


def test_of_copies_one_stays_as_it_is(tmp_path: Path) -> None:
    model = mixture(Draw())
    names = [name for name in model if ".layers.1." in name and name.endswith("experts.3.w1.weight")]
    model[names[0]] = model[names[0].replace("experts.3", "experts.2")]
    path = written(tmp_path / "model.safetensors", model)
    assert [row.redraw.tensor for row in repaired(path).repaired] == names


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_every_dtype_is_drawn_in_float32_and_cast_once(dtype: str, tmp_path: Path) -> None:
    model = {name: values.astype(DTYPES[dtype]) for name, values in gpt2(Draw()).items()}
    name = "transformer.h.2.attn.c_attn.weight"
    model[name] = model[name] * np.zeros((), DTYPES[dtype])
    path = written(tmp_path / "model.safetensors", model)
    before = header_and_tensors(path)
    assert_whole(path, before, repaired(path))
    generator_free = load_torch(path)[name].float()
    assert generator_free.std().item() == pytest.approx(0.02, rel=0.01)


def test_a_weight_in_a_dtype_of_powers_alone_is_said_not_to_be_drawn(tmp_path: Path) -> None:
    model = faulty()
    model["fc3.weight"] = np.ones((10, 64), DTYPES["F8_E8M0"])
    outcome = run("fix", written(tmp_path / "model.safetensors", model), "--in-place")
    assert (outcome.status, outcome.err) == (1, "")
    assert "not repaired  fc3.weight (IA102): cannot be drawn in F8_E8M0" in outcome.out
    assert load_torch(tmp_path / "model.safetensors")["fc2.weight"].any()


def test_one_seed_gives_one_result_whatever_else_is_repaired(tmp_path: Path) -> None:
    def drawn(name: str, *zeroed: str, seed: int = 0) -> bytes:
        model = gpt2(Draw())
        model.update({other: model[other] * 0 for other in zeroed})
        path = written(tmp_path / name / "model.safetensors", model)
        repaired(path, seed=seed)
        return header_and_tensors(path)[1]["transformer.h.2.mlp.c_fc.weight"]

    first = drawn("one", "transformer.h.2.mlp.c_fc.weight")
    both = drawn("two", "transformer.h.1.attn.c_attn.weight", "transformer.h.2.mlp.c_fc.weight")
    other = drawn("three", "transformer.h.2.mlp.c_fc.weight", seed=1)
    assert first == both == drawn("again", "transformer.h.2.mlp.c_fc.weight")
    assert first != other


def test_only_shards_that_hold_a_fault_are_rewritten_and_in_any_order(tmp_path: Path) -> None:
    model = gpt2(Draw())
    name = "transformer.h.2.mlp.c_fc.weight"
    model[name] *= 0
    names = sorted(model)
    halves = {"a.safetensors": names[: len(names) // 2], "b.safetensors": names[len(names) // 2 :]}
    shards: dict[str, Tensors] = {file: {n: model[n] for n in part} for file, part in halves.items()}
    index = indexed(tmp_path, shards)
    stamps = {file: (tmp_path / file).stat().st_mtime_ns for file in shards}
    holder = next(file for file, part in halves.items() if name in part)
    repair = repaired(index)
    assert repair.unrepaired == ()
    changed = {file for file in shards if (tmp_path / file).stat().st_mtime_ns != stamps[file]}
    assert changed == {holder}
    whole = written(tmp_path / "whole" / "model.safetensors", model)
    repaired(whole)
    assert header_and_tensors(whole)[1][name] == header_and_tensors(tmp_path / holder)[1][name]


def test_a_folder_comes_along_as_a_whole(tmp_path: Path) -> None:
    source, target = tmp_path / "model", tmp_path / "fixed"
    source.mkdir()
    gpt(source)
    plant(source / "model.safetensors", "transformer.h.2.mlp.c_fc.weight", PLANTS["zero"][0])
    (source / "config.json").write_text("{}", encoding="utf-8")
    (source / "tokenizer").mkdir()
    (source / "tokenizer" / "vocab.txt").write_text("a b c", encoding="utf-8")
    before = header_and_tensors(source / "model.safetensors")
    outcome = run("fix", source, "--output", target)
    assert (outcome.status, outcome.err) == (0, "")
    assert sorted(path.name for path in target.rglob("*")) == [
        "config.json",
        "model.safetensors",
        "tokenizer",
        "vocab.txt",
    ]
    assert header_and_tensors(source / "model.safetensors") == before
    assert warned(target) == set()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fixed", "model"]


@pytest.mark.parametrize(
    ("scheme", "check"),
    [
        ("kaiming_normal", lambda values: values.std() == pytest.approx(math.sqrt(2 / 64), rel=0.05)),
        (
            "kaiming_uniform:mode=fan_out",
            lambda values: np.abs(values).max() == pytest.approx(math.sqrt(6 / 96), rel=0.01),
        ),
        ("xavier_uniform", lambda values: np.abs(values).max() == pytest.approx(math.sqrt(6 / 160), rel=0.01)),
        ("lecun_normal", lambda values: values.std() == pytest.approx(64**-0.5, rel=0.05)),
        ("normal:std=0.05", lambda values: values.std() == pytest.approx(0.05, rel=0.05)),
        ("trunc_normal:std=0.05,cut=2", lambda values: np.abs(values).max() <= 0.1),
        ("fc1.*=orthogonal:gain=2", lambda values: np.allclose(values.T @ values, 4 * np.eye(64), atol=1e-4)),
        ("sparse:connections=10", lambda values: set(np.count_nonzero(values, axis=1)) == {10}),
        ("constant:value=0.5", lambda values: bool((values == 0.5).all())),
    ],
)
def test_a_scheme_can_be_chosen_by_hand(scheme: str, check: Callable[[Any], bool], tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", faulty(layer="fc1"))
    outcome = run("fix", path, "--in-place", "--scheme", scheme, "--output-format", "json")
    (row,) = outcome.document["repairs"]
    assert row["reason"] == "asked for"
    assert check(load_file(path)["fc1.weight"])


def test_a_constant_that_was_asked_for_is_said_to_be_still_reported(tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", faulty(layer="fc1"))
    outcome = run("fix", path, "--in-place", "--scheme", "constant:value=0.5")
    assert outcome.status == 1
    assert "redrawn as constant, and still reported" in outcome.out


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("kaimin_normal", "no scheme is called 'kaimin_normal'"),
        ("normal:sigma=1", "scheme normal does not take 'sigma=1': it takes std"),
        ("normal:std=big", "std is to be a number, not 'big'"),
        ("kaiming_normal:mode=fan", "mode is fan_in or fan_out"),
        ("kaiming_normal:nonlinearity=softplus", "no gain is known for 'softplus'"),
    ],
)
def test_a_scheme_that_is_none_is_one_line(scheme: str, words: str, tmp_path: Path) -> None:
    outcome = run("fix", FIXTURES / "bad" / "IA101-zero-weight.safetensors", "--dry-run", "--scheme", scheme)
    assert outcome.status == 2
    assert words in outcome.err
    assert len(outcome.complaints) == 1


def test_a_dry_run_shows_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    shutil.copy(FIXTURES / "bad" / "IA101-zero-weight.safetensors", path)
    before = path.read_bytes()
    outcome = run("fix", path, "--dry-run")
    assert outcome.status == 0
    assert "fc2.weight" in outcome.out
    assert "lecun_normal" in outcome.out
    assert outcome.out.endswith("nothing was written\n")
    assert path.read_bytes() == before
    assert [child.name for child in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_dry_run_has_no_column_of_what_came_after(tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", faulty())
    assert run("fix", path, "--dry-run").out.split("\n")[0].split() == ["tensor", "before", "scheme", "reason", "rules"]
    assert "after" in run("fix", path, "--in-place").out.split("\n")[0].split()


def test_a_glob_that_no_name_matches_is_noted(tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", mlp())
    given = ["--scheme", "nomatch*=orthogonal", "--scheme", "fc1*=zeros", "--exclude", "none.*", "--exclude", "fc3*"]
    notes = ["scheme nomatch*: no tensor has such a name", "exclude none.*: no tensor has such a name"]
    outcome = run("fix", path, "--dry-run", *given)
    assert outcome.status == 0
    assert [line.removeprefix("note  ") for line in outcome.out.splitlines() if line.startswith("note")] == notes
    assert run("fix", path, "--dry-run", *given, "--output-format", "json").document["notes"] == notes


@pytest.mark.parametrize("command", [["inspect"], ["fix", "--dry-run"]], ids=lambda words: words[0])
def test_blocks_are_listed_as_a_person_counts_them(command: list[str], tmp_path: Path) -> None:
    zero = np.zeros((32, 32), np.float32)
    path = written(tmp_path / "model.safetensors", {f"layers.{n}.fc.weight": zero for n in (0, 1, 10, 11, 2)})
    order = [f"layers.{n}.fc.weight" for n in (0, 1, 2, 10, 11)]
    shown = run(*command, path).out.splitlines()
    assert [line.split()[0] for line in shown if line.startswith("layers.")] == order
    document = run(*command, path, "--output-format", "json").document
    rows = document.get("tensors") or document["repairs"]
    assert [row.get("name") or row["tensor"] for row in rows] == order


def test_the_document_lets_a_repair_be_audited(tmp_path: Path) -> None:
    import hashlib

    path = tmp_path / "model.safetensors"
    shutil.copy(FIXTURES / "bad" / "IA101-zero-weight.safetensors", path)
    before = header_and_tensors(path)[1]["fc2.weight"]
    document = run("fix", path, "--in-place", "--seed", 7, "--output-format", "json").document
    (row,) = document["repairs"]
    assert (document["schema"], document["seed"], document["device"]) == ("initaudit/repair/1", 7, "cpu")
    assert (row["tensor"], row["rules"], row["scheme"]) == ("fc2.weight", ["IA101"], "lecun_normal")
    assert row["digest_before"] == f"sha256:{hashlib.sha256(before).hexdigest()}"
    after = header_and_tensors(path)[1]["fc2.weight"]
    assert row["digest_after"] == f"sha256:{hashlib.sha256(after).hexdigest()}"
    assert row["after"]["std"] == pytest.approx(row["parameters"]["std"], rel=0.05)


def test_what_is_excluded_or_ignored_stays(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    shutil.copy(FIXTURES / "bad" / "IA101-zero-weight.safetensors", path)
    for option in (("--exclude", "fc2.*"), ("--ignore", "IA1"), ("--select", "IA2")):
        outcome = run("fix", path, "--in-place", *option)
        assert (outcome.status, outcome.out) == (0, "Nothing to redraw\n")


def train(tensors: Mapping[str, Any], steps: int = 300) -> tuple[float, float]:
    """The first and last loss of a two-layer network on a task that needs more than one unit."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(256, 16, generator=generator)
    targets = torch.sin(2 * inputs[:, :1]) * torch.sign(inputs[:, 1:2])
    first, second = (torch.tensor(tensors[f"{layer}.weight"]).requires_grad_() for layer in ("fc1", "fc2"))
    bias = torch.tensor(tensors["fc1.bias"]).requires_grad_()
    optimiser = torch.optim.Adam([first, second, bias], lr=1e-2)
    losses = []
    for _ in range(steps):
        loss = ((torch.relu(inputs @ first.T + bias) @ second.T - targets) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses[0], losses[-1]


def test_a_network_that_stays_at_its_plateau_learns_once_it_was_fixed(tmp_path: Path) -> None:
    draw = Draw()
    model = {
        "fc1.weight": np.zeros((64, 16), np.float32),
        "fc1.bias": np.zeros(64, np.float32),
        "fc2.weight": draw.normal(1, 64, std=64**-0.5),
    }
    path = written(tmp_path / "model.safetensors", model)
    _, broken = train(model)
    repaired(path)
    _, mended = train(load_file(path))
    assert broken > 0.4  # the variance of the targets: it predicts a constant
    assert mended < broken / 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_draws_the_same_laws(tmp_path: Path) -> None:
    path = gpt(tmp_path)
    plant(path, "transformer.h.2.mlp.c_fc.weight", PLANTS["zero"][0])
    before = header_and_tensors(path)
    repair = repaired(path, device="cuda")
    assert repair.device == "cuda"
    assert_whole(path, before, repair)


def test_a_device_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert device_of("auto").name == "cpu"
    path = tmp_path / "model.safetensors"
    shutil.copy(FIXTURES / "bad" / "IA101-zero-weight.safetensors", path)
    outcome = run("fix", path, "--in-place", "--device", "cuda")
    assert (outcome.status, outcome.err) == (2, "initaudit: no CUDA device was found\n")


def test_python_repairs_as_the_command_does(tmp_path: Path) -> None:
    import initaudit

    path, output = FIXTURES / "bad" / "IA101-zero-weight.safetensors", tmp_path / "out.safetensors"
    assert initaudit.fix(path).output is None
    repair = initaudit.fix(path, output=output, schemes=["normal:std=0.1"])
    assert [row.redraw.tensor for row in repair.repaired] == ["fc2.weight"]
    assert initaudit.check(output).ok("warning")


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"in_place": True}, ValueError, "exclude each other"),
        ({"backup": True}, ValueError, "backup goes with in_place"),
        ({"exclude": "fc9.*"}, TypeError, "exclude takes a list"),
        ({"schemes": "normal:std=0.1"}, TypeError, "schemes takes a list"),
        ({"device": "gpu"}, InitauditError, "device is auto, cpu or cuda, not 'gpu'"),
        ({"device": "cuda:0"}, InitauditError, "device is auto, cpu or cuda, not 'cuda:0'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_python_is_guarded_as_the_command_is(
    more: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    import initaudit

    path, output = FIXTURES / "bad" / "IA101-zero-weight.safetensors", tmp_path / "out.safetensors"
    with pytest.raises(error, match=words):
        initaudit.fix(path, output=output, **more)
    assert not output.exists()


def test_a_repair_reads_with_as_many_processes_as_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measure_all(judged: Any, *, workers: int, **more: Any) -> Any:
        asked.append(workers)
        return workers_module.measure_all(judged, workers=workers, **more)

    monkeypatch.setattr("initaudit.understanding.measure_all", measure_all)
    path = written(tmp_path / "model.safetensors", faulty())
    assert run("fix", path, "--dry-run", "--workers", 1).status == 0
    assert run("fix", path, "--dry-run", "--workers", 3).status == 0
    assert asked == [1, 3]


def test_each_of_several_faults_at_one_place_is_redrawn_with_its_own_expectation(tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", resnet_with_small_mixers())
    assert {group.tensors for group in audit([path], RULES).groups} == {tuple(MIXERS)}
    repair = repaired(path)
    assert repair.unrepaired == ()
    for name, fan_in in MIXERS.items():
        assert np.isclose(load_file(path)[name].std(), math.sqrt(2 / fan_in), rtol=0.05)
    assert warned(path) == set()


MIXERS = {f"layer{stage}.1.mix.weight": 18 * width for stage, width in enumerate((16, 32, 64, 128), 1)}


def resnet_with_small_mixers() -> dict[str, np.ndarray]:
    """Bottlenecks in four stages by He, each stage with one convolution that is six times too small."""
    draw, model, inputs = np.random.default_rng(0), {}, 16

    def kernel(outputs: int, inputs: int, size: int, factor: float = 1.0) -> np.ndarray:
        std = factor * math.sqrt(2 / (inputs * size * size))
        return (draw.standard_normal((outputs, inputs, size, size)) * std).astype(np.float32)

    model["conv1.weight"] = kernel(16, 3, 7)
    for stage, width in enumerate((16, 32, 64, 128), 1):
        for block in range(2):
            at = f"layer{stage}.{block}"
            model[f"{at}.conv1.weight"] = kernel(width, inputs if block == 0 else 2 * width, 1)
            model[f"{at}.conv2.weight"] = kernel(width, width, 3)
            model[f"{at}.conv3.weight"] = kernel(2 * width, width, 1)
            for norm, count in (("bn1", width), ("bn2", width), ("bn3", 2 * width)):
                for leaf, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
                    model[f"{at}.{norm}.{leaf}"] = np.full(count, value, np.float32)
        model[f"layer{stage}.1.mix.weight"] = kernel(2 * width, 2 * width, 3, 1 / 6)
        inputs = 2 * width
    return model


def test_norms_whose_scale_and_shift_were_swapped_get_both_back(tmp_path: Path) -> None:
    model = {}
    for block in range(4):
        model[f"layer.{block}.fc.weight"] = np.random.default_rng(block).standard_normal((64, 64)).astype("f4") / 8
        model[f"layer.{block}.LayerNorm.weight"] = np.zeros(64, np.float32)
        model[f"layer.{block}.LayerNorm.bias"] = np.ones(64, np.float32)
    path = written(tmp_path / "model.safetensors", model)
    repair = repaired(path)
    assert repair.exit_status == 0
    for name, values in load_file(path).items():
        if "LayerNorm" in name:
            assert set(values.tolist()) == {float(name.endswith("weight"))}


def test_a_model_that_is_zero_throughout_is_drawn_whole(tmp_path: Path) -> None:
    model = {name: np.zeros_like(values) for name, values in llama(Draw()).items()}
    path = written(tmp_path / "model.safetensors", model)
    (tmp_path / "config.json").write_text('{"model_type": "llama", "initializer_range": 0.02}')
    assert warned(path) == set(model)
    repair = repaired(path)
    assert repair.exit_status == 0
    for name, values in load_file(path).items():
        expected = (1.0, 0.0) if "norm" in name else (0.0, 0.02)
        assert np.allclose((values.mean(), values.std()), expected, atol=0.002), name
    assert warned(path) == set()


def test_what_shows_only_once_the_rest_is_redrawn_is_listed(tmp_path: Path) -> None:
    draw, model = Draw(), {}
    for block in range(4):
        model[f"blocks.{block}.norm.weight"] = np.ones(64, np.float32)
        model[f"blocks.{block}.fc1.weight"] = draw.normal(256, 64, std=0.02)
        model[f"blocks.{block}.fc2.weight"] = draw.normal(64, 256, std=0.02)
    zeros, odd = {"blocks.0.fc1.weight", "blocks.1.fc1.weight"}, "blocks.2.fc1.weight"
    model |= {name: np.zeros_like(model[name]) for name in zeros} | {odd: 1.4 * model[odd]}
    path = written(tmp_path / "model.safetensors", model)
    assert warned(path) == zeros
    repair = repaired(path)
    assert (repair.exit_status, [row.tensor for row in repair.unrepaired]) == (1, [odd])
    assert "shows only now" in repair.unrepaired[0].reason
    assert repaired(path).exit_status == 0
    assert warned(path) == set()


def test_one_sibling_that_is_doubtful_itself_is_no_witness(tmp_path: Path) -> None:
    """The other block's output is zero by convention; that both should be is not what one of two says."""
    model = {
        f"blocks.{block}.mlp.{name}.weight": np.random.default_rng(seed).standard_normal(shape).astype("f4") / 8
        for seed, (block, name, shape) in enumerate(
            [(0, "fc1", (256, 64)), (0, "fc2", (64, 256)), (1, "fc1", (256, 64)), (1, "fc2", (64, 256))]
        )
    }
    model["blocks.0.mlp.fc2.weight"][:] = 0
    model["blocks.1.mlp.fc2.weight"][3, 5] = np.nan
    path = written(tmp_path / "model.safetensors", model)
    repaired(path)
    assert load_file(path)["blocks.1.mlp.fc2.weight"].std() > 0.01
