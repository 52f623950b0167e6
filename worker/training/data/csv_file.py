"""Tables of the user's own: CSV files read by pyarrow into raw columns, with errors that name the setting."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from worker.training.data.columns import Columns, assemble
from worker.training.data.dataset import Dataset, Kind, SplitName
from worker.training.data.fingerprint import of_files
from worker.training.data.splits import Limit, Seed, Splitting, TestFraction, ValFraction
from worker.training.errors import ConfigError, did_you_mean
from worker.training.parameters import Setting

# Whole numbers with more distinct values than this are measured, with fewer they are class labels.
_MAX_INTEGER_CLASSES = 20
# One-hot encoding a column of identifiers would make a feature per row.
_MAX_CATEGORIES = 1000

_OptionalPath = str | None


def csv(
    *,
    target: Annotated[str, Setting("column to predict")],
    path: Annotated[_OptionalPath, Setting("file that is split into train, val and test")] = None,
    train: Annotated[_OptionalPath, Setting("file of training examples, instead of path")] = None,
    val: Annotated[_OptionalPath, Setting("file of validation examples; null: val_fraction of the main file")] = None,
    test: Annotated[_OptionalPath, Setting("file of test examples; null: test_fraction of the main file")] = None,
    test_val: Annotated[_OptionalPath, Setting("file of a second validation set, drawn like the test set")] = None,
    features: Annotated[Sequence[str] | None, Setting("columns to learn from; null: all but the target")] = None,
    kind: Annotated[
        Literal["classification", "regression"] | None,
        Setting("null: classification for text, true/false and at most 20 different whole numbers, else regression"),
    ] = None,
    encoding: Annotated[str, Setting("text encoding of the files: utf-8, cp949, latin-1, …")] = "utf-8",
    delimiter: Annotated[str, Setting("character between the values")] = ",",
    val_fraction: ValFraction = 0.2,
    test_fraction: TestFraction = 0.2,
    seed: Seed = 0,
    limit: Limit = None,
) -> Dataset:
    """A CSV file with a header line: numbers are standardised, texts one-hot encoded, missing numbers imputed.

    Paths are relative to the directory the process was started in.
    """
    if (path is None) == (train is None):
        raise ConfigError("data.path", "give either path (one file to split) or train (a file of training examples)")
    if len(delimiter) != 1:
        raise ConfigError("data.delimiter", f"must be one character, got {delimiter!r}")
    main_setting = "path" if train is None else "train"
    main = _read(main_setting, path or train or "", encoding, delimiter)
    _require_columns("data.target", [target], main)
    chosen = list(features) if features is not None else [name for name in main.column_names if name != target]
    _require_columns("data.features", chosen, main)
    if not chosen or target in chosen:
        raise ConfigError("data.features", f"needs at least one column, and not the target {target!r} itself")
    types = {name: _column_type(name, main.schema.field(name).type) for name in chosen}
    actual_kind = kind or _kind_of(main.column(target))
    others: dict[SplitName, str | None] = {"val": val, "test": test, "test_val": test_val}
    given: dict[SplitName, Columns] = {}
    target_type = main.schema.field(target).type
    for name, file in others.items():
        if file is not None:
            table = _read(name, file, encoding, delimiter, types | {target: target_type})
            _require_columns(f"data.{name}", [target, *chosen], table)
            given[name] = _columns(table, types, target, actual_kind)
    splitting = Splitting(
        val_fraction=0.0 if val is not None else val_fraction,
        test_fraction=0.0 if test is not None else test_fraction,
        seed=seed,
        limit=limit,
    )
    dataset = assemble(_columns(main, types, target, actual_kind), given, actual_kind, splitting)
    files: dict[str, str] = {main_setting: path or train or ""}
    files |= {name: file for name, file in others.items() if file is not None}
    return replace(dataset, fingerprint=of_files(files))


def _read(
    setting: str, file: str, encoding: str, delimiter: str, types: dict[str, pa.DataType] | None = None
) -> pa.Table:
    where = f"data.{setting}"
    if not Path(file).is_file():
        raise ConfigError(where, f"there is no file {file!r} (looked for {Path(file).absolute()})")
    try:
        table = arrow_csv.read_csv(
            file,
            read_options=arrow_csv.ReadOptions(encoding=encoding),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter),
            convert_options=arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=True),
        )
        names = table.column_names
    except LookupError as error:
        raise ConfigError("data.encoding", f"unknown encoding {encoding!r}; try utf-8, latin-1 or cp949") from error
    except UnicodeDecodeError as error:
        raise _wrong_encoding(file, encoding) from error
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error):
            raise _wrong_encoding(file, encoding) from error
        raise ConfigError(where, f"{file!r} is no table that can be read: {error}") from error
    # pyarrow gives columns it can't decode as bytes instead of failing.
    if any(pa.types.is_binary(kind) for kind in table.schema.types):
        raise _wrong_encoding(file, encoding)
    if len(set(names)) < len(names):
        raise ConfigError(where, f"{file!r} has two columns of the same name; rename one")
    if table.num_rows == 0:
        raise ConfigError(where, f"{file!r} has a header but no rows")
    return table


def _wrong_encoding(file: str, encoding: str) -> ConfigError:
    return ConfigError("data.encoding", f"{file!r} is not written in {encoding}; try utf-8, latin-1, cp949 or cp1252")


def _require_columns(where: str, wanted: list[str], table: pa.Table) -> None:
    for name in wanted:
        if name not in table.column_names:
            raise ConfigError(where, f"there is no column {name!r}; {did_you_mean(name, table.column_names)}")


def _column_type(name: str, kind: pa.DataType) -> pa.DataType:
    """The type a feature is read as in every file: numbers as float64 (so is a column without any value), or text."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
        return pa.float64()
    if pa.types.is_string(kind) or pa.types.is_boolean(kind):
        return kind
    raise ConfigError("data.features", f"column {name!r} holds {kind}, no numbers or text; list features without it")


def _kind_of(target: pa.ChunkedArray) -> Kind:
    if pa.types.is_floating(target.type):
        return "regression"
    if pa.types.is_integer(target.type) and len(target.unique()) > _MAX_INTEGER_CLASSES:
        return "regression"
    return "classification"


def _columns(table: pa.Table, types: dict[str, pa.DataType], target: str, kind: Kind) -> Columns:
    texts = [name for name, column_type in types.items() if pa.types.is_string(column_type)]
    for name in texts:
        if (count := len(table.column(name).unique())) > _MAX_CATEGORIES:
            raise ConfigError("data.features", f"column {name!r} has {count} different texts; list features without it")
    numbers = [table.column(name).cast(pa.float64()).to_numpy() for name in types if name not in texts]
    # A missing text is a category of its own.
    categories = [np.array(table.column(name).fill_null("").to_pylist(), dtype=object) for name in texts]
    return Columns(
        numeric=np.column_stack(numbers) if numbers else np.empty((table.num_rows, 0)),
        categorical=np.column_stack(categories) if categories else np.empty((table.num_rows, 0), dtype=object),
        targets=_targets(table.column(target), target, kind),
    )


def _targets(column: pa.ChunkedArray, name: str, kind: Kind) -> NDArray[Any]:
    if column.null_count:
        raise ConfigError("data.target", f"column {name!r} lacks a value in {column.null_count} rows; remove them")
    if kind == "classification":
        return np.array(column.to_pylist())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise ConfigError("data.kind", f"column {name!r} holds no numbers, so regression can't predict it")
    values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    if not np.isfinite(values).all():
        raise ConfigError("data.target", f"column {name!r} holds values that are no finite numbers; remove those rows")
    return values
