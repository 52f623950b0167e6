"""Parquet files, read by pyarrow."""

import pyarrow as pa
from pyarrow import parquet as arrow_parquet

from worker.training.data import roles, tables
from worker.training.data.dataset import Dataset
from worker.training.data.splits import Bootstrap, Fold, Limit, Seed, Splitting, Stratify, TestFraction, ValFraction
from worker.training.errors import ConfigError


def parquet(
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
    """A Parquet file: numbers are standardised, texts one-hot encoded or embedded.

    Paths are relative to the directory the process was started in.
    """
    return tables.load_tables(
        _read,
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


def _read(setting: str, file: str, types: dict[str, pa.DataType] | None) -> pa.Table:
    try:
        with arrow_parquet.ParquetFile(file) as opened:
            table = opened.read()
        table = pa.table(
            {name: _plain(table.column(name)) for name in table.column_names}
            if len(set(table.column_names)) == len(table.column_names)
            else table
        )
        known = {name: kind for name, kind in (types or {}).items() if name in table.column_names}
        for name, kind in known.items():
            table = table.set_column(table.column_names.index(name), name, table.column(name).cast(kind))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ConfigError(f"data.{setting}", f"{file!r} is no table that can be read: {error}") from error
    return table


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts and categories as plain strings, which is what a CSV file holds."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return column.cast(pa.string()) if pa.types.is_large_string(kind) or pa.types.is_string(kind) else column.cast(kind)
