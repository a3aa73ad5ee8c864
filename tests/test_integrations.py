"""At home elsewhere: pre-commit, the action, GitLab, shells, and what a bug report needs."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig

import jsonschema
import pytest
import yaml

from initaudit.registry import load_rules
from tests.checkpoints import FIXTURES, ROOT, environment, faulty, mlp, spawn_python, written

README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step.get("id", step["name"]): step for step in ACTION["runs"]["steps"]}

# No registry is asked: pip builds the package as ever, with the build backend and libraries of this environment.
OFFLINE = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # which pip reads as "no isolation"
    "PYTHONPATH": sysconfig.get_path("purelib"),
    "PYTHONWARNINGS": "",
    "VIRTUALENV_NO_PERIODIC_UPDATE": "1",
}
GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{f"GIT_{who}_{what}": "tester@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}

ERROR = FIXTURES / "bad" / "IA101-zero-weight.safetensors"

posix = pytest.mark.skipif(os.name != "posix" or not shutil.which("bash"), reason="there is no bash here")


def git(folder, *arguments):
    """Run git in a folder."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, env={**environment(), **GIT}
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what is needed to build and install the package, without anything that a build leaves behind."""
    folder = tmp_path_factory.mktemp("source") / "initaudit"
    for name in ("initaudit", "rules"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml", "action.yml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def repository(source):
    """The same as a git repository, and its revision."""
    git(source, "init", "--quiet")
    git(source, "add", "--all")
    git(source, "commit", "--quiet", "--message", "All of it")
    return source, git(source, "rev-parse", "HEAD")


@pytest.mark.skipif(not shutil.which("git"), reason="there is no git here")
def test_pre_commit_installs_the_hook_and_runs_it_on_what_is_committed(repository, tmp_path):
    """pre-commit itself, with our hook file and a real build; only the registry is replaced by this environment."""
    where, revision = repository
    project = tmp_path / "project"
    written(project / "good.safetensors", mlp())
    written(project / "notes.txt", b"no checkpoint\n")
    hooks = {"repo": str(where), "rev": revision, "hooks": [{"id": "initaudit", "args": ["--fail-on=warning"]}]}
    written(project / ".pre-commit-config.yaml", yaml.safe_dump({"repos": [hooks]}).encode())
    git(project, "init", "--quiet")
    git(project, "add", "--all")

    def pre_commit(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "pre_commit", *arguments],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
            env={**environment(OFFLINE), **GIT, "PRE_COMMIT_HOME": str(tmp_path / "home"), "PRE_COMMIT_COLOR": "never"},
            timeout=300,
        )

    done = pre_commit("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^initaudit\.+Passed$", done.stdout, re.MULTILINE)

    written(project / "bad.safetensors", faulty())
    git(project, "add", "--all")
    done = pre_commit("run")
    assert done.returncode == 1
    assert re.search(r"^initaudit\.+Failed$", done.stdout, re.MULTILINE)
    assert "IA101 zero-weight  fc2.weight" in done.stdout
    assert "good.safetensors" not in done.stdout

    git(project, "rm", "--quiet", "--cached", "bad.safetensors", "good.safetensors")
    assert re.search(r"^initaudit\.+\(no files to check\)Skipped$", pre_commit("run").stdout, re.MULTILINE)


def test_the_hook_is_what_the_readme_names():
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "code.md").read_text(encoding="utf-8")
    of_page = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)]
    named = [row for snippet in SNIPPETS + of_page if isinstance(snippet, list) for row in snippet if "repo" in row]
    assert [hook["id"] for row in named for hook in row["hooks"]] == [hook["id"] for hook in hooks]


def test_the_action_keeps_to_the_schema():
    schema = json.loads((ROOT / "tests" / "schemas" / "github-action.json").read_text(encoding="utf-8"))
    jsonschema.validators.validator_for(schema)(schema).validate(ACTION)


def test_the_action_splices_nothing_into_a_script_and_pins_what_it_uses():
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        if "uses" in step:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"])


def test_the_action_has_the_inputs_that_the_readme_gives_it():
    (used,) = [row for snippet in SNIPPETS if isinstance(snippet, list) for row in snippet if "uses" in row]
    assert set(used["with"]) <= set(ACTION["inputs"])
    assert {name for name, row in ACTION["inputs"].items() if row.get("required")} <= set(used["with"])


class Runner:
    """What GitHub's runner does for a composite action: inputs into ``env``, then bash, then what it left in files."""

    def __init__(self, folder, action):
        self.temp, self.work, self.action = folder / "temp", folder / "work", action
        for place in (self.temp, self.work):
            place.mkdir()

    def run(self, step, **inputs):
        """Run one step; the outcome, the outputs and the summary."""
        given = {name: str(row.get("default", "")) for name, row in ACTION["inputs"].items()} | inputs

        def value(text):
            known = {f"inputs.{name}": one for name, one in given.items()} | {"github.action_path": str(self.action)}
            return re.sub(r"\$\{\{ *([\w.-]+) *\}\}", lambda match: known[match[1]], text)

        output, summary = self.temp / "output", self.temp / "summary"
        for file in (output, summary):
            file.write_text("")
        files = {"RUNNER_TEMP": self.temp, "GITHUB_OUTPUT": output, "GITHUB_STEP_SUMMARY": summary}
        env = {name: value(text) for name, text in STEPS[step]["env"].items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[step]["run"]],
            cwd=self.work,
            capture_output=True,
            text=True,
            check=False,
            env={**environment(OFFLINE), **{key: str(file) for key, file in files.items()}, **env,
                 "GITHUB_WORKSPACE": str(self.work)},
            timeout=300,
        )  # fmt: skip
        outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
        return done, outputs, summary.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def runner(source, tmp_path_factory):
    """A runner on which the action has installed itself, from its own folder."""
    one = Runner(tmp_path_factory.mktemp("runner"), source)
    written(one.work / "out" / "bad one.safetensors", faulty())
    written(one.work / "out" / "good.safetensors", mlp())
    done, _, _ = one.run("Install initaudit")
    assert done.returncode == 0, done.stderr
    return one


