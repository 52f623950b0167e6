"""Data files as columns, for a first look at them: CSV, Parquet and NumPy archives."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from service.client.errors import InvalidStudy
from service.contract.mistakes import did_you_mean
from service.contract.problem import FieldError

Column = Sequence[Any]
"""The values of one column; None where one is missing."""

_MISSING = {"", "#N/A", "#NA", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"}
"""What the training core's reader takes for a missing value."""


def read_csv(path: Path) -> tuple[str, dict[str, Column]]:
    """The delimiter, and the columns as texts."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            delimiter = max(",;\t", key=header.count)
            names = next(csv.reader([header], delimiter=delimiter), [])
            columns: list[list[str | None]] = [[] for _ in names]
            for line, row in enumerate(csv.reader(file, delimiter=delimiter), start=2):
                if row and len(row) != len(names):
                    raise _wrong(path, f"line {line} has {len(row)} values, the header has {len(names)}")
                for column, value in zip(columns, row, strict=False):
                    column.append(None if value in _MISSING else value)
    except UnicodeDecodeError:
        raise _wrong(path, "is not UTF-8 text; save it as UTF-8, or write data.encoding by hand") from None
    if len(set(names)) < len(names):
        raise _wrong(path, "has two columns of the same name; rename one")
    return delimiter, dict(zip(names, columns, strict=True))


def read_parquet(path: Path) -> dict[str, Column]:
    """The columns as Python values."""
    try:
        from pyarrow import ArrowInvalid  # noqa: PLC0415 - only a worker must have it
        from pyarrow.parquet import read_table  # noqa: PLC0415
    except ImportError:
        raise _wrong(path, "needs pyarrow to be read; pip install pyarrow, or write the file by hand") from None
    try:
        table = read_table(path)
    except ArrowInvalid as error:
        raise _wrong(path, f"is no Parquet file: {error}") from None
    return {name: table.column(name).to_pylist() for name in table.column_names}


def read_archive(path: Path, target: str) -> tuple[Column, tuple[int, ...]]:
    """The values of the array `target`, or of its training part, and the shape of what predicts them."""
    import numpy as np  # noqa: PLC0415 - slow to load

    try:
        with np.load(path, allow_pickle=False) as archive:
            names, part = archive.files, "" if target in archive.files else "_train"
            for name in (f"{target}{part}", f"x{part}"):
                if name not in names:
                    raise _wrong(path, f"there is no array {name!r}; {did_you_mean(name, names)}")
            return archive[f"{target}{part}"].reshape(-1).tolist(), archive[f"x{part}"].shape
    except (ValueError, BadZipFile, EOFError):
        raise _wrong(path, "is no NumPy archive that can be read") from None


def _wrong(path: Path, message: str) -> InvalidStudy:
    return InvalidStudy(str(path), [FieldError(path="", message=message)])
