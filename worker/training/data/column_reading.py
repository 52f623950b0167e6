"""Decides how each column of a table is read (numbers, booleans or categories), alike in all files of a dataset."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worker.training.data.column_texts import (
    MAX_CATEGORIES,
    NO_VALUES,
    Decimal,
    NumberRules,
    Numbers,
    TextColumn,
    categories_of,
    describe_classes,
    describe_numbers,
    describe_texts,
    is_decided_comma,
    mixed_column_message,
    quoted,
    sentences_message,
)
from worker.training.data.unreadable import shown_column
from worker.training.errors import ConfigError


@dataclass(frozen=True)
class Reading:
    """How a column is read in every file.

    Attributes:
        type: the column's type after reading.
        description: what the main file's column holds, in words.
    """

    type: pa.DataType
    description: str
    numbers: Numbers | None = None
    """How the column's texts are read as numbers; None: the file holds numbers."""

    @property
    def is_text(self) -> bool:
        """Whether a CSV file's values are to be read as texts."""
        return pa.types.is_string(self.type) or self.numbers is not None

    def apply(
        self,
        where: str,
        name: str,
        column: pa.ChunkedArray,
        rules: NumberRules,
        describe_row: Callable[[int], str] | None = None,
    ) -> pa.ChunkedArray:
        """Return the column converted to this reading's type.

        Args:
            where: the setting named in errors.
            name: the column's name.
            column: the values.
            rules: the study's rules for texts.
            describe_row: returns in words where a row is, for errors; None: they name no row.

        Raises:
            ConfigError: at `where`, if the values are of another kind than in the main file.
        """
        if pa.types.is_string(self.type):
            return _categories(column, rules)
        if pa.types.is_string(column.type) and pa.types.is_floating(self.type):
            numbers = self.numbers or Numbers(markers=tuple(rules.na_values))
            return _numbers(where, name, column, numbers, describe_row)
        try:
            return _without_missing(column.cast(self.type), rules)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            found = str(column.type)
            if pa.types.is_string(column.type) and (wrong := self._not_castable(column)) and describe_row is not None:
                found = f"{quoted(wrong)} here{_place(column, wrong[0], describe_row)}"
            else:
                found += " here"
            raise ConfigError(where, f"column {name!r} holds {found}, but {self.description} in training") from error

    def _not_castable(self, column: pa.ChunkedArray) -> list[str]:
        """Return the texts that can't be converted to this reading's type."""
        wrong: list[str] = []
        for text in counts_of(column):
            try:
                pa.scalar(text, pa.string()).cast(self.type)
            except pa.ArrowInvalid:
                wrong.append(text)
        return wrong


def settle_decimals(
    table: pa.Table, names: Sequence[str], rules: NumberRules, as_text: Callable[[Sequence[str]], pa.Table] | None
) -> tuple[pa.Table, Decimal]:
    """Decide the decimal sign of ambiguous numbers in the main file, such as `1.234`.

    Args:
        table: the main file.
        names: the columns that are used.
        rules: the study's rules for texts.
        as_text: reads columns again as texts, where a file stores numbers as texts (CSV); None: it does not.

    Returns:
        The table, with columns of ambiguous numbers as texts, and the decimal sign that its other columns show.
    """
    texts = [name for name in names if pa.types.is_string(table.column(name).type)]
    usual: Decimal = "," if any(is_decided_comma(_read(table.column(name), rules)) for name in texts) else "."
    ambiguous = [name for name in names if as_text and _may_have_point(table.column(name), rules)]
    if as_text is not None and ambiguous:
        as_texts = as_text(ambiguous)
        for name in ambiguous:
            numbers = _read(as_texts.column(name), rules, usual).numbers
            if rules.decimal == "," or (numbers is not None and numbers.ambiguous is not None):
                table = table.set_column(table.column_names.index(name), name, as_texts.column(name))
    return table, usual


def read_columns(table: pa.Table, names: Sequence[str], rules: NumberRules, usual: Decimal) -> dict[str, Reading]:
    """Decide how the main file's features are read.

    Raises:
        ConfigError: a column holds neither numbers nor categories.
    """
    return {
        name: _of_text(name, table.column(name), rules, usual)
        if pa.types.is_string(table.column(name).type) and name not in rules.categorical
        else _of_type(name, table.column(name), rules)
        for name in names
    }


def read_target(
    column: pa.ChunkedArray, name: str, rules: NumberRules, usual: Decimal, *, are_classes: bool
) -> tuple[pa.ChunkedArray, Reading]:
    """Return the main file's target and how it is read; texts that hold numbers become numbers.

    Args:
        column: the target.
        name: its name.
        rules: the study's rules for texts.
        usual: the decimal sign where both fit.
        are_classes: texts stay texts, whatever they hold.

    Raises:
        ConfigError: the column holds numbers and other texts.
    """
    if name in rules.categorical:
        return _categories(column, rules), Reading(pa.string(), "classes")
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return _without_missing(column, rules), Reading(column.type, "numbers")
    if not pa.types.is_string(column.type):
        return column, Reading(column.type, f"{column.type}")
    read = _read(column, rules, usual)
    if are_classes or read.numbers is None:
        return _categories(column, rules), Reading(pa.string(), "classes")
    if read.others:
        raise ConfigError(
            "data.target", mixed_column_message(name, read, "write data.kind: classification if they are classes")
        )
    values = _numbers("data.target", name, column, read.numbers)
    whole = values.drop_null().to_numpy()
    if len(whole) and np.isfinite(whole).all() and (whole == np.round(whole)).all() and (np.abs(whole) < 2**53).all():
        values = values.cast(pa.int64())
    return values, Reading(values.type, "numbers", read.numbers)


