"""Renders the report of `study data-curve` for a terminal and as an HTML page, with a plot."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.data_curve.report import DataCurveReport
from service.cli.look.wording import percent
from service.cli.render.charts import Chart
from service.cli.render.html_document import html_document
from service.cli.render.svg_line_charts import svg_line_chart
from service.cli.render.text_charts import text_chart
from service.contract.preflight import Curve

_TITLE = "Value by the number of training examples"


def data_curve_page(report: DataCurveReport) -> RenderableType:
    """Show what more data would give, the measured values, and the curve."""
    table = Table("data", "examples", report.metric, "± seeds", _train_name(report), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for point in report.points:
        train = "" if point.train_mean is None else f"{point.train_mean:.4g}"
        table.add_row(
            percent(point.fraction), f"{point.num_examples:,}", f"{point.mean:.4g}", f"{point.std:.2g}", train
        )
    for each in report.expected:
        interval = f"{each.low:.4g} to {each.high:.4g}"
        table.add_row(f"× {each.factor}", f"{each.num_examples:,}", f"{each.value:.4g}", interval, "", style="dim")  # noqa: RUF001
    return Group(
        Text(report.sentence, "bold"),
        Text(_measured(report), "dim"),
        Text(),
        table,
        Text(),
        Text(text_chart(_chart(report)), no_wrap=True),
    )


def data_curve_html(report: DataCurveReport) -> str:
    """Return the report as one HTML document, which loads nothing."""
    rows = "".join(
        f"<tr><td>{percent(point.fraction)}</td><td>{point.num_examples:,}</td><td>{point.mean:.4g}</td>"
        f"<td>± {point.std:.2g}</td><td>{'' if point.train_mean is None else f'{point.train_mean:.4g}'}</td></tr>"
        for point in report.points
    )
    rows += "".join(
        f"<tr><td>× {each.factor}</td><td>{each.num_examples:,}</td><td>{each.value:.4g}</td>"  # noqa: RUF001
        f"<td>{each.low:.4g} to {each.high:.4g}</td><td></td></tr>"
        for each in report.expected
    )
    heads = ("data", "examples", report.metric, "± seeds, or 90 % interval", _train_name(report))
    titles = "".join(f"<th>{escape(each)}</th>" for each in heads)
    level = "note" if report.verdict == "more_data_helps" else "warning"
    body = (
        f'<h1>Would more data help?</h1><p class="quiet">{escape(report.source)}</p>'
        f'<ul class="findings"><li class="card finding {level}"><p>{escape(report.sentence)}</p></li></ul>'
        f'<p class="quiet">{escape(_measured(report))}</p>'
        f"<h2>Plot</h2>{svg_line_chart(_chart(report), _TITLE, report.sentence)}"
        f'<h2>Values</h2><div class="card scroll"><table><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>'
        "</div>"
    )
    return html_document(f"Would more data help? {report.source}", body)


def _train_name(report: DataCurveReport) -> str:
    return report.metric.replace("val/", "train/", 1)


def _measured(report: DataCurveReport) -> str:
    return (
        f"{report.num_seeds} trainings on each part, the same validation examples for all, each in its best epoch. "
        "What more data would give is the extrapolation of a power law, with its interval of 90 % over seeds; other "
        "validation examples and another configuration may differ more."
    )


def _chart(report: DataCurveReport) -> Chart:
    sizes = [point.num_examples for point in report.points]
    later = [(sizes[-1], report.points[-1].mean), *((each.num_examples, each.value) for each in report.expected)]
    curves = [
        _curve(report, "measured on validation examples", sizes, [point.mean for point in report.points]),
        _curve(report, "expected of more data", [x for x, _ in later], [y for _, y in later]),
    ]
    trained = [point.train_mean for point in report.points]
    if None not in trained:
        curves.append(_curve(report, "measured on training examples", sizes, trained))
    return Chart(curves, [curve.name for curve in curves])


def _curve(report: DataCurveReport, name: str, x: Sequence[int], y: Sequence[float | None]) -> Curve:
    return Curve(
        name=name, x_label="training examples", y_label=report.metric, x=list(map(float, x)), y=list(y), log_x=True
    )
