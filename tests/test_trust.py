"""Nothing strange runs: somebody else's configuration loads no rules and writes no files, and is said to be theirs."""

import os
from pathlib import Path

import pytest

from initaudit.trust import why_not_trusted
from tests.checkpoints import faulty, run, written

pytestmark = pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can give files to others")

NOBODY = 65534


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a checkpoint, in a folder that is its user's alone; its name is no home folder's."""
    folder = tmp_path / "shared" / "job"
    folder.mkdir(parents=True)
    written(folder / "model.safetensors", faulty())
    monkeypatch.chdir(folder)
    return folder


def configured(folder: Path, text: str, *, owner: int = 0) -> Path:
    file = written(folder / "initaudit.toml", text.encode())
    os.chown(file, owner, owner)
    return file


def evil(folder: Path) -> Path:
    """A folder of rules that tells that it ran."""
    mark = folder / "RAN"
    written(folder / "evil" / "r.py", f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n".encode())
    return mark


@pytest.mark.parametrize("command", [["check", "model.safetensors"], ["inspect", "model.safetensors"], ["rule"]])
def test_rules_of_somebody_elses_configuration_above_are_not_run(job: Path, command: list[str]) -> None:
    mark = evil(job.parent)
    configured(job.parent, 'rules = ["evil"]\n', owner=NOBODY)
    outcome = run(*command)
    assert outcome.status == 2
    assert not mark.exists()
    assert "belongs to nobody" in outcome.err
    assert "--config" in outcome.err
    assert "--isolated" in outcome.err


def test_reports_of_somebody_elses_configuration_are_not_written(job: Path) -> None:
    configured(job.parent, '[report]\njson = "out.json"\n', owner=NOBODY)
    outcome = run("check", "model.safetensors")
    assert (outcome.status, outcome.out) == (2, "")
    assert not (job.parent / "out.json").exists()


def test_other_settings_of_somebody_else_count_and_it_is_said_whose_they_are(job: Path) -> None:
    configured(job.parent, 'ignore = ["IA101"]\n', owner=NOBODY)
    outcome = run("check", "model.safetensors")
    assert outcome.status == 0
    assert outcome.err.count("\n") == 1
    assert "belongs to nobody" in outcome.err


@pytest.mark.parametrize("mode", [0o777, 0o772])
def test_a_folder_to_which_others_may_write_is_nobodys_in_particular(job: Path, mode: int) -> None:
    mark = evil(job.parent)
    configured(job.parent, 'rules = ["evil"]\n')
    job.parent.chmod(mode)
    assert run("check", "model.safetensors").status == 2
    assert not mark.exists()


def test_an_entry_of_ones_own_in_a_sticky_folder_is_safe(job: Path) -> None:
    mark = evil(job.parent)
    configured(job.parent, 'rules = ["evil"]\n')
    job.parent.chmod(0o1777)
    run("check", "model.safetensors")
    assert mark.exists()


def test_rules_that_are_somebody_elses_are_not_run_from_ones_own_configuration(job: Path) -> None:
    mark = evil(job.parent)
    os.chown(job.parent / "evil" / "r.py", NOBODY, NOBODY)
    configured(job.parent, 'rules = ["evil"]\n')
    assert "r.py belongs to nobody" in run("check", "model.safetensors").err
    assert not mark.exists()


def test_a_link_of_somebody_elses_to_ones_own_file_is_theirs(job: Path, tmp_path: Path) -> None:
    own = written(tmp_path / "own.toml", b"")
    link = job / "initaudit.toml"
    link.symlink_to(own)
    os.lchown(link, NOBODY, NOBODY)
    assert why_not_trusted(link) == f"{link} belongs to nobody"


def test_folders_count_up_to_the_root_of_the_repository(job: Path, tmp_path: Path) -> None:
    file = configured(job, "")
    (tmp_path / "shared").chmod(0o777)
    assert why_not_trusted(file) is None  # in no repository its own folder counts
    (tmp_path / ".git").mkdir()
    assert why_not_trusted(file) == f"others may write to {tmp_path / 'shared'}"


def test_a_group_that_is_its_owners_own_may_write_and_another_may_not(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = configured(job, "")
    file.chmod(0o664)
    assert why_not_trusted(file) is None  # the group of root, which has nobody else in it
    os.chown(file, 0, NOBODY)
    assert why_not_trusted(file) == f"others may write to {file}"


def test_who_owns_the_working_directory_is_trusted_by_root(job: Path) -> None:
    mark = evil(job)
    for path in (job, configured(job, 'rules = ["evil"]\n'), job / "evil", job / "evil" / "r.py"):
        os.chown(path, NOBODY, NOBODY)
    (job / ".git").mkdir()
    run("check", "model.safetensors")
    assert mark.exists()


@pytest.mark.parametrize("end", [".git", ".hg"])
def test_the_search_ends_at_the_root_of_the_repository(job: Path, end: str) -> None:
    configured(job.parent, "nonsense = 1\n")
    assert run("check", "model.safetensors").status == 2
    (job / end).mkdir()
    assert run("check", "model.safetensors").status == 1


def test_the_search_ends_at_the_home_folder(job: Path) -> None:
    configured(job.parent, "nonsense = 1\n")
    assert run("check", "model.safetensors", variables={"HOME": str(job)}).status == 1


def test_a_configuration_beside_a_checkpoint_loads_no_rules_unless_it_is_the_root_of_a_repository(job: Path) -> None:
    mark = evil(job)
    configured(job, 'rules = ["evil"]\n')
    for path in (".", "model.safetensors"):
        outcome = run("check", path)
        assert outcome.status == 2
        assert "from the folder of a checkpoint" in outcome.err
    assert not mark.exists()
    run("check", "model.safetensors", "--config", "initaudit.toml")  # it was named
    assert mark.exists()
    mark.unlink()
    (job / ".git").mkdir()
    run("check", "model.safetensors")
    assert mark.exists()
