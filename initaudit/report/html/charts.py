"""Charts as SVG, from Vega-Lite by way of vl-convert.

Weighed in late 2026 against what else draws charts for a page: a script in each page costs 4.8 MB (plotly), 1.1 MB
(bokeh) or 0.9 MB (Vega itself), and shows nothing without it or on paper. SVG costs 1 KB a histogram. Of what writes
SVG without a browser, matplotlib is the larger install (101 MB against 84 MB), fixes its colours and says
nothing of its marks to a screen reader; pygal has neither bands nor marks of several shapes. vl-convert is one wheel
of 33 MB without dependencies and needs 30 ms a chart; each mark carries its words (``aria-label``), and colours may be
CSS variables, so that one drawing serves light and dark.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import vl_convert
from markupsafe import Markup

from initaudit.depth import Lane, Level
from initaudit.report.escaping import printable
from initaudit.report.html.densities import Density
from initaudit.rule import Severity
from initaudit.statistics.histogram import Histogram

WIDTH, HEIGHT = 340, 190
"""Pixels of one chart, axes included: three beside each other on a desk, one on a phone, at their own size."""

LOWEST_GAIN, HIGHEST_GAIN = 1e-4, 1e4
"""The widest range of gains that is drawn: beyond, one value would press all others onto a line."""

MOST_MARKS, ALL_MARKS = 250, 4000
"""Weights of one lane, and of all lanes, that have a mark of their own, at 400 bytes each; of more, some do."""

CROWDED = 60
"""From so many on marks are smaller, so that the band behind them is seen."""

POINTS_OF_A_CURVE = 161

SPIKE = 3.0
"""A bin so many times as high as the next highest is cut off, so that the others are seen; the caption says so."""

WIDER = 3.0
"""Densities whose widths differ by more are drawn to their own peaks: else the wider one would lie on the axis."""

LONGEST_NAME = 90

SEVERITIES = tuple(severity.value for severity in Severity)

_CONFIG: dict[str, Any] = {
    "font": "system-ui, sans-serif",
    "background": None,
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--dim)",
        "titleColor": "var(--dim)",
        "gridColor": "var(--hair)",
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "titlePadding": 8,
    },
}


def gains_of(lane: Lane, severities: dict[str, str], domain: tuple[float, float], most: int = MOST_MARKS) -> Markup:
    """The gains of a lane by depth: a band where the recipe predicts them, a mark for each of up to ``most`` weights.

    Those with a finding have as many again, and come first.
    """
    x: dict[str, Any] = {
        "field": "depth",
        "type": "quantitative",
        "title": "block" if lane.is_by_block else "weight, in order",
    }
    depths = [level.depth for level in lane.levels]
    x |= {"scale": {"domain": _spread(min(depths), max(depths)), "nice": False}, "axis": _whole_numbers(depths)}
    y = _log_axis("gain", domain)
    odd = [level for level in lane.levels if level.tensor.name in severities]
    even = [level for level in lane.levels if level.tensor.name not in severities]
    marks = [_mark(level, severities, domain) for level in [*thinned(even, most), *thinned(odd, most)]]
    band = [
        {"depth": at, "low": _within(low, domain), "high": _within(high, domain)}
        for at, (low, high) in _bands(thinned(lane.levels, most))
    ]
    said = {"description": {"field": "words"}}
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": band},
            "mark": {"type": "area", "color": "var(--band)", "aria": False, "interpolate": "linear"},
            "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}},
        },
        {
            "data": {"values": [mark for mark in marks if not mark["severity"]]},
            "mark": {
                "type": "circle",
                "size": 26 if len(marks) < CROWDED else 8,
                "opacity": 1,
                "color": "var(--measured)",
            },
            "encoding": {"x": x, "y": y | {"field": "gain"}, **said},
        },
    ]
    shape = {"shape": {"field": "shape", "type": "nominal", "scale": None}}
    layers += [
        {
            "data": {"values": [mark for mark in marks if mark["severity"] == severity]},
            "mark": {"type": "point", "size": 110, "opacity": 1, "filled": True, "color": f"var(--{severity})"},
            "encoding": {"x": x, "y": y | {"field": "gain"}, **shape, **said},
        }
        for severity in SEVERITIES
    ]
    return _svg({"layer": layers})


def signal_of(
    signal: Sequence[float], words: Sequence[str], foretold: Sequence[float], title: str, domain: tuple[float, float]
) -> Markup:
    """A signal as it comes in and behind each layer or block, with words for each, and what the recipe foretells."""
    count = len(signal) - 1
    x = {"field": "depth", "type": "quantitative", "title": title, "axis": _whole_numbers(range(1, count + 1))}
    x |= {"scale": {"domain": _spread(0, count), "nice": False}}
    y = _log_axis("signal", domain) | {"field": "signal"}
    points = [
        {"depth": depth, "signal": _within(value, domain), "words": said}
        for depth, (value, said) in enumerate(zip(signal, words, strict=True))
    ]
    expected = [{"depth": depth, "signal": _within(value, domain)} for depth, value in enumerate(foretold)]
    line = {"type": "line", "aria": False, "strokeWidth": 1.5}
    layers = [
        {
            "data": {"values": expected},
            "mark": {**line, "color": "var(--expected)", "strokeDash": [5, 3]},
            "encoding": {"x": x, "y": y},
        },
        {
            "data": {"values": points},
            "mark": {**line, "color": "var(--measured)"},
            "encoding": {"x": x, "y": y},
        },
        {
            "data": {"values": points},
            "mark": {"type": "circle", "size": 30, "opacity": 1, "color": "var(--measured)"},
            "encoding": {"x": x, "y": y, "description": {"field": "words"}},
        },
    ]
    return _svg({"layer": layers})


def values_of(measured: Histogram, expected: Density | None) -> tuple[Markup, str]:
    """A histogram and the density beside it, and in words what of them was cut or scaled."""
    heights = _heights(measured)
    peak, note, spikes = _peak(measured, heights)
    scale = 1.0
    if expected is not None and expected.components:
        width = (measured.high - measured.low) or 0.0
        ratio = width / (2 * expected.edge) if width else 0.0
        if 1 / WIDER < ratio < WIDER:
            peak = max(peak, expected.peak)
        else:
            scale = peak / expected.peak
            note += " Each is drawn to its own peak, as their widths are far apart." if width else ""
    top = 1.12 * peak
    edge = expected.edge if expected is not None else 0.0
    others = [expected.value] if expected is not None and expected.value is not None else []
    low, high = min(measured.low, -edge, *others), max(measured.high, edge, *others)
    if measured.low == measured.high and not edge:  # what stands at the end of the axis is not seen
        margin = 0.15 * (high - low) or abs(low) or 1.0
        low, high = low - margin, high + margin
    x_axis = {"format": "~g", "tickCount": 4, "grid": False, "domain": True, "domainColor": "var(--dim)"}
    x = {"field": "x", "type": "quantitative", "title": None, "axis": x_axis}
    x |= {"scale": {"domain": [low, high], "nice": False}}
    y = {"field": "y", "type": "quantitative", "axis": None, "scale": {"domain": [0, top], "nice": False}}
    layers: list[dict[str, Any]] = []
    if measured.low < measured.high:
        steps = [{"x": at, "y": min(height, top)} for at, height in zip(measured.edges, [*heights, 0.0], strict=True)]
        area = {"type": "area", "interpolate": "step-after", "color": "var(--measured)", "opacity": 0.75, "aria": False}
        layers.append({"data": {"values": steps}, "mark": area, "encoding": {"x": x, "y": y}})
    else:
        layers.append(_upright(x, measured.low, "var(--measured)", 5))
    if expected is not None and expected.components:
        places = np.linspace(low, high, POINTS_OF_A_CURVE)
        # The narrow one of two is drawn as finely as the wide one.
        places = np.unique([*places, *np.linspace(-1.001 * expected.edge, 1.001 * expected.edge, POINTS_OF_A_CURVE)])
        places = places[(places >= low) & (places <= high)]
        curve = [{"x": float(at), "y": float(y)} for at, y in zip(places, scale * expected.at(places), strict=True)]
        line = {"type": "line", "color": "var(--expected)", "strokeWidth": 2, "aria": False}
        layers.append({"data": {"values": curve}, "mark": line, "encoding": {"x": x, "y": y}})
    elif expected is not None and expected.value is not None:
        layers.append(_upright(x, expected.value, "var(--expected)", 2))
    layers += [_cut_bar(x, at) for at in spikes]
    return _svg({"layer": layers}, height=150), note.strip()


def domain_of(values: Iterable[float], least: float = 10.0) -> tuple[float, float]:
    """A range for a logarithmic axis that holds most positive values, at least ``least`` from end to end."""
    positive = [min(max(value, LOWEST_GAIN), HIGHEST_GAIN) for value in values if 0 < value < math.inf]
    low, high = min(positive, default=0.3), max(positive, default=3.0)
    low, high = low / 1.4, high * 1.4
    widen = math.sqrt(max(1.0, least / (high / low)))
    return low / widen, high * widen


def _heights(measured: Histogram) -> list[float]:
    """The density in each bin."""
    return [n / measured.sampled / (high - low) if high > low else 1.0 for low, high, n in measured.bars]


def _peak(measured: Histogram, heights: Sequence[float]) -> tuple[float, str, list[float]]:
    """How high the chart must be, and in words which bin is cut off by that, and where."""
    ranked = sorted(heights, reverse=True)
    if len(ranked) < 2 or ranked[0] <= SPIKE * ranked[1] or ranked[1] == 0:
        return ranked[0], "", []
    low, high, count = measured.bars[heights.index(ranked[0])]
    where = 0.0 if low <= 0 <= high else (low + high) / 2
    return 1.3 * ranked[1], f"The bar at {where:.3g} is cut off: it holds {count / measured.sampled:.0%}.", [where]


def _upright(x: dict[str, Any], at: float, color: str, width: int) -> dict[str, Any]:
    """All values at one place."""
    mark = {"type": "rule", "color": color, "strokeWidth": width, "aria": False}
    return {"data": {"values": [{"x": at}]}, "mark": mark, "encoding": {"x": x}}


def _cut_bar(x: dict[str, Any], at: float) -> dict[str, Any]:
    """The sign of a bar that goes on above."""
    mark = {"type": "text", "text": "↑", "y": -5, "fontSize": 12, "color": "var(--dim)", "aria": False}
    return {"data": {"values": [{"x": at}]}, "mark": mark, "encoding": {"x": x}}


def _mark(level: Level, severities: dict[str, str], domain: tuple[float, float]) -> dict[str, Any]:
    name = printable(level.tensor.name, longest=LONGEST_NAME)
    severity = severities.get(level.tensor.name, "")
    aside = f", predicted {level.predicted:.3g}" if level.predicted is not None else ""
    return {
        "depth": level.depth,
        "gain": _within(level.gain, domain),
        "severity": severity,
        "shape": _shape(level.gain, domain),
        "words": f"{name}: gain {level.gain:.3g}{aside}" + (f" ({severity})" if severity else ""),
    }


def _shape(gain: float, domain: tuple[float, float]) -> str:
    """A diamond, or where to what lies beyond the axis is found."""
    return "triangle-down" if gain < domain[0] else "triangle-up" if gain > domain[1] else "diamond"


def thinned(levels: Sequence[Level], most: int) -> Sequence[Level]:
    """The levels, or every n-th of more than ``most``."""
    return levels[:: max(1, math.ceil(len(levels) / most))]


def _bands(levels: Sequence[Level]) -> list[tuple[float, tuple[float, float]]]:
    """Where the band runs: at each depth, and half a block before and after the whole."""
    found = [(float(level.depth), level.band) for level in levels if level.band is not None]
    if not found:
        return []
    return [(found[0][0] - 0.5, found[0][1]), *found, (found[-1][0] + 0.5, found[-1][1])]


def _spread(low: float, high: float) -> list[float]:
    return [low - 0.6, high + 0.6]


def _whole_numbers(depths: Sequence[int]) -> dict[str, Any]:
    """An axis that names whole numbers alone, eight at most."""
    low, high = min(depths), max(depths)
    step = next(step for step in _steps() if (high - low) / step <= 7)
    first = -(-low // step) * step
    return {"grid": False, "values": list(range(first, high + 1, step)), "format": "d"}


def _steps() -> Iterator[int]:
    power = 1
    while True:
        yield from (power, 2 * power, 5 * power)
        power *= 10


def _log_axis(title: str, domain: tuple[float, float]) -> dict[str, Any]:
    """A logarithmic axis whose labels are powers of ten, or 1, 2 and 5 where it is short."""
    low, high = math.floor(math.log10(domain[0])), math.ceil(math.log10(domain[1]))
    powers = [10.0**power for power in range(low, high + 1) if domain[0] <= 10.0**power <= domain[1]]
    if len(powers) < 3:
        ticks = [digit * 10.0**power for power in range(low, high + 1) for digit in (1, 2, 5)]
        powers = [tick for tick in ticks if domain[0] <= tick <= domain[1]]
    axis = {"values": powers[:: math.ceil(len(powers) / 6)], "format": "~g", "grid": True}
    scale = {"type": "log", "domain": list(domain), "nice": False}
    return {"type": "quantitative", "title": title, "scale": scale, "axis": axis}


def _within(value: float, domain: tuple[float, float]) -> float:
    """A value, or the end of the axis that it lies beyond; a zero has no logarithm."""
    return min(max(value, domain[0]), domain[1]) if not math.isnan(value) else domain[0]


def _svg(drawing: dict[str, Any], height: int = HEIGHT) -> Markup:
    """The drawing as SVG; what is a name in it is data to Vega, which escapes it."""
    fit = {"type": "fit", "contains": "padding"}
    spec = {"width": WIDTH, "height": height, "autosize": fit, "padding": 4, "config": _CONFIG, **drawing}
    return Markup(vl_convert.vegalite_to_svg(spec))
