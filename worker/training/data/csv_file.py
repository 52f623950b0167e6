"""CSV files, read by pyarrow."""

from functools import partial
from typing import Annotated

import pyarrow as pa
from pyarrow import csv as arrow_csv

from worker.training.data.dataset import Dataset
from worker.training.data.roles import RankingRoles
from worker.training.data.splits import Fold, Stratified
from worker.training.data.tables import TableSettings, load_tables
from worker.training.errors import ConfigError
from worker.training.parameters import Setting


def csv(
    turn: Fold | None = None,
    *,
    table: TableSettings,
    encoding: Annotated[str, Setting("text encoding of the files: utf-8, cp949, latin-1, …")] = "utf-8",
    delimiter: Annotated[str, Setting("character between the values")] = ",",
    roles: RankingRoles,
    splitting: Stratified,
) -> Dataset:
    """A CSV file with a header line: numbers are standardised, texts one-hot encoded or embedded.

    Paths are relative to the directory the process was started in.
    """
    if len(delimiter) != 1:
        raise ConfigError("data.delimiter", f"must be one character, got {delimiter!r}")
    return load_tables(partial(read_csv, encoding, delimiter), table, roles, splitting.at(turn))


def read_csv(encoding: str, delimiter: str, setting: str, file: str, types: dict[str, pa.DataType] | None) -> pa.Table:
    """The table in `file`, its columns of the types given; ConfigError at `data.SETTING` or `data.encoding`."""
    try:
        table = arrow_csv.read_csv(
            file,
            read_options=arrow_csv.ReadOptions(encoding=encoding),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter),
            convert_options=arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=True),
        )
        _ = table.column_names  # names are decoded only now
    except LookupError as error:
        raise ConfigError("data.encoding", f"unknown encoding {encoding!r}; try utf-8, latin-1 or cp949") from error
    except UnicodeDecodeError as error:
        raise _wrong_encoding(file, encoding) from error
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error):
            raise _wrong_encoding(file, encoding) from error
        raise ConfigError(f"data.{setting}", f"{file!r} is no table that can be read: {error}") from error
    # pyarrow gives columns it can't decode as bytes instead of failing.
    if any(pa.types.is_binary(kind) for kind in table.schema.types):
        raise _wrong_encoding(file, encoding)
    return table


def _wrong_encoding(file: str, encoding: str) -> ConfigError:
    return ConfigError("data.encoding", f"{file!r} is not written in {encoding}; try utf-8, latin-1, cp949 or cp1252")
