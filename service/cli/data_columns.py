"""Predicts what the training core will do with each column of a table, by the core's rules but without loading it.

tests/contract compares these predictions with the core's behaviour, over tables with many kinds of dirty data.
"""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Literal

from service.cli.column_texts import (
    MAX_CATEGORIES,
    MAX_NUMBER,
    NO_VALUES,
    Decimal,
    NumberRules,
    Numbers,
    TextColumn,
    categories_of,
    describe_numbers,
    describe_texts,
    find_outlier,
    is_decided_comma,
    mixed_column_message,
    outlier_message,
    sentences_message,
    unusable_number_message,
)

Column = Sequence[Any]
"""The values of one column. None where a value is missing."""

# pyarrow reads a number with a plus sign as a float, so this pattern excludes it.
_WHOLE = re.compile(r"\s*-?\d+\s*")
_NUMBER = re.compile(r"\s*[-+]?((\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?|inf(inity)?)\s*", re.IGNORECASE)
_TRUTH = re.compile(r"true|True|TRUE|false|False|FALSE|0|1")
_MOMENT = re.compile(r"(?=.)(\d{4}-\d\d-\d\d)?[ T]?(\d\d:\d\d(:\d\d(\.\d+)?)?)?Z?")


ColumnKind = Literal["numbers", "truth", "categories", "sentences", "texts", "moments", "mixed", "nothing", "other"]
"""What a column holds. `texts`: more different texts than the core accepts as categories; `moments`: dates or times."""


@dataclass(frozen=True)
class ColumnTreatment:
    """How the core will treat a feature."""

    kind: ColumnKind
    description: str
    refusal: str = ""
    """Why the core refuses to train on the table while it has this column."""
    left_out: str = ""
    """Why the core cannot learn from this column."""
    sentences: TextColumn | None = None
    numbers: Numbers | None = None
    """How texts are read as numbers. None: the file holds numbers, or the column does not."""
    lacks_numbers: bool = False
    """Whether a value of a column of numbers is missing."""


def usual_decimal(columns: Mapping[str, Column], rules: NumberRules, *, is_text: bool) -> Decimal:
    """Return the decimal sign that the columns show.

    Args:
        columns: column name -> values.
        rules: the user's rules for reading texts.
        is_text: whether all values of the file are texts, numbers included (CSV).
    """
    texts = [column for column in columns.values() if _kind(column, is_text=is_text) == "text"]
    return "," if any(is_decided_comma(_read(column, rules)) for column in texts) else "."


def read_features(
    columns: Mapping[str, Column], rules: NumberRules, usual: Decimal, *, is_text: bool
) -> dict[str, ColumnTreatment]:
    """Return how the core will treat each feature.

    Args:
        columns: column name -> values.
        rules: the user's rules for reading texts.
        usual: the decimal sign of ambiguous numbers.
        is_text: whether all values of the file are texts, numbers included (CSV).
    """
    treatments = {}
    for name, column in columns.items():
        kind, read = _kind(column, is_text=is_text), _text_of(column, rules, usual, is_text=is_text)
        if name in rules.categorical:
            counts = _counts(column)
            texts = categories_of(counts, len(column) - counts.total(), rules.na_values)
            treatments[name] = ColumnTreatment("categories", describe_texts(texts))
        elif read is not None:
            treatments[name] = _of_texts(name, column, read, rules, is_text=is_text)
        elif kind == "number":
            treatments[name] = _of_numbers(name, to_numbers(column, None, rules), None, is_text=is_text)
        else:
            treatments[name] = _of_kind(kind, column)
    return treatments


def read_target(
    column: Column, rules: NumberRules, usual: Decimal, *, are_classes: bool, is_text: bool
) -> tuple[Column, TextColumn | None]:
    """Return the target's values, with texts that hold numbers converted, and the analysis of its texts if any."""
    read = _text_of(column, rules, usual, is_text=is_text)
    if read is None or are_classes:
        kept = column if are_classes else _typed(column, rules)
        return [None if isinstance(each, str) and each.strip() in rules.na_values else each for each in kept], read
    if read.numbers is None or read.others:
        return [None if each is None or each.strip() in rules.na_values else each for each in column], read
    numbers = to_numbers(column, read.numbers, rules)
    if all(number is None or (abs(number) < 2**53 and number == int(number)) for number in numbers):
        return [None if number is None else int(number) for number in numbers], read
    return numbers, read


def to_numbers(column: Column, numbers: Numbers | None, rules: NumberRules) -> list[float | None]:
    """Return a column's numbers. None stands for missing ones.

    Args:
        column: the values.
        numbers: how to read its texts as numbers. None: convert the values with `float`.
        rules: the user's rules, which name the numbers that mean a missing value.
    """
    parsed = []
    for value in column:
        number = None if value is None else numbers.read(value) if numbers and isinstance(value, str) else float(value)
        parsed.append(None if number is None or math.isnan(number) or number in rules.missing_numbers else number)
    return parsed


