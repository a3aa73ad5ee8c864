"""What `inspect` prints: one row a tensor, as a table or as JSON, schema ``initaudit/inspect/1``."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from initaudit.checkpoint import Entry
from initaudit.layers.values import Part
from initaudit.model import Tensor
from initaudit.names.segments import natural
from initaudit.recipe import describe
from initaudit.report.escaping import document, printable
from initaudit.report.json import plain
from initaudit.report.terminal import laid_out
from initaudit.schemes import Scheme
from initaudit.signal import told
from initaudit.statistics.values import Statistics
from initaudit.understanding import Understood

SCHEMA = "initaudit/inspect/1"


@dataclass(frozen=True, slots=True)
class Row:
    """One tensor; ``statistics`` are None where its values are not judged."""

    checkpoint: str
    entry: Entry
    part: Part
    statistics: Statistics | None
    scheme: Scheme | None

    @property
    def gain(self) -> float | None:
        """std·√fan_in, None without values or without a fan."""
        entry, statistics = self.entry, self.statistics
        return Tensor(entry.name, entry.dtype, entry.shape, self.part, statistics).gain if statistics else None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What `inspect` has to say of one checkpoint: its recipe, and a row a tensor, ``h.2`` before ``h.10``."""

    path: str
    recipe: tuple[str, ...]
    rows: tuple[Row, ...]


def inspection_of(understood: Understood) -> Inspection:
    """The inspection of a checkpoint that was read."""
    model = understood.model
    recipe = (*describe(model, Counter()), *told(model))
    return Inspection(understood.checkpoint.path, recipe, tuple(_rows_of(understood)))


def _rows_of(understood: Understood) -> Iterator[Row]:
    checkpoint = understood.checkpoint
    for entry in sorted(checkpoint.entries, key=lambda entry: (natural(entry.name), entry.name)):
        yield Row(
            checkpoint.path,
            entry,
            understood.parts[entry.name],
            understood.statistics.get(entry.name),
            understood.schemes.get(entry.name),
        )


def render_json(inspections: Sequence[Inspection]) -> str:
    """All rows as one document, with a newline at its end."""
    said = {
        "schema": SCHEMA,
        "checkpoints": [{"path": one.path, "recipe": one.recipe} for one in inspections],
        "tensors": [_as_json(row) for one in inspections for row in one.rows],
    }
    return document(plain(said))


def render_text(inspections: Sequence[Inspection], *, width: int | None = None, color: bool = False) -> str:
    """A table for each checkpoint, its recipe at the head."""
    parts: list[Table | Text] = []
    for one in inspections:
        parts.append(Text(printable(one.path), style="bold"))
        parts += [Text(f"  {line}", style="dim") for line in one.recipe]
        parts += [Text(), _table(one.rows), Text()]
    return laid_out(parts, width=width, color=color).strip("\n") + "\n"


def _as_json(row: Row) -> dict[str, Any]:
    part, values = row.part, row.statistics
    return {
        "checkpoint": row.checkpoint,
        "name": row.entry.name,
        "dtype": row.entry.dtype,
        "shape": row.entry.shape,
        "layer": part.layer,
        "kind": part.kind,
        "role": part.role,
        "layout": part.layout,
        "fan_in": part.fan_in,
        "fan_out": part.fan_out,
        "groups": part.groups,
        "evidence": part.evidence,
        "stats": None if values is None else _stats_json(values),
        "gain": row.gain,
        "scheme": None if row.scheme is None else _scheme_json(row.scheme),
    }


def _scheme_json(scheme: Scheme) -> dict[str, Any]:
    return {
        "name": scheme.name,
        "parameters": dict(scheme.parameters),
        "formula": scheme.formula,
        "certainty": scheme.certainty,
        "equivalent": scheme.equivalent,
    }


def _stats_json(values: Statistics) -> dict[str, Any]:
    kurtosis = values.moments.kurtosis
    return {
        "count": values.count,
        "mean": values.mean,
        "std": values.std,
        "min": values.minimum,
        "max": values.maximum,
        "zeros": values.zeros,
        "nonfinite": values.nonfinite,
        "excess_kurtosis": None if kurtosis is None else kurtosis - 3,
    }


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("tensor", overflow="fold")
    for heading in ("dtype", "shape", "kind", "role", "layout"):
        table.add_column(heading, no_wrap=True)
    for heading in ("fan_in", "fan_out", "mean", "std", "gain"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("scheme")
    for row in rows:
        part, values = row.part, row.statistics
        table.add_row(
            Text(printable(row.entry.name), style="cyan"),
            Text(row.entry.dtype),
            Text(shape_text(row.entry.shape)),
            Text(part.kind),
            Text(part.role),
            Text("" if part.layout == "none" else part.layout),
            _number(part.fan_in),
            _number(part.fan_out),
            _number(values.mean if values else None),
            _number(values.std if values else None),
            _number(row.gain),
            Text("" if row.scheme is None else scheme_text(row.scheme)),
        )
    return table


def shape_text(shape: Sequence[int]) -> str:
    """The shape in a word, cut if it has ever so many dimensions."""
    return printable("x".join(map(str, shape)) or "scalar")


def scheme_text(scheme: Scheme) -> str:
    """The scheme in a few words; a question mark where it is only consistent with it."""
    also = f" = {scheme.equivalent[0]}" if scheme.equivalent else ""
    return f"{scheme.name}{also} {scheme.formula}{'' if scheme.certainty == 'is' else ' ?'}"


def _number(value: float | None) -> Text:
    if value is None:
        return Text("")
    return Text(str(value) if isinstance(value, int) else f"{value:.4g}")
