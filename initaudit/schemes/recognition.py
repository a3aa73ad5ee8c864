"""Which scheme each tensor of a checkpoint was drawn from: the tensors alone first, then by what most of them share."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from initaudit.layers.values import Part
from initaudit.names import Blocks, Depth
from initaudit.schemes.blocks import in_blocks
from initaudit.schemes.catalogue import LAYERED, TELLING, Candidate, candidates
from initaudit.schemes.families import FAMILIES, FIT_Z, LEAST_COUNT, NORMAL, UNIFORM, Family, family_of, fits
from initaudit.schemes.patterns import zero_pattern
from initaudit.schemes.values import Certainty, Draw, Scheme
from initaudit.significance import HARD_Z
from initaudit.statistics.grid import Grid

SURE, PLAUSIBLE = 0.01, 0.2
"""The probability that some scheme fits a tensor by chance, up to which it *is* one, or is *consistent with* one."""

SMALLEST_IN_USE, LARGEST_IN_USE = 0.0015, 3.0
"""The range of deviations in use, over which a tensor's own is taken to fall by chance, evenly in its logarithm."""

LENGTHS_ALIKE = 0.1
"""Units whose lengths vary less than this part of what independent values give are orthogonal (or normalised)."""

MEAN_FLOOR = 0.02
"""How far the mean may be off in deviations: `uniform_` in bfloat16 is off by 0.007, smaller effects are rounding."""

NEAR = 20.0
"""Times 1/√N, in ln(std): more than 20 standard errors of it, beyond which no test is needed."""

FEWEST = 16
"""Fewer values than this are consistent with nearly everything."""

WEIGHTS = ("weight", "rnn_weight")
BIASES = ("bias", "rnn_bias")
DRAWN = (*WEIGHTS, *BIASES, "embedding", "positional", "token")

POOLED_FLOOR = 0.003
"""How far a pooled deviation may be off in its logarithm: rounding of bfloat16 and generators' own bias stay below."""

RANKS = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class _Reading:
    """A tensor with mean zero: its family, if it shows one, the candidates tried on it, and those that fit."""

    draw: Draw
    family: Family | None
    tried: tuple[Candidate, ...]
    fitting: tuple[Candidate, ...]

    def chance(self, tried: Iterable[Candidate]) -> float:
        """The chance that some of these candidates fits a tensor whose deviation has nothing to do with them.

        Each takes up ten standard errors of the range of deviations in use; where they overlap it counts once.
        """
        half = FIT_Z * (self.family or NORMAL).log_std_error / math.sqrt(self.draw.statistics.count)
        covered, reach = 0.0, -math.inf
        for scale in sorted({math.log(c.std) for c in tried if SMALLEST_IN_USE < c.std < LARGEST_IN_USE}):
            covered += scale + half - max(reach, scale - half)
            reach = scale + half
        return covered / math.log(LARGEST_IN_USE / SMALLEST_IN_USE)


_Shown = tuple[_Reading, Candidate, float]


def recognise(
    draws: Iterable[Draw], config: Mapping[str, Any] | None = None, blocks: Blocks | None = None
) -> dict[str, Scheme]:
    """The schemes of a checkpoint's tensors, by name; tensors that show none are not in it.

    A scheme that some tensors show beyond doubt, or that ``config`` states, is what the others are held to first; where
    several would have drawn the same numbers, the one is named that explains most of the checkpoint. ``blocks`` is the
    tree of its names, built from those of the draws if it is not given.
    """
    draws = list(draws)
    schemes: dict[str, Scheme] = {}
    readings: list[_Reading] = []
    blocks = blocks or Blocks(draw.entry.name for draw in draws)
    partners = {draw.part.layer: draw.part for draw in draws if draw.part.fan_in and draw.part.role in WEIGHTS}
    for draw in draws:
        scheme = _by_sight(draw)
        if scheme is not None:
            schemes[draw.entry.name] = scheme
        elif _is_centred(draw):
            part = partners.get(draw.part.layer, draw.part) if draw.part.role in BIASES else draw.part
            readings.append(_read(draw, part, blocks.depth(draw.entry.name)))
    readings = _without_lone_layers(readings, blocks)
    votes = _votes(readings)
    chances = _pooled_chances(readings, votes) | _stated(config)
    certain = [key for key, chance in chances.items() if chance < SURE]
    for reading in readings:
        name = reading.draw.entry.name
        scheme = _elect(reading, votes, chances) or in_blocks(reading.draw, blocks.depth(name), certain)
        if scheme is not None:
            schemes[name] = scheme
    return schemes


