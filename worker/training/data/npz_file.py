"""NumPy archive data source: arrays of rows or images with targets, read without running code."""

import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worker.training.data.arrays import Examples, assemble_arrays
from worker.training.data.column_roles import NamingRoles
from worker.training.data.column_texts import MAX_INTEGER_CLASSES, describe_classes, describe_numbers
from worker.training.data.dataset import Dataset, Kind, SplitName
from worker.training.data.fingerprint import of_files
from worker.training.data.number_checks import at_index, require_finite, require_usable
from worker.training.data.preprocessing.arrays import ArrayPreprocessing
from worker.training.data.splits import Fold, Stratified
from worker.training.errors import ConfigError, MissingFile, did_you_mean
from worker.training.parameters import Setting

_UNREADABLE = (ValueError, BadZipFile, EOFError, AttributeError, KeyError, RuntimeError, SyntaxError, zlib.error)
"""What NumPy and zipfile raise for a file that is not an archive, or a damaged one."""


def npz(
    fold: Fold | None = None,
    *,
    path: Annotated[
        str, Setting("file with the arrays x and y, or x_train, y_train, x_val, y_val, x_test, …", names="path")
    ],
    features: Annotated[str, Setting("array of features: [n, columns], [n, height, width] or [n, channels, …]")] = "x",
    target: Annotated[str, Setting("array of targets, [n]")] = "y",
    kind: Annotated[
        Literal["classification", "regression"] | None,
        Setting("null: classification for texts and at most 20 different whole numbers, else regression"),
    ] = None,
    roles: NamingRoles,
    splitting: Stratified,
) -> Dataset:
    """A NumPy archive of rows or images, standardised by column or channel; uint8 pixels stay uint8 in memory."""
    if not Path(path).is_file():
        raise MissingFile("data.path", f"there is no file {path!r} (looked for {Path(path).absolute()})")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except _UNREADABLE:  # their messages may quote the file
        message = f"{path!r} can't be read as a NumPy archive; write it with numpy.savez, without objects"
        raise ConfigError("data.path", message) from None
    id_roles = NamingRoles(id=roles.id)
    main = "_train" if f"{features}_train" in arrays else ""
    separate: dict[SplitName, Examples] = {}
    parts: tuple[SplitName, ...] = ("val", "test", "test_val")
    for name in parts:
        if f"{features}_{name}" in arrays:
            part = _examples(arrays, f"{features}_{name}", f"{target}_{name}")
            separate[name] = replace(part, names=id_roles.names("path", _table(arrays, id_roles, f"_{name}", part)))
    examples = _examples(arrays, features + main, target + main)
    table = _table(arrays, roles, main, examples)
    examples = replace(examples, names=roles.names("path", table), constraint=roles.split_constraint(table))
    for name, part in separate.items():
        if part.features.shape[1:] != examples.features.shape[1:]:
            shapes = (
                f"{list(part.features.shape[1:])}, but the training examples have {list(examples.features.shape[1:])}"
            )
            raise ConfigError("data.features", f"the {name} examples have the shape {shapes}")
    if kind == "regression" and any(part.targets.dtype.kind not in "uifb" for part in (examples, *separate.values())):
        raise ConfigError("data.kind", f"{target + main!r} does not hold numbers, which regression needs")
    dataset = assemble_arrays(examples, separate, kind or _kind_of(examples.targets), splitting.at_fold(fold))
    descriptions = (
        f"{features}: {_describe_features(examples.features)}",
        f"{target}: target; {_describe_target(examples, kind)}",
        *dataset.columns,
    )
    arrays_by_role = (("features", features), *(() if roles.id is None else (("id", roles.id),)))
    fitted = replace(cast("ArrayPreprocessing", dataset.preprocessing), arrays=arrays_by_role)
    return replace(dataset, fingerprint=of_files({"path": path}), columns=descriptions, preprocessing=fitted)


def _describe_features(x: NDArray[Any]) -> str:
    """Describe an array of features, and how many of its columns have a single value."""
    if x.ndim == 4:
        return f"{len(x):,} images of {' by '.join(str(size) for size in x.shape[1:])}"
    constant = int((x == x[:1]).all(axis=0).sum())
    remark = f"; {constant:,} of them with one value only: nothing to learn from" if constant else ""
    return f"{len(x):,} rows of {x.shape[1]:,} numbers{remark}"


def _describe_target(examples: Examples, kind: Kind | None) -> str:
    """Describe an array of targets."""
    if (kind or _kind_of(examples.targets)) == "classification":
        return describe_classes(Counter(str(label) for label in examples.targets.tolist()))
    return describe_numbers(float(examples.targets.min()), float(examples.targets.max()), 0)


def _table(arrays: dict[str, NDArray[Any]], roles: NamingRoles, suffix: str, examples: Examples) -> pa.Table:
    """Return the arrays that have a role in one part of the archive as a table with the roles' column names."""
    columns = {}
    for setting, column in roles.columns.items():
        name = column + suffix
        if name not in arrays:
            raise ConfigError(f"data.{setting}", f"there is no array {name!r}; {did_you_mean(name, arrays)}")
        values = arrays[name]
        if values.shape != (len(examples.targets),):
            shape = list(values.shape)
            raise ConfigError(f"data.{setting}", f"{name!r} has the shape {shape} for {len(examples.targets)} examples")
        columns[column] = pa.array(values, from_pandas=True)  # NaN becomes a missing value
    table = pa.table(columns)
    roles.require(table)
    return table


def _examples(arrays: dict[str, NDArray[Any]], features: str, target: str) -> Examples:
    for setting, name in (("features", features), ("target", target)):
        if name not in arrays:
            raise ConfigError(f"data.{setting}", f"there is no array {name!r}; {did_you_mean(name, arrays)}")
    x, y = arrays[features], arrays[target]
    if x.ndim == 3:
        x = x[:, np.newaxis]
    if x.ndim not in (2, 4) or x.dtype.kind not in "uifb":
        raise ConfigError(
            "data.features", f"{features!r} is {x.dtype} {list(x.shape)}; it must hold rows or images of numbers"
        )
    if not len(x):
        raise ConfigError("data.features", f"{features!r} holds no examples")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (len(x),):
        raise ConfigError("data.target", f"{target!r} has the shape {list(y.shape)} for {len(x)} examples")
    _require_numbers(features, x, target, y)
    return Examples(x, y)


def _require_numbers(features: str, x: NDArray[Any], target: str, y: NDArray[Any]) -> None:
    """Raise ConfigError for a number that training can't compute with."""
    require_finite("data.features", f"array {features!r}", x)
    require_finite("data.target", f"array {target!r}", y)
    if x.ndim == 2 and x.dtype.kind == "f":
        for column, values in enumerate(x.T):
            require_usable("data.features", f"column {column} of array {features!r}", values, at_index)
    if y.dtype.kind == "f":
        require_usable("data.target", f"array {target!r}", y, at_index)


def _kind_of(targets: NDArray[Any]) -> Kind:
    if targets.dtype.kind == "f" or (targets.dtype.kind in "ui" and len(np.unique(targets)) > MAX_INTEGER_CLASSES):
        return "regression"
    return "classification"
