"""Findings of live models point into code, and the code that is printed for them, once run, leaves nothing to find."""

import ast
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import initaudit
from initaudit.audit import judge
from initaudit.modules import understood_live
from initaudit.registry import load_rules
from initaudit.repair.planning import plan_repair
from initaudit.report.code import render
from tests.checkpoints import run
from tests.models import FAULTS, MODELS, Projection, Transformer, harmed

RULES = tuple(load_rules().values())


def emitted(model: nn.Module) -> str:
    audited = judge(understood_live(model), RULES)
    return render([audited], [plan_repair(audited)])


def mended(model: nn.Module) -> nn.Module:
    """The model after the code that is printed for it was run."""
    space: dict[str, object] = {}
    exec(compile(emitted(model), "emitted.py", "exec"), space)
    if "initialise" in space:
        space["initialise"](model)  # type: ignore[operator]
    return model


def findings(model: nn.Module) -> list[tuple[str, str]]:
    return [(f.rule, f.tensor) for f in initaudit.check(model).findings if f.asks_for_repair]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_code_that_is_printed_leaves_nothing_to_find(fault: str) -> None:
    torch.manual_seed(0)
    model = FAULTS[fault]()
    assert findings(model) != []
    assert findings(mended(model)) == []


HARMS: dict[str, Callable[[torch.Tensor], object]] = {
    "zero": torch.Tensor.zero_,
    "constant": lambda values: values.fill_(0.3),
    "tiny": lambda values: values.mul_(1e-4),
    "huge": lambda values: values.mul_(300),
    "nan": lambda values: values.fill_(math.nan),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_a_model_of_which_all_weights_are_off_is_mended_as_a_whole(make: Callable[[], nn.Module], harm: str) -> None:
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                HARMS[harm](module.weight)
    if findings(model) == []:
        pytest.skip("nothing of it is off by itself")
    for _ in range(2):  # a fault may hide another, which shows once it is gone
        mended(model)
    assert [row for row in findings(model) if row[0] != "IA205"] == []


def test_siblings_are_filled_in_a_loop_and_scaled_by_depth_in_words() -> None:
    torch.manual_seed(0)
    model = Transformer(depth=6)
    for number in (1, 3):
        harmed(model, f"blocks.{number}.mlp.fc2.weight", lambda w: w.mul_(50))
    code = emitted(model)
    assert "for i in (1, 3):" in code
    line = "nn.init.normal_(model.blocks[i].mlp.fc2.weight, std=0.02 / math.sqrt(2 * n_layer))  # as 4 of 4 siblings"
    assert line in code
    assert "n_layer = 6" in code
    assert findings(mended(model)) == []


def test_where_most_is_off_one_function_fills_by_type() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(64, 64, bias=number % 2 == 0) for number in range(6)))
    with torch.no_grad():
        for layer in model:
            layer.weight.zero_()
    code = emitted(model)
    assert "def init_weights(module: nn.Module) -> None:" in code
    assert "if type(module) is nn.Linear:" in code
    assert "model.apply(init_weights)" in code
    assert findings(mended(model)) == []


class Odd(nn.Module):
    """Modules and parameters under names that are no names in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("class", nn.Linear(64, 64))
        self.add_module("7", nn.Linear(64, 64))
        self.table = nn.ModuleDict({"first": nn.Linear(64, 64), "a-b": nn.Linear(64, 64)})
        self.several = nn.ParameterList([nn.Parameter(torch.randn(64, 64) / 8) for _ in range(2)])
        self.named = nn.ParameterDict({"x": nn.Parameter(torch.randn(64, 64) / 8)})
        self.register_parameter("a b", nn.Parameter(torch.randn(64, 64) / 8))
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(64, 64))


def test_the_path_of_every_tensor_leads_to_it() -> None:
    for make in (*MODELS, Odd):
        model = make()
        tensors = dict(model.named_parameters()) | dict(model.named_buffers())
        origins = understood_live(model).checkpoint.origins
        for name, tensor in tensors.items():
            assert eval(f"model{origins[name].path}", {"model": model}) is tensor, name


def test_each_finding_of_a_live_model_names_its_class_and_the_line_that_made_it() -> None:
    torch.manual_seed(0)
    model = harmed(Transformer(), "blocks.2.mlp.fc1.weight", torch.Tensor.zero_)
    text = str(initaudit.check(model))
    source = Path(__file__).with_name("models.py").read_text().splitlines()
    made = next(number for number, line in enumerate(source, 1) if "self.fc1, self.fc2 = nn.Linear(width" in line)
    defined = next(number for number, line in enumerate(source, 1) if line.startswith("class Mlp"))
    assert f"made at tests/models.py:{made} in Mlp.__init__; a Linear of class Mlp, tests/models.py:{defined}" in text
    assert "nn.init.normal_(self.fc1.weight, std=0.02)  # as 3 of 3 siblings" in text
    found = json.loads(initaudit.check(model).to_json())["findings"][0]
    assert found["per_tensor"][0]["code"]["made"]["line"] == made
    assert found["paste"] == ["nn.init.normal_(self.fc1.weight, std=0.02)  # as 3 of 3 siblings"]


def test_a_parameter_of_a_class_of_ones_own_is_found_in_that_class() -> None:
    model = nn.Sequential(Projection(64, 64), nn.ReLU())
    origin = understood_live(model).checkpoint.origins["0.weight"]
    assert origin.defined is not None
    assert origin.made is not None
    assert (origin.defined.within, origin.local, origin.made.within) == ("Projection", ".weight", "Projection.__init__")


def test_torchs_own_modules_alone_come_from_no_line() -> None:
    origin = understood_live(nn.Sequential(nn.Linear(4, 4))).checkpoint.origins["0.weight"]
    assert (origin.defined, origin.made, origin.path) == (None, None, "[0].weight")


SOURCE = """
import torch
from torch import nn


