"""Renders the report of `study errors` for a terminal, readable at 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from service.cli.errors import sentences
from service.cli.errors.report import ErrorExample, ErrorGroup, ErrorsReport
from service.cli.look.wording import percent

_SEPARATOR = "taken for"


def errors_page(report: ErrorsReport) -> RenderableType:
    """Show what a model gets wrong, what is worth fixing first, and the examples."""
    parts: list[RenderableType] = [
        Text(f"{report.study}, trial {report.trial}: {sentences.headline(report)}", "bold"),
        *(Text(note, "yellow") for note in sentences.notes(report)),
    ]
    for title, section in _sections(report):
        if section:
            parts += [Text(), Text(title, "bold"), *(Padding(each, (0, 0, 0, 2), expand=False) for each in section)]
    return Group(*parts)


def _sections(report: ErrorsReport) -> Iterator[tuple[str, list[RenderableType]]]:
    yield "What to look at first", [Text(f"• {each}") for each in sentences.first_steps(report)]
    yield "Likely label errors", list(_label_errors(report))
    yield "Most confused classes", list(_confusions(report))
    by = "range of the target" if report.kind == "regression" else "class"
    yield f"Error by {by}", list(_groups(report, report.classes, by))
    if report.num_columns:
        yield "Error by column", list(_columns(report))
    for category in report.categories:
        without = f"; {category.num_without:,} examples have none" if category.num_without else ""
        yield f"Error by {category.name}{without}", list(_groups(report, category.groups, "category"))
    yield "Worst queries" if report.kind == "ranking" else "Worst examples", list(_worst(report))


def _label_errors(report: ErrorsReport) -> Iterator[RenderableType]:
    found = report.label_errors
    if found is None:
        return
    yield Text(sentences.trials_used(found))
    if not found.suspects:
        yield Text(sentences.no_suspects(report))
        return
    rows = [[str(each.id), each.label, sentences.reason(report, found, each)] for each in found.suspects]
    yield _examples(("id", "label", "why it is suspect"), rows, found.suspects)
    yield from _more(len(found.suspects), found.num_suspects)


def _confusions(report: ErrorsReport) -> Iterator[RenderableType]:
    if not report.confusions:
        return
    table = _table("class", _SEPARATOR, "examples", "of all errors", "fixing gains at most", "ids", right=(2, 3))
    for pair in report.confusions:
        table.add_row(
            pair.label,
            pair.prediction,
            f"{pair.num_examples:,}",
            percent(pair.share_of_error),
            sentences.gain(report, pair),
            _ids(pair.ids, pair.num_examples),
        )
    yield table
    yield from _more(len(report.confusions), report.num_confused_pairs)


def _ids(ids: Sequence[int | str], num: int) -> str:
    return ", ".join(map(str, ids[:3])) + (", …" if num > 3 else "")


def _groups(report: ErrorsReport, groups: Sequence[ErrorGroup], title: str) -> Iterator[RenderableType]:
    if not groups:
        return
    table = _table(title, *_group_titles(report), right=(1, 2, 3))
    for group in groups:
        table.add_row(group.name, *_group_cells(report, group), style="" if group.is_beyond_noise else "dim")
    yield table
    if not any(group.is_beyond_noise for group in groups):
        yield Text("None differs from the rest by more than noise.")


def _columns(report: ErrorsReport) -> Iterator[RenderableType]:
    yield Text(sentences.columns_compared(report))
    if not report.columns:
        yield Text("None differs from the rest by more than noise.")
        return
    table = _table("column", "group", *_group_titles(report), right=(2, 3, 4))
    for group in report.columns:
        table.add_row(group.column, group.name, *_group_cells(report, group))
    yield table


def _group_titles(report: ErrorsReport) -> tuple[str, ...]:
    shown = "wrong" if report.num_mistakes is not None else "error"
    return "examples", shown, "of all errors", "difference from the rest", "fixing gains at most"


def _group_cells(report: ErrorsReport, group: ErrorGroup) -> list[str]:
    wrong = f"{group.num_mistakes:,} = " if group.num_mistakes is not None else ""
    difference = ""
    if group.low is not None and group.high is not None:
        low, high = (sentences.error_difference(report, each) for each in (group.low, group.high))
        difference = f"{low.removesuffix(' points')} to {high}"
    return [
        f"{group.num_examples:,}",
        f"{wrong}{sentences.error(report, group.error)}",
        percent(group.share_of_error),
        difference,
        sentences.gain(report, group),
    ]


def _worst(report: ErrorsReport) -> Iterator[RenderableType]:
    if not report.worst:
        yield Text("No example is wrong.")
        return
    rows = [[str(each.id), sentences.answer(report, each)] for each in report.worst]
    yield _examples(("query" if report.kind == "ranking" else "id", "answer"), rows, report.worst)


def _examples(titles: Sequence[str], rows: Sequence[list[str]], examples: Sequence[ErrorExample]) -> RenderableType:
    """Return a table of examples, with their content where they have one that a terminal can show."""
    contents = [sentences.content(each) for each in examples]
    table = _table(*titles, *(["example"] if any(contents) else []))
    for row, content in zip(rows, contents, strict=True):
        table.add_row(*row, *([content] if any(contents) else []))
    return table


def _table(*titles: str, right: Sequence[int] = ()) -> Table:
    table = Table(*titles, box=None, pad_edge=False)
    for place in right:
        table.columns[place].justify = "right"
    return table


def _more(shown: int, num: int) -> Iterator[RenderableType]:
    if num > shown:
        yield Text(f"and {num - shown:,} more: --top {num}", "dim")
