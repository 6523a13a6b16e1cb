"""Line charts and bars as SVG, made by hand, in the colours of their page: print and dark mode have their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 74, 16, 34, 62
COLOURS = 6  # --line-1 to --line-6 of the page
LEGEND_WIDTH = 190
BARS_WIDTH, BARS_LEFT, BAR_HEIGHT = 720, 250, 19


@dataclass(frozen=True)
class Series:
    """A line: its name, and its points by ascending x."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """An axis: what it shows, by powers of ten or from 0."""

    name: str
    by_powers: bool = False


@dataclass(frozen=True)
class _Scale:
    """From values to pixels, with the values that have a line of the grid."""

    low: float
    high: float
    by_powers: bool
    start: float
    end: float

    def at(self, value: float) -> float:
        low, high, here = (self._place(one) for one in (self.low, self.high, value))
        share = (here - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def _place(self, value: float) -> float:
        return log10(max(value, 1e-12)) if self.by_powers else value

    @property
    def ticks(self) -> list[float]:
        if self.by_powers:
            first, last = round(log10(self.low)), round(log10(self.high))
            return [10.0**power for power in range(first, last + 1, max(1, (last - first) // 6))]
        step = _step(self.high - self.low)
        return [self.low + step * place for place in range(int((self.high - self.low) / step + 1e-9) + 1)]


def _step(span: float) -> float:
    """Return a round distance that divides a span into four to eight parts."""
    power = 10.0 ** floor(log10(span / 4)) if span > 0 else 1.0
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= 8)


def _scale(values: Sequence[float], axis: Axis, start: float, end: float) -> _Scale:
    if axis.by_powers:
        low, high = 10.0 ** floor(log10(min(values))), 10.0 ** ceil(log10(max(values)))
        return _Scale(low, high if high > low else 10 * low, True, start, end)
    step = _step(max(values) or 1.0)
    return _Scale(0.0, step * ceil(max(values) / step) or 1.0, False, start, end)


def written(value: float) -> str:
    """Return a value in a few characters: 1.5k, 20M, 0.25."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def line_chart(title: str, x: Axis, y: Axis, series: Sequence[Series]) -> str:
    """Return a chart; empty if there is no point to show. By powers of ten, what is not above 0 is left out."""
    shown = [Series(one.name, _shown(one.points, x, y)) for one in series]
    shown = [one for one in shown if one.points]
    if not shown:
        return ""
    across = _scale([px for one in shown for px, _ in one.points], x, LEFT, WIDTH - RIGHT)
    up = _scale([py for one in shown for _, py in one.points], y, HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text class="title" x="{LEFT}" y="18">{escape(title)}</text>',
        *_grid(across, up),
        *_names(x, y),
    ]
    for place, one in enumerate(shown):
        parts += _line(place, one, across, up)
    return "\n".join([*parts, "</svg>"])


def _shown(points: Sequence[tuple[float, float]], x: Axis, y: Axis) -> list[tuple[float, float]]:
    return [(px, py) for px, py in points if (px > 0 or not x.by_powers) and (py > 0 or not y.by_powers)]


def _grid(across: _Scale, up: _Scale) -> list[str]:
    parts = []
    for tick in up.ticks:
        at = up.at(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" text-anchor="end" x="{LEFT - 8}" y="{at + 4:.1f}">{written(tick)}</text>')
    for tick in across.ticks:
        at = across.at(tick)
        parts.append(f'<line class="grid" y1="{TOP}" y2="{HEIGHT - BOTTOM}" x1="{at:.1f}" x2="{at:.1f}"/>')
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{at:.1f}" y="{HEIGHT - BOTTOM + 17}">{written(tick)}</text>'
        )
    return parts


def _names(x: Axis, y: Axis) -> list[str]:
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f"translate(15 {middle}) rotate(-90)"
    return [
        f'<text class="axis" text-anchor="end" x="{WIDTH - RIGHT}" y="{HEIGHT - BOTTOM + 34}">{escape(x.name)}</text>',
        f'<text class="axis" text-anchor="middle" transform="{turned}">{escape(y.name)}</text>',
    ]


def _line(place: int, one: Series, across: _Scale, up: _Scale) -> list[str]:
    """Return a line with its points, each of which tells its values, and its name below the chart."""
    kind = f"line-{place % COLOURS + 1}"
    at = [(across.at(px), up.at(py)) for px, py in one.points]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in at)
    dots = [
        f'<circle class="{kind}" cx="{px:.1f}" cy="{py:.1f}" r="3.2"><title>{escape(one.name)}: '
        f"{written(value[0])}, {written(value[1])}</title></circle>"
        for (px, py), value in zip(at, one.points, strict=True)
    ]
    left = LEFT + LEGEND_WIDTH * place
    legend = [
        f'<line class="{kind}" x1="{left}" x2="{left + 18}" y1="{HEIGHT - 10}" y2="{HEIGHT - 10}"/>',
        f'<text class="tick" x="{left + 24}" y="{HEIGHT - 6}">{escape(one.name)}</text>',
    ]
    return [f'<polyline class="{kind}" points="{path}"/>', *dots, *legend]


def bars(title: str, rows: Sequence[tuple[str, float]]) -> str:
    """Return horizontal bars by powers of ten: each power has the same width."""
    rows = [(name, value) for name, value in rows if value > 0]
    if not rows:
        return ""
    power = (BARS_WIDTH - BARS_LEFT - 70) / max(log10(max(value for _, value in rows)), 1)
    parts = [
        f'<svg viewBox="0 0 {BARS_WIDTH} {BAR_HEIGHT * len(rows) + 34}" role="img" aria-label="{escape(title)}">',
        f'<text class="title" x="8" y="18">{escape(title)}</text>',
    ]
    for place, (name, value) in enumerate(rows):
        y, length = 30 + BAR_HEIGHT * place, power * max(log10(max(value, 1)), 0.05)
        parts.append(f'<text class="tick" text-anchor="end" x="{BARS_LEFT - 8}" y="{y + 13}">{escape(name)}</text>')
        parts.append(f'<rect class="bar" x="{BARS_LEFT}" y="{y + 2}" width="{length:.1f}" height="{BAR_HEIGHT - 5}"/>')
        parts.append(f'<text class="tick" x="{BARS_LEFT + length + 6:.1f}" y="{y + 13}">{written(value)}</text>')
    return "\n".join([*parts, "</svg>"])