@posix
def test_the_action_annotates_sums_up_and_fails(runner):
    done, outputs, summary = runner.run("check", paths="out", **{"sarif-file": "out.sarif"})
    assert done.returncode == 1, done.stderr
    assert outputs == {"findings": "1"}
    assert "IA101 zero-weight  fc2.weight" in done.stdout
    (annotation,) = [line for line in done.stdout.splitlines() if line.startswith("::error ")]
    assert annotation.startswith("::error file=out/bad one.safetensors,line=1,title=initaudit%3A IA101 zero-weight::")
    assert summary.startswith("## initaudit")
    assert json.loads((runner.work / "out.sarif").read_text())["version"] == "2.1.0"


@posix
def test_the_action_takes_its_inputs_as_words_and_never_as_shell(runner):
    paths = "out/bad one.safetensors\n\nout/$(touch owned)`touch owned`.safetensors\n"
    done, outputs, _ = runner.run("check", paths=paths, args='--ignore IA101 ; touch owned " $(touch owned)')
    assert done.returncode == 2
    assert not (runner.work / "owned").exists()
    done, outputs, _ = runner.run("check", paths="out/bad one.safetensors", args="--ignore IA101 --quiet")
    assert (done.returncode, outputs) == (0, {"findings": "0"})
    done, _, _ = runner.run("check", paths="--help")
    assert done.returncode == 2


@posix
def test_the_action_heeds_fail_on_and_says_what_could_not_be_read(runner):
    assert runner.run("check", paths="out", **{"fail-on": "never"})[0].returncode == 0
    done, outputs, summary = runner.run("check", paths="out\nmissing.safetensors", **{"fail-on": "never"})
    assert (done.returncode, outputs) == (2, {"findings": "1"})
    assert "missing.safetensors" in summary
    assert "::error file=missing.safetensors,line=1,title=initaudit%3A not audited::" in done.stdout


