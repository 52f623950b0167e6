"""CSV files, read by pyarrow."""

from functools import partial
from typing import Annotated

import pyarrow as pa
from pyarrow import csv as arrow_csv

from worker.training.data import roles, tables
from worker.training.data.dataset import Dataset
from worker.training.data.splits import Bootstrap, Fold, Limit, Seed, Splitting, Stratify, TestFraction, ValFraction
from worker.training.errors import ConfigError
from worker.training.parameters import Setting


def csv(
    turn: Fold | None = None,
    *,
    target: tables.Target,
    path: tables.MainFile = None,
    train: tables.TrainFile = None,
    val: tables.ValFile = None,
    test: tables.TestFile = None,
    test_val: tables.TestValFile = None,
    features: tables.Features = None,
    kind: tables.TableKind = None,
    categories: tables.Categories = "onehot",
    missing: tables.MissingNumbers = "median",
    encoding: Annotated[str, Setting("text encoding of the files: utf-8, cp949, latin-1, …")] = "utf-8",
    delimiter: Annotated[str, Setting("character between the values")] = ",",
    group: roles.Group = None,
    time: roles.Time = None,
    fold: roles.FoldName = None,
    val_folds: roles.ValFolds = ("val",),
    test_folds: roles.TestFolds = ("test",),
    query: roles.Query = None,
    id: roles.Id = None,  # noqa: A002  # as the column is called everywhere
    val_fraction: ValFraction = 0.2,
    test_fraction: TestFraction = 0.2,
    seed: Seed = 0,
    stratify: Stratify = True,
    limit: Limit = None,
    bootstrap: Bootstrap = None,
) -> Dataset:
    """A CSV file with a header line: numbers are standardised, texts one-hot encoded or embedded.

    Paths are relative to the directory the process was started in.
    """
    if len(delimiter) != 1:
        raise ConfigError("data.delimiter", f"must be one character, got {delimiter!r}")
    return tables.load_tables(
        partial(read_csv, encoding, delimiter),
        tables.TableSettings(
            target=target,
            path=path,
            train=train,
            val=val,
            test=test,
            test_val=test_val,
            features=features,
            kind=kind,
            categories=categories,
            missing=missing,
            roles=roles.Roles(
                group=group, time=time, fold=fold, val_folds=val_folds, test_folds=test_folds, query=query, id=id
            ),
            splitting=Splitting(val_fraction, test_fraction, seed, stratify, limit, bootstrap, turn),
        ),
    )


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
