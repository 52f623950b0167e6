"""Renders the report of `study look` for a terminal, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from service.cli.look.report import Association, Column, Count, Example, Finding, Histogram, Images, Report, Target
from service.cli.look.wording import counted, percent, short_number
from service.cli.scaffold import mapping

LEVEL_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
MEASURES = {"pearson": "r", "spearman": "ρ", "cramers_v": "V", "correlation_ratio": "η"}  # noqa: RUF001
MEASURE_NAMES = "r Pearson, ρ Spearman, V Cramér's V, η correlation ratio"  # noqa: RUF001

EXAMPLES = {"table": "rows", "images": "images", "text": "windows of 128 tokens"}
"""What the examples of each kind of report are."""

_BLOCKS = "▁▂▃▄▅▆▇█"
_BAR_WIDTH, _NUM_COLUMNS, _NUM_CLASSES, _NUM_STRONGEST, _NAME_WIDTH = 30, 30, 10, 8, 20
_EXAMPLE_LENGTH = 240


def look_page(report: Report) -> RenderableType:
    """Show what was found in a data file, the findings first."""
    parts: list[RenderableType] = [_text(headline(report), "bold"), *(_text(note, "dim") for note in report.notes)]
    parts += [*_section(findings_title(report), _findings(report.findings))]
    if report.target is not None:
        parts += _section(target_title(report.target), _target(report.target))
    if report.images is not None:
        parts += _section("Images", _images(report.images))
    parts += _section("Columns", _columns(report))
    parts += _section(f"Strongest association with the target ({MEASURE_NAMES})", _strongest(report))
    parts += _section("Missing together", _missing(report))
    parts += _section("Examples", _examples(report.examples))
    if report.target is not None or report.kind != "table":
        parts += ["", _text(f"In the study file:  data: {mapping(report.data)}")]
    return Group(*parts)


def summary_lines(report: Report) -> list[str]:
    """Return the headline and the findings in lines of text, as `study init` prints them."""
    lines = [headline(report), *report.notes, findings_title(report)]
    lines += [f"  {finding.level}: {finding.sentence}" for finding in report.findings]
    return [_clean(line) for line in lines]


def headline(report: Report) -> str:
    """Return the first line: the file, its size, and its target."""
    counts = [f"{report.num_examples:,} {EXAMPLES[report.kind]}"]
    if report.kind == "table":
        counts.append(counted(len(report.columns), "column"))
    if report.target is not None:
        counts.append(f"target {report.target.name} ({report.target.kind})")
    return f"{report.source}: {', '.join(counts)}"


def findings_title(report: Report) -> str:
    """Return how many findings of each level there are."""
    levels = [finding.level for finding in report.findings]
    counts = [counted(levels.count(level), level) for level in LEVEL_STYLES if level in levels]
    return f"Findings: {', '.join(counts)}" if counts else "Findings: none"


def target_title(target: Target) -> str:
    """Return a line about the target."""
    if target.numbers is not None:
        numbers = target.numbers
        return (
            f"Target {target.name}: {short_number(numbers.low)} to {short_number(numbers.high)}, "
            f"mean {short_number(numbers.mean)}, standard deviation {short_number(numbers.std)}"
        )
    return f"Target {target.name}: {counted(len(target.classes), 'class', 'classes')}"


def association_words(association: Association) -> str:
    """Return an association with the sign of its measure."""
    return f"{MEASURES[association.measure]} {round(association.value, 2) + 0.0:.2f}"


def strongest_columns(report: Report, num: int) -> list[tuple[Column, Association]]:
    """Return the columns with the strongest association with the target, and that association."""
    pairs = [
        (column, max(column.associations, key=lambda each: abs(each.value)))
        for column in report.columns
        if column.associations
    ]
    return sorted(pairs, key=lambda pair: -abs(pair[1].value))[:num]


def _section(title: str, body: list[RenderableType]) -> list[RenderableType]:
    return ["", _text(title, "bold"), *(Padding(each, (0, 0, 0, 2), expand=False) for each in body)] if body else []


def _findings(findings: list[Finding]) -> list[RenderableType]:
    if not findings:
        return [Text("nothing stands out")]
    table = Table.grid(padding=(0, 1))
    for finding in findings:
        table.add_row(Text(finding.level, style=LEVEL_STYLES[finding.level]), _text(finding.sentence))
    return [table]


def _target(target: Target) -> list[RenderableType]:
    if target.numbers is not None:
        return [Text(_sparkline(target.numbers.histogram))]
    return [_bars(target.classes, _NUM_CLASSES, sum(each.count for each in target.classes))]


def _bars(counts: list[Count], num: int, total: int) -> Table:
    table = Table.grid(padding=(0, 2))
    most = max((each.count for each in counts), default=1)
    for each in counts[:num]:
        bar = "█" * max(1, round(_BAR_WIDTH * each.count / most))
        table.add_row(
            _text(_short(each.value)), Text(f"{each.count:,}", justify="right"), bar, percent(each.count / total)
        )
    if len(counts) > num:
        table.add_row(f"… {len(counts) - num:,} more", "", "", "")
    return table


def _columns(report: Report) -> list[RenderableType]:
    if not report.columns:
        return []
    has_target = report.target is not None
    has_gaps = any(column.num_missing for column in report.columns)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("column", overflow="fold", max_width=_NAME_WIDTH)
    table.add_column("what training reads", ratio=1)
    if has_gaps:
        table.add_column("missing", justify="right")
    table.add_column("values", no_wrap=True)
    if has_target:
        table.add_column("target", no_wrap=True)
        table.add_column("score", justify="right")
    for column in report.columns[:_NUM_COLUMNS]:
        related = "\n".join(association_words(each) for each in column.associations)
        score = "" if column.prediction_score is None else f"{max(0.0, column.prediction_score):.2f}"
        table.add_row(
            _text(column.name),
            _text(column.treatment),
            *((percent(column.missing_share) if column.num_missing else "",) if has_gaps else ()),
            Text(_distribution(column)),
            *((related, score) if has_target else ()),
        )
    rest = len(report.columns) - _NUM_COLUMNS
    return [table, *([Text(f"… {rest:,} more: --json and --html have all", style="dim")] if rest > 0 else [])]


def _distribution(column: Column) -> str:
    if column.numbers is not None:
        return _sparkline(column.numbers.histogram, 12)
    if column.texts is not None:
        return f"{column.texts.words.median:.0f} words"
    return f"{column.num_distinct:,} different" if column.most_frequent else ""


def _sparkline(histogram: Histogram, width: int | None = None) -> str:
    """Return a histogram as one line of blocks; neighbouring bins are added up if there are more than `width`."""
    counts = histogram.counts
    if width is not None and len(counts) > width:
        size = -(-len(counts) // width)
        counts = [sum(counts[start : start + size]) for start in range(0, len(counts), size)]
    most = max(counts, default=0) or 1
    return "".join(" " if not count else _BLOCKS[(len(_BLOCKS) - 1) * count // most] for count in counts)


def _strongest(report: Report) -> list[RenderableType]:
    table = Table.grid(padding=(0, 2))
    strongest = strongest_columns(report, _NUM_STRONGEST)
    for column, association in strongest:
        bar = "█" * max(1, round(_BAR_WIDTH * abs(association.value)))
        table.add_row(_text(_short(column.name)), association_words(association), bar)
    return [table] if strongest else []


def image_facts(images: Images) -> list[tuple[str, str]]:
    """Return names and values of what is known about images."""
    return [
        ("sizes", _most(images.sizes)),
        ("channels", _most(images.channels)),
        ("formats", _most(images.formats)),
        ("brightness", f"{images.brightness.low:.0f} to {images.brightness.high:.0f} of 255"),
        ("cannot be read", f"{images.num_broken:,}"),
        ("repeat another one", f"{images.num_duplicates:,}"),
    ]


def _most(counts: list[Count]) -> str:
    shown = ", ".join(f"{each.value or 'none'} ({each.count:,})" for each in counts[:4])
    return f"{shown}, …" if len(counts) > 4 else shown


def _images(images: Images) -> list[RenderableType]:
    table = Table.grid(padding=(0, 2))
    for name, value in image_facts(images):
        table.add_row(name, _text(value))
    return [table]


def _missing(report: Report) -> list[RenderableType]:
    return [
        _text(
            f"{counted(pattern.num_rows, 'row')}: {', '.join(pattern.columns[:6])}"
            f"{' …' if len(pattern.columns) > 6 else ''}"
            if pattern.columns
            else f"{counted(pattern.num_rows, 'row')}: complete"
        )
        for pattern in report.missing_patterns
    ]


def _examples(examples: list[Example]) -> list[RenderableType]:
    return list(_example_lines(examples))


def _example_lines(examples: list[Example]) -> Iterator[RenderableType]:
    for example in examples:
        values = ", ".join(f"{name}={value}" for name, value in example.values.items())
        shown = values if len(values) <= _EXAMPLE_LENGTH else f"{values[: _EXAMPLE_LENGTH - 1]}…"
        why = f"rare, {example.why}: " if example.why else ""
        yield _text(f"{example.index}  {why}{shown}")


def _text(text: str, style: str = "") -> Text:
    """Return a text of the data without control characters, which a terminal would obey."""
    return Text(_clean(text), style=style)


def _clean(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _short(text: str) -> str:
    return text if len(text) <= _NAME_WIDTH else f"{text[: _NAME_WIDTH - 1]}…"