@posix
def test_no_name_in_a_checkpoint_is_a_command_for_the_runner(runner):
    written(runner.work / "hostile" / "::error::owned.safetensors", {"::error::owned.weight": faulty()["fc2.weight"]})
    done, _, _ = runner.run("check", paths="hostile")
    lines = [line.strip() for line in done.stdout.splitlines()]
    (begin,) = [at for at, line in enumerate(lines) if line.startswith("::stop-commands::")]
    end = lines.index(f"::{lines[begin].removeprefix('::stop-commands::')}::")
    commands = [line for line in [*lines[:begin], *lines[end + 1 :]] if line.startswith("::")]
    assert commands
    assert all(re.match("::error file=[^:]*,line=1,title=initaudit%3A [^:]*::", line) for line in commands)


@posix
def test_the_gitlab_job_of_the_readme_writes_what_it_hands_over(tmp_path):
    (job,) = [snippet["initaudit"] for snippet in SNIPPETS if isinstance(snippet, dict)]
    written(tmp_path / "out" / "init" / "model.safetensors", faulty())
    install, check = job["script"]
    assert install == "pip install initaudit"
    done = subprocess.run(
        ["bash", "-c", check.replace("initaudit", f"{sys.executable} -m initaudit", 1)],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        env=environment({"CI_PROJECT_DIR": str(tmp_path), "GITHUB_WORKSPACE": ""}),
    )
    assert done.returncode == 1
    reports = job["artifacts"]["reports"]
    (entry,) = json.loads((tmp_path / reports["codequality"]).read_text())
    assert entry["location"]["path"] == "out/init/model.safetensors"
    assert (tmp_path / reports["junit"]).is_file()


def test_version_says_what_a_bug_report_needs():
    lines = dict(line.split(" ", 1) for line in spawn_python("-m", "initaudit", "--version").out.splitlines())
    assert list(lines) == ["initaudit", "python", "torch", "safetensors", "numpy"]
    assert lines["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")


def complete(*words):
    """What the shell is offered for the last word, and the modules that this has imported."""
    program = "import sys\nfrom initaudit.cli import main\nmain()\nprint(*sys.modules, file=sys.stderr)"
    variables = {
        "_INITAUDIT_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["initaudit", *words]),
        "COMP_CWORD": str(len(words)),
    }
    outcome = spawn_python("-c", program, variables=variables)
    return [line.partition(",")[2] for line in outcome.out.splitlines()], set(outcome.err.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["rule", "IA10"], [code for code in load_rules() if code.startswith("IA10")]),
        (["rule", "zero"], ["zero-weight"]),
        (["check", "--select", "zero"], ["zero-weight"]),
        (["check", "--ignore", "IA101,non-f"], ["IA101,non-finite"]),
        (["check", "--output-format", "s"], ["sarif"]),
        (["check", "--report", "git"], ["github=", "gitlab="]),
        (["ch"], ["check"]),
        (["check", "--fail"], ["--fail-on"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_the_shell_completes_codes_names_and_forms_without_torch(words, offered):
    found, modules = complete(*words)
    assert found == offered
    assert "torch" not in modules


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell):
    outcome = spawn_python("-m", "initaudit", variables={"_INITAUDIT_COMPLETE": f"{shell}_source"})
    assert "_INITAUDIT_COMPLETE" in outcome.out
    assert outcome.status == 0


def test_a_wheel_carries_the_rules_and_needs_no_torch(source, tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", tmp_path, source]
    subprocess.run(command, check=True, env=environment(OFFLINE), timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    program = "import sys\nsys.path.insert(0, sys.argv.pop(1))\nfrom initaudit.cli import main\nsys.exit(main())"
    shutil.unpack_archive(wheel, tmp_path / "site", "zip")
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(tmp_path / "site"), "check", str(ERROR)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr
    assert "IA101 zero-weight" in done.stdout
    assert (tmp_path / "site" / "initaudit" / "_rules" / "zero_weight.py").is_file()
