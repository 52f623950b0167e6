"""Tables of the user's own, whatever file they come from: columns chosen, typed and split; errors name the setting."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worker.training.data.columns import Columns, Encoding, Missing, assemble
from worker.training.data.dataset import Dataset, Kind, SplitName
from worker.training.data.fingerprint import of_files
from worker.training.data.roles import Roles, codes
from worker.training.data.splits import Splitting
from worker.training.data.table_file import ReadTable, checked, require_columns
from worker.training.errors import ConfigError
from worker.training.parameters import Setting

# Whole numbers with more distinct values than this are measured, with fewer they are class labels.
MAX_INTEGER_CLASSES = 20
# One-hot encoding a column of identifiers would make a feature per row.
_MAX_CATEGORIES = 1000

_OptionalText: TypeAlias = str | None

Target = Annotated[str, Setting("column to predict")]


@dataclass(frozen=True, kw_only=True)
class TableSettings:
    """What all table files can be told beside the roles of columns and the split."""

    target: Target
    path: Annotated[_OptionalText, Setting("file that is split into train, val and test")] = None
    train: Annotated[_OptionalText, Setting("file of training examples, instead of path")] = None
    val: Annotated[_OptionalText, Setting("file of validation examples; null: val_fraction of the main file")] = None
    test: Annotated[_OptionalText, Setting("file of test examples; null: test_fraction of the main file")] = None
    test_val: Annotated[_OptionalText, Setting("file of a second validation set, drawn like the test set")] = None
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


def load_tables(read: ReadTable, how: TableSettings, roles: Roles, splitting: Splitting) -> Dataset:
    """The dataset of one table that is split, or of one per part."""
    if (how.path is None) == (how.train is None):
        raise ConfigError("data.path", "give either path (one file to split) or train (a file of training examples)")
    main_setting = "path" if how.train is None else "train"
    main = checked(main_setting, how.path or how.train or "", read, None)
    target = how.target
    require_columns("data.target", [target], main)
    roles.require(main)
    taken = {target, *roles.columns.values()}
    chosen = how.features
    if chosen is None:
        chosen = [name for name in main.column_names if name not in taken]
    require_columns("data.features", chosen, main)
    if not chosen or target in chosen:
        raise ConfigError("data.features", f"needs at least one column, and not the target {target!r} itself")
    types = {name: _column_type(name, main.schema.field(name).type) for name in chosen}
    kind = how.kind or _kind_of(main.column(target))
    if roles.query is not None:
        if how.kind is not None:
            raise ConfigError("data.kind", "rows of a query are ranked, whatever the target; leave out kind, or query")
        for setting in ("limit", "bootstrap"):
            if getattr(splitting, setting) is not None:
                raise ConfigError(f"data.{setting}", "draws single rows, which would tear queries apart; leave it out")
        kind = "ranking"
    others: dict[SplitName, str | None] = {"val": how.val, "test": how.test, "test_val": how.test_val}
    given: dict[SplitName, Columns] = {}
    names: dict[SplitName | None, NDArray[Any] | None] = {None: roles.names(main_setting, main)}
    target_type = main.schema.field(target).type
    for name, file in others.items():
        if file is not None:
            table = checked(name, file, read, types | {target: target_type})
            require_columns(f"data.{name}", [target, *chosen, *([roles.query] if roles.query else [])], table)
            given[name] = _columns(table, types, target, kind, roles.query)
            names[name] = roles.names(name, table)
    columns = replace(_columns(main, types, target, kind, roles.query), order=roles.order(main))
    dataset = assemble(columns, given, kind, splitting, encoding=how.categories, missing=how.missing)
    files: dict[str, str] = {main_setting: how.path or how.train or ""}
    files |= {name: file for name, file in others.items() if file is not None}
    return replace(dataset.named(names), fingerprint=of_files(files))


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
    if pa.types.is_integer(target.type) and len(target.unique()) > MAX_INTEGER_CLASSES:
        return "regression"
    return "classification"


def _columns(table: pa.Table, types: dict[str, pa.DataType], target: str, kind: Kind, query: str | None) -> Columns:
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
        queries=None if query is None else codes(table, query),
    )


def _targets(column: pa.ChunkedArray, name: str, kind: Kind) -> NDArray[Any]:
    if column.null_count:
        raise ConfigError("data.target", f"column {name!r} lacks a value in {column.null_count} rows; remove them")
    if kind == "classification":
        return np.array(column.to_pylist())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        path = "data.kind" if kind == "regression" else "data.target"
        raise ConfigError(path, f"column {name!r} holds no numbers, so {kind} can't learn it")
    values: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    if not np.isfinite(values).all():
        raise ConfigError("data.target", f"column {name!r} holds values that are no finite numbers; remove those rows")
    return values
