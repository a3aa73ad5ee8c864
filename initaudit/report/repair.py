"""The outcome of `fix`: a table for a person, and JSON, schema ``initaudit/repair/1``, for an audit of the repair."""

from typing import Any

from rich.table import Table
from rich.text import Text

from initaudit.draws import STREAM, Filling
from initaudit.names.segments import natural
from initaudit.remedies import law_shown
from initaudit.repair.reports import SCHEMA
from initaudit.repair.values import Repair, Repaired
from initaudit.report.escaping import LONGEST_TEXT, document, printable
from initaudit.report.json import described, plain
from initaudit.report.terminal import laid_out
from initaudit.report.text import counted
from initaudit.statistics.values import Statistics
from initaudit.version import __version__


def render_text(repair: Repair, *, is_dry: bool, width: int | None = None, color: bool = False) -> str:
    """What was, or would be, redrawn, and what was left, with a summary at the end."""
    parts: list[Table | Text] = []
    if repair.repaired:
        table = Table(box=None, pad_edge=False, header_style="bold")
        is_written = any(row.after for row in repair.repaired)
        for heading in ("tensor", "before", *(["after"] if is_written else []), "scheme", "reason", "rules"):
            table.add_column(heading, overflow="fold")
        for row in _in_order(repair):
            after = [_measured(row.after) if row.after else Text("")] if is_written else []
            scheme = Text(printable(row.redraw.remedy.words))
            reason = Text(printable(row.redraw.remedy.reason))
            cells = Text(printable(row.redraw.tensor), style="cyan"), _measured(row.before), *after, scheme, reason
            table.add_row(*cells, Text(" ".join(row.redraw.rules)))
        parts += [table, Text()]
    for left in repair.unrepaired:
        where = f"{printable(left.tensor)} ({' '.join(left.rules)})"
        why = printable(left.reason, longest=LONGEST_TEXT)
        parts.append(Text(f"not repaired  {where}: {why}", style="yellow"))
    parts += [Text(f"note  {printable(note, longest=LONGEST_TEXT)}", style="dim") for note in repair.notes]
    parts.append(_summary(repair, is_dry=is_dry))
    return laid_out(parts, width=width, color=color).strip("\n") + "\n"


def _in_order(repair: Repair) -> list[Repaired]:
    """What was redrawn in each checkpoint, ``layers.2`` before ``layers.10``."""
    return sorted(repair.repaired, key=lambda row: (row.checkpoint, natural(row.redraw.tensor), row.redraw.tensor))


def _summary(repair: Repair, *, is_dry: bool) -> Text:
    redrawn, left = counted(len(repair.repaired), "tensor"), len(repair.unrepaired)
    aside = f"; {counted(left, 'tensor')} not repaired" if left else ""
    if repair.failures:
        return Text("Nothing was written: not all of it could be audited", style="bold red")
    if not repair.repaired:
        return Text(f"Nothing to redraw{aside}", style="bold yellow" if left else "bold green")
    if is_dry or repair.output is None:
        return Text(f"Would redraw {redrawn} with seed {repair.seed}{aside}; nothing was written", style="bold")
    where = f"with seed {repair.seed} on {repair.device} into {printable(str(repair.output))}"
    return Text(f"Redrew {redrawn} {where}{aside}", style="bold yellow" if left else "bold green")


def _measured(values: Statistics) -> Text:
    if values.nonfinite:
        return Text(f"{values.nonfinite:,} not finite")
    if values.is_constant:
        return Text(f"all {values.minimum:.4g}")
    mean = f", mean {values.mean:.3g}" if abs(values.mean) > values.std / 10 else ""
    return Text(f"std {values.std:.3g}{mean}")


def render_json(repair: Repair) -> str:
    """The whole outcome, with a newline at its end."""
    said = {
        "schema": SCHEMA,
        "tool": {"name": "initaudit", "version": __version__},
        "stream": STREAM,
        "seed": repair.seed,
        "device": repair.device,
        "output": None if repair.output is None else str(repair.output),
        "repairs": [_repaired(row) for row in _in_order(repair)],
        "unrepaired": [
            {"checkpoint": row.checkpoint, "tensor": row.tensor, "rules": row.rules, "reason": row.reason}
            for row in repair.unrepaired
        ],
        "notes": repair.notes,
        "errors": [{"path": failure.path, "message": failure.message} for failure in repair.failures],
    }
    return document(plain(said))


def _repaired(row: Repaired) -> dict[str, Any]:
    return {
        "checkpoint": row.checkpoint,
        "tensor": row.redraw.tensor,
        "rules": row.redraw.rules,
        **described(row.redraw.remedy),
        "draw": _filled(row.redraw.filling),
        "before": _before(row.before),
        "after": {"mean": row.after.mean, "std": row.after.std, **_laws(row.redraw.filling)} if row.after else None,
        "digest_before": f"sha256:{row.digest_before}" if row.digest_before else None,
        "digest_after": f"sha256:{row.digest_after}" if row.digest_after else None,
    }


def _before(values: Statistics) -> dict[str, Any]:
    """What a tensor held; ``law`` is what its values show, null where that is none."""
    law = law_shown(values)
    return {"mean": values.mean, "std": values.std, "law": None if law is None else str(law)}


def _laws(filling: Filling) -> dict[str, Any]:
    """What was drawn: one law, or one for each block."""
    laws = [str(law) for law in filling.laws]
    return {"law": laws[0]} if len(laws) == 1 else {"laws": laws}


def _filled(filling: Filling) -> dict[str, Any]:
    """What decides the bytes besides seed, name and law, so that they can be drawn again."""
    return {
        "dtype": filling.dtype,
        "shape": filling.shape,
        "units_last": filling.units_last,
        "stacked": filling.stacked,
        "groups": filling.groups,
        "padding": filling.padding,
        "borders": filling.borders,
    }