def _by_sight(draw: Draw) -> Scheme | None:
    """Schemes that need no statistics of scale: constants, patterns of zeros, orthogonal and one-sided draws."""
    values = draw.statistics
    if values.count == 0 or values.nonfinite or not math.isfinite(values.std):
        return None
    if values.is_constant:
        value = values.minimum
        name = {0.0: "zeros", 1.0: "ones"}.get(value, "constant")
        return Scheme(name, f"{value:.6g}", "is", {"value": value})
    pattern = zero_pattern(values, draw.units, draw.inputs)
    if pattern is not None:
        filled = math.sqrt(values.moments.rms**2 * values.count / (values.count - values.zeros))
        parameters = {"connections": pattern.connections, "std": filled}
        return Scheme(pattern.name, pattern.description, "is", parameters)
    if draw.part.role == "norm_scale" or values.moments.count < LEAST_COUNT or values.std == 0:
        return None
    return _orthogonal(draw) or _one_sided(draw)


def _orthogonal(draw: Draw) -> Scheme | None:
    """Rows of one length, or columns where they are fewer: a gain times an orthogonal matrix (Saxe et al. 2013)."""
    shape, values = draw.entry.shape, draw.statistics
    if len(shape) < 2 or draw.part.role not in (*WEIGHTS, "embedding"):
        return None
    grid = Grid.of(shape)
    rows = values.units.get(grid.row_axis)
    spread = (rows.length_spread if rows else None) if grid.rows <= grid.columns else values.column_spread
    size = max(grid.rows, grid.columns)
    if spread is None or min(grid.rows, grid.columns) < 2 or size < 8 or spread > LENGTHS_ALIKE * math.sqrt(2 / size):
        return None
    gain = values.moments.rms * math.sqrt(size)
    return Scheme("orthogonal", f"{gain:.4g} · orthogonal", "is", {"gain": gain, "std": values.std})


def _one_sided(draw: Draw) -> Scheme | None:
    """A uniform draw between two bounds that are not opposite, as `rand` gives."""
    values, moments = draw.statistics, draw.statistics.moments
    off = abs(moments.mean) / values.std
    if off < MEAN_FLOOR or off * math.sqrt(moments.count) < HARD_Z or moments.kurtosis is None:
        return None
    width = (values.maximum - values.minimum) * (1 + 2 / moments.count)
    flat = abs(moments.kurtosis - UNIFORM.kurtosis) < max(
        0.05, HARD_Z * UNIFORM.kurtosis_error / math.sqrt(moments.count)
    )
    even = abs(math.log(values.std * math.sqrt(12) / width)) < HARD_Z * UNIFORM.log_std_error / math.sqrt(moments.count)
    if not (flat and even):
        return None
    low, high = values.minimum, values.maximum
    return Scheme("uniform", f"U({low:.4g}, {high:.4g})", "is", {"low": low, "high": high, "std": values.std})


def _is_centred(draw: Draw) -> bool:
    """Whether a tensor is one that schemes draw, large enough to tell, and with a mean of zero."""
    values, moments = draw.statistics, draw.statistics.moments
    if draw.part.role not in DRAWN or values.nonfinite or moments.count < FEWEST:
        return False
    if values.std == 0 or not math.isfinite(values.std):
        return False
    off = abs(moments.mean) / values.std
    return off < MEAN_FLOOR or off * math.sqrt(moments.count) < HARD_Z


def _read(draw: Draw, part: Part, depth: Depth | None) -> _Reading:
    """What a tensor's numbers allow, by the fans of ``part``: its own, or those of the weight it is the bias of."""
    values = draw.statistics
    family = family_of(values)
    families = (family,) if family else FAMILIES
    tried = tuple(c for one in families for c in candidates(part, draw.entry.shape, one, depth))
    # Most candidates are far off, which a ratio tells at once; the test itself is for those that come near.
    rms, far = values.moments.rms, math.exp(min(NEAR / math.sqrt(values.count) + 0.05, 10.0))
    near = (c for c in tried if rms < c.std * far and c.std < rms * far)
    return _Reading(draw, family, tried, tuple(c for c in near if fits(values, draw.entry.dtype, c.family, c.std)))


def _without_lone_layers(readings: list[_Reading], blocks: Blocks) -> list[_Reading]:
    """The readings less per-layer scaling where it fits fewer than half of a place: it is a law of the depth."""
    fitting: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for reading in readings:
        at = blocks.place(reading.draw.entry.name)
        total[at] += 1
        fitting[at] += any(candidate.name == LAYERED for candidate in reading.fitting)
    is_law = {at: count > 1 and 2 * fitting[at] >= count for at, count in total.items()}
    return [
        reading
        if is_law[blocks.place(reading.draw.entry.name)]
        else replace(reading, fitting=_unlayered(reading.fitting))
        for reading in readings
    ]