def wrong_number(what: str, values: Sequence[float | None], *, is_text: bool) -> str:
    """Describe a number of the column that training cannot use. Empty if all can be used."""
    indices = [index for index, value in enumerate(values) if value is not None]
    present = [value for value in values if value is not None]
    for index, value in zip(indices, present, strict=True):
        if abs(value) > MAX_NUMBER:
            # A whole number may be larger than any float.
            shown = (math.inf if value > 0 else -math.inf) if abs(value) > sys.float_info.max else value
            return unusable_number_message(what, shown, place(index, is_text=is_text))
    outlier = find_outlier(present)
    return "" if outlier is None else outlier_message(what, present[outlier], place(indices[outlier], is_text=is_text))


def place(index: int, *, is_text: bool) -> str:
    """Describe the position of a row in the file."""
    return f"in row {index + 1:,} (not counting the header)" if is_text else f"at index {index}"


def _kind(column: Column, *, is_text: bool) -> str:
    """Return the kind of a column's values: number, truth, moment, text, nothing or other."""
    present = [value for value in column if value is not None]
    if not present:
        return "nothing"
    if is_text:
        rules = (("number", _WHOLE), ("truth", _TRUTH), ("moment", _MOMENT), ("number", _NUMBER))
        return next((kind for kind, rule in rules if all(rule.fullmatch(value) for value in present)), "text")
    if all(isinstance(value, bool) for value in present):
        return "truth"
    if all(isinstance(value, int | float) for value in present):
        return "number"
    if all(isinstance(value, date | datetime | time) for value in present):
        return "moment"
    return "text" if all(isinstance(value, str) for value in present) else "other"


def _typed(column: Column, rules: NumberRules) -> list[Any]:
    """Convert a CSV file's texts that are numbers or booleans to Python values."""
    parsed: list[Any] = []
    for value in column:
        if not isinstance(value, str) or not (_NUMBER.fullmatch(value) or _TRUTH.fullmatch(value)):
            parsed.append(value)
        elif _WHOLE.fullmatch(value):
            parsed.append(int(value))
        else:
            parsed.append(float(value) if _NUMBER.fullmatch(value) else value.lower() == "true")
    return [None if _is_missing(value, rules) else value for value in parsed]


def _is_missing(value: Any, rules: NumberRules) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value is None
    return (isinstance(value, float) and math.isnan(value)) or value in rules.missing_numbers


def _text_of(column: Column, rules: NumberRules, usual: Decimal, *, is_text: bool) -> TextColumn | None:
    """Analyse a column's texts. None if it has no texts, or only numbers that are unambiguous."""
    kind = _kind(column, is_text=is_text)
    if kind == "text":
        return _read(column, rules, usual)
    if kind != "number" or not is_text or rules.decimal == ".":
        return None
    read = _read(column, rules, usual)
    if rules.decimal == "," and not all(_WHOLE.fullmatch(value) for value in column if value is not None):
        return read
    return read if read.numbers is not None and read.numbers.ambiguous is not None else None


def _counts(column: Column) -> Counter[str]:
    return Counter(str(value) for value in column if value is not None)


def _read(column: Column, rules: NumberRules, usual: Decimal = ".") -> TextColumn:
    counts = _counts(column)
    return rules.read(counts, len(column) - counts.total(), usual)


def _of_texts(name: str, column: Column, read: TextColumn, rules: NumberRules, *, is_text: bool) -> ColumnTreatment:
    if not read.num_values:
        return ColumnTreatment("nothing", NO_VALUES)
    if read.others:
        remedy = f"list the column in data.categorical: [{name}]"
        return ColumnTreatment("mixed", "", mixed_column_message(name, read, remedy))
    if read.numbers is not None:
        return _of_numbers(name, to_numbers(column, read.numbers, rules), read.numbers, is_text=is_text)
    if read.is_sentences:
        return ColumnTreatment("sentences", "", sentences_message(name, read), "holds sentences", read)
    if read.num_distinct > MAX_CATEGORIES:
        return ColumnTreatment("texts", "", "", f"holds {read.num_distinct} different texts")
    return ColumnTreatment("categories", describe_texts(read))


def _of_numbers(
    name: str, values: Sequence[float | None], numbers: Numbers | None, *, is_text: bool
) -> ColumnTreatment:
    present = [value for value in values if value is not None]
    if not present:
        return ColumnTreatment("nothing", NO_VALUES)
    description = describe_numbers(min(present), max(present), len(values) - len(present), numbers)
    refusal = wrong_number(f"column {name!r}", values, is_text=is_text)
    return ColumnTreatment("numbers", description, refusal, numbers=numbers, lacks_numbers=len(present) < len(values))


def _of_kind(kind: str, column: Column) -> ColumnTreatment:
    gaps = sum(value is None for value in column)
    match kind:
        case "truth":
            return ColumnTreatment("truth", f"true or false; {gaps:,} missing" if gaps else "true or false")
        case "nothing":
            return ColumnTreatment("nothing", NO_VALUES)
        case "moment":
            return ColumnTreatment("moments", "", "", "holds dates or times")
        case _:
            return ColumnTreatment("other", "", "", "holds no numbers or texts")
