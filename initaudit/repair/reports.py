"""The report of a repair, read again: from text that may be anything to what was drawn."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from initaudit.checkpoint.files import read_text
from initaudit.draws import STREAM, Filling
from initaudit.errors import InitauditError, LawError
from initaudit.laws import parse_law

SCHEMA = "initaudit/repair/1"

LONGEST = 1 << 28
"""Bytes of a report: that of a hundred thousand tensors has half as many."""

DIGEST = "sha256:"


@dataclass(frozen=True, slots=True)
class Told:
    """A tensor that a report says was drawn: how, and the digest of its bytes, None where nothing was written."""

    checkpoint: str
    tensor: str
    filling: Filling
    digest: str | None


def read_report(path: Path) -> tuple[int, tuple[Told, ...]]:
    """The seed of a repair, and what was drawn by it.

    Raises:
        InitauditError: the file cannot be read, is no report of `fix`, tells of no draw, or of another way to draw.

    """
    try:
        report = json.loads(read_text(path, limit=LONGEST))
    except (ValueError, RecursionError) as error:
        raise InitauditError(f"{path}: is no report of fix: it is not JSON") from error
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        raise InitauditError(f"{path}: is no report of fix, as --output-format json writes it (schema {SCHEMA})")
    stream = report.get("stream")
    if type(stream) is not int or stream != STREAM:
        said = f"of stream {stream}" if type(stream) is int else "by another way to draw"
        raise InitauditError(f"{path}: was drawn {said}, and this version draws stream {STREAM}: not comparable")
    seed, rows = report.get("seed"), report.get("repairs")
    if type(seed) is not int or seed < 0 or not isinstance(rows, list):
        raise InitauditError(f"{path}: is no report of fix: it has no seed, or no list of repairs")
    if not rows:
        raise InitauditError(f"{path}: tells of no tensor that was redrawn")
    told = tuple(_told(path, row) for row in rows)
    if len({(row.checkpoint, row.tensor) for row in told}) < len(told):
        raise InitauditError(f"{path}: tells of one tensor twice")
    return seed, told


def _told(path: Path, row: Any) -> Told:
    """One row of a report.

    Raises:
        InitauditError: it does not say what was drawn, or what it says cannot be.

    """
    row = row if isinstance(row, dict) else {}
    name, checkpoint, digest = row.get("tensor"), row.get("checkpoint"), row.get("digest_after")
    is_digest = digest is None or (isinstance(digest, str) and digest.startswith(DIGEST))
    if not isinstance(name, str) or not isinstance(checkpoint, str) or not is_digest:
        raise InitauditError(f"{path}: has a repair without checkpoint, tensor or digest")
    try:
        filling = _filling(row, row.get("draw"))
    except LawError as error:
        raise InitauditError(f"{path}: tensor {name[:200]!r}: {error}") from error
    return Told(checkpoint, name, filling, digest and digest.removeprefix(DIGEST))


def _filling(row: Mapping[str, Any], draw: Any) -> Filling:
    """What was drawn into a tensor.

    Raises:
        LawError: it is not said, or cannot be.

    """
    laws = row["laws"] if "laws" in row else [row.get("law")]
    if not isinstance(laws, list) or not all(isinstance(law, str) for law in laws) or not isinstance(draw, dict):
        raise LawError("it is not said by what law it was drawn, or how that fills it")
    shape, borders = _numbers(draw.get("shape")), _numbers(draw.get("borders", []))
    dtype, groups, padding = draw.get("dtype"), draw.get("groups", 1), draw.get("padding")
    flags = draw.get("units_last", False), draw.get("stacked", False)
    whole = type(groups) is int and (padding is None or type(padding) is int) and all(type(f) is bool for f in flags)
    if shape is None or borders is None or not isinstance(dtype, str) or not whole:
        raise LawError("it is not said of what dtype and shape it is, or how a law fills it")
    return Filling(dtype, shape, tuple(map(parse_law, laws)), *flags, groups, padding, borders)


def _numbers(value: Any) -> tuple[int, ...] | None:
    """A list of integers from zero up, None where it is none."""
    if not isinstance(value, list) or not all(type(item) is int and item >= 0 for item in value):
        return None
    return tuple(value)