def _unlayered(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    return tuple(candidate for candidate in candidates if candidate.name != LAYERED)


def _votes(readings: Iterable[_Reading]) -> Counter[str]:
    """How many tensors each scheme explains, a tensor counting for the logarithm of its size."""
    votes: Counter[str] = Counter()
    for reading in readings:
        for key in {_key(candidate) for candidate in reading.fitting}:
            votes[key] += round(math.log2(reading.draw.statistics.count))
    return votes


def _alone(reading: _Reading, votes: Mapping[str, int]) -> Iterator[tuple[Candidate, float]]:
    """The candidate that a tensor shows by itself, and the chance that some candidate fits it by accident."""
    for rank in RANKS:
        fitting = [candidate for candidate in reading.fitting if candidate.rank <= rank]
        if fitting and reading.family is not None:
            best = max(fitting, key=lambda candidate: (votes[_key(candidate)], -candidate.rank))
            yield best, reading.chance(c for c in reading.tried if c.rank <= rank)
            return


def _stated(config: Mapping[str, Any] | None) -> dict[str, float]:
    """What a `config.json` says it was drawn with, which is no accident where it fits."""
    std = (config or {}).get("initializer_range")
    return {f"normal({std:.4g})": 0.0} if isinstance(std, float) and math.isfinite(std) else {}


def _pooled_chances(readings: Iterable[_Reading], votes: Mapping[str, int]) -> dict[str, float]:
    """For each scheme the chance that it fits all tensors that show it by accident, these taken together."""
    pools: dict[str, list[_Shown]] = {}
    for reading in readings:
        for best, chance in _alone(reading, votes):
            pools.setdefault(_key(best), []).append((reading, best, chance))
    return {key: _pooled_chance(pool) for key, pool in pools.items()}


def _pooled_chance(pool: Sequence[_Shown]) -> float:
    """The chance that a scheme fits all tensors of a pool by accident.

    Tensors for which it predicts one deviation are one larger tensor: it is held to the scheme more closely, so that a
    scheme that each is merely near does not become certain by their number. Where it predicts different deviations
    for different fans, and all are met, the accidents multiply.
    """
    groups: dict[int, list[_Shown]] = {}
    for shown in pool:
        groups.setdefault(round(20 * math.log(shown[1].std)), []).append(shown)
    return math.prod(_group_chance(group) for group in groups.values())


def _group_chance(group: Sequence[_Shown]) -> float:
    counts = [reading.draw.statistics.count for reading, _, _ in group]
    total = sum(counts)
    off = sum(
        count * math.log(reading.draw.statistics.moments.rms / best.std)
        for count, (reading, best, _) in zip(counts, group, strict=True)
    )
    if abs(off / total) > max(POOLED_FLOOR, FIT_Z * group[0][1].family.log_std_error / math.sqrt(total)):
        return 1.0
    return min(1.0, *(chance * math.sqrt(n / total) for n, (_, _, chance) in zip(counts, group, strict=True)))


def _elect(reading: _Reading, votes: Mapping[str, int], chances: Mapping[str, float]) -> Scheme | None:
    """The scheme of one tensor: one that others show for certain, or that it shows itself, or its family alone."""
    established = [candidate for candidate in reading.fitting if chances.get(_key(candidate), 1.0) < SURE]
    shown = next(_alone(reading, votes), None)
    if established:
        best = max(established, key=lambda candidate: votes[_key(candidate)])
        shown = best, reading.chance([best])
    if shown is None:
        return _family_alone(reading)
    best, chance = shown[0], min(shown[1], chances.get(_key(shown[0]), 1.0)) if not established else shown[1]
    if chance >= PLAUSIBLE:
        return _family_alone(reading)
    # What cannot be told apart: schemes of the same deviation and, unless the rest settles it, all that fit as well.
    rivals = [c for c in reading.fitting if not established or math.isclose(c.std, best.std, rel_tol=1e-3)]
    others = tuple(dict.fromkeys(_key(rival) for rival in rivals if _key(rival) != _key(best)))
    certainty: Certainty = "is" if chance < SURE else "consistent with"
    return Scheme(best.name, best.formula, certainty, {**best.parameters, "std": best.std}, others)


def _family_alone(reading: _Reading) -> Scheme | None:
    """The family with the deviation that was measured, where no scheme of a name is plausible."""
    values, family = reading.draw.statistics, reading.family
    if family is None or values.moments.count < 1000:
        return None
    std = values.moments.rms
    formula = f"U(±{std * math.sqrt(3):.4g})" if family is UNIFORM else f"{_letter(family)}(0, {std:.4g}²)"
    return Scheme(family.name.removesuffix("_3"), formula, "consistent with", {"std": std}, is_named=False)


def _key(candidate: Candidate) -> str:
    """A scheme with what distinguishes it from others of its name, in words."""
    if candidate.name in ("normal", "uniform", "trunc_normal"):
        return f"{candidate.name}({candidate.std:.4g})"
    telling = [value for name, value in candidate.parameters.items() if name in TELLING]
    words = ", ".join(value if isinstance(value, str) else f"{value:.4g}" for value in telling)
    return f"{candidate.name}({words})" if words else candidate.name


def _letter(family: Family) -> str:
    return "N" if family is NORMAL else "TN"
