"""What the page says of one checkpoint, as values that the template lays out."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from initaudit.conventions import CAPTIONS, TABLE
from initaudit.depth import Chain, Lane, chains, lanes, predicted_gain, std_of
from initaudit.findings import healthy
from initaudit.groups import Group
from initaudit.model import Tensor
from initaudit.outcome import Audited
from initaudit.remedies import Healthy
from initaudit.report.escaping import LONGEST_TEXT, printable
from initaudit.report.html import charts, densities
from initaudit.report.html.rows import table_of
from initaudit.report.inspection import shape_text
from initaudit.report.text import byte_size, counted, magnitude, why_waived
from initaudit.rule import Rule, Severity
from initaudit.signal import growth_of

MOST_OF_A_RULE, MOST_LINES = 12, 300
"""Findings of one rule that are shown in full, and those after them that are named in a line."""

MOST_TENSORS, MOST_ODD = 8, 4
"""Tensors of one finding that are named, and of one lane that are said to be odd."""

MOST_CHARTS = 60
"""Histograms of one checkpoint's findings: each costs a few KB and 30 ms."""

FIRST_LANES, MOST_LANES = 12, 60
"""Lanes that are seen at once, and those that can be unfolded."""

MOST_NAMES = 200
"""Tensors that are listed where many are intended, or not judged."""

