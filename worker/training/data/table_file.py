"""A table as it lies in a file of any format: it is there, and holds rows under different names."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from worker.training.data.unreadable import nearest_column
from worker.training.errors import ConfigError

ReadTable: TypeAlias = Callable[[str, str, Sequence[str]], pa.Table]
"""(setting, file, columns that stay texts) -> the table; ConfigError at `data.SETTING` where it can't be read."""


def checked(setting: str, file: str, read: ReadTable, as_text: Sequence[str] = ()) -> pa.Table:
    """The table in `file`; ConfigError at `data.SETTING` where there is none to learn from."""
    where = f"data.{setting}"
    if not Path(file).is_file():
        raise ConfigError(where, f"there is no file {file!r} (looked for {Path(file).absolute()})")
    table = read(setting, file, as_text)
    if len(set(table.column_names)) < len(table.column_names):
        raise ConfigError(where, f"{file!r} has two columns of the same name; rename one")
    if table.num_rows == 0:
        raise ConfigError(where, f"{file!r} has columns but no rows")
    return table


def require_columns(where: str, wanted: Sequence[str], table: pa.Table) -> None:
    """ConfigError at `where`, with the nearest name, for a column that isn't there."""
    for name in wanted:
        if name not in table.column_names:
            raise ConfigError(where, f"there is no column {name!r}; {nearest_column(name, table.column_names)}")


def require_values(where: str, name: str, table: pa.Table) -> None:
    """ConfigError at `where` for a column that lacks values."""
    if count := table.column(name).null_count:
        raise ConfigError(where, f"column {name!r} lacks a value in {count} rows; remove them")
