"""Pickles that are meant to fill the memory, to take for ever, or to call something: each ends in one line, at once."""

import collections
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from initaudit.checkpoint.allowance import Allowance, CutError, PickleError
from initaudit.checkpoint.inert import Key, Made, Name
from initaudit.checkpoint.pickles import unpickle
from tests.checkpoints import spawn_python, written

P2, P4 = b"\x80\x02", b"\x80\x04"


class Recording:
    """Calls as names of what is called, however they are handed."""

    def look_up(self, name: Name) -> Name:
        return name

    def call(self, function: object, arguments: tuple[object, ...]) -> object:
        return Made(function.dotted if isinstance(function, Name) else "what was made")

    def set_state(self, thing: object, state: object) -> None:
        pass

    def refer(self, identity: object) -> object:
        return identity


def loaded(data: bytes) -> object:
    return unpickle(data, 0, Recording(), Allowance())[0]


def text(content: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(content)) + content


def archive_of(opcodes: bytes, path: Path) -> Path:
    """An archive of torch's with this pickle in it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", opcodes)
        archive.writestr("x/version", "3\n")
    return path


def twice_each(kind: str, times: int = 60) -> bytes:
    """Something that holds the last thing twice, which holds one twice ...: 2^60 things, were they gone through."""
    if kind == "tuples":
        steps = (b"h%ch%c\x86q%c0" % (number, number, number + 1) for number in range(times))
        return b")q\x000" + b"".join(steps) + b"h%c" % times
    steps = (b"]q%c(h%ch%ce0" % (number + 1, number, number) for number in range(times))
    return b"]q\x000" + b"".join(steps) + b"h%c" % times


DATA = [
    None, True, False, 0, 255, 256, -1, 65536, 2**31, -(2**40), 2**2000, 1.5, "", "naïve", "x" * 300, (), (1,), (1, 2),
    (1, 2, 3), (1, 2, 3, 4), [], [1], list(range(2000)), {}, {"a": 1}, {"a": {"b": [1, ("c", None)]}},
    {str(number): number for number in range(3000)},
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("value", DATA, ids=lambda value: type(value).__name__)
def test_plain_values_are_those_that_were_pickled(value: object, protocol: int) -> None:
    assert loaded(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(2, 6))
def test_what_is_there_once_is_there_once(protocol: int) -> None:
    inner: list[object] = [1]
    inner.append(inner)
    again = loaded(pickle.dumps({"a": inner, "b": inner}, protocol))
    assert isinstance(again, dict)
    assert again["a"] is again["b"] is again["a"][1]


def test_keys_that_are_no_text_are_kept_apart_from_text_that_looks_like_them() -> None:
    again = loaded(pickle.dumps({1: "a", "1": "b", 2.5: "c", (1, "x"): "d", None: "e"}, 2))
    assert again == {Key("1"): "a", "1": "b", Key("2.5"): "c", Key("(1, 'x')"): "d", Key("None"): "e"}


def test_bytes_and_sets_and_objects_are_only_known_by_their_type() -> None:
    again = loaded(pickle.dumps([b"abc", bytearray(b"abc"), {1, 2}, frozenset([1]), collections.Counter("aab")], 5))
    assert [getattr(one, "type", type(one).__name__) for one in again] == [  # type: ignore[attr-defined]
        "bytes", "bytearray", "set", "frozenset", "Counter",
    ]  # fmt: skip


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_that_is_cut_anywhere_is_said_to_be_cut(protocol: int) -> None:
    whole = pickle.dumps({"a": [1, 2.5, 2**80, "text", (None,)], "b": {3: "x" * 300}}, protocol)
    for end in range(len(whole)):
        with pytest.raises(CutError):
            loaded(whole[:end])


def test_nothing_is_imported_to_read_a_pickle() -> None:
    assert "this" not in sys.modules
    made = loaded(P2 + b"cthis\nzen\n)R.")
    assert isinstance(made, Made)
    assert (made.by, "this" in sys.modules) == ("this.zen", False)


@pytest.mark.parametrize("name", [b"os\x1b[31m\nsystem\n", "os\nsy‮stem\n".encode()], ids=["escape", "turned"])
def test_a_name_that_cannot_be_printed_is_refused(name: bytes) -> None:
    with pytest.raises(PickleError, match="cannot be printed"):
        loaded(P2 + b"c" + name + b".")


@pytest.mark.parametrize(
    "opcodes",
    [b"\x82\x01.", b"(ios\nsystem\n.", b"(cos\nsystem\nU\x04trueo.", b"I1\n.", b"\x8b\xff\xff\xff\x7f.", b"\x97."],
    ids=["extension", "instance", "object", "line", "long", "buffer"],
)
def test_an_opcode_that_no_data_is_written_with_is_refused(opcodes: bytes) -> None:
    with pytest.raises(PickleError, match="which no data is written with"):
        loaded(P2 + opcodes)


N, MILLION = b"N", 1_000_000
BOMBS: dict[str, Callable[[], bytes]] = {
    "30 million lists": lambda: P2 + b"]" * 30 * MILLION + b".",
    "49 million lists": lambda: P2 + b"]" * 49 * MILLION + b".",
    "sets": lambda: P4 + b"\x8f" * 2 * MILLION + b".",
    "dictionaries": lambda: P2 + b"}" * 2 * MILLION + b".",
    "marks": lambda: P2 + b"(" * 2 * MILLION + b".",
    "deep tuples": lambda: P2 + b")" + b"\x85" * 2 * MILLION + b".",
    "deep key": lambda: P2 + b"})" + b"\x85" * 2 * MILLION + b"Ns.",
    "deep lists": lambda: P2 + b"]" * MILLION + b"a" * (MILLION - 1) + b".",
    "nothing, often": lambda: P2 + b"N0" * 2_900_000 + b"N.",
    "numbered 2^31": lambda: P2 + b"]r" + struct.pack("<I", 2**31) + b".",
    "numbers that clash": lambda: P2 + b"}(" + b"".join(
        b"\x8a\x0a" + (number * (2**61 - 1)).to_bytes(10, "little") + N for number in range(1, 120_000)
    ) + b"u.",
    "letters of four bytes": lambda: P2 + b"](" + text("\U0001f600".encode() + b"a" * 40) * 500_000 + b"e.",
    "imports": lambda: P2 + b"".join(b"c%d\nb\n" % number for number in range(700_000)) + b".",
    "calls": lambda: P2 + b"".join(b"cm%d\nb\n)R" % number for number in range(300_000)) + b".",
    "a long list, looked through often": lambda: (
        P2 + b"]q\x00(" + N * MILLION + b"ecfoo\nbar\nq\x010" + b"h\x01h\x00\x85R0" * 200_000 + b"."
    ),
    "a long list, copied often": lambda: (
        P2 + b"]q\x00(" + b"".join(text(b"%d" % number) + b"N\x86" for number in range(100_000))
        + b"eccollections\nOrderedDict\nq\x010" + b"h\x01h\x00\x85R0" * 200_000 + b"."
    ),
    "text that is encoded and encoded": lambda: (
        P2 + b"}" + text(b"a") + b"c_codecs\nencode\nq\x01" + b"h\x01" * 20 + text(b"A" * 1024) + text(b"latin1")
        + b"\x86R" + (text(b"hex") + b"\x86R") * 20 + b"s."
    ),
    "punycode": lambda: (
        P2 + b"}" + text(b"a") + b"c_codecs\nencode\n"
        + text("".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(20_000)).encode())
        + text(b"punycode") + b"\x86Rs."
    ),
    "eight gigabytes": lambda: (
        P2 + b"}" + text(b"a") + b"cbuiltins\nbytearray\n\x8a\x05" + (2**33).to_bytes(5, "little") + b"\x85Rs."
    ),
    "a name of megabytes": lambda: P2 + b"c" + b"a" * 40 * MILLION + b"\n.",
    "a text of megabytes": lambda: P2 + text(b"a" * 40 * MILLION) + b".",
    "a text of exabytes": lambda: P4 + b"\x8d" + b"\xff" * 8 + b"a.",
    "a shape of a million": lambda: (
        P2 + b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQK\x00("
        + b"K\x01" * MILLION + b"t(" + b"K\x01" * MILLION + b"t\x89NtR."
    ),
    "a wide dictionary": lambda: P2 + b"}(" + b"".join(text(b"%07d" % n) + N for n in range(900_000)) + b"u.",
    "a wide dictionary, beside often": lambda: (
        P2 + b"}(" + text(b"w") + b"}(" + b"".join(text(b"%07d" % n) + N for n in range(300_000)) + b"uq\x00"
        + b"".join(text(b"k%d" % n) + b"}(" + text(b"a") + b"h\x00" + text(b"b") + b"Nu" for n in range(300)) + b"u."
    ),
    "2^60 things": lambda: P2 + b"}" + text(b"a") + twice_each("lists") + b"s.",
    "2^60 things in a key": lambda: P2 + b"}" + twice_each("tuples") + b"Ns.",
    "2^60 things as a layout": lambda: P2 + b"ctorch.serialization\n_get_layout\n" + twice_each("tuples") + b"\x85R.",
    "2^60 things in a call": lambda: P2 + b"cfoo\nbar\n" + twice_each("lists") + b"\x85R.",
    "2^60 things as an encoding": lambda: P2 + b"c_codecs\nencode\nU\x01a" + twice_each("tuples") + b"\x86R.",
    "2^60 things as a storage": lambda: (
        P2 + b"(U\x07storagectorch\nFloatStorage\n" + twice_each("tuples") + b"U\x03cpuK\x04tQ."
    ),
}  # fmt: skip

MEASURED = """
import sys
from initaudit.cli import main
status = main()
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(used.ru_utime + used.ru_stime, peak // 1000)
sys.exit(status)
"""
"""A run that says what it took: seconds, and megabytes."""

BEFORE_ARCHIVES = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)


WITHOUT_ARCHIVE = ("30 million lists", "nothing, often", "text that is encoded and encoded", "a text of exabytes")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to say what was used")
@pytest.mark.parametrize(
    ("bomb", "is_archive"), [*((bomb, True) for bomb in BOMBS), *((bomb, False) for bomb in WITHOUT_ARCHIVE)]
)
def test_a_bomb_ends_at_once_in_one_line(tmp_path: Path, bomb: str, is_archive: bool) -> None:
    opcodes, path = BOMBS[bomb](), tmp_path / "model.pt"
    if is_archive:
        archive_of(opcodes, path)
    else:
        written(path, BEFORE_ARCHIVES + opcodes)
    outcome = spawn_python("-c", MEASURED, "check", path, "--isolated", timeout=60)
    assert outcome.status == 2
    (complaint,) = outcome.complaints
    assert "internal error" not in complaint
    seconds, megabytes = map(float, outcome.out.splitlines()[-1].split())
    assert seconds < 5
    assert megabytes < 250
