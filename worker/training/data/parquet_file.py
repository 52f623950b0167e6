"""Parquet data source: tables of features and a target, read by pyarrow."""

from collections.abc import Sequence

import pyarrow as pa
from pyarrow import parquet as arrow_parquet

from worker.training.data.column_roles import RankingRoles
from worker.training.data.dataset import Dataset
from worker.training.data.number_checks import at_index
from worker.training.data.splits import Fold, Stratified
from worker.training.data.table_file import plain_column
from worker.training.data.tables import TableSettings, load_tables
from worker.training.errors import ConfigError


def parquet(
    fold: Fold | None = None,
    *,
    table: TableSettings,
    roles: RankingRoles,
    splitting: Stratified,
) -> Dataset:
    """A Parquet file: numbers are standardised, texts are one-hot encoded or embedded.

    Relative paths are resolved from the directory in which the process was started. `study create` makes paths absolute
    that lie beside the study file.
    """
    return load_tables(_read, table, roles, splitting.at_fold(fold), describe_row=at_index, is_text=False)


def _read(setting: str, file: str, as_text: Sequence[str]) -> pa.Table:
    del as_text  # a Parquet file declares which columns are texts
    try:
        with arrow_parquet.ParquetFile(file) as stream:
            table = stream.read()
        table = pa.table(
            {name: plain_column(table.column(name)) for name in table.column_names}
            if len(set(table.column_names)) == len(table.column_names)
            else table
        )
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:  # their messages may quote the file
        if isinstance(error, OSError) and error.errno is not None:
            raise  # an error of the disk
        raise ConfigError(f"data.{setting}", f"{file!r} can't be read as a Parquet file") from None
    return table
