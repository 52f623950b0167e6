"""Renders one check of a preflight with its plot, for a terminal, as an SVG file or as an HTML page."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.render.charts import Chart, Mark
from service.cli.render.html_document import html_document
from service.cli.render.preflight_pages import check_row
from service.cli.render.svg_line_charts import svg_line_chart
from service.cli.render.text_charts import text_chart
from service.contract.preflight import Check, CheckStatus, LearningRateRange, PreflightResult


def check_page(result: PreflightResult) -> RenderableType:
    """Show the only check of a result: its sentence, its remedy and its plot."""
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    table.add_row(*check_row(result.checks[0]))
    parts: list[RenderableType] = [table]
    if (chart := chart_of(result)) is not None:
        parts += [Text(), Text(text_chart(chart), no_wrap=True)]
    return Group(*parts)


def chart_of(result: PreflightResult) -> Chart | None:
    """Return the chart of the only check of a result; None: it measured no curve."""
    check = result.checks[0]
    curves = [curve for curve in check.curves if any(y is not None for y in curve.y)]
    if not curves:
        return None
    found = result.learning_rate
    return Chart(curves, [curve.name for curve in curves], [] if found is None else list(_rates(found)))


def check_svg(result: PreflightResult, title: str) -> str | None:
    """Return the plot of the only check of a result as an SVG file; None: it measured no curve."""
    chart = chart_of(result)
    return None if chart is None else svg_line_chart(chart, title, _in_words(result.checks[0]))


def check_html(result: PreflightResult, title: str, source: str) -> str:
    """Return a page of the only check of a result, which loads nothing.

    Args:
        result: the result.
        title: what the check does.
        source: the study file.
    """
    check = result.checks[0]
    level = {CheckStatus.FAILED: "error", CheckStatus.WARNED: "warning"}.get(check.status, "note")
    remedy = f"<p>{escape(check.remedy)}</p>" if check.remedy else ""
    plot = check_svg(result, title)
    body = (
        f'<h1>{escape(title)}</h1><p class="quiet">{escape(source)}</p>'
        f'<ul class="findings"><li class="card finding {level}"><span class="level">'
        f"{check.status.replace('_', ' ')}</span><p>{escape(check.sentence)}</p>{remedy}</li></ul>"
        f"{'' if plot is None else f'<h2>Plot</h2>{plot}'}"
    )
    return html_document(f"{title}: {source}", body)


def _in_words(check: Check) -> str:
    return f"{check.sentence} {check.remedy or ''}".strip()


def _rates(found: LearningRateRange) -> Iterator[Mark]:
    """Yield the marks of a learning-rate range: where the loss falls, is steepest and explodes, and the proposal."""
    yield Mark(found.falls, "F", f"the loss begins to fall at {found.falls:.3g}")
    yield Mark(found.steepest, "S", f"it falls fastest at {found.steepest:.3g}")
    if found.explodes is not None:
        yield Mark(found.explodes, "E", f"it explodes at {found.explodes:.3g}")
    yield Mark(found.proposed, "P", f"proposed: begin with optimizer.lr = {found.proposed:g}")