def fill(weight):
    weight.normal_(0, 0.02)


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)  # made
        self.fc2 = nn.Linear(4 * width, width)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(100, 48)
        self.blocks = nn.ModuleList(Mlp(48) for _ in range(6))
        self.apply(self.init)
        with torch.no_grad():
            HARM

    def init(self, module):
        if isinstance(module, nn.Linear):
            fill(module.weight.data)  # filled
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)


def build():
    return Net()
"""

IN_CODE = {
    "zeros": "nn.init.zeros_(self.blocks[3].fc1.weight)  # here",
    "values that are scaled": "self.blocks[3].fc1.weight.mul_(200)  # here",
    "a constant": "self.blocks[3].fc1.weight.data.fill_(0.02)  # here",
    "an item": "self.blocks[3].fc1.weight[:] = self.blocks[3].fc1.weight[:1]  # here",
    "a copy": "self.blocks[3].fc1.weight.copy_(torch.full((192, 48), 1e9))  # here",
    "another tensor": "self.blocks[3].fc1.weight = nn.Parameter(torch.zeros(192, 48))  # here",
    "a layer anew": "self.blocks[3].fc1 = nn.Linear(48, 192)  # here",
}


@pytest.mark.parametrize("harm", IN_CODE)
def test_the_line_that_wrote_the_values_last_is_the_one_that_is_named(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = SOURCE.replace("HARM", IN_CODE[harm])
    (tmp_path / "planted.py").write_text(source)
    line = next(number for number, text in enumerate(source.splitlines(), 1) if "# here" in text)
    outcome = run("check", "planted:build", "--report", "sarif=found.sarif", "--report", "github=found.txt")
    assert f"filled at planted.py:{line} in Net.__init__" in outcome.out
    results = json.loads((tmp_path / "found.sarif").read_text())["runs"][0]["results"]
    place = results[0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "planted.py"}, "region": {"startLine": line}}
    assert annotations((tmp_path / "found.txt").read_text())[0][:2] == ("planted.py", line)


def annotations(commands: str) -> list[tuple[str, int, str]]:
    """What GitHub shows beside the files of a pull request: the file, the line and the text of each command."""
    form = re.compile(r"::(?:error|warning|notice) file=([^,]*),line=(\d+),title=[^:]*::(.*)")
    found = (form.fullmatch(line) for line in commands.splitlines())
    return [(match[1], int(match[2]), match[3].replace("%0A", "\n")) for match in found if match]


def test_code_that_is_mended_by_what_was_printed_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "planted.py").write_text(SOURCE.replace("HARM", IN_CODE["zeros"]))
    printed = run("fix", "planted:build", "--emit-code")
    assert printed.status == 0
    ast.parse(printed.out)
    (tmp_path / "mended.py").write_text(
        printed.out
        + "\n\nimport planted\n\ndef build():\n    net = planted.build()\n    initialise(net)\n    return net\n"
    )
    outcome = run("check", "mended:build", "--fail-on", "warning")
    assert (outcome.status, outcome.err) == (0, "")


def test_fix_of_code_without_emit_code_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "planted.py").write_text(SOURCE.replace("HARM", "pass"))
    outcome = run("fix", "planted:build", "--in-place")
    assert (outcome.status, outcome.out) == (2, "")
    assert "--emit-code prints what mends it" in outcome.err
    assert run("fix", "planted:build", "--emit-code").out == "# planted:build: nothing to mend\n"
    assert run("fix", "planted:build", "--emit-code", "--in-place").status == 2


def test_code_for_a_file_names_its_tensors_as_torch_finds_them(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = harmed(Transformer(), "blocks.2.mlp.fc1.weight", torch.Tensor.zero_)
    state = {name: value for name, value in model.state_dict().items() if name != "head.weight"}
    save_file(state, tmp_path / "model.safetensors")
    printed = run("fix", tmp_path / "model.safetensors", "--emit-code").out
    space: dict[str, object] = {}
    exec(printed, space)
    space["initialise"](model)  # type: ignore[operator]
    assert findings(model) == []


def test_a_name_in_a_file_ends_no_line_of_the_code(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    name = "a\n'\"\\\n::error::x.weight"
    save_file({name: torch.full((64, 64), 0.5), "b.weight": torch.randn(64, 64) / 8}, tmp_path / "model.safetensors")
    printed = run("fix", tmp_path / "model.safetensors", "--emit-code").out
    assert [line for line in printed.splitlines() if line.startswith(("::", "'"))] == []
    calls = [node.value for node in ast.walk(ast.parse(printed)) if isinstance(node, ast.Constant)]
    assert name in calls
