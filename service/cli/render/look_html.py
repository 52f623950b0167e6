"""Renders the report of `study look` as one HTML file: inline style and SVG, no script, nothing loaded."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from service.cli.look.report import Column, Example, Finding, MissingPattern, Numbers, Report, Target
from service.cli.look.wording import counted, percent, short_number
from service.cli.render import svg_charts
from service.cli.render.html_document import html_document
from service.cli.render.look_pages import (
    EXAMPLES,
    MEASURE_NAMES,
    association_words,
    findings_title,
    headline,
    image_facts,
    strongest_columns,
)
from service.cli.scaffold import mapping

_NUM_COLUMNS, _NUM_STRONGEST, _NUM_CLASSES, _NUM_VALUES, _EXAMPLE_COLUMNS = 200, 20, 20, 6, 12


def html_page(report: Report) -> str:
    """Return the page of a report as one HTML document."""
    body = "".join(section for section in _sections(report) if section)
    return html_document(headline(report), body)


def _sections(report: Report) -> Iterator[str]:
    yield f"<h1>{escape(report.source)}</h1>"
    yield f'<p class="quiet">{escape(headline(report).removeprefix(f"{report.source}: "))}</p>'
    yield from (f'<p class="quiet">{escape(note)}</p>' for note in report.notes)
    yield _tiles(report)
    yield f"<h2>{escape(findings_title(report))}</h2>{_findings(report.findings)}"
    yield _target_and_strongest(report)
    if report.images is not None:
        yield f'<h2>Images</h2><div class="card wide">{_facts(image_facts(report.images))}</div>'
    yield _columns(report)
    yield _missing(report.missing_patterns, report)
    yield _examples(report.examples)
    if report.target is not None or report.kind != "table":
        section = f"data: {mapping(report.data)}"
        yield f'<h2>In the study file</h2><div class="card"><code>{escape(section)}</code></div>'


def _tiles(report: Report) -> str:
    missing = [column.missing_share for column in report.columns]
    tiles = [(f"{report.num_examples:,}", EXAMPLES[report.kind])]
    if report.kind == "table":
        tiles.append((f"{len(report.columns):,}", "columns"))
    if missing and report.kind == "table":
        tiles.append((percent(sum(missing) / len(missing)), "of the values missing"))
    tiles.append((f"{report.num_duplicates:,}", "repeat an earlier one"))
    cards = (f'<div class="card"><b>{number}</b><span class="quiet">{words}</span></div>' for number, words in tiles)
    return f'<div class="tiles">{"".join(cards)}</div>'


def _findings(findings: list[Finding]) -> str:
    if not findings:
        return '<div class="card">Nothing stands out.</div>'
    items = (
        f'<li class="card finding {finding.level}"><span class="level">{finding.level} · {finding.rule}</span>'
        f"<p>{_with_code(_sentence(finding.message))}</p><p>{_with_code(_sentence(finding.remedy))}</p></li>"
        for finding in findings
    )
    return f'<ul class="findings">{"".join(items)}</ul>'


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _with_code(text: str) -> str:
    """Return the text as HTML, with what is in backticks as code."""
    parts = escape(text).split("`")
    if len(parts) % 2 == 0:  # a name contains a backtick
        return escape(text)
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))


def _target_and_strongest(report: Report) -> str:
    if report.target is None:
        return ""
    strongest = [
        (column.name, association.value, association_words(association))
        for column, association in strongest_columns(report, _NUM_STRONGEST)
    ]
    cards = f'<div class="card">{_target(report.target)}</div>'
    if strongest:
        cards += (
            f'<div class="card">{svg_charts.bars(strongest, most=1)}<p class="quiet">{escape(MEASURE_NAMES)}; '
            "negative ones in the second colour</p></div>"
        )
    title = escape(f"Target {report.target.name}{', and what is associated with it' if strongest else ''}")
    return f'<h2>{title}</h2><div class="two">{cards}</div>'


def _target(target: Target) -> str:
    if target.numbers is not None:
        return svg_charts.histogram(target.numbers, 120, 360) + _facts(_number_facts(target.numbers))
    return svg_charts.count_bars(target.classes, _NUM_CLASSES, sum(each.count for each in target.classes))


def _columns(report: Report) -> str:
    if not report.columns:
        return ""
    cards = "".join(_column(column, report) for column in report.columns[:_NUM_COLUMNS])
    rest = len(report.columns) - _NUM_COLUMNS
    more = f'<p class="quiet">and {rest:,} more columns: --json has all</p>' if rest > 0 else ""
    return f'<h2>Columns</h2><div class="columns">{cards}</div>{more}'


def _column(column: Column, report: Report) -> str:
    plot = ""
    facts: list[tuple[str, str]] = []
    if column.numbers is not None:
        plot = svg_charts.histogram(column.numbers)
        facts = _number_facts(column.numbers)
    elif column.texts is not None:
        texts = column.texts
        plot = svg_charts.histogram(texts.words)
        facts = [
            ("words per text", f"{texts.words.q1:.0f} to {texts.words.q3:.0f}, up to {texts.words.high:.0f}"),
            ("different words", f"{texts.vocabulary:,}, {texts.num_rare_words:,} of them once"),
            ("most frequent", ", ".join(each.value for each in texts.most_frequent[:6])),
        ]
    elif column.most_frequent and column.kind != "moments":
        plot = svg_charts.count_bars(column.most_frequent, _NUM_VALUES, report.num_sampled)
        facts = [("different values", f"{column.num_distinct:,}")]
    if column.num_missing:
        facts.append(("missing", f"{column.num_missing:,} · {percent(column.missing_share)}"))
    if column.associations:
        facts.append(("with the target", ", ".join(association_words(each) for each in column.associations)))
    if column.prediction_score is not None:
        facts.append(("score alone", f"{max(0.0, column.prediction_score):.2f}"))
    return (
        f'<div class="card column"><div class="head"><h3>{escape(column.name)}</h3>'
        f'<span class="badge">{column.kind}</span></div>'
        f'<p class="treatment">{escape(column.treatment)}</p>{plot}{_facts(facts)}</div>'
    )


def _number_facts(numbers: Numbers) -> list[tuple[str, str]]:
    facts = [
        ("mean ± std", f"{short_number(numbers.mean)} ± {short_number(numbers.std)}"),
        ("quartiles", " · ".join(map(short_number, (numbers.q1, numbers.median, numbers.q3)))),
    ]
    return facts + ([("outliers", f"{numbers.num_outliers:,}")] if numbers.num_outliers else [])


def _facts(facts: list[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in facts)}</dl>"


def _missing(patterns: list[MissingPattern], report: Report) -> str:
    if not patterns:
        return ""
    rows = [
        (
            ", ".join(pattern.columns) or "complete rows",
            float(pattern.num_rows),
            f"{counted(pattern.num_rows, 'row')} · {percent(pattern.num_rows / report.num_sampled)}",
        )
        for pattern in patterns
    ]
    return f'<h2>Missing in the same rows</h2><div class="card">{svg_charts.bars(rows)}</div>'


def _examples(examples: list[Example]) -> str:
    pictures = [example for example in examples if example.image is not None]
    if pictures:
        return f'<h2>Examples</h2><div class="pictures">{"".join(map(_picture, pictures))}</div>'
    if not examples:
        return ""
    names = list(examples[0].values)[:_EXAMPLE_COLUMNS]
    head = "".join(f"<th>{escape(name)}</th>" for name in ["row", "", *names])
    rows = "".join(
        f'<tr><td>{example.index:,}</td><td class="why">{escape(example.why or "random")}</td>'
        f"{''.join(f'<td>{escape(example.values.get(name, str()))}</td>' for name in names)}</tr>"
        for example in examples
    )
    return (
        f'<h2>Examples</h2><div class="card scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _picture(example: Example) -> str:
    words = ", ".join(example.values.values()) + (f": {example.why}" if example.why else "")
    return f'<figure><img src="{escape(example.image or "")}" alt=""><figcaption>{escape(words)}</figcaption></figure>'
