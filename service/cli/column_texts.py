"""Rules by which the texts of a table's column become numbers or categories.

`service/cli/column_texts.py` is a copy of this file, so that `study init` says what the training core will do
without loading it. A test in tests/contract compares the two. The file imports only the standard library.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

MAX_CATEGORIES = 1000
"""The most categories of a column: one-hot encoding a column of identifiers would make a feature per row."""

MAX_INTEGER_CLASSES = 20
"""Whole numbers with more distinct values are a regression target, with fewer they are class labels."""

MAX_NUMBER = 3.4028234663852886e38
"""The largest finite float32 number."""

NO_VALUES = "no values; nothing to learn from"

NULL_TEXTS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "N/A", "NA", "NULL",
    "NaN", "n/a", "nan", "null",
)  # fmt: skip
"""Texts of a CSV file that are missing values in any column, as in pyarrow."""

_MARKERS = {
    "", "?", "-", "--", "\u2014", "\u2013", ".", "#n/a", "#na", "n/a", "n.a.", "na", "nan", "null", "nil", "none",
    "missing",
}  # fmt: skip
"""Texts in lower case that are missing values in a column whose other values are numbers."""

_CURRENCY = "$€£¥₩₹"
_CELL = re.compile(
    rf"(?P<sign>[-+]?)(?P<before>[{_CURRENCY}]?)\s?(?P<number>[-+]?[\d.,][\d.,'\u2019\u00a0\u202f ]*?(?:[eE][-+]?\d+)?)"
    rf"\s?(?P<unit>[{_CURRENCY}%]|[^\W\d_]{{1,6}}[²³23]?(?:/[^\W\d_]{{1,6}}[²³23]?)?|°[CF]?)?"
)
_ORDINALS = {"st", "nd", "rd", "th"}
_UNLIMITED = re.compile(r"[-+]?inf(inity)?", re.IGNORECASE)
_GROUPS = r"[1-9]\d{0,2}(?:[ '\u2019\u00a0\u202f]\d{3})+"
_NUMBERS = {
    ".": re.compile(rf"[-+]?(?:\d+|[1-9]\d{{0,2}}(?:,\d{{3}})+|{_GROUPS})?(?:(?<=\d)\.|\.(?=\d))?\d*(?:[eE][-+]?\d+)?"),
    ",": re.compile(rf"[-+]?(?:\d+|[1-9]\d{{0,2}}(?:\.\d{{3}})+|{_GROUPS})?(?:(?<=\d),|,(?=\d))?\d*(?:[eE][-+]?\d+)?"),
}
_AMBIGUOUS = re.compile(r"[-+]?[1-9]\d{0,2}[.,]\d{3}")
_SEPARATORS = re.compile(r"[ '\u2019\u00a0\u202f]")
_NUM_SHOWN, _MAX_LENGTH = 3, 40
_MIN_OUTLIER_VALUES, _EQUAL_STDS = 10, 1e-6

Decimal = Literal[".", ","]
DECIMALS: tuple[Decimal, Decimal] = (".", ",")


@dataclass(frozen=True)
class Numbers:
    """How the texts of a column are read as numbers."""

    decimal: Decimal = "."
    unit: str = ""
    """The unit before or after each number, such as `$`, `%` or `kg`."""
    ambiguous: str | None = None
    """A value whose number depends on the decimal sign, if no value of the column shows which sign it is."""
    markers: tuple[str, ...] = ()
    """The texts that are read as missing values."""

    def read(self, text: str) -> float | None:
        """Return the number in a text, NaN for a missing value, or None for anything else."""
        text = text.strip()
        if text.lower() in _MARKERS or text in self.markers:
            return math.nan
        cell = _parse(text)
        return None if cell is None or cell.unit != self.unit else cell.value(self.decimal)


@dataclass(frozen=True)
class NumberRules:
    """The study's rules for the texts of its tables.

    Attributes:
        decimal: the decimal sign; None: detected for each column.
        na_values: further texts that mean a missing value.
        categorical: columns that hold categories even if their texts are numbers.
    """

    decimal: Decimal | None = None
    na_values: Sequence[str] = ()
    categorical: Sequence[str] = ()

    @property
    def missing_numbers(self) -> list[float]:
        """The numbers that mean a missing value."""
        return [number for text in self.na_values if (number := _as_number(text)) is not None]

    def read(self, counts: Mapping[str, int], num_missing: int, usual: Decimal = ".") -> TextColumn:
        """Decide what the texts of a column are, as `read_texts` does."""
        return read_texts(counts, num_missing, decimal=self.decimal, usual=usual, markers=self.na_values)


@dataclass(frozen=True)
class TextColumn:
    """What the texts of a column are: numbers if `numbers` is set, else categories or sentences.

    Attributes:
        num_values: rows with a value.
        num_missing: rows without one.
        num_distinct: different texts.
        numbers: how the texts are read as numbers; None: they are not numbers.
        num_others: rows with a text in `others`.
        is_sentences: whether the texts are sentences rather than categories.
        shown: the most frequent texts, three at most.
    """

    num_values: int
    num_missing: int
    num_distinct: int
    numbers: Numbers | None = None
    others: tuple[str, ...] = ()
    """The texts that are not numbers, in a column of mostly numbers."""
    num_others: int = 0
    is_sentences: bool = False
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Cell:
    text: str
    unit: str
    decimals: tuple[Decimal, ...]

    def value(self, decimal: Decimal) -> float | None:
        if decimal not in self.decimals:
            return None
        thousands = "," if decimal == "." else "."
        return float(_SEPARATORS.sub("", self.text).replace(thousands, "").replace(decimal, "."))


def read_texts(
    counts: Mapping[str, int],
    num_missing: int = 0,
    *,
    decimal: Decimal | None = None,
    usual: Decimal = ".",
    markers: Sequence[str] = (),
) -> TextColumn:
    """Decide whether the texts of a column are numbers, categories or sentences.

    Args:
        counts: text -> number of rows with it; missing values are not included.
        num_missing: the number of rows without a text.
        decimal: the decimal sign; None: the one that fits more values.
        usual: the decimal sign if both fit and give different numbers, as in `1.234`.
        markers: further texts that mean a missing value.
    """
    missing: dict[str, int] = {}
    cells: dict[str, _Cell | None] = {}
    for text, count in counts.items():
        stripped = text.strip()
        if stripped in markers or stripped.lower() in _MARKERS:
            missing[stripped] = missing.get(stripped, 0) + count
        else:
            cells[text] = _parse(stripped)
    num_values = sum(counts[text] for text in cells)
    notation = _detect_notation(
        {text: cell for text, cell in cells.items() if cell is not None}, counts, decimal, usual
    )
    others = {text: counts[text] for text, cell in cells.items() if cell is None or not _is_read(cell, notation)}
    num_others = sum(others.values())
    missing_texts = tuple(sorted(missing, key=lambda each: (-missing[each], each)))
    if notation is not None and 2 * num_others < num_values:
        numbers = Numbers(
            notation.decimal, notation.unit, notation.ambiguous, tuple(text for text in missing_texts if text)
        )
        other_texts = tuple(sorted(others, key=lambda each: (-others[each], each)))
        return TextColumn(num_values, num_missing + sum(missing.values()), len(cells), numbers, other_texts, num_others)
    return categories_of(counts, num_missing, markers)


def categories_of(counts: Mapping[str, int], num_missing: int = 0, markers: Sequence[str] = ()) -> TextColumn:
    """Describe the texts of a column as categories or sentences, even if they look like numbers."""
    texts = {text: count for text, count in counts.items() if text.strip() not in markers}
    num_values = sum(texts.values())
    return TextColumn(
        num_values,
        num_missing + sum(counts.values()) - num_values,
        len(texts),
        is_sentences=_are_sentences(texts),
        shown=tuple(sorted(texts, key=lambda each: (-texts[each], each))[:_NUM_SHOWN]),
    )


def describe_numbers(low: float, high: float, num_missing: int, numbers: Numbers | None = None) -> str:
    """Return a description of a column of numbers, and of how its texts were read if it held texts."""
    is_constant = low == high
    parts = [f"numbers, all {low:g}; nothing to learn from" if is_constant else f"numbers from {low:g} to {high:g}"]
    if numbers is not None:
        parts.append("decimal comma" if numbers.decimal == "," else "")
        parts.append(f"without the unit {numbers.unit!r}" if numbers.unit else "")
    gaps = f"{num_missing:,} missing" if num_missing else ""
    if numbers is not None and numbers.markers:
        gaps += f" ({quoted(numbers.markers)} included)"
    parts.append(gaps)
    if numbers is not None and numbers.ambiguous is not None:
        other = "," if numbers.decimal == "." else "."
        value = numbers.read(numbers.ambiguous)
        parts.append(f"{numbers.ambiguous!r} is read as {value:.10g}; if that is wrong, write data.decimal: '{other}'")
    return "; ".join(part for part in parts if part)


def describe_texts(column: TextColumn) -> str:
    """Return a description of a column of categories."""
    ellipsis = ", …" if column.num_distinct > _NUM_SHOWN else ""
    most = f"{column.num_distinct:,} categories ({quoted(column.shown)}{ellipsis})"
    gaps = f"; {column.num_missing:,} missing, a category of their own" if column.num_missing else ""
    alone = "; nothing to learn from" if column.num_distinct == 1 and not column.num_missing else ""
    rare = 2 * column.num_distinct > column.num_values > MAX_INTEGER_CLASSES
    return most + gaps + alone + ("; more than half of the rows have a category of their own" if rare else "")


def describe_sentences(texts: Sequence[str]) -> str:
    """Return a description of the texts that a sequence model reads."""
    num_words = sum(len(text.split()) for text in texts) / len(texts)
    return f"{len(texts):,} texts, {num_words:.3g} words each on average"


def describe_classes(counts: Mapping[str, int]) -> str:
    """Return a description of the classes of a target."""
    most = sorted(counts, key=lambda each: (-counts[each], each))
    shown = [f"{quoted([each])} {counts[each]:,} times" for each in most[:_NUM_SHOWN]]
    return f"{len(most):,} classes ({', '.join(shown)}{', …' if len(most) > _NUM_SHOWN else ''})"


def is_decided_comma(column: TextColumn) -> bool:
    """Return whether a column shows that its file uses a decimal comma."""
    return column.numbers is not None and column.numbers.decimal == "," and column.numbers.ambiguous is None


def mixed_column_message(name: str, column: TextColumn, remedy: str) -> str:
    """Return an error message about a column with numbers and other texts.

    Args:
        name: the column.
        column: what its texts are.
        remedy: what the user can write if all values are meant as texts.
    """
    num_numbers = column.num_values - column.num_others
    examples = quoted(column.others)
    values = "value" if column.num_others == 1 else "values"
    return (
        f"column {name!r} holds {num_numbers:,} numbers and {column.num_others:,} other {values} ({examples}); "
        f"correct them, list those that mean a missing value in data.na_values, or {remedy}"
    )


def missing_target_message(what: str, count: int, first: str) -> str:
    """Return an error message about a target with missing values: how many rows, and where the first is."""
    rows = f"{count:,} rows, the first {first}" if count > 1 else f"1 row, {first}"
    return f"{what} lacks a value in {rows}; remove them" if count > 1 else f"{what} lacks a value in {rows}; remove it"


def sentences_message(name: str, column: TextColumn) -> str:
    """Return an error message about a feature column of sentences, which names the data source for them."""
    return (
        f"column {name!r} holds {column.num_distinct:,} different sentences, not categories; to learn from them, "
        f"use data: {{name: texts, text: {name}, …}}; or leave the column out of data.features, or list it in "
        "data.categorical"
    )


def unusable_number_message(name: str, value: float, place: str) -> str:
    """Return an error message about a number that training can't compute with, and where it is."""
    return f"{name} holds {value:g} {place}; numbers must be finite and below 3.4e38: correct it, or remove that row"


