"""Preprocessing of tables: which columns are read, as what, and how their rows are encoded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from worker.training.data.column_reading import Reading
from worker.training.data.column_texts import MAX_NUMBER, NumberRules, Numbers, unusable_number_message
from worker.training.data.number_checks import DescribeRow, in_row
from worker.training.data.preprocessing.rows import RowEncoding
from worker.training.errors import ConfigError

ColumnType: TypeAlias = Literal["number", "boolean", "category"]

_TYPES: Mapping[ColumnType, pa.DataType] = {"number": pa.float64(), "boolean": pa.bool_(), "category": pa.string()}


@dataclass(frozen=True)
class FeatureColumn:
    """A column that a model learns from.

    Attributes:
        name: the column's name.
        type: what its values are.
        description: what the training file's column holds, in words.
        numbers: how texts are read as numbers; None: training's file held numbers.
    """

    name: str
    type: ColumnType
    description: str
    numbers: Numbers | None = None

    @classmethod
    def of_reading(cls, name: str, reading: Reading) -> "FeatureColumn":
        """Return the column as plain data."""
        [kind] = [kind for kind, arrow_type in _TYPES.items() if arrow_type.equals(reading.type)]
        return cls(name, kind, reading.description, reading.numbers)

    @property
    def reading(self) -> Reading:
        """How training reads the column."""
        return Reading(_TYPES[self.type], self.description, self.numbers)


@dataclass(frozen=True)
class TablePreprocessing:
    """Turns the columns of a table into features as training did.

    Attributes:
        columns: the columns to learn from.
        rows: the fitted encoding; its numeric columns are the numbers and booleans of `columns`, in their order.
        target: the column that a model predicts.
        roles: the columns with another role, by setting: `id`, `query`, `group`, …
        na_values: the study's own texts that mean a missing value.
    """

    columns: tuple[FeatureColumn, ...]
    rows: RowEncoding
    target: str
    roles: Mapping[str, str] = field(default_factory=dict)
    na_values: tuple[str, ...] = ()
    kind: Literal["table"] = "table"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the feature columns."""
        return tuple(column.name for column in self.columns)

    def encode(self, table: pa.Table, describe_row: DescribeRow = in_row) -> Tensor:
        """Return the features [n, num_features] of the rows of a table that has all columns in `names`.

        Args:
            table: the rows; other columns are ignored, and their order does not matter.
            describe_row: returns in words where a row is.

        Raises:
            ConfigError: a value is of another type than in training, not finite, or missing where training refuses it.
        """
        return self.rows.encode(*self.read(table, describe_row))

    def read(self, table: pa.Table, describe_row: DescribeRow = in_row) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Return the values of the numeric [n, a] and of the categorical [n, b] columns, as `encode` uses them."""
        rules = NumberRules(na_values=self.na_values)
        values = {
            column.name: column.reading.apply("data", column.name, table.column(column.name), rules, describe_row)
            for column in self.columns
        }
        numeric, categorical = feature_arrays(values, table.num_rows)
        numbers = [column.name for column in self.columns if column.type != "category"]
        for name, each in zip(numbers, numeric.T, strict=True):
            _require_number(name, np.abs(each) > MAX_NUMBER, each, describe_row)
            if self.rows.missing == "refuse" and (missing := np.isnan(each)).any():
                place = describe_row(int(missing.argmax()))
                raise ConfigError("data", f"column {name!r} lacks a value {place}, which this study's training refuses")
        return numeric, categorical


def feature_arrays(columns: Mapping[str, pa.ChunkedArray], num_rows: int) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return the values of columns after reading: numbers [n, a], NaN where missing, and texts [n, b].

    A missing text becomes a category of its own, the empty text.
    """
    texts = {name: column for name, column in columns.items() if pa.types.is_string(column.type)}
    numbers = [column.cast(pa.float64()).to_numpy() for name, column in columns.items() if name not in texts]
    categories = [np.array(column.fill_null("").to_pylist(), dtype=object) for column in texts.values()]
    return (
        np.column_stack(numbers) if numbers else np.empty((num_rows, 0)),
        np.column_stack(categories) if categories else np.empty((num_rows, 0), dtype=object),
    )


def _require_number(
    name: str, is_wrong: NDArray[np.bool_], values: NDArray[np.float64], describe_row: DescribeRow
) -> None:
    if is_wrong.any():
        row = int(is_wrong.argmax())
        raise ConfigError("data", unusable_number_message(f"column {name!r}", float(values[row]), describe_row(row)))
