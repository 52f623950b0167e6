"""Draws line charts as SVG that needs no other file: light and dark, with a description for screen readers."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from service.cli.render.charts import Axes, Chart

_WIDTH, _HEIGHT = 720, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 28, 44
_LINE = 18
_DASHES = ("", "7 4", "2 3", "9 3 2 3", "4 2")
_STYLE = """
.chart { color-scheme: light dark; --ink: #1d2330; --quiet: #5b6474; --line: #d5dae3; --ground: #ffffff;
  --c0: #2f62c9; --c1: #a8501c; --c2: #1d7a4f; --c3: #8a3fa0; --c4: #7a6200; --mark: #b3261e; }
@media (prefers-color-scheme: dark) { .chart { --ink: #e6e9ef; --quiet: #a3adbd; --line: #39414e; --ground: #1c2129;
  --c0: #7aa5f5; --c1: #e79a63; --c2: #63c796; --c3: #cf92e0; --c4: #d3b94a; --mark: #f2857b; } }
.chart text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--quiet); }
.chart .title { fill: var(--ink); font-weight: 600; font-size: 13px; } .chart .grid { stroke: var(--line); }
.chart .ground { fill: var(--ground); }
.chart .curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
.chart .mark { stroke: var(--mark); stroke-dasharray: 3 3; } .chart .letter { fill: var(--mark); font-weight: 600; }
"""


def svg_line_chart(chart: Chart, title: str, description: str) -> str:
    """Return the chart as one SVG element, which is also a whole SVG file.

    Args:
        chart: the curves and marks.
        title: what the chart shows.
        description: the same in words, for who can't see it.
    """
    axes = Axes.of(chart)
    legend = list(_legend(chart))
    height = _HEIGHT + _LINE * len(legend) + 8
    body = [*_grid(axes), *_marks(axes, chart), *_curves(axes, chart)]
    x_middle, y_middle = (_LEFT + _WIDTH - _RIGHT) / 2, (_TOP + _HEIGHT - _BOTTOM) / 2
    cut = f" (values above {axes.y_high:.3g} at the upper edge)" if axes.is_cut else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}. {escape(description)}"><style>{_STYLE}</style>'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
        f'<rect class="ground" width="{_WIDTH}" height="{height}" rx="10"/>'
        f'<text class="title" x="{_LEFT}" y="18">{escape(title)}</text>{"".join(body)}'
        f'<text x="{x_middle}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(chart.x_label)}{escape(cut)}</text>'
        f'<text transform="translate(14 {y_middle}) rotate(-90)" text-anchor="middle">{escape(chart.y_label)}</text>'
        f"{''.join(legend)}</svg>\n"
    )


def _at(x: float, y: float) -> tuple[float, float]:
    """Return the pixels of a position in the plot."""
    return _LEFT + x * (_WIDTH - _LEFT - _RIGHT), _TOP + (1 - y) * (_HEIGHT - _TOP - _BOTTOM)


def _grid(axes: Axes) -> Iterator[str]:
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        _, y = _at(0, share)
        value = axes.y_low + share * (axes.y_high - axes.y_low)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
    for position, words in axes.ticks():
        x, y = _at(position, 0)
        yield f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{words}</text>'


def _marks(axes: Axes, chart: Chart) -> Iterator[str]:
    taken: dict[int, int] = {}
    for mark in chart.marks:
        x, top = _at(axes.x(mark.x), 1)
        row = taken[round(x / 12)] = taken.get(round(x / 12), -1) + 1
        yield f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{_HEIGHT - _BOTTOM}"/>'
        yield f'<text class="letter" x="{x + 4:.1f}" y="{top + 12 + 14 * row:.1f}">{escape(mark.letter)}</text>'


def _curves(axes: Axes, chart: Chart) -> Iterator[str]:
    for number, curve in reversed(list(enumerate(chart.curves))):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_at(*point) for point in axes.points(curve)))
        yield f'<polyline class="curve" {_stroke(number)} points="{points}"/>'


def _stroke(number: int) -> str:
    dashes = _DASHES[number % len(_DASHES)]
    return f'style="stroke:var(--c{number % len(_DASHES)})"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def _legend(chart: Chart) -> Iterator[str]:
    lines = [
        (f'<line class="curve" {_stroke(number)} x1="0" x2="26" y1="-4" y2="-4"/>', name)
        for number, name in enumerate(chart.names)
        if len(chart.names) > 1
    ]
    lines += [(f'<text class="letter" x="8">{escape(mark.letter)}</text>', mark.text) for mark in chart.marks]
    for row, (sign, words) in enumerate(lines):
        place = f"translate({_LEFT} {_HEIGHT + 6 + _LINE * row})"
        yield f'<g transform="{place}">{sign}<text x="34">{escape(words)}</text></g>'
