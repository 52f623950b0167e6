"""Loads tables of any file format: selects columns, decides their types, and splits them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worker.training.data.column_reading import Reading, describe_target, read_columns, read_target, settle_decimals
from worker.training.data.column_roles import Roles, integer_codes
from worker.training.data.column_texts import MAX_INTEGER_CLASSES, NumberRules, missing_target_message
from worker.training.data.columns import TableColumns, assemble
from worker.training.data.dataset import Dataset, Kind, SplitName
from worker.training.data.fingerprint import of_files
from worker.training.data.number_checks import DescribeRow, require_usable
from worker.training.data.preprocessing.rows import Encoding, Missing, RowEncoding
from worker.training.data.preprocessing.table import FeatureColumn, TablePreprocessing, feature_arrays
from worker.training.data.splits import Splitting
from worker.training.data.table_file import ReadTable, read_checked, require_columns
from worker.training.errors import ConfigError
from worker.training.parameters import Setting

_OptionalText: TypeAlias = str | None

Target = Annotated[str, Setting("column to predict")]


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """The settings that all table files share, beside the roles of columns and the split."""

    target: Target
    path: Annotated[_OptionalText, Setting("file that is split into train, val and test", names="path")] = None
    train: Annotated[_OptionalText, Setting("file of training examples, instead of path", names="path")] = None
    val: Annotated[
        _OptionalText, Setting("file of validation examples; null: val_fraction of the main file", names="path")
    ] = None
    test: Annotated[
        _OptionalText, Setting("file of test examples; null: test_fraction of the main file", names="path")
    ] = None
    test_val: Annotated[
        _OptionalText, Setting("file of a second validation set, drawn like the test set", names="path")
    ] = None
    features: Annotated[
        Sequence[str] | None, Setting("columns to learn from; null: all but the target and those with another role")
    ] = None
    kind: Annotated[
        Literal["classification", "regression"] | None,
        Setting("null: classification for text, true/false and at most 20 different whole numbers, else regression"),
    ] = None
    categories: Annotated[
        Encoding, Setting("texts as a feature per category, or as indices that the model embeds (linear, mlp)")
    ] = "onehot"
    missing: Annotated[
        Missing, Setting("the training median; the same, with a feature that says it was missing; or an error")
    ] = "median"
    na_values: Annotated[
        Sequence[str], Setting("texts that mean a missing value, beside the usual ones (?, -, NA, null, …)")
    ] = ()
    categorical: Annotated[Sequence[str], Setting("columns of categories, though they hold numbers")] = ()
    decimal: Annotated[
        Literal[".", ","] | None, Setting("sign before the decimals of numbers; null: found for each column")
    ] = None

    @property
    def rules(self) -> NumberRules:
        """How texts of the tables become numbers."""
        return NumberRules(self.decimal, self.na_values, self.categorical)


def load_tables(
    read: ReadTable, how: TableSettings, roles: Roles, splitting: Splitting, *, describe_row: DescribeRow, is_text: bool
) -> Dataset:
    """Return the dataset of one table that is split, or of one table per split.

    Args:
        read: reads a file.
        how: the settings of columns and files.
        roles: the columns that decide the split or hold ids.
        splitting: how the main file is split.
        describe_row: returns in words where in a file a row is; rows count from 0.
        is_text: whether the file stores all values as texts, numbers too (CSV).

    Raises:
        ConfigError: a setting or a file can't be used; the error names the setting.
    """
    if (how.path is None) == (how.train is None):
        raise ConfigError("data.path", "give either path (one file to split) or train (a file of training examples)")
    main_setting, rules = "path" if how.train is None else "train", how.rules
    files: dict[str, str] = {main_setting: how.path or how.train or ""}
    main = read_checked(main_setting, files[main_setting], read, rules.categorical)
    require_columns("data.target", [how.target], main)
    require_columns("data.categorical", rules.categorical, main)
    roles.require(main)

    def as_text(names: Sequence[str]) -> pa.Table:
        return read_checked(main_setting, files[main_setting], read, names)

    features = _features(how, roles, main)
    main, usual = settle_decimals(main, [*features, how.target], rules, as_text if is_text else None)
    readings = read_columns(main, features, rules, usual)
    targets, target_reading = read_target(
        main.column(how.target), how.target, rules, usual, are_classes=how.kind == "classification"
    )
    kind = how.kind or _kind_of(targets)
    if roles.query is not None:
        _check_query(how, splitting)
        kind = "ranking"
    to_columns = partial(_columns, target=how.target, kind=kind, describe_row=describe_row)
    columns = to_columns(_read_all(main, readings, "data.features", rules), targets)
    columns = replace(columns, constraint=roles.split_constraint(main), queries=_queries(main, roles))
    separate: dict[SplitName, TableColumns] = {}
    names: dict[SplitName | None, NDArray[Any] | None] = {None: roles.names(main_setting, main)}
    parts: dict[SplitName, str | None] = {"val": how.val, "test": how.test, "test_val": how.test_val}
    for name, file in parts.items():
        if file is not None:
            files[name] = file
            all_readings = {**readings, how.target: target_reading}
            table = read_checked(name, file, read, [each for each in all_readings if all_readings[each].is_text])
            require_columns(f"data.{name}", [*all_readings, *([roles.query] if roles.query else [])], table)
            values = _read_all(table, all_readings, f"data.{name}", rules)
            part = to_columns(values, values.pop(how.target), of=f" of data.{name}")
            separate[name] = replace(part, queries=_queries(table, roles))
            names[name] = roles.names(name, table)

    def preprocessing(rows: RowEncoding) -> TablePreprocessing:
        feature_columns = tuple(FeatureColumn.of_reading(name, reading) for name, reading in readings.items())
        return TablePreprocessing(feature_columns, rows, how.target, dict(roles.columns), tuple(how.na_values))

    dataset = assemble(columns, separate, kind, splitting, preprocessing, encoding=how.categories, missing=how.missing)
    descriptions = [f"{name}: {reading.description}" for name, reading in readings.items()]
    descriptions.append(f"{how.target}: target; {describe_target(targets, target_reading.numbers, kind)}")
    descriptions.extend(dataset.columns)
    return replace(dataset.with_names(names), fingerprint=of_files(files), columns=tuple(descriptions))


def _features(how: TableSettings, roles: Roles, main: pa.Table) -> Sequence[str]:
    """Return the columns to learn from."""
    taken = {how.target, *roles.columns.values()}
    names = [name for name in main.column_names if name not in taken] if how.features is None else how.features
    require_columns("data.features", names, main)
    if not names or how.target in names:
        raise ConfigError("data.features", f"must name at least one column and not the target {how.target!r}")
    return names


def _check_query(how: TableSettings, splitting: Splitting) -> None:
    """Raise ConfigError for settings that can't be combined with ranking."""
    if how.kind is not None:
        raise ConfigError(
            "data.kind", "data.query ranks the rows of each query, so kind has no effect; leave out kind, or query"
        )
    for setting in ("limit", "bootstrap"):  # train_fraction takes whole queries
        if getattr(splitting, setting) is not None:
            raise ConfigError(f"data.{setting}", "selects single rows, which would split queries; leave it out")


