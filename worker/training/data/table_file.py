"""Checks on a table from a file of any format: the file exists, and has rows and distinct column names."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from worker.training.data.unreadable import nearest_column
from worker.training.errors import ConfigError, MissingFile

ReadTable: TypeAlias = Callable[[str, str, Sequence[str]], pa.Table]
"""Maps (setting, file, columns to keep as texts) to the table; ConfigError at `data.SETTING` if it can't be read."""


def read_checked(setting: str, file: str, read: ReadTable, as_text: Sequence[str] = ()) -> pa.Table:
    """Read the table in `file`, with the columns `as_text` as texts.

    Raises:
        MissingFile: at `data.SETTING`, if the file does not exist.
        ConfigError: at `data.SETTING`, if the file can't be read, has no rows, or repeats a column name.
    """
    where = f"data.{setting}"
    if not Path(file).is_file():
        raise MissingFile(where, f"there is no file {file!r} (looked for {Path(file).absolute()})")
    table = read(setting, file, as_text)
    if len(set(table.column_names)) < len(table.column_names):
        raise ConfigError(where, f"{file!r} has two columns of the same name; rename one")
    if table.num_rows == 0:
        raise ConfigError(where, f"{file!r} has columns but no rows")
    return table


def require_columns(where: str, names: Sequence[str], table: pa.Table) -> None:
    """Raise ConfigError at `where` for a column that does not exist; the message suggests the nearest name."""
    for name in names:
        if name not in table.column_names:
            raise ConfigError(where, f"there is no column {name!r}; {nearest_column(name, table.column_names)}")


def require_values(where: str, name: str, table: pa.Table) -> None:
    """Raise ConfigError at `where` if the column lacks values."""
    if count := table.column(name).null_count:
        raise ConfigError(where, f"column {name!r} lacks a value in {count} rows; remove those rows")


def plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts and categories as plain strings, as a CSV file has them, and other columns unchanged."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return column.cast(pa.string()) if pa.types.is_large_string(kind) or pa.types.is_string(kind) else column.cast(kind)
