"""Live models: the same is found as in their files, types win over names, and nothing about the model changes."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import initaudit
from initaudit.layers.values import Part
from initaudit.modules import understood_live
from initaudit.understanding import open_paths, read
from tests.checkpoints import spawn_python
from tests.models import (
    FAULTS,
    MODELS,
    Convolutional,
    Misnamed,
    Perceptron,
    Projection,
    RmsNorm,
    Transformer,
    harmed,
    normalised,
    of_ones_own,
    orthogonal,
)

Found = list[tuple[str, tuple[str, ...], str]]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def found(source: object) -> Found:
    report = initaudit.check(source)  # type: ignore[arg-type]
    assert report.failures == ()
    return [(group.rule, group.tensors, group.message) for group in report.groups]


def safetensors(model: nn.Module, folder: Path) -> Path:
    """The file of a model, in which what is tied is there once."""
    seen: set[int] = set()
    state = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            state[name] = tensor.contiguous()
    save_file(state, folder / "model.safetensors")
    return folder / "model.safetensors"


def ways(model: nn.Module, folder: Path) -> dict[str, object]:
    torch.save(model.state_dict(), folder / "model.pt")
    torch.save({"model": model.state_dict(), "epoch": 0}, folder / "run.ckpt")
    paths = {"file": safetensors(model, folder), "pt": folder / "model.pt", "checkpoint": folder / "run.ckpt"}
    return paths | {"state dict": model.state_dict(), "nested": {"model": model.state_dict()}, "module": model}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_same_faults_are_found_through_file_state_dict_and_module(fault: str, tmp_path: Path) -> None:
    said = {way: found(source) for way, source in ways(FAULTS[fault](), tmp_path).items()}
    assert said["module"] != []
    assert [way for way in said if said[way] != said["module"]] == []


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_a_healthy_model_is_clean_by_every_way(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    for way, source in ways(make(), tmp_path).items():
        assert [row for row in found(source) if row[0] != "IA105"] == [], way


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_numbers_are_those_of_the_file_to_the_last_bit(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    model = make()
    (checkpoint,), _ = open_paths([safetensors(model, tmp_path)])
    assert understood_live(model).statistics == read(checkpoint).statistics
    assert understood_live(model.state_dict()).statistics == read(checkpoint).statistics


def part(module: nn.Module, name: str) -> Part:
    return understood_live(module).parts[name]


def settled(part: Part) -> tuple[object, ...]:
    return part.kind, part.role, part.layout, part.fan_in, part.fan_out, part.groups


TYPES: dict[str, tuple[Callable[[], nn.Module], str, tuple[object, ...]]] = {
    "linear": (lambda: nn.Linear(5, 7), "weight", ("linear", "weight", "out_in", 5, 7, 1)),
    "square linear": (lambda: nn.Linear(5, 5), "weight", ("linear", "weight", "out_in", 5, 5, 1)),
    "bilinear": (lambda: nn.Bilinear(3, 4, 5), "weight", ("bilinear", "weight", "out_in", 12, 5, 1)),
    "conv": (lambda: nn.Conv2d(6, 9, 3), "weight", ("conv", "weight", "out_in", 54, 81, 1)),
    "grouped conv": (lambda: nn.Conv2d(6, 9, 3, groups=3), "weight", ("conv", "weight", "out_in", 18, 27, 3)),
    "depthwise": (lambda: nn.Conv1d(8, 8, 5, groups=8), "weight", ("conv", "weight", "out_in", 5, 5, 8)),
    "transposed": (
        lambda: nn.ConvTranspose2d(6, 9, 4, stride=2),
        "weight",
        ("conv_transposed", "weight", "conv_transposed", 96, 144, 1),
    ),
    "grouped transposed": (
        lambda: nn.ConvTranspose3d(6, 9, 2, groups=3),
        "weight",
        ("conv_transposed", "weight", "conv_transposed", 16, 24, 3),
    ),
    "embedding": (lambda: nn.Embedding(50, 8), "weight", ("embedding", "embedding", "embedding", None, 8, 1)),
    "bag": (lambda: nn.EmbeddingBag(50, 8), "weight", ("embedding", "embedding", "embedding", None, 8, 1)),
    "layer norm": (lambda: nn.LayerNorm((3, 4)), "weight", ("norm", "norm_scale", "none", None, None, 1)),
    "rms norm": (lambda: nn.RMSNorm(8), "weight", ("norm", "norm_scale", "none", None, None, 1)),
    "group norm": (lambda: nn.GroupNorm(2, 8), "bias", ("norm", "norm_shift", "none", None, None, 1)),
    "batch norm": (lambda: nn.BatchNorm1d(8), "running_var", ("norm", "running_stat", "none", None, None, 1)),
    "norm of one's own": (lambda: RmsNorm(8), "weight", ("norm", "norm_scale", "none", None, None, 1)),
    "lstm": (
        lambda: nn.LSTM(5, 7, bidirectional=True),
        "weight_ih_l0_reverse",
        ("recurrent", "rnn_weight", "out_in", 5, 28, 1),
    ),
    "projected lstm": (
        lambda: nn.LSTM(5, 7, proj_size=3),
        "weight_hr_l0",
        ("recurrent", "rnn_weight", "out_in", 7, 3, 1),
    ),
    "gru cell": (lambda: nn.GRUCell(5, 7), "bias_hh", ("recurrent", "rnn_bias", "none", None, None, 1)),
    "attention": (
        lambda: nn.MultiheadAttention(8, 2),
        "in_proj_weight",
        ("attention", "weight", "out_in", 8, 24, 1),
    ),
    "attention of other keys": (
        lambda: nn.MultiheadAttention(8, 2, kdim=5),
        "k_proj_weight",
        ("attention", "weight", "out_in", 5, 8, 1),
    ),
    "attention's extra key": (
        lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True),
        "bias_v",
        ("embedding", "token", "none", None, None, 1),
    ),
    "slopes": (lambda: nn.PReLU(8), "weight", ("other", "other_param", "none", None, None, 1)),
}


@pytest.mark.parametrize("case", TYPES)
def test_the_type_settles_what_a_tensor_is(case: str) -> None:
    make, name, expected = TYPES[case]
    alone, inside = make(), nn.ModuleDict({"thing": make()})
    assert settled(part(alone, name)) == expected
    assert settled(part(inside, f"thing.{name}")) == expected


def test_where_names_mislead_types_win(tmp_path: Path) -> None:
    model = Misnamed()
    parts = understood_live(model).parts
    kinds = {name: (parts[f"{name}.weight"].kind, parts[f"{name}.weight"].role) for name, _ in model.named_children()}
    assert kinds == {
        "norm": ("linear", "weight"),
        "embed": ("linear", "weight"),
        "pos_embed": ("conv", "weight"),
        "conv_transpose": ("conv", "weight"),
        "conv": ("conv_transposed", "weight"),
        "linear": ("embedding", "embedding"),
        "head": ("norm", "norm_scale"),
        "proj": ("norm", "norm_scale"),
    }
    assert (parts["conv.weight"].groups, parts["conv.weight"].fan_in) == (4, 64)
    assert parts["kernel"].role == "buffer"
    (checkpoint,), _ = open_paths([safetensors(model, tmp_path)])
    by_name = read(checkpoint).parts
    assert [n for n in kinds if settled(parts[f"{n}.weight"]) != settled(by_name[f"{n}.weight"])] != []


def test_a_name_that_misleads_raises_no_alarm_and_hides_no_fault(tmp_path: Path) -> None:
    model = Misnamed()
    with torch.no_grad():
        model.pos_embed.weight.zero_()
    assert [row[:2] for row in found(model)] == [("IA101", ("pos_embed.weight",))]
    by_name = [row[:2] for row in found(safetensors(model, tmp_path))]
    assert ("IA202", ("linear.weight",)) in by_name  # of its shape and name it is a linear layer, and far too large


def test_a_type_that_says_nothing_leaves_it_to_names_and_shapes() -> None:
    said = part(nn.ModuleDict({"fc": Projection(16, 24)}), "fc.weight")
    assert (settled(said), said.evidence) == (("linear", "weight", "out_in", 16, 24, 1), "bias length")


PARAMETRISED: dict[str, tuple[Callable[[nn.Module], nn.Module], str, str]] = {
    "weight norm": (nn.utils.parametrizations.weight_norm, "parametrizations.weight.original1", "original0"),
    "spectral norm": (nn.utils.parametrizations.spectral_norm, "parametrizations.weight.original", "0._u"),
    "orthogonal": (orthogonal, "parametrizations.weight.original", ""),
    "of one's own": (of_ones_own, "parametrizations.weight.original", ""),
    "old weight norm": (nn.utils.weight_norm, "weight_v", "weight_g"),
    "old spectral norm": (nn.utils.spectral_norm, "weight_orig", "weight_u"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("way", PARAMETRISED)
def test_what_a_parametrisation_wraps_is_the_weight(way: str) -> None:
    make, leaf, other = PARAMETRISED[way]
    model = normalised(make)
    parts = understood_live(model).parts
    assert settled(parts[f"fc2.{leaf}"]) == ("linear", "weight", "out_in", 96, 64, 1)
    assert [p.role for n, p in parts.items() if other and n.endswith(other)] in ([], ["other_param"], ["buffer"])
    assert found(model) == []
    with torch.no_grad():
        model.get_parameter(f"fc2.{leaf}").zero_()
    assert ("IA101", (f"fc2.{leaf}",)) in [row[:2] for row in found(model)]


def test_tied_parameters_are_one_tensor() -> None:
    report = initaudit.check(Transformer())
    rows = {row.tensor: row.reason for row in report.audited[0].not_judged}
    assert rows["head.weight"] == "shares its memory with wte.weight"
    assert report.findings == ()


def test_a_module_that_is_used_twice_is_one() -> None:
    layer = nn.Linear(32, 32)
    report = initaudit.check(nn.Sequential(layer, nn.ReLU(), layer))
    assert report.findings == ()
    assert [row.tensor for row in report.audited[0].not_judged] == ["2.weight", "2.bias"][::-1]


def test_copies_are_no_ties() -> None:
    layer = nn.Linear(32, 32)
    assert [row[:2] for row in found(nn.Sequential(layer, copy.deepcopy(layer)))] != []


def test_what_was_never_materialised_is_found() -> None:
    with torch.device("meta"):
        planned = Perceptron()
    report = initaudit.check(planned)
    assert [(finding.rule, len(finding.tensors)) for finding in report.groups] == [("IA504", 6)]
    assert not report.ok()
    assert report.failures == ()
    half = Perceptron()
    half.fc2 = planned.fc2
    assert [row[:2] for row in found(half)] == [("IA504", ("fc2.bias", "fc2.weight"))]
    assert [row[:2] for row in found(half.state_dict())] == [("IA504", ("fc2.bias", "fc2.weight"))]


def test_a_buffer_that_stayed_on_the_meta_device_is_found_though_it_is_not_saved() -> None:
    model = Perceptron()
    model.register_buffer("inv_freq", torch.empty(8, device="meta"), persistent=False)
    assert [row[:2] for row in found(model)] == [("IA504", ("inv_freq",))]


def test_a_lazy_layer_that_saw_no_input_is_found() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(nn.Linear(8, 16), nn.LazyLinear(4))
    assert [row[:2] for row in found(model)] == [("IA504", ("1.bias", "1.weight"))]


def test_excluded_tensors_may_stay_on_the_meta_device() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 4, device="meta"))
    assert initaudit.check(model, exclude=["1.*"]).findings == ()


def test_values_in_another_order_are_judged_alike(tmp_path: Path) -> None:
    model = Convolutional()
    turned = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert turned.conv1.weight.stride() != model.conv1.weight.stride()
    assert understood_live(turned).statistics == understood_live(model).statistics


def test_an_audit_changes_nothing_and_runs_no_hook() -> None:
    model = Transformer()

    def fail(*_: object) -> None:
        raise AssertionError("a hook was run")

    model.register_state_dict_pre_hook(fail)
    model.register_forward_pre_hook(fail)
    before = {name: (p.clone(), p.data_ptr(), p.requires_grad) for name, p in model.named_parameters()}
    state = torch.get_rng_state()
    initaudit.check(model)
    for name, parameter in model.named_parameters():
        values, address, trained = before[name]
        assert torch.equal(parameter, values)
        assert (parameter.data_ptr(), parameter.requires_grad, parameter.grad) == (address, trained, None)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_configuration_of_a_model_is_a_hint_as_its_file_would_be() -> None:
    class Config:
        def to_dict(self) -> dict[str, object]:
            return {"vocab_size": 250}

    model = Transformer()
    model.config = Config()  # type: ignore[assignment]
    assert [row[0] for row in found(model)] == ["IA409"]
    model.config = object()  # type: ignore[assignment]
    assert found(model) == []


def test_a_report_raises_with_itself_as_the_message() -> None:
    model = harmed(Perceptron(), "fc2.weight", torch.Tensor.zero_)
    initaudit.check(Perceptron()).raise_for_findings()
    with pytest.raises(initaudit.FindingsError, match=r"IA101 zero-weight  fc2\.weight"):
        initaudit.check(model).raise_for_findings()


def test_a_state_dict_that_is_not_clear_asks_for_a_key() -> None:
    both = {"generator": Perceptron().state_dict(), "critic": Perceptron().state_dict()}
    (failure,) = initaudit.check(both).failures
    assert "--key: generator, critic" in failure.message
    assert initaudit.check(both, key="critic").ok()


@pytest.mark.parametrize(
    "source", [3, None, [torch.zeros(3)], torch.zeros(3)], ids=["number", "none", "list", "tensor"]
)
def test_anything_else_is_a_type_error(source: object) -> None:
    with pytest.raises(TypeError, match="path"):
        initaudit.check(source)  # type: ignore[arg-type]


def test_a_rule_that_crashes_is_among_the_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("initaudit.modules.auditing.understood_live", crash)
    (failure,) = initaudit.check(Perceptron()).failures
    assert "internal error" in failure.message


SHARDED = """
import torch, torch.distributed as dist, warnings
warnings.simplefilter("ignore")
from torch import nn
from torch.testing._internal.distributed.fake_pg import FakeStore
dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
import initaudit
from initaudit.modules import understood_live
torch.manual_seed(0)
mesh = init_device_mesh("cpu", (2,))
model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.Linear(64, 10), nn.Embedding(100, 64))
whole = {name: part for name, part in understood_live(model).parts.items()}
with torch.no_grad():
    model[2].weight.zero_()
