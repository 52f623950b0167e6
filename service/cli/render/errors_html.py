"""Renders the report of `study errors` as one HTML file: inline style and pictures, no script, nothing loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from service.cli.errors import sentences
from service.cli.errors.report import ErrorExample, ErrorGroup, ErrorsReport, LabelSuspect
from service.cli.look.wording import percent
from service.cli.render import svg_charts
from service.cli.render.html_document import html_document

_NUM_COLUMNS = 12


def errors_html(report: ErrorsReport) -> str:
    """Return the page of a report as one HTML document."""
    title = f"{report.study}, trial {report.trial}"
    return html_document(f"{title}: {sentences.headline(report)}", "".join(_sections(report, title)))


def _sections(report: ErrorsReport, title: str) -> Iterator[str]:
    yield f"<h1>Errors of {escape(title)}</h1>"
    yield f'<p class="quiet">{escape(sentences.headline(report))}</p>'
    yield from (f'<p class="quiet">{escape(note)}</p>' for note in sentences.notes(report))
    yield _tiles(report)
    steps = "".join(f'<li class="card finding warning"><p>{escape(each)}</p></li>' for each in _first_steps(report))
    yield f'<h2>What to look at first</h2><ul class="findings">{steps}</ul>'
    yield _label_errors(report)
    yield _confusions(report)
    by = "range of the target" if report.kind == "regression" else "class"
    yield _groups(report, f"Error by {by}", report.classes)
    yield _columns(report)
    for category in report.categories:
        without = f"; {category.num_without:,} examples have none" if category.num_without else ""
        yield _groups(report, f"Error by {category.name}{without}", category.groups)
    yield _worst(report)


def _first_steps(report: ErrorsReport) -> list[str]:
    return [f"{each[0].upper()}{each[1:]}." for each in sentences.first_steps(report)] or ["Nothing stands out."]


def _tiles(report: ErrorsReport) -> str:
    tiles = [
        (f"{report.value:.4g}", f"{report.split}/{report.metric}"),
        (f"{report.num_examples:,}", "queries" if report.kind == "ranking" else "examples"),
    ]
    if report.num_mistakes is not None:
        tiles.insert(1, (f"{report.num_mistakes:,}", "of them wrong"))
    if report.label_errors is not None:
        tiles.append((f"{report.label_errors.num_suspects:,}", "likely label errors"))
    cards = (f'<div class="card"><b>{number}</b><span class="quiet">{words}</span></div>' for number, words in tiles)
    return f'<div class="tiles">{"".join(cards)}</div>'


def _label_errors(report: ErrorsReport) -> str:
    found = report.label_errors
    if found is None:
        return ""
    words = f'<p class="quiet">{escape(sentences.trials_used(found))}</p>'
    if not found.suspects:
        return f"<h2>Likely label errors</h2>{words}<p>{escape(sentences.no_suspects(report))}</p>"

    def why(each: ErrorExample) -> str:
        assert isinstance(each, LabelSuspect)
        return f"labelled {each.label}; {sentences.reason(report, found, each)}"

    examples = _examples(found.suspects, [why(each) for each in found.suspects])
    return f"<h2>Likely label errors</h2>{words}{examples}{_more(len(found.suspects), found.num_suspects)}"


def _confusions(report: ErrorsReport) -> str:
    if not report.confusions:
        return ""
    rows = []
    for pair in report.confusions:
        of_all, gain = percent(pair.share_of_error), sentences.gain(report, pair)
        words = f"{pair.num_examples:,} · {of_all} of all errors · gains at most {gain}"
        rows.append((f"{pair.label} taken for {pair.prediction}", float(pair.num_examples), words))
    more = _more(len(rows), report.num_confused_pairs)
    return f'<h2>Most confused classes</h2><div class="card">{svg_charts.bars(rows)}{more}</div>'


def _groups(report: ErrorsReport, title: str, groups: Sequence[ErrorGroup]) -> str:
    if not groups:
        return ""
    return f"<h2>{escape(title)}</h2>{_group_card(report, groups, [each.name for each in groups])}"


def _columns(report: ErrorsReport) -> str:
    if not report.num_columns:
        return ""
    words = f'<p class="quiet">{escape(sentences.columns_compared(report))}</p>'
    names = [f"{each.column}: {each.name}" for each in report.columns]
    card = _group_card(report, report.columns, names) if report.columns else ""
    none = "" if report.columns else "<p>None differs from the rest by more than noise.</p>"
    return f"<h2>Error by column</h2>{words}{card}{none}"


def _group_card(report: ErrorsReport, groups: Sequence[ErrorGroup], names: Sequence[str]) -> str:
    """Return a bar per group; those beyond noise are in the second colour, with their difference."""
    rows = []
    for group, name in zip(groups, names, strict=True):
        wrong = f"{group.num_mistakes:,} of " if group.num_mistakes is not None else ""
        words = f"{sentences.error(report, group.error)} · {wrong}{group.num_examples:,} · gains at most "
        words += sentences.gain(report, group)
        rows.append((name, -group.error if group.is_beyond_noise else group.error, words))
    differences = [
        f"{name}: {sentences.against_rest(report, group)}"
        for group, name in zip(groups, names, strict=True)
        if group.is_beyond_noise
    ]
    legend = "In the second colour: differs from the rest by more than noise." if differences else (
        "None differs from the rest by more than noise."
    )  # fmt: skip
    lines = "".join(f'<p class="quiet">{escape(each)}</p>' for each in [legend, *differences])
    return f'<div class="card">{svg_charts.bars(rows)}{lines}</div>'


def _worst(report: ErrorsReport) -> str:
    if not report.worst:
        return "<h2>Worst examples</h2><p>No example is wrong.</p>"
    title = "Worst queries" if report.kind == "ranking" else "Worst examples"
    return f"<h2>{title}</h2>{_examples(report.worst, [sentences.answer(report, each) for each in report.worst])}"


def _examples(examples: Sequence[ErrorExample], words: Sequence[str]) -> str:
    """Return examples as pictures, as texts, or as rows of a table."""
    pairs = list(zip(examples, words, strict=True))
    if any(each.image for each in examples):
        figures = (
            f'<figure><img src="{escape(each.image or "")}" alt="{escape(why)}"><figcaption><b>{escape(str(each.id))}'
            f"</b> {escape(why)}</figcaption></figure>"
            for each, why in pairs
        )
        return f'<div class="pictures">{"".join(figures)}</div>'
    names = list(examples[0].values)[:_NUM_COLUMNS] if examples[0].text is None else []
    has_text = examples[0].text is not None
    head = "".join(f"<th>{escape(name)}</th>" for name in ["id", "", *(["text"] if has_text else names)])
    rows = "".join(
        f'<tr><td>{escape(str(each.id))}</td><td class="why">{escape(why)}</td>'
        + (
            f'<td class="why">{escape(each.text or "")}</td>'
            if has_text
            else "".join(f"<td>{escape(each.values.get(name, ''))}</td>" for name in names)
        )
        + "</tr>"
        for each, why in pairs
    )
    return f'<div class="card scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _more(shown: int, num: int) -> str:
    return f'<p class="quiet">and {num - shown:,} more: --top {num}</p>' if num > shown else ""
