"""Rules about single columns: constant, identifying, missing, out of range, unreadable, or dates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime

import numpy as np

from service.cli.look.report import Finding
from service.cli.look.statistics import LARGEST
from service.cli.look.table_facts import ColumnFacts, TableFacts
from service.cli.look.wording import columns_that, counted, named, percent

_ID_NAME = re.compile(r"(^|_|\b)(id|ids|uuid|guid|index|idx|key|rownum|row_number|serial|unnamed: \d+)$", re.IGNORECASE)
_OWNER_NAME = re.compile(
    r"(^|_|\b)(patient|subject|person|user|customer|client|session|household|family|site|hospital|speaker|author|group)"
    r"(_?(id|nr|no|number|key|code))?$",
    re.IGNORECASE,
)
_CODE_NAME = re.compile(r"(^|_|\b)(zip|zipcode|zip_code|postcode|postal_code|plz|pclass|area_code)$", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_DATES = (
    (re.compile(r"\d{1,2}/\d{1,2}/\d{4}"), "%d/%m/%Y", "%m/%d/%Y"),
    (re.compile(r"\d{1,2}\.\d{1,2}\.\d{4}"), "%d.%m.%Y", "%m.%d.%Y"),
    (re.compile(r"\d{1,2}-\d{1,2}-\d{4}"), "%d-%m-%Y", "%m-%d-%Y"),
    (re.compile(r"\d{4}/\d{1,2}/\d{1,2}"), "%Y/%m/%d", "%Y/%m/%d"),
    (re.compile(r"\d{8}"), "%Y%m%d", "%Y%m%d"),
    (re.compile(r"\d{1,2} [A-Z][a-z]{2} \d{4}"), "%d %b %Y", "%d %b %Y"),
    (re.compile(r"[A-Z][a-z]{2} \d{1,2},? \d{4}"), "%b %d, %Y", "%b %d %Y"),
)
_FEWEST_ROWS = 20
_NEARLY_CONSTANT, _OFTEN_MISSING, _RARELY_MATCHED = 0.995, 0.3, 0.02
_EXPECTED_COLLISIONS = 5.0
_ROWS_PER_CATEGORY, _MANY_CATEGORIES = 10, 30
_FAR, _GAP = 40.0, 1.0
_MISSING_STRENGTH, _MISSING_EVIDENCE = 0.15, 15.0


def refused(facts: TableFacts) -> Iterator[Finding]:
    """Columns that training refuses as they are."""
    for column in facts.columns.values():
        if column.treatment.refusal and not column.treatment.left_out:
            message, _, remedy = column.treatment.refusal.partition("; ")
            if not remedy:
                message, _, remedy = column.treatment.refusal.partition(": ")
            yield Finding(
                rule="refused", level="error", columns=[column.name], figure=1, message=message, remedy=remedy
            )


def empty(facts: TableFacts) -> Iterator[Finding]:
    """Columns without a single value."""
    names = [column.name for column in facts.columns.values() if not column.present.any()]
    if names:
        yield Finding(
            rule="empty",
            level="warning",
            columns=names,
            figure=0,
            message=columns_that(names, "has no value in any row", "have no value in any row"),
            remedy=_leave_out(names),
        )


def constant(facts: TableFacts) -> Iterator[Finding]:
    """Columns with one value."""
    names = [column.name for column in facts.columns.values() if column.present.all() and column.num_distinct == 1]
    if names:
        yield Finding(
            rule="constant",
            level="warning",
            columns=names,
            figure=1,
            message=columns_that(names, "has the same value in every row", "have the same value in every row"),
            remedy=f"nothing can be learned from {'it' if len(names) == 1 else 'them'}: {_leave_out(names)}",
        )


def nearly_constant(facts: TableFacts) -> Iterator[Finding]:
    """Columns with one value in almost every row."""
    names, shares = [], []
    for column in facts.columns.values():
        codes = column.codes[column.present]
        if facts.num_rows < 10 * _FEWEST_ROWS or column.num_distinct < 2 or not column.present.all():
            continue
        share = float(np.bincount(codes).max()) / len(codes)
        if share >= _NEARLY_CONSTANT:
            names.append(column.name)
            shares.append(share)
    if names:
        least = min(shares)
        rows = f"{percent(least)} of the rows" if len(names) == 1 else f"{percent(least)} of the rows or more"
        yield Finding(
            rule="nearly_constant",
            level="note",
            columns=names,
            figure=least,
            message=columns_that(names, f"has one value in {rows}", f"have one value in {rows}"),
            remedy="a few rows decide what is learned there: check that the other values are right, or "
            + _leave_out(names),
        )


def identifier(facts: TableFacts) -> Iterator[Finding]:
    """Columns whose value differs in every row and stands for the row itself."""
    for column in facts.columns.values():
        if not _identifies_rows(column, facts.num_rows):
            continue
        name = column.name
        yield Finding(
            rule="identifier",
            level="warning",
            columns=[name],
            figure=column.num_distinct,
            message=f"column `{name}` has a different value in every row ({column.num_distinct:,} values), "
            "so it names the rows and teaches nothing about new ones",
            remedy=f"name it as the examples' id, data.id: {name}, or leave it out of data.features",
        )


def _identifies_rows(column: ColumnFacts, num_rows: int) -> bool:
    if num_rows < _FEWEST_ROWS or not column.present.all() or column.num_distinct < num_rows:
        return False
    if column.kind in ("categories", "texts"):
        return not _date_share(column) > 1 - _RARELY_MATCHED
    if column.numbers is None or not np.isfinite(column.numbers).all():
        return False
    if (column.numbers != np.round(column.numbers)).any():
        return False
    if _ID_NAME.search(_CAMEL.sub("_", column.name)):
        return True
    # So many whole numbers drawn from such a range would repeat some, unless something keeps them apart.
    span = float(np.ptp(column.numbers)) + 1
    return num_rows * (num_rows - 1) / (2 * span) >= _EXPECTED_COLLISIONS


def grouping(facts: TableFacts) -> Iterator[Finding]:
    """Columns whose equal values mark rows that belong together, such as the visits of a patient."""
    for column in facts.columns.values():
        name = _CAMEL.sub("_", column.name)
        names_owner = _OWNER_NAME.search(name) or (_ID_NAME.search(name) and column.kind != "truth")
        if not names_owner or not _FEWEST_ROWS <= column.num_distinct <= 0.9 * facts.num_rows:
            continue
        if column.numbers is not None and (column.numbers != np.round(column.numbers)).any():
            continue
        per_value = column.present.sum() / column.num_distinct
        yield Finding(
            rule="grouping",
            level="warning",
            columns=[column.name],
            figure=column.num_distinct,
            message=f"column `{column.name}` has {column.num_distinct:,} values in {facts.num_rows:,} rows, "
            f"{per_value:.3g} rows each on average, and its name suggests that rows of one value belong together",
            remedy=f"keep them in one part of the split by data.group: {column.name}, or the validation score is "
            "that of examples the model has already seen",
        )


def codes(facts: TableFacts) -> Iterator[Finding]:
    """Columns of codes, such as zip codes, that are read as numbers."""
    names = [
        column.name
        for column in facts.columns.values()
        if column.numbers is not None and _CODE_NAME.search(_CAMEL.sub("_", column.name)) and column.num_distinct > 1
    ]
    if names:
        yield Finding(
            rule="codes",
            level="note",
            columns=names,
            figure=len(names),
            message=columns_that(names, "is read as a number", "are read as numbers")
            + ", and the name suggests codes, whose order means nothing",
            remedy=f"write data.categorical: [{', '.join(names)}]",
        )


def dates(facts: TableFacts) -> Iterator[Finding]:
    """Columns of dates or times, which the core does not read."""
    for column in facts.columns.values():
        if column.kind == "moments":
            present = sorted(str(value) for value in column.values if value is not None)
            yield Finding(
                rule="dates",
                level="warning",
                columns=[column.name],
                figure=len(present),
                message=f"column `{column.name}` holds dates or times from {present[0]} to {present[-1]}, "
                "which the model cannot read",
                remedy="leave it out of data.features; if the model is to predict later rows from earlier ones, "
                f"split by it: data.time: {column.name}",
            )
        elif (share := _date_share(column)) > 1 - _RARELY_MATCHED:
            example = next(str(value) for value in column.values if value is not None)
            read = "numbers" if column.numbers is not None else "categories"
            yield Finding(
                rule="dates",
                level="warning",
                columns=[column.name],
                figure=share,
                message=f"column `{column.name}` looks like dates in {percent(share)} of its values ({example!r}) but "
                f"is read as {read}",
                remedy="write dates as 2024-01-31 and use data.time to split by them, or leave the column out of "
                "data.features",
            )


def _date_share(column: ColumnFacts) -> float:
    """Return the share of the values that are dates in a notation that the core does not read as dates."""
    if column.kind not in ("numbers", "categories", "texts") or column.num_distinct < _FEWEST_ROWS:
        return 0.0
    texts = [_plain(value) for value in column.values if value is not None]
    texts = texts[:: max(1, len(texts) // 500)]
    shapes = Counter(next((rule for rule in _DATES if rule[0].fullmatch(text)), None) for text in texts)
    shapes.pop(None, None)
    if not shapes:
        return 0.0
    rule = shapes.most_common(1)[0][0]
    if rule is None:
        return 0.0
    return max(sum(_is_date(text, notation) for text in texts) for notation in rule[1:]) / len(texts)


def _plain(value: object) -> str:
    is_whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if is_whole else str(value).strip()  # type: ignore[call-overload]


def _is_date(text: str, notation: str) -> bool:
    try:
        return 1900 <= datetime.strptime(text, notation).year <= 2100  # noqa: DTZ007 - only its notation matters
    except ValueError:
        return False


def often_missing(facts: TableFacts) -> Iterator[Finding]:
    """Columns that lack many values."""
    shares = {
        column.name: 1 - float(column.present.mean()) for column in facts.columns.values() if column.present.any()
    }
    names = [name for name, share in shares.items() if share >= _OFTEN_MISSING]
    if names:
        names.sort(key=lambda name: -shares[name])
        most = shares[names[0]]
        least = shares[names[-1]]
        rows = percent(most) if len(names) == 1 else f"{percent(least)} to {percent(most)}"
        yield Finding(
            rule="often_missing",
            level="warning",
            columns=names,
            figure=most,
            message=columns_that(names, f"lacks a value in {rows} of the rows", f"lack a value in {rows} of the rows"),
            remedy="find out why; data.missing: indicator tells the model where numbers are missing, otherwise the "
            "training median stands there",
        )


def informative_missing(facts: TableFacts) -> Iterator[Finding]:
    """Columns where a missing value says something about the target."""
    for column in facts.columns.values():
        strength = column.missing_association
        num_missing = int((~column.present).sum())
        if strength is None or min(num_missing, facts.num_rows - num_missing) < _FEWEST_ROWS:
            continue
        if strength < _MISSING_STRENGTH or strength**2 * facts.num_rows < _MISSING_EVIDENCE:
            continue
        assert facts.target is not None
        yield Finding(
            rule="informative_missing",
            level="warning",
            columns=[column.name],
            figure=strength,
            message=f"whether column `{column.name}` has a value is associated with the target `{facts.target.name}` "
            f"(strength {strength:.2f} of 1; {counted(num_missing, 'value is', 'values are')} missing)",
            remedy="write data.missing: indicator so that the model sees it, unless the value is filled in only after "
            "the target is known: then leave the column out of data.features",
        )


def sentinel(facts: TableFacts) -> Iterator[Finding]:
    """Numbers like 999 that are repeated far from all others and may stand for a missing value."""
    for column in facts.columns.values():
        if column.numbers is None or column.num_distinct < 5:
            continue
        values, counts = np.unique(column.numbers[np.isfinite(column.numbers)], return_counts=True)
        if len(values) < 5:
            continue
        for place, neighbour, far_end in ((-1, -2, 0), (0, 1, -1)):
            gap = abs(float(values[place]) - float(values[neighbour]))
            width = abs(float(values[neighbour]) - float(values[far_end]))
            enough = max(3, 0.002 * counts.sum())
            if counts[place] >= enough and counts[neighbour] <= counts[place] and gap > _GAP * width > 0:
                value, num = float(values[place]), int(counts[place])
                yield Finding(
                    rule="sentinel",
                    level="warning",
                    columns=[column.name],
                    figure=num,
                    message=f"column `{column.name}` is {value:g} in {counted(num, 'row')}, far from all other values "
                    f"({min(values[neighbour], values[far_end]):g} to {max(values[neighbour], values[far_end]):g})",
                    remedy=f"if it stands for a missing value, write data.na_values: ['{value:g}']",
                )


def outlier(facts: TableFacts) -> Iterator[Finding]:
    """Single numbers that lie so far from the others that they dominate what is standardised."""
    for column in facts.columns.values():
        if column.numbers is None or column.treatment.refusal or facts.num_rows < _FEWEST_ROWS:
            continue
        numbers = column.numbers[np.abs(column.numbers) < LARGEST]
        if not len(numbers):
            continue
        q1, median, q3 = np.quantile(numbers, [0.25, 0.5, 0.75])
        spread = float(q3 - q1)
        if spread <= 0:
            continue
        far = numbers[np.abs(numbers - median) > _FAR * spread]
        counts = np.unique(far, return_counts=True)[1]
        if not len(far) or len(far) > 0.01 * len(numbers) or counts.max() >= 3:
            continue
        extreme = float(far[np.abs(far - median).argmax()])
        yield Finding(
            rule="outlier",
            level="warning",
            columns=[column.name],
            figure=abs(extreme - float(median)) / spread,
            message=f"column `{column.name}` holds {extreme:g} where half of the values lie between {q1:g} and {q3:g}"
            + (f", and {counted(len(far) - 1, 'other value')} as far away" if len(far) > 1 else ""),
            remedy="correct it or remove the row: numbers are standardised, so that it makes the others nearly equal",
        )


def many_categories(facts: TableFacts) -> Iterator[Finding]:
    """Columns with so many categories that most of them have few rows."""
    for column in facts.columns.values():
        distinct = column.num_distinct
        if column.kind not in ("categories", "texts") or _identifies_rows(column, facts.num_rows):
            continue
        if _date_share(column) > 1 - _RARELY_MATCHED:
            continue
        if distinct <= _MANY_CATEGORIES or distinct * _ROWS_PER_CATEGORY <= column.present.sum():
            continue
        per_category = float(column.present.sum()) / distinct
        is_read = column.kind == "categories"
        remedy = (
            "data.categories: embedded learns a vector per category instead of one feature each; or group the rare "
            "ones, or leave the column out of data.features"
        )
        yield Finding(
            rule="many_categories",
            level="warning",
            columns=[column.name],
            figure=distinct,
            message=f"column `{column.name}` has {distinct:,} different texts, {per_category:.3g} rows each on average"
            + ("" if is_read else ", more than the model accepts as categories"),
            remedy=remedy if is_read else "group the rare ones, or leave the column out of data.features",
        )


def spelling(facts: TableFacts) -> Iterator[Finding]:
    """Categories that differ only in case or spaces."""
    for column in facts.columns.values():
        if column.kind != "categories" or _identifies_rows(column, facts.num_rows):
            continue
        variants: dict[str, set[str]] = {}
        for value in {str(value) for value in column.values if value is not None}:
            variants.setdefault(" ".join(value.lower().split()), set()).add(value)
        doubled = sorted(sorted(each) for each in variants.values() if len(each) > 1)
        if doubled:
            yield Finding(
                rule="spelling",
                level="warning",
                columns=[column.name],
                figure=len(doubled),
                message=f"column `{column.name}` has {counted(len(doubled), 'category', 'categories')} in several "
                f"spellings, such as {' and '.join(repr(each) for each in doubled[0][:3])}",
                remedy="write each in one way: the model takes them for different categories",
            )


def unreadable(facts: TableFacts) -> Iterator[Finding]:
    """Columns of values that are neither numbers, texts nor dates, such as lists."""
    names = [column.name for column in facts.columns.values() if column.kind == "other"]
    if names:
        yield Finding(
            rule="unreadable",
            level="warning",
            columns=names,
            figure=len(names),
            message=columns_that(names, "holds", "hold") + " neither numbers nor texts",
            remedy=_leave_out(names),
        )


def _leave_out(names: list[str]) -> str:
    return f"leave {named(names)} out of data.features"


COLUMN_RULES: tuple[Callable[[TableFacts], Iterator[Finding]], ...] = (
    refused,
    empty,
    constant,
    nearly_constant,
    identifier,
    grouping,
    codes,
    dates,
    often_missing,
    informative_missing,
    sentinel,
    outlier,
    many_categories,
    spelling,
    unreadable,
)
