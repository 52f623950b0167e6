"""Draws line charts with characters, for a terminal or a log file."""

from __future__ import annotations

from collections.abc import Sequence

from service.cli.render.charts import Axes, Chart, Mark

_WIDTH, _HEIGHT = 64, 14
_MARGIN = 10
_POINTS = "•abcdefgh"


def text_chart(chart: Chart) -> str:
    """Return the chart as lines of text: one curve as dots, several curves as a letter each."""
    axes = Axes.of(chart)
    cells = [[" "] * _WIDTH for _ in range(_HEIGHT)]
    for mark in chart.marks:
        for row in cells:
            row[_column(axes.x(mark.x))] = "┊"
    letters = _POINTS[0] if len(chart.curves) == 1 else _POINTS[1:]
    # The first curve is the configured one, so it is drawn last, over the others.
    for curve, letter in reversed(list(zip(chart.curves, letters, strict=False))):
        points = list(axes.points(curve))
        for column in range(_WIDTH):
            if (height := _height_at(points, column)) is not None:
                cells[_HEIGHT - 1 - round(height * (_HEIGHT - 1))][column] = letter
    low, high = f"{axes.y_low:.3g}", f"{'≥' if axes.is_cut else ''}{axes.y_high:.3g}"
    labels = {0: high, _HEIGHT - 1: low}
    lines = [f"{chart.y_label:>{_MARGIN}}"] if len(chart.y_label) <= _MARGIN else [chart.y_label]
    lines += [f"{labels.get(at, ''):>{_MARGIN}}│{''.join(row)}" for at, row in enumerate(cells)]
    lines.append(f"{'':>{_MARGIN}}└{'─' * _WIDTH}")
    lines += [f"{'':>{_MARGIN}} {row}" for row in _rows_of_marks(axes, chart.marks)]
    lines.append(f"{'':>{_MARGIN}} {_ticks(axes)}")
    lines.append(f"{'':>{_MARGIN}} {chart.x_label:^{_WIDTH}}")
    if len(chart.curves) > 1:
        lines += [f"{letter}  {name}" for letter, name in zip(letters, chart.names, strict=False)]
    lines += [f"{mark.letter}  {mark.text}" for mark in chart.marks]
    return "\n".join(line.rstrip() for line in lines)


def _column(position: float) -> int:
    return round(position * (_WIDTH - 1))


def _height_at(points: Sequence[tuple[float, float]], column: int) -> float | None:
    """Return the mean height of the points in a column, or that of the line between its neighbours."""
    inside = [y for x, y in points if _column(x) == column]
    if inside:
        return sum(inside) / len(inside)
    x = column / (_WIDTH - 1)
    before = [point for point in points if point[0] < x]
    after = [point for point in points if point[0] > x]
    if not before or not after:
        return None
    (x0, y0), (x1, y1) = before[-1], after[0]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def _rows_of_marks(axes: Axes, marks: Sequence[Mark]) -> list[str]:
    """Return lines with the letters of the marks; letters for one place stand below each other."""
    rows: list[list[str]] = []
    for mark in marks:
        column = _column(axes.x(mark.x))
        row = next((row for row in rows if row[column] == " "), None)
        if row is None:
            row = [" "] * _WIDTH
            rows.append(row)
        row[column] = mark.letter
    return ["".join(row) for row in rows]


def _ticks(axes: Axes) -> str:
    line = [" "] * (_WIDTH + 8)
    free = 0
    for position, words in axes.ticks():
        start = max(0, min(_column(position) - len(words) // 2, _WIDTH - len(words)))
        if start >= free:
            line[start : start + len(words)] = words
            free = start + len(words) + 1
    return "".join(line)
