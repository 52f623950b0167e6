"""Reads data files (CSV, Parquet, NumPy archives) into columns, so that `study init` can inspect them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

from service.cli.column_texts import NULL_TEXTS
from service.cli.csv_dialect import PREFIX_BYTES, detect_delimiter, detect_encoding
from service.cli.data_columns import Column
from service.client.errors import invalid_study
from service.contract.validation_errors import did_you_mean

_MISSING = frozenset(NULL_TEXTS)


@dataclass(frozen=True)
class CsvFile:
    """The columns of a CSV file as texts, its encoding and its delimiter."""

    encoding: str
    delimiter: str
    columns: dict[str, Column]


def read_csv(path: Path, encoding: str | None = None) -> CsvFile:
    """Read a CSV file with a header line. Without `encoding`, detect it from the beginning of the file.

    Raises:
        InvalidStudy: the file cannot be read as a table. The message says why in one sentence.
    """
    with path.open("rb") as opened:
        beginning = opened.read(PREFIX_BYTES)
    chosen = encoding or detect_encoding(beginning)
    chosen = "utf-8" if chosen.lower() in ("utf-8-sig", "utf8") else chosen
    try:
        delimiter = detect_delimiter(beginning.decode(chosen, errors="replace").removeprefix("\ufeff"))
        with path.open(encoding="utf-8-sig" if chosen == "utf-8" else chosen, newline="") as file:
            rows = csv.reader(file, delimiter=delimiter)
            names = next(rows, [])
            columns: list[list[str | None]] = [[] for _ in names]
            for row in rows:
                if row and len(row) != len(names):
                    raise invalid_study(
                        path, f"line {rows.line_num} has {len(row)} values, the header has {len(names)}"
                    )
                for column, value in zip(columns, row, strict=False):
                    column.append(None if value in _MISSING else value)
    except LookupError:
        raise invalid_study(path, f"there is no encoding {chosen!r}; try --encoding cp949, cp1252 or utf-16") from None
    except UnicodeError:
        guess = detect_encoding(beginning)
        hint = f"it looks like {guess}" if guess != chosen else "name the right one by --encoding, or save it as UTF-8"
        raise invalid_study(path, f"is not written in {chosen}; {hint}") from None
    except csv.Error as error:
        raise invalid_study(path, f"is not a CSV file: {error}") from None
    if len(set(names)) < len(names):
        raise invalid_study(path, "has two columns of the same name; rename one of them")
    return CsvFile(chosen, delimiter, dict(zip(names, columns, strict=True)))


def read_parquet(path: Path) -> dict[str, Column]:
    """Read a Parquet file's columns as Python values."""
    try:
        from pyarrow import ArrowInvalid  # noqa: PLC0415 - only a worker must have it
        from pyarrow.parquet import read_table  # noqa: PLC0415
    except ImportError:
        raise invalid_study(path, "needs pyarrow to be read; pip install pyarrow, or write the file by hand") from None
    try:
        table = read_table(path)
    except ArrowInvalid as error:
        raise invalid_study(path, f"is not a Parquet file: {error}") from None
    return {name: table.column(name).to_pylist() for name in table.column_names}


def read_archive(path: Path, target: str) -> tuple[Column, tuple[int, ...]]:
    """Return an archive's target values as a flat list, and the shape of its inputs `x`.

    An archive may hold the arrays split: then the values are those of the training part, `{target}_train`.
    """
    import numpy as np  # noqa: PLC0415 - slow to load

    try:
        with np.load(path, allow_pickle=False) as archive:
            names, part = archive.files, "" if target in archive.files else "_train"
            for name in (f"{target}{part}", f"x{part}"):
                if name not in names:
                    raise invalid_study(path, f"there is no array {name!r}; {did_you_mean(name, names)}")
            return archive[f"{target}{part}"].reshape(-1).tolist(), archive[f"x{part}"].shape
    except (ValueError, BadZipFile, EOFError):
        raise invalid_study(path, "is not a readable NumPy archive") from None