MOST_CHAINS = 6


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart, its caption, and in words what it shows."""

    chart: Markup
    title: str
    words: str


@dataclass(frozen=True, slots=True)
class Shown:
    """One finding in full; ``figure`` is None where no values could be drawn."""

    anchor: str
    finding: Group
    names: tuple[str, ...]
    more: int
    message: str
    advice: str
    numbers: tuple[tuple[str, str], ...]
    figure: Figure | None


@dataclass(frozen=True, slots=True)
class Broken:
    """One rule with all that it found: some in full, others in a line, and the number of the rest."""

    rule: Rule | None
    first: Group
    count: str
    shown: tuple[Shown, ...]
    lines: tuple[tuple[str, str, str], ...]
    rest: int


@dataclass(frozen=True, slots=True)
class Listed:
    """Tensors that share a reason: the reason, where it comes from, and their names, as many as are listed."""

    reason: str
    source: str
    count: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """All that the page says of one checkpoint."""

    anchor: str
    one: Audited
    path: str
    facts: str
    counts: tuple[tuple[str, str], ...]
    recipe: tuple[tuple[str, str], ...]
    broken: tuple[Broken, ...]
    intended: tuple[Listed, ...]
    waived: tuple[Listed, ...]
    not_judged: tuple[Listed, ...]
    lanes: tuple[Figure, ...]
    folded_lanes: tuple[Figure, ...]
    lanes_left: int
    chains: tuple[Figure, ...]
    stream: Figure | None
    table: dict[str, Any]


def section_of(one: Audited, rules: Mapping[str, Rule], number: int) -> Section:
    """What is said of one checkpoint, the ``number``-th of the report."""
    anchor = f"checkpoint-{number}"
    others = healthy(one.model, one.findings, one.waived, one.intended)
    severities: dict[str, str] = {}
    anchors: dict[str, list[str]] = {}
    for at, group in enumerate(one.groups):
        for name in (finding.tensor for finding in group.findings if finding.is_faulty):
            severities.setdefault(name, group.severity.value)
            if len(anchors.setdefault(name, [])) < MOST_TENSORS:
                anchors[name].append(f"{anchor}-finding-{at}")
    broken = tuple(_broken(one, rules, others, anchor))
    here = {name for group in broken for name in [*(s.anchor for s in group.shown), *(line[0] for line in group.lines)]}
    found = lanes(one.model, others)
    drawn = _lane_figures(found, severities)
    path = [chain for _, chain in zip(range(MOST_CHAINS), chains(one.model, others), strict=False)]
    return Section(
        anchor=anchor,
        one=one,
        path=printable(one.checkpoint.path),
        facts=_facts(one),
        counts=tuple(_counts(one)),
        recipe=tuple(_recipe(one)),
        broken=broken,
        intended=tuple(_listed((row.convention, row.tensor) for row in one.intended)),
        waived=tuple(_listed((why_waived(row), row.tensor) for row in one.waived)),
        not_judged=tuple(_listed((row.reason, row.tensor) for row in one.not_judged)),
        lanes=tuple(drawn[:FIRST_LANES]),
        folded_lanes=tuple(drawn[FIRST_LANES:]),
        lanes_left=max(0, len(found) - MOST_LANES),
        chains=tuple(_chain_figures(path)),
        stream=_stream_figure(one),
        table=table_of(
            one, severities, {name: [at for at in several if at in here] for name, several in anchors.items()}
        ),
    )


def _facts(one: Audited) -> str:
    checkpoint = one.checkpoint
    dtypes = Counter(entry.dtype for entry in checkpoint.entries)
    parts = [
        counted(len(checkpoint.entries), "tensor"),
        f"{magnitude(checkpoint.parameters)} parameters",
        ", ".join(dtype for dtype, _ in dtypes.most_common(3)),
        byte_size(checkpoint.bytes),
    ]
    if len(checkpoint.shards) > 1:
        parts.append(f"{len(checkpoint.shards):,} shards")
    return " · ".join(parts)


def _counts(one: Audited) -> Iterator[tuple[str, str]]:
    found = Counter(finding.severity for finding in one.groups)
    for severity in Severity:
        if found[severity]:
            yield severity.value, counted(found[severity], severity.value)


def _recipe(one: Audited) -> Iterator[tuple[str, str]]:
    """The lines of the recipe, each as what it is about and what is said of it."""
    for line in one.recipe:
        about, _, said = printable(line, longest=LONGEST_TEXT).partition(": ")
        yield about, said


def _broken(one: Audited, rules: Mapping[str, Rule], others: Healthy, anchor: str) -> Iterator[Broken]:
    grouped: dict[str, list[tuple[str, Group]]] = {}
    for at, finding in enumerate(one.groups):
        grouped.setdefault(finding.rule, []).append((f"{anchor}-finding-{at}", finding))
    charts_left = MOST_CHARTS
    for code, findings in grouped.items():
        shown = []
        for here, finding in findings[:MOST_OF_A_RULE]:
            shown.append(_shown(here, finding, one, others, with_chart=charts_left > 0))
            charts_left -= 1
        rest = findings[MOST_OF_A_RULE:]
        lines = tuple((at, _name(f.tensor), printable(f.message, longest=LONGEST_TEXT)) for at, f in rest[:MOST_LINES])
        count = counted(len(findings), "finding") if len(findings) > 1 else ""
        yield Broken(rules.get(code), findings[0][1], count, tuple(shown), lines, max(0, len(rest) - MOST_LINES))


def _shown(anchor: str, finding: Group, one: Audited, others: Healthy, *, with_chart: bool) -> Shown:
    tensor = one.model.get(finding.example.tensor)
    return Shown(
        anchor=anchor,
        finding=finding,
        names=tuple(_name(name) for name in finding.tensors[:MOST_TENSORS]),
        more=max(0, len(finding.tensors) - MOST_TENSORS),
        message=printable(finding.message, longest=LONGEST_TEXT),
        advice=printable(finding.advice, longest=LONGEST_TEXT),
        numbers=tuple(_numbers(tensor, finding, others)) if tensor is not None else (),
        figure=_values(tensor, finding) if tensor is not None and with_chart else None,
    )


def _values(tensor: Tensor, finding: Group) -> Figure | None:
    """The values of a faulty tensor beside what they should be, or beside the scheme that it shows."""
    measured = tensor.statistics.histogram
    if measured is None:
        return None
    remedy = finding.repair
    expected = densities.of_remedy(remedy, tensor) if remedy is not None else densities.of_scheme(tensor)
    beside = ""
    if expected is not None and remedy is not None:
        beside = f"{printable(remedy.words)}: {printable(remedy.reason)}"
    elif expected is not None and tensor.scheme is not None:
        beside = f"{tensor.scheme.name} {tensor.scheme.formula}, the scheme that it shows"
    chart, note = charts.values_of(measured, expected)
    beyond = measured.below + measured.above
    if beyond:
        note += f" {100 * beyond / measured.sampled:.2g} % of them lie beyond the bars."
    sampled = f" From {measured.sampled:,} of {tensor.count:,} values." if measured.sampled < tensor.count else ""
    one_of = f", one of {len(finding.tensors):,}" if len(finding.tensors) > 1 else ""
    name, low, high = _name(tensor.name), tensor.statistics.minimum, tensor.statistics.maximum
    words = f"Values of {name}{one_of}, from {low:.4g} to {high:.4g}.{sampled}"
    if tensor.statistics.is_constant:
        words = f"All values of {name}{one_of} are {low:.4g}."
    return Figure(chart, beside, f"{words} {note}".strip())


def _numbers(tensor: Tensor, finding: Group, others: Healthy) -> Iterator[tuple[str, str]]:
    """What was measured of a tensor, and what its recipe or its remedy has instead."""
    values = tensor.statistics
    remedy = finding.repair
    wanted = std_of(remedy, tensor) if remedy is not None else None
    yield "std", _beside(tensor.std, wanted)
    if tensor.gain is not None:
        gain = wanted * math.sqrt(tensor.part.fan_in or 1) if wanted else predicted_gain(tensor, others)
        yield "gain", _beside(tensor.gain, gain)
        yield "fan-in", f"{tensor.part.fan_in:,}"
    yield "mean", f"{values.mean:.4g}"
    yield "shape", f"{shape_text(tensor.shape)} {tensor.dtype}"
    if values.zeros:
        yield "zeros", f"{values.zeros:,} of {values.count:,}"
    if values.nonfinite:
        yield "not finite", f"{values.nonfinite:,} of {values.count:,}"


def _beside(measured: float, expected: float | None) -> str:
    return f"{measured:.4g}" + ("" if expected is None else f" (expected {expected:.4g})")


def _lane_figures(found: Sequence[Lane], severities: dict[str, str]) -> list[Figure]:
    """The lanes with something odd in them first, all on one axis of gains."""
    domain = charts.domain_of(
        value for lane in found for level in lane.levels for value in (level.gain, *(level.band or ()))
    )
    ranked = sorted(found, key=lambda lane: all(level.tensor.name not in severities for level in lane.levels))
    drawn = ranked[:MOST_LANES]
    most = min(charts.MOST_MARKS, charts.ALL_MARKS // max(1, len(drawn)))
    return [_lane_figure(lane, severities, domain, most) for lane in drawn]


def _lane_figure(lane: Lane, severities: dict[str, str], domain: tuple[float, float], most: int) -> Figure:
    count, gains = len(lane.levels), [level.gain for level in lane.levels]
    predicted = [level.predicted for level in lane.levels if level.predicted is not None]
    words = f"{counted(count, 'weight')}, {'gains' if count > 1 else 'gain'} {_range(gains)}"
    words += f"; predicted {_range(predicted)}" if predicted else "; no recipe predicts them" if count > 1 else ""
    odd = [level for level in lane.levels if level.tensor.name in severities]
    if odd:
        named = ", ".join(f"{_name(level.tensor.name)} ({level.gain:.3g})" for level in odd[:MOST_ODD])
        more = f" and {len(odd) - MOST_ODD:,} more" if len(odd) > MOST_ODD else ""
        words += f". Odd: {named}{more}"
    if max(len(odd), count - len(odd)) > most:
        words += f". Marks stand for some of them, {most} at most"
    title = _name(lane.place) if lane.place else "layers that stand alone"
    return Figure(charts.gains_of(lane, severities, domain, most), title, f"{words}.")


def _chain_figures(found: Sequence[Chain]) -> Iterator[Figure]:
    for chain in found:
        predicted = chain.predicted or ()
        domain = charts.domain_of((1.0, *chain.signal, *predicted))
        words = f"Behind {counted(len(chain.tensors), 'layer')} {chain.signal[-1]:.3g} of a signal of size 1 is left"
        words += f"; drawn by the recipe it would be {predicted[-1]:.3g}" if predicted else ""
        words += f"; with {chain.activation} between"
        title = f"{_name(chain.tensors[0].name)} to {_name(chain.tensors[-1].name)}"
        names = (
            f"{_name(tensor.name)}: signal {size:.3g} behind it"
            for tensor, size in zip(chain.tensors, chain.signal, strict=True)
        )
        said = ("a signal of size 1 comes in", *names)
        foretold = (1.0, *predicted) if predicted else ()
        yield Figure(charts.signal_of((1.0, *chain.signal), said, foretold, "behind layer", domain), title, f"{words}.")


def _stream_figure(one: Audited) -> Figure | None:
    """The residual stream behind each block, where it is known."""
    growth = growth_of(one.model)
    if growth is None:
        return None
    signal = (growth.start, *growth.signal)
    words = (
        f"Root mean square of {growth.start:.3g} before {counted(len(growth.signal), 'block')}, {growth.signal[0]:.3g}"
        f" behind the first and {growth.signal[-1]:.3g} behind the last, for {growth.tokens} tokens and"
        f" {growth.activation}{' (assumed)' if growth.is_assumed else ''}. Behind the last two tokens correlate by"
        f" {growth.correlation:.2f}."
    )
    names = [f"block {number}: {size:.3g} behind it" for number, size in enumerate(growth.signal, start=1)]
    said = (f"{growth.start:.3g} comes in", *names)
    return Figure(
        charts.signal_of(signal, said, (), "behind block", charts.domain_of(signal)), "residual stream", words
    )


def _listed(rows: Iterator[tuple[str, str]]) -> Iterator[Listed]:
    """Tensors by their reason, the most common first, with the source of what is a convention."""
    sources = {row.name: row.source for row in (*TABLE, *CAPTIONS)}
    grouped: dict[str, list[str]] = {}
    for reason, tensor in rows:
        grouped.setdefault(reason, []).append(tensor)
    for reason, names in sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0])):
        several = list(dict.fromkeys(names))
        shown = tuple(_name(name) for name in several[:MOST_NAMES])
        yield Listed(printable(reason), sources.get(reason, ""), len(several), shown)


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


def _name(name: str) -> str:
    return printable(name)
