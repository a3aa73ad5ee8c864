"""Models that are code: built in a process of their own, audited by their types, and said of in one line if not."""

import json
import os
import textwrap
import time
from pathlib import Path

import pytest

from initaudit.builders import builder_of
from initaudit.errors import CheckpointError
from tests.checkpoints import mlp, run, spawn_python, written

MODEL = """
import torch
from torch import nn


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)


class Net(nn.Module):
    def __init__(self, width=32, depth=4, harm=True):
        super().__init__()
        self.blocks = nn.ModuleList(Mlp(width) for _ in range(depth))
        if harm:
            nn.init.zeros_(self.blocks[2].fc1.weight)


class factory:
    @staticmethod
    def small():
        return Net(16)


def build():
    return Net()


model = Net()
state = model.state_dict()
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the user works, with a module of his own."""
    (tmp_path / "nets.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def module(source: str) -> None:
    Path("other.py").write_text(textwrap.dedent(source))


def findings(*arguments: str) -> list[tuple[str, str]]:
    outcome = run("check", *arguments, "--output-format", "json")
    assert outcome.err == ""
    return [(row["rule"], row["tensor"]) for row in json.loads(outcome.out)["findings"]]


FOUND = [("IA101", "blocks.2.fc1.weight")]


@pytest.mark.parametrize("name", ["nets:build", "nets:model", "nets:Net", "nets:factory.small"])
def test_a_function_a_class_a_model_and_what_they_hold_are_built_and_audited(name: str) -> None:
    assert findings(name) == FOUND


def test_arguments_are_given_by_name_or_in_a_list() -> None:
    assert findings("nets:Net", "--args", '{"harm": false}') == []
    assert findings("nets:Mlp", "--args", "[24]") == []


def test_the_seed_is_printed_and_the_same_seed_gives_the_same_report() -> None:
    first, again, other = (run("check", "nets:build", "--verbose", "--seed", seed) for seed in ("7", "7", "8"))
    assert first.out == again.out
    assert "built with seed 7 on the CPU: Net" in first.out
    assert "built with seed 8 on the CPU: Net" in other.out
    values = [run("check", "nets:model", "--seed", seed, "--output-format", "json").out for seed in ("7", "7", "8")]
    assert values[0] == values[1]


def test_two_models_with_seeds_that_differ_have_other_values() -> None:
    module(
        """
        import torch
        from torch import nn

        def build():
            net = nn.Linear(64, 64)
            net.weight.data[0, 0] = 1e30 if float(net.weight[0, 1]) > 0 else 1e29
            net.bias.data.zero_()
            return net
        """
    )
    said = {run("check", "other:build", "--seed", str(seed)).out.replace(f"seed {seed}", "") for seed in range(5)}
    assert len(said) > 1


def test_code_and_files_are_audited_in_one_run() -> None:
    written(Path("good.safetensors"), mlp())
    outcome = run("check", "good.safetensors", "nets:build", "nets:missing")
    assert "Found 1 error in 2 checkpoints" in outcome.out
    assert outcome.err.startswith("initaudit: nets:missing: nets has no missing")
    assert outcome.status == 2


def test_what_exists_as_a_file_is_never_taken_for_code() -> None:
    Path("marker.py").write_text("open('was_imported', 'w')")
    if os.name == "posix":
        written(Path("marker:build"), mlp())
        assert findings("marker:build") == []
    run("check", "marker.py", "marker", "./marker:build.safetensors", "marker.safetensors")
    assert not Path("was_imported").exists()


def test_no_file_of_the_users_is_taken_for_a_module_of_ours_or_of_torch() -> None:
    for name in ("random", "numpy", "click", "torch", "dataclasses"):
        Path(f"{name}.py").write_text(f"open('took_{name}', 'w')\nraise SystemExit")
    assert findings("nets:build") == FOUND
    assert list(Path().glob("took_*")) == []


@pytest.mark.parametrize(
    "text", ["C:\\models\\x", "model.safetensors", "out/init", "a:b:c", "s3://b/k", "hf://o/m", ":x"]
)
def test_what_has_no_form_of_code_stays_a_path(text: str) -> None:
    assert builder_of(text) is None


def test_the_letter_of_a_drive_is_no_module_where_there_are_drives(monkeypatch: pytest.MonkeyPatch) -> None:
    assert builder_of("C:model") is not None
    monkeypatch.setattr("initaudit.builders.naming.os", type("os", (), {"name": "nt", "path": os.path}))
    assert builder_of("C:model") is None


def test_the_file_of_a_module_is_refused_with_the_name_to_give() -> None:
    with pytest.raises(CheckpointError, match="name the module and not its file: nets:build"):
        builder_of("nets.py:build")


BAD = {
    "no module": ("absent.deep:build", "", "there is no module absent here"),
    "no such name": ("nets:biuld", "", "nets has no biuld: did you mean 'build'?"),
    "fails": ("other:build", "def build(): raise ValueError('one\\nthe last line')", "ValueError: the last line"),
    "no import": ("other:build", "import absent_dependency", "cannot be imported: ModuleNotFoundError: No module"),
    "no syntax": ("other:build", "def build(:", "its module cannot be imported: SyntaxError: invalid syntax"),
    "asks": ("nets:Mlp", "", "asks for width: give it by --args '{\"width\": …}'"),
    "returns None": ("other:build", "def build(): pass", "returns None, and not a torch.nn.Module"),
    "returns a dict": ("other:build", "def build(): return {}", "returns a dict, and not"),
    "is async": ("other:build", "async def build(): pass", "returns a coroutine, and not"),
    "is a number": ("other:build", "build = 3", "is an int, and neither a model nor what builds one"),
    "leaves": ("other:build", "import sys\ndef build(): sys.exit(3)", "it called sys.exit(3)"),
    "leaves at import": ("other:build", "raise SystemExit", "its module cannot be imported: it called sys.exit()"),
    "dies": (
        "other:build",
        "import os\ndef build():\n    print('so long')\n    os._exit(5)",
        "left with status 5; the last that it said: so long",
    ),
    "is killed": ("other:build", "import os, signal\ndef build(): os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
    "interrupts": ("other:build", "def build(): raise KeyboardInterrupt", "failed: KeyboardInterrupt"),
    "reads stdin": ("other:build", "def build(): return input('width? ')", "EOFError"),
    "has no network": (
        "other:build",
        "import urllib.request\ndef build(): urllib.request.urlopen('http://127.0.0.1:9')",
        "URLError: <urlopen error",
    ),
    "holds nothing": ("other:build", "from torch import nn\nbuild = nn.ReLU", "nothing to judge"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_code_that_gives_no_model_is_one_line_and_exit_status_2(case: str) -> None:
    name, source, said = BAD[case]
    module(source)
    outcome = run("check", name)
    assert outcome.status == 2
    assert outcome.err.startswith(f"initaudit: {name}: ")
    assert outcome.err.count("\n") == 1
    assert said in outcome.err
    assert "Traceback" not in outcome.out + outcome.err


def test_a_builder_that_hangs_is_ended_at_the_limit_and_all_that_it_started() -> None:
    module(
        """
        import subprocess, sys, time

        def build():
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
            open("child", "w").write(str(child.pid))
            time.sleep(300)
        """
    )
    begin = time.monotonic()
    outcome = run("check", "other:build", "--time-limit", "8")
    assert time.monotonic() - begin < 60
    assert "was not built within 8 seconds: give it more by --time-limit" in outcome.err
    if os.name == "posix":
        assert not is_running(int(Path("child").read_text()))


def is_running(number: int) -> bool:
    for _ in range(50):
        try:
            state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.1)
    return True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_what_a_builder_prints_and_forks_does_not_touch_the_report() -> None:
    quiet = run("check", "nets:build").out
    module(
        """
        import os, sys
        from nets import Net

        def build():
            os.fork()
            print("x" * 200_000)
            sys.stderr.write("noise\\n" * 20_000)
            os.write(1, b"::error::mine\\n")
            return Net()
        """
    )
    outcome = run("check", "other:build")
    assert outcome.out == quiet.replace("nets:build", "other:build").replace("nets.py:30", "other.py:10")
    assert outcome.err == ""


def test_other_devices_than_the_cpu_are_refused_with_the_reason() -> None:
    outcome = run("check", "nets:build", "--device", "meta")
    assert outcome.status == 2
    assert "on the meta device nothing is drawn" in outcome.err
    assert findings("nets:build", "--device", "cpu") == FOUND


@pytest.mark.parametrize("arguments", ["{", "3", '"text"'])
def test_arguments_that_are_none_are_refused(arguments: str) -> None:
    outcome = run("check", "nets:Net", "--args", arguments)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)


def test_arguments_without_code_are_refused() -> None:
    written(Path("good.safetensors"), mlp())
    assert "--args are for code" in run("check", "good.safetensors", "--args", "[]").err


def test_the_configuration_names_what_is_audited_from_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".git").mkdir()
    Path("initaudit.toml").write_text('paths = ["nets:Net"]\nseed = 5\n[args]\n"nets:Net" = { depth = 6 }\n')
    Path("deeper").mkdir()
    monkeypatch.chdir("deeper")
    outcome = run("check", "--verbose")
    assert "as its 5 siblings" in outcome.out
    assert "built with seed 5" in outcome.out
    assert outcome.status == 1


def test_code_in_the_configuration_of_somebody_else_is_not_run() -> None:
    Path("initaudit.toml").write_text('paths = ["nets:Net"]\n')
    Path("initaudit.toml").chmod(0o666)
    if os.name == "posix":
        outcome = run("check")
        assert outcome.status == 2
        assert "has paths with code, which are not taken from it: others may write to" in outcome.err


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
def test_a_module_that_others_may_write_to_is_not_run_for_a_configuration() -> None:
    Path("initaudit.toml").write_text('paths = ["nets:Net"]\n')
    Path("nets.py").chmod(0o666)
    outcome = run("check")
    assert outcome.status == 2
    assert "others may write to" in outcome.err
    assert "nets.py" in outcome.err


def test_a_setting_of_code_that_has_no_meaning_is_said() -> None:
    for line in ('paths = "nets:Net"', "seed = -1", "time-limit = 0", '[args]\n"nets:Net" = 3', 'paths = ["hf:"]'):
        Path("initaudit.toml").write_text(f"{line}\n")
        outcome = run("check", "nets:build")
        assert (outcome.status, outcome.err.count("\n")) == (2, 1)


def test_without_a_path_and_a_setting_the_command_says_what_is_missing() -> None:
    assert "Missing argument 'PATH...'" in run("check").err


def test_check_of_files_imports_neither_torch_nor_what_builds() -> None:
    written(Path("good.safetensors"), mlp())
    code = (
        "import sys; from initaudit.cli import main;"
        f"main(['check', {str(Path('good.safetensors').absolute())!r}, '-q']);"
        "print({'torch', 'initaudit.builders.building', 'initaudit.modules'} & set(sys.modules))"
    )
    assert spawn_python("-c", code).out.strip() == "set()"
