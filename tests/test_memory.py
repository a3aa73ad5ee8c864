"""Where memory is bounded: a right report, or exit status 2 with a line; never 1 without one, never a clean one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.checkpoints import described, environment, faulty, file_of, spawn, spawn_python, written

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not bound address space")

LIMITED = """
import resource, sys
size = int(sys.argv.pop(1)) << 20
resource.setrlimit(resource.{limit}, (size, size))
from initaudit.__main__ import main
sys.exit(main())
"""


def limited(megabytes: int, *arguments: object, limit: str = "RLIMIT_AS"):
    """Run the command with so much address space."""
    return spawn_python("-c", LIMITED.format(limit=limit), megabytes, *arguments, timeout=60)


def is_right(outcome) -> bool:
    """Whether it is the whole report of a fault, or says in one line that there is none."""
    if outcome.status == 1:
        return "IA101" in outcome.out and not outcome.err
    return outcome.status == 2 and len(outcome.complaints) == 1 and "No findings" not in outcome.out


@pytest.mark.parametrize("megabytes", [20, 40, 60, 75, 85, 95, 105, 115, 125, 150, 200, 400])
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_in_little_memory_there_is_a_right_report_or_none(tmp_path: Path, megabytes: int, limit: str) -> None:
    path = written(tmp_path / "model.safetensors", faulty())
    outcome = limited(megabytes, "check", path, "--isolated", limit=limit)
    assert is_right(outcome), outcome
    if outcome.status == 2:
        assert "there is not enough memory" in outcome.err


@pytest.mark.parametrize("megabytes", [110, 130, 150, 180, 250, 400])
def test_in_little_memory_several_processes_say_no_more_than_one(tmp_path: Path, megabytes: int) -> None:
    size = 1 << 26
    tensors = {f"h.{at}.fc.weight": described("F32", (4096, 4096), at * size, (at + 1) * size) for at in range(17)}
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(file_of(tensors))
        file.truncate(file.tell() + 17 * size)
    outcome = limited(megabytes, "check", path, "--isolated", "--workers", "3")
    assert is_right(outcome), outcome


# A library stands here as a file of rules, which is loaded as late as any.


@pytest.mark.parametrize(
    "how", ["os._exit(1)", "os._exit(0)", "os.abort()", "os.kill(os.getpid(), 11)", "os.kill(os.getpid(), 9)"]
)
def test_a_library_that_ends_the_process_is_no_verdict(tmp_path: Path, how: str) -> None:
    path = written(tmp_path / "model.safetensors", faulty())
    written(tmp_path / "rules" / "ending.py", f"import os\n{how}\n".encode())
    outcome = limited(1000, "check", path, "--isolated", "--rules", tmp_path / "rules")
    assert outcome.status == 2
    assert "there is not enough memory" in outcome.complaints[-1]
    assert outcome.out == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_both_processes(tmp_path: Path, number: signal.Signals) -> None:
    path = written(tmp_path / "model.safetensors", faulty())
    mark = tmp_path / "mark"
    how = f"open({str(mark)!r}, 'w').write(str(os.getpid())); import time; time.sleep(60)"
    written(tmp_path / "rules" / "ending.py", f"import os\n{how}\n".encode())
    usual = "default_int_handler" if number == signal.SIGINT else "SIG_DFL"
    heard = f"import signal; signal.signal({number:d}, signal.{usual})"  # whoever runs the tests may ignore it
    program = f"{heard}\n{LIMITED.format(limit='RLIMIT_AS')}"
    command = [sys.executable, "-c", program, "1000", "check", path, "--isolated"]
    words = [*map(str, command), "--rules", str(tmp_path / "rules")]
    with subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE) as process:
        while not mark.exists() or not mark.read_text():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_where_memory_is_not_bounded_there_is_one_process(tmp_path: Path) -> None:
    path = written(tmp_path / "model.safetensors", faulty())
    program = "import os; os.fork = None; from initaudit.__main__ import main; raise SystemExit(main())"
    assert spawn_python("-c", program, "check", path, "--isolated").status == 1
    assert spawn("check", path, "--isolated").status == 1