def _read_all(
    table: pa.Table, readings: Mapping[str, Reading], where: str, rules: NumberRules
) -> dict[str, pa.ChunkedArray]:
    return {name: reading.apply(where, name, table.column(name), rules) for name, reading in readings.items()}


def _queries(table: pa.Table, roles: Roles) -> NDArray[np.int64] | None:
    return None if roles.query is None else integer_codes(table, roles.query)


def _kind_of(target: pa.ChunkedArray) -> Kind:
    if pa.types.is_floating(target.type):
        return "regression"
    if pa.types.is_integer(target.type) and len(target.unique()) > MAX_INTEGER_CLASSES:
        return "regression"
    return "classification"


def _columns(
    features: Mapping[str, pa.ChunkedArray],
    targets: pa.ChunkedArray,
    *,
    target: str,
    kind: Kind,
    describe_row: DescribeRow,
    of: str = "",
) -> TableColumns:
    """Return the values of a file; `of` names the file in errors, unless it is the main file."""
    texts = [name for name, column in features.items() if pa.types.is_string(column.type)]
    numbers = [name for name in features if name not in texts]
    numeric, categorical = feature_arrays(features, len(targets))
    for name, values in zip(numbers, numeric.T, strict=True):
        require_usable("data.features", f"column {name!r}{of}", values, describe_row)
    return TableColumns(
        numeric=numeric,
        categorical=categorical,
        targets=_targets(targets, f"column {target!r}{of}", kind, describe_row),
        names=(*numbers, *texts),
    )


def _targets(column: pa.ChunkedArray, what: str, kind: Kind, describe_row: DescribeRow) -> NDArray[Any]:
    if count := column.null_count:
        raise ConfigError(
            "data.target", missing_target_message(what, count, describe_row(column.is_null().index(True).as_py()))
        )
    if kind == "classification":
        return np.array(column.to_pylist())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        path = "data.kind" if kind == "regression" else "data.target"
        raise ConfigError(path, f"{what} does not hold numbers, which {kind} needs")
    values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    require_usable("data.target", what, values, describe_row)
    return values