def quoted(texts: Iterable[str]) -> str:
    """Return up to three texts in quotes; long ones are truncated."""
    shown = [repr(text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…") for text in texts]
    return ", ".join(shown[:_NUM_SHOWN])


def find_outlier(values: Sequence[float]) -> int | None:
    """Return the index of an outlier so large that the other values would be equal once standardised, or None."""
    if len(values) < _MIN_OUTLIER_VALUES:
        return None
    mean = math.fsum(values) / len(values)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    median = sorted(values)[len(values) // 2]
    distances = sorted(abs(value - median) for value in values)
    usual = distances[int(0.9 * (len(distances) - 1))]
    if usual == 0 or usual > _EQUAL_STDS * std:
        return None
    return max(range(len(values)), key=lambda index: abs(values[index] - median))


def outlier_message(name: str, value: float, place: str) -> str:
    """Return an error message about such an outlier, and where it is."""
    return (
        f"{name} holds {value:g} {place}, so far from the other values that standardising makes them equal; "
        "correct it, or remove that row"
    )


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _parse(text: str) -> _Cell | None:
    if len(text) > _MAX_LENGTH:
        return None
    if _UNLIMITED.fullmatch(text):
        return _Cell(text, "", DECIMALS)
    match = _CELL.fullmatch(text)
    if match is None or not any(character.isdigit() for character in match["number"]):
        return None
    if (match["before"] and match["unit"]) or (match["sign"] and match["number"][0] in "+-"):
        return None
    if match["unit"] in _ORDINALS:
        return None
    number = match["sign"] + match["number"].strip()
    decimals = tuple(decimal for decimal in DECIMALS if _NUMBERS[decimal].fullmatch(number))
    return _Cell(number, match["before"] or match["unit"] or "", decimals) if decimals else None


@dataclass
class _Notation:
    decimal: Decimal
    unit: str
    ambiguous: str | None = field(default=None)


def _is_read(cell: _Cell, notation: _Notation | None) -> bool:
    return notation is not None and cell.unit == notation.unit and notation.decimal in cell.decimals


def _detect_notation(
    cells: Mapping[str, _Cell], counts: Mapping[str, int], decimal: Decimal | None, usual: Decimal
) -> _Notation | None:
    """Return the unit and the decimal sign of most of the numbers; None if there are no numbers."""
    if not cells:
        return None
    units: dict[str, int] = {}
    for text, cell in cells.items():
        units[cell.unit] = units.get(cell.unit, 0) + counts[text]
    unit = max(units, key=lambda each: (units[each], each))
    fitting = dict.fromkeys(DECIMALS, 0)
    for text, cell in cells.items():
        for each in cell.decimals:
            fitting[each] += counts[text] if cell.unit == unit else 0
    notation = _Notation(decimal or ("," if fitting[","] > fitting["."] else "."), unit)
    if decimal is None and fitting["."] == fitting[","]:
        notation.ambiguous = next((text for text, cell in cells.items() if _AMBIGUOUS.fullmatch(cell.text)), None)
        notation.decimal = usual if notation.ambiguous else "."
    return notation


def _are_sentences(texts: Mapping[str, int]) -> bool:
    """Return whether most texts are distinct and of three words on average (or long, in a script without spaces)."""
    if len(texts) <= MAX_INTEGER_CLASSES or 2 * len(texts) < sum(texts.values()):
        return False
    num_words = sum(len(text.split()) for text in texts) / len(texts)
    num_foreign = sum(sum(character > "\u02ff" for character in text) for text in texts) / len(texts)
    return num_words >= 3 or num_foreign >= 12
