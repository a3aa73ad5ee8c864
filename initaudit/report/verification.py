"""The outcome of `fix --verify`: a line for each tensor that is not what was drawn, or JSON."""

from typing import Any

from initaudit.draws import STREAM
from initaudit.repair.verifying import Verified
from initaudit.report.escaping import LONGEST_TEXT, document, printable
from initaudit.report.text import counted
from initaudit.version import __version__

SCHEMA = "initaudit/verification/1"


def render_text(verified: Verified) -> str:
    """What differs, the notes, and a summary at the end."""
    lines = [f"differs  {printable(name)}: {printable(wrong)}" for name, wrong in verified.unlike]
    lines += [f"note  {printable(note, longest=LONGEST_TEXT)}" for note in verified.notes]
    total = len(verified.equal) + len(verified.unlike)
    where = printable(str(verified.path))
    if verified.unlike:
        lines.append(f"{len(verified.unlike):,} of {counted(total, 'tensor')} in {where} differ from what was drawn")
    else:
        lines.append(f"{counted(total, 'tensor')} in {where}: drawn again, the same bytes")
    return "\n".join(lines) + "\n"


def render_json(verified: Verified) -> str:
    """The whole outcome, with a newline at its end."""
    said: dict[str, Any] = {
        "schema": SCHEMA,
        "tool": {"name": "initaudit", "version": __version__},
        "stream": STREAM,
        "device": verified.device,
        "path": str(verified.path),
        "equal": verified.equal,
        "unlike": [{"tensor": name, "reason": wrong} for name, wrong in verified.unlike],
        "notes": verified.notes,
    }
    return document(said)