def counts_of(column: pa.ChunkedArray) -> dict[str, int]:
    """Return the number of rows with each text; missing values are left out."""
    pairs = column.drop_null().value_counts()
    return dict(zip(pairs.field("values").to_pylist(), pairs.field("counts").to_pylist(), strict=True))


def describe_number_column(values: pa.ChunkedArray, numbers: Numbers | None) -> str:
    """Describe a column of numbers."""
    bounds = pc.min_max(values).as_py()
    if bounds["min"] is None:
        return NO_VALUES
    return describe_numbers(bounds["min"], bounds["max"], values.null_count, numbers)


def describe_target(column: pa.ChunkedArray, numbers: Numbers | None, kind: str) -> str:
    """Describe the target of the main file."""
    if kind != "classification":
        return describe_number_column(column, numbers)
    return describe_classes({str(value): count for value, count in counts_of(column).items()})


def _read(column: pa.ChunkedArray, rules: NumberRules, usual: Decimal = ".") -> TextColumn:
    return rules.read(counts_of(column), column.null_count, usual)


def _of_text(name: str, column: pa.ChunkedArray, rules: NumberRules, usual: Decimal) -> Reading:
    read = _read(column, rules, usual)
    if not read.num_values:
        return Reading(pa.float64(), NO_VALUES, Numbers(markers=tuple(rules.na_values)))
    if read.numbers is not None:
        if read.others:
            raise ConfigError(
                "data.features", mixed_column_message(name, read, f"list the column in data.categorical: [{name}]")
            )
        values = _numbers("data.features", name, column, read.numbers)
        return Reading(pa.float64(), describe_number_column(values, read.numbers), read.numbers)
    if read.is_sentences:
        raise ConfigError("data.features", sentences_message(name, read))
    if read.num_distinct > MAX_CATEGORIES:
        message = f"column {shown_column(name)} has {read.num_distinct} different texts; leave it out of data.features"
        raise ConfigError("data.features", message)
    return Reading(pa.string(), describe_texts(read))


def _of_type(name: str, column: pa.ChunkedArray, rules: NumberRules) -> Reading:
    if name in rules.categorical:
        texts = column.cast(pa.string())
        return Reading(pa.string(), describe_texts(categories_of(counts_of(texts), texts.null_count, rules.na_values)))
    kind = column.type
    if pa.types.is_boolean(kind):
        return Reading(kind, f"true or false; {column.null_count:,} missing" if column.null_count else "true or false")
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
        return Reading(pa.float64(), describe_number_column(_without_missing(column.cast(pa.float64()), rules), None))
    raise ConfigError(
        "data.features",
        f"column {shown_column(name)} holds {kind}, neither numbers nor text; leave it out of data.features",
    )


def _may_have_point(column: pa.ChunkedArray, rules: NumberRules) -> bool:
    """Return whether these numbers may have been written with a point that is not a decimal sign, as in 1.234."""
    if rules.decimal == "." or not pa.types.is_floating(column.type) or column.null_count == len(column):
        return False
    if rules.decimal == ",":
        return True
    values = np.abs(column.drop_null().to_numpy())
    scaled = values * 1000
    is_grouped = (values >= 1) & (values < 1000) & np.isclose(scaled, np.round(scaled), rtol=0, atol=1e-6)
    return bool((is_grouped | (values == np.round(values))).all())


def _categories(column: pa.ChunkedArray, rules: NumberRules) -> pa.ChunkedArray:
    texts = column.cast(pa.string())
    if not rules.na_values:
        return texts
    missing = pc.is_in(pc.utf8_trim_whitespace(texts), value_set=pa.array(list(rules.na_values), pa.string()))
    return pc.if_else(missing, pa.scalar(None, pa.string()), texts)


def _numbers(
    where: str,
    name: str,
    column: pa.ChunkedArray,
    numbers: Numbers,
    describe_row: Callable[[int], str] | None = None,
) -> pa.ChunkedArray:
    """Return the numbers in a column of texts; ConfigError at `where` for a text that is not a number."""
    number_of: Mapping[str, float | None] = {text: numbers.read(text) for text in counts_of(column)}
    if not_numbers := [text for text, value in number_of.items() if value is None]:
        kind = f"numbers with the unit {numbers.unit!r}" if numbers.unit else "numbers"
        place = "" if describe_row is None else _place(column, not_numbers[0], describe_row)
        raise ConfigError(where, f"column {name!r} holds {quoted(not_numbers)} here{place}, but {kind} in training")
    encoded = column.combine_chunks().dictionary_encode()
    values = [number_of[text] for text in encoded.dictionary.to_pylist()]
    numbers_or_null = pa.array(
        [None if value is None or math.isnan(value) else value for value in values], pa.float64()
    )
    return pa.chunked_array([numbers_or_null.take(encoded.indices)])


def _place(column: pa.ChunkedArray, text: str, describe_row: Callable[[int], str]) -> str:
    """Return where the first row with a text is, in words."""
    return f" (the first {describe_row(pc.index(column, pa.scalar(text, column.type)).as_py())})"


def _without_missing(column: pa.ChunkedArray, rules: NumberRules) -> pa.ChunkedArray:
    """Return the values, with null where a number is NaN or stands for a missing value."""
    if not (pa.types.is_floating(column.type) or (rules.missing_numbers and pa.types.is_integer(column.type))):
        return column
    missing = pc.is_in(column.cast(pa.float64()), value_set=pa.array([*rules.missing_numbers, math.nan], pa.float64()))
    return pc.if_else(missing, pa.scalar(None, column.type), column)
