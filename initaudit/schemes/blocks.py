"""Packed weights whose blocks were drawn with different deviations: q, k and v, gate and up, the gates of an LSTM."""

import math
from collections.abc import Iterable, Iterator

from initaudit.names import Depth
from initaudit.schemes.catalogue import Candidate, candidates
from initaudit.schemes.families import FAMILIES, NORMAL
from initaudit.schemes.values import Draw, Scheme
from initaudit.significance import HARD_Z, log_std_error

BLOCKS = (2, 3, 4)
"""Into how many blocks packed weights fall: gate and up; q, k and v or the gates of a GRU; those of an LSTM."""

LEAST_RATIO = 1.1
"""Blocks whose deviations differ by less were drawn alike, as far as a report is concerned."""


def in_blocks(draw: Draw, depth: Depth | None, chances: Iterable[str]) -> Scheme | None:
    """The schemes of the blocks of a packed weight, if they differ; a block's family is not known, its deviation is.

    Halves are tried before thirds and quarters, as fewer blocks explain more. Within a block ``chances`` names the
    schemes that the rest of the checkpoint shows.
    """
    units = draw.units
    if units is None or draw.part.role not in ("weight", "rnn_weight") or not draw.part.fan_out:
        return None
    for count in BLOCKS:
        squares = units.parts.get(count, (0.0,))
        stds = [math.sqrt(square) for square in squares]
        error = log_std_error(draw.statistics.count // count, NORMAL.kurtosis)
        if min(stds) <= 0 or not _are_even(draw, count):
            continue
        spread = math.log(max(stds) / min(stds))
        if spread > math.log(LEAST_RATIO) and spread > HARD_Z * math.sqrt(2) * error:
            names = [_block_name(draw, std, error, depth, frozenset(chances)) for std in stds]
            described = ", ".join(f"{std:.4g}" for std in stds)
            return Scheme("blocks", f"std {described}", "consistent with", {"stds": stds, "schemes": names})
    return None


def _are_even(draw: Draw, count: int) -> bool:
    """Whether the parts of each part are alike: a border between blocks must lie where the parts end."""
    parts = draw.units.parts if draw.units else {}
    finer = parts.get(2 * count)
    if finer is None:
        return True
    error = log_std_error(draw.statistics.count // (2 * count), NORMAL.kurtosis)
    return all(
        first > 0 and second > 0 and abs(math.log(first / second)) / 2 < HARD_Z * math.sqrt(2) * error + 0.02
        for first, second in zip(finer[::2], finer[1::2], strict=True)
    )


def _block_name(draw: Draw, std: float, error: float, depth: Depth | None, known: frozenset[str]) -> str | None:
    """The first scheme whose deviation is a block's, those of the rest of the checkpoint before the others."""
    fitting = [
        candidate.name
        for candidate in _candidates(draw, depth)
        if candidate.rank == 0 and abs(math.log(candidate.std / std)) < 5 * error
    ]
    return next((name for name in fitting if any(key.startswith(name) for key in known)), next(iter(fitting), None))


def _candidates(draw: Draw, depth: Depth | None) -> Iterator[Candidate]:
    for family in FAMILIES:
        yield from candidates(draw.part, draw.entry.shape, family, depth)
