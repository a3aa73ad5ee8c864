"""What a repair keeps of a file beside its bytes, and of a folder beside its weights."""

import os
import shutil
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from initaudit.repair import attributes
from tests.checkpoints import FIXTURES, PERMISSIONS_BIND, faulty, indexed, run, spawn_unprivileged, written

BROKEN = FIXTURES / "bad" / "IA101-zero-weight.safetensors"
EVERYBODY = 2**32 - 1
NARROW = ((1, 6, EVERYBODY), (2, 4, 1234), (4, 0, EVERYBODY), (16, 4, EVERYBODY), (32, 0, EVERYBODY))
"""An ACL of which the mode seems to say that the owning group may read: it is the mask that it shows."""


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A file with one fault, alone in its folder."""
    path = tmp_path / "model" / "model.safetensors"
    path.parent.mkdir()
    shutil.copy(BROKEN, path)
    return path


def with_attributes(path: Path) -> None:
    """Give a file an attribute and an ACL, or leave the test where the file system has none."""
    try:
        os.setxattr(path, "user.note", b"kept")
        os.setxattr(path, attributes.ACL, acl(*NARROW))
    except (AttributeError, OSError) as error:
        pytest.skip(f"has no such attributes: {error}")


def extended(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


@pytest.mark.parametrize("way", ["in place", "file", "folder", "force"])
def test_acl_attributes_and_mode_are_kept(way: str, broken: Path, tmp_path: Path) -> None:
    with_attributes(broken)
    broken.parent.chmod(0o2750)
    before, mode, output = extended(broken), broken.stat().st_mode, tmp_path / "out"
    if way == "force":
        shutil.copytree(broken.parent, output)
    to = {
        "in place": [broken, "--in-place"],
        "file": [broken, "--output", output],
        "folder": [broken.parent, "--output", output],
        "force": [broken.parent, "--output", output, "--force"],
    }[way]
    outcome = run("fix", *to)
    assert (outcome.status, "could not keep" in outcome.out) == (0, False)
    made = {"in place": broken, "file": output}.get(way, output / "model.safetensors")
    assert (extended(made), made.stat().st_mode) == (before, mode)
    assert load_file(made)["fc2.weight"].any()
    if way == "folder":
        assert output.stat().st_mode == broken.parent.stat().st_mode


def test_a_backup_that_is_a_copy_has_all_attributes_too(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*names: Path) -> None:
        raise PermissionError

    with_attributes(broken)
    before, status = extended(broken), broken.stat()
    monkeypatch.setattr(os, "link", refuse)
    assert run("fix", broken, "--in-place", "--backup").status == 0
    backup = broken.with_name("model.safetensors.orig")
    assert extended(backup) == before
    assert (backup.stat().st_mode, backup.stat().st_mtime_ns) == (status.st_mode, status.st_mtime_ns)


def test_an_acl_that_the_folder_gives_new_files_widens_nothing(broken: Path) -> None:
    with_attributes(broken)
    os.removexattr(broken, attributes.ACL)
    broken.chmod(0o640)
    rows = ((1, 7, EVERYBODY), (2, 7, 1234), (4, 5, EVERYBODY), (16, 7, EVERYBODY), (32, 0, EVERYBODY))
    os.setxattr(broken.parent, attributes.DEFAULT_ACL, acl(*rows))
    assert run("fix", broken, "--in-place").status == 0
    assert set(extended(broken)) == {"user.note"}
    assert broken.stat().st_mode & 0o777 == 0o640


def test_an_acl_that_cannot_be_kept_leaves_the_narrower_mode_and_is_said(
    broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_attributes(broken)
    assert broken.stat().st_mode & 0o777 == 0o640
    set_extended = os.setxattr

    def refuse(path: Path, name: str, value: bytes) -> None:
        if name == attributes.ACL:
            raise OSError(95, "Operation not supported")
        set_extended(path, name, value)

    monkeypatch.setattr(os, "setxattr", refuse)
    outcome = run("fix", broken, "--in-place")
    assert outcome.status == 0
    assert "could not keep its ACL (operation not supported)" in " ".join(outcome.out.split())
    assert broken.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("mode", "entries", "narrowed"),
    [
        (0o664, ((1, 6, 0), (4, 6, 0), (32, 4, 0)), 0o664),
        (0o664, ((1, 6, 0), (2, 0, 5), (4, 6, 0), (16, 6, 0), (32, 4, 0)), 0o600),
        (0o664, ((1, 6, 0), (8, 4, 5), (4, 6, 0), (16, 6, 0), (32, 4, 0)), 0o644),
        (0o660, ((1, 6, 0), (8, 6, 5), (4, 6, 0), (16, 4, 0), (32, 0, 0)), 0o640),
        (0o664, (), 0o604),
    ],
)
def test_a_mode_lets_nobody_do_what_the_acl_did_not(
    mode: int, entries: tuple[tuple[int, int, int], ...], narrowed: int
) -> None:
    assert attributes._narrowed(mode, acl(*entries)) == narrowed


def test_a_group_that_cannot_be_kept_gives_the_new_one_no_more_than_others_had(
    broken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, user: int, group: int) -> None:
        raise PermissionError

    if not PERMISSIONS_BIND and os.geteuid():
        pytest.skip("takes root to give a file away")
    os.chown(broken, 1234, 1234)
    broken.chmod(0o664)
    monkeypatch.setattr(os, "chown", refuse)
    outcome = run("fix", broken, "--in-place")
    assert "could not keep its group" in " ".join(outcome.out.split())
    assert broken.stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="takes root to give a file away")
@pytest.mark.parametrize("way", ["in place", "folder"])
def test_root_keeps_the_owner(way: str, broken: Path, tmp_path: Path) -> None:
    for path in (broken, broken.parent):
        os.chown(path, 1234, 2345)
    to = [broken, "--in-place"] if way == "in place" else [broken.parent, "--output", tmp_path / "out"]
    assert run("fix", *to).status == 0
    made = [broken] if way == "in place" else [tmp_path / "out", tmp_path / "out" / "model.safetensors"]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(1234, 2345)}


# Folders.


def test_a_cache_of_links_is_repaired_into_files(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    names = sorted(faulty())
    indexed(
        snapshot,
        {"1.safetensors": {n: faulty()[n] for n in names[:3]}, "2.safetensors": {n: faulty()[n] for n in names[3:]}},
    )
    (snapshot / "config.json").write_text('{"model_type": "mlp"}', encoding="utf-8")
    (snapshot / "tokenizer.json").write_text("{}", encoding="utf-8")
    (snapshot / "text").mkdir()
    (snapshot / "text" / "config.json").write_text("{}", encoding="utf-8")
    blobs.mkdir()
    for number, path in enumerate(sorted(p for p in snapshot.rglob("*") if p.is_file())):
        path.rename(blobs / str(number))
        path.symlink_to(os.path.relpath(blobs / str(number), path.parent))
    outcome = run("fix", snapshot, "--output", tmp_path / "out")
    assert outcome.status == 0
    made = {str(p.relative_to(tmp_path / "out")): p.is_symlink() for p in (tmp_path / "out").rglob("*.*")}
    files = ["1.safetensors", "2.safetensors", "config.json", "model.safetensors.index.json", "text/config.json"]
    assert made == dict.fromkeys(files, False)
    said = " ".join(outcome.out.split())
    assert "left out of the output: tokenizer.json (a link that leads out of the folder)" in said
    assert run("check", tmp_path / "out").status == 0


def test_links_that_stay_inside_are_copied_as_links(broken: Path, tmp_path: Path) -> None:
    folder = broken.parent
    (folder / "text").mkdir()
    (folder / "text" / "vocab.txt").write_text("a b", encoding="utf-8")
    (folder / "vocab.txt").symlink_to("text/vocab.txt")
    (folder / "text" / "up.txt").symlink_to("../vocab.txt")
    (folder / "absolute.txt").symlink_to(folder / "text" / "vocab.txt")
    (folder / "around.txt").symlink_to(f"../{folder.name}/text/vocab.txt")
    (folder / "also").symlink_to("text")
    output = tmp_path / "out"
    assert run("fix", folder, "--output", output).status == 0
    shutil.rmtree(folder)
    links = {str(p.relative_to(output)): str(p.readlink()) for p in output.rglob("*") if p.is_symlink()}
    assert links == {
        "vocab.txt": "text/vocab.txt",
        "text/up.txt": "../vocab.txt",
        "absolute.txt": "text/vocab.txt",
        "around.txt": "text/vocab.txt",
        "also": "text",
    }
    assert {(output / name).read_text(encoding="utf-8") for name in links if name != "also"} == {"a b"}


def test_what_leads_out_of_the_folder_or_in_a_circle_is_left_out_and_named(broken: Path, tmp_path: Path) -> None:
    folder, secret = broken.parent, written(tmp_path / "secret", b"s3cret")
    (tmp_path / "private").mkdir()
    written(tmp_path / "private" / "key", b"s3cret")
    left_out = {
        "notes.txt": (secret, "a link that leads out of the folder"),
        "optimizer.bin": (secret, "a link that leads out of the folder"),
        "config.json": (secret, "a link that leads out of the folder"),
        "other.index.json": (secret, "a link that leads out of the folder"),
        "keys": (tmp_path / "private", "a link that leads out of the folder"),
        "root": ("/", "a link that leads out of the folder"),
        "gone": ("nowhere", "a link that leads nowhere"),
        "loop": ("loop", "a link that leads in a circle"),
        "here": (".", "a link that leads in a circle"),
    }
    for name, (target, _) in left_out.items():
        (folder / name).symlink_to(target)
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    os.mkfifo(folder / "pipe")
    outcome = run("fix", folder, "--output", tmp_path / "out")
    said = " ".join(outcome.out.split())
    assert outcome.status == 0
    for name, (_, reason) in left_out.items():
        assert f"{name} ({reason})" in said
    assert "pipe (is a pipe, socket or device)" in said
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["model.safetensors"]


def test_a_socket_is_left_out(broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(broken.parent)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    assert run("fix", broken.parent, "--output", tmp_path / "out").status == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.safetensors"]


def test_subfolders_keep_their_modes(broken: Path, tmp_path: Path) -> None:
    (broken.parent / "private").mkdir(mode=0o700)
    written(broken.parent / "private" / "notes.txt", b"n").chmod(0o604)
    (broken.parent / "empty").mkdir(mode=0o711)
    output = tmp_path / "out"
    shutil.copytree(broken.parent, output, ignore=lambda folder, names: ["private", "empty"])
    for to, force in ((tmp_path / "new", ()), (output, ("--force",))):
        assert run("fix", broken.parent, "--output", to, *force).status == 0
        assert (to / "private").stat().st_mode & 0o777 == 0o700
        assert (to / "empty").stat().st_mode & 0o777 == 0o711
        assert (to / "private" / "notes.txt").stat().st_mode & 0o777 == 0o604


@pytest.mark.skipif(not PERMISSIONS_BIND, reason="root may read anything")
def test_a_subfolder_that_cannot_be_listed_is_named_before_anything_is_written(broken: Path, tmp_path: Path) -> None:
    closed = broken.parent / "closed"
    closed.mkdir(mode=0)
    outcome = spawn_unprivileged("fix", broken.parent, "--output", tmp_path / "out")
    closed.chmod(0o700)
    assert (outcome.status, outcome.err) == (2, f"initaudit: {closed}: permission denied\n")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_shard_behind_a_linked_folder_is_not_rewritten_in_place(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    folder = indexed(tmp_path / "model", {"parts/1.safetensors": faulty()}).parent
    (folder / "parts").rename(elsewhere)
    (folder / "parts").symlink_to(elsewhere)
    before = (elsewhere / "1.safetensors").read_bytes()
    outcome = run("fix", folder, "--in-place")
    assert (outcome.status, len(outcome.complaints)) == (2, 1)
    assert "is in the linked folder parts" in outcome.err
    assert (elsewhere / "1.safetensors").read_bytes() == before
    assert run("fix", folder, "--output", tmp_path / "out").status == 0
    assert not (tmp_path / "out" / "parts").is_symlink()
    assert np.any(load_file(tmp_path / "out" / "parts" / "1.safetensors")["fc2.weight"])