model[4] = model[4]
fully_shard(model, mesh=mesh)
assert type(model[2].weight).__name__ == "DTensor", type(model[2].weight)
report = initaudit.check(model)
assert understood_live(model).parts == whole, "fans are those of the whole"
print([(f.rule, f.tensors) for f in report.findings], report.failures)
print(report.audited[0].checkpoint.notes)
"""


def test_sharded_parameters_are_judged_by_the_part_that_is_here_and_said_to_be() -> None:
    outcome = spawn_python("-c", SHARDED, timeout=120)
    assert outcome.status == 0, outcome.err
    findings, notes = outcome.out.splitlines()
    assert findings == "[('IA101', ('2.weight',))] ()"
    assert "judged by the part that this process holds: 0.weight, [48, 64] of [96, 64], and 6 more" in notes


FLATTENED = """
import torch, torch.distributed as dist, warnings
warnings.simplefilter("ignore")
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore
dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
import initaudit
from initaudit.modules import understood_live
for own in (True, False):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.Linear(64, 10), nn.Embedding(100, 64))
    with torch.no_grad():
        model[0].weight[48:] = model[0].weight[:48]
    whole = understood_live(model).parts
    model = FullyShardedDataParallel(model, use_orig_params=own, device_id=torch.device("cpu"))
    report = initaudit.check(model)
    assert understood_live(model).parts == whole, "names, roles and fans are those of the whole"
    print([(f.rule, f.tensors) for f in report.findings], report.failures, report.audited[0].checkpoint.notes)
"""


def test_parameters_that_were_laid_end_to_end_are_found_again() -> None:
    outcome = spawn_python("-c", FLATTENED, timeout=120)
    assert outcome.status == 0, outcome.err
    for line in outcome.out.splitlines():
        assert line.startswith("[('IA103', ('0.weight',))] () ('judged by the part that this process holds: 2.weight")
    assert len(outcome.out.splitlines()) == 2


def test_equal_models_are_reported_alike_wherever_they_lie_in_memory() -> None:
    model = FAULTS["zero weight"]()
    assert initaudit.check(copy.deepcopy(model)).to_json() == initaudit.check(model).to_json()
    assert {entry.begin for entry in understood_live(model).checkpoint.entries} == {0}


def test_a_live_model_has_no_files_and_no_command_to_redraw_it():
    report = initaudit.check({"fc.weight": torch.zeros(8, 8)})
    assert report.files == ()
    assert str(report).endswith(". Why: initaudit rule IA101")
