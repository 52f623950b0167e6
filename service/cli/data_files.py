"""Reads data files (CSV, Parquet, NumPy archives) into columns, or row by row, for `study init` and `study look`."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from service.cli.column_texts import NULL_TEXTS
from service.cli.csv_dialect import PREFIX_BYTES, detect_delimiter, detect_encoding
from service.cli.data_columns import Column
from service.client.errors import invalid_study
from service.contract.validation_errors import did_you_mean

_MISSING = frozenset(NULL_TEXTS)
_MAX_LINE = 1 << 20
_BATCH_ROWS = 1024
_DAMAGED = (
    ValueError,
    BadZipFile,
    EOFError,
    AttributeError,
    KeyError,
    TypeError,
    RuntimeError,
    SyntaxError,
    zlib.error,
)
"""What NumPy and zipfile raise for a file that is not an archive, or a damaged one."""


@dataclass(frozen=True)
class RowFile:
    """A table that is read row by row."""

    names: list[str]
    rows: Iterator[list[Any]]
    """The rows, with None where a value is missing. Reading them may raise InvalidStudy."""
    progress: Callable[[], float]
    """Returns the share of the file that has been read."""
    settings: dict[str, str]
    """The settings of the `data` section that reading this file needs: encoding and delimiter, unless usual."""


@dataclass(frozen=True)
class Table:
    """A table in memory, which is read once and examined several times."""

    columns: dict[str, Column]
    """The values of each column: texts of a CSV file, Python values of a Parquet file."""
    settings: dict[str, str]
    """As those of a RowFile."""

    def row_file(self) -> RowFile:
        """Return the table's rows, as if they were read from the file again."""
        num_rows, num_read = max(1, max(map(len, self.columns.values()), default=0)), 0

        def rows() -> Iterator[list[Any]]:
            nonlocal num_read
            for row in zip(*self.columns.values(), strict=True):
                num_read += 1
                yield list(row)

        return RowFile(list(self.columns), rows(), lambda: num_read / num_rows, self.settings)


@contextmanager
def open_table(path: Path, encoding: str | None = None) -> Iterator[RowFile]:
    """Open a CSV, TSV or Parquet file, to read it row by row.

    Raises:
        InvalidStudy: the file cannot be read as a table, found here or while its rows are read.
    """
    with open_parquet(path) if path.suffix.lower() == ".parquet" else open_csv(path, encoding) as file:
        yield file


def read_table(path: Path, encoding: str | None = None) -> Table:
    """Read a CSV, TSV or Parquet file. Without `encoding`, detect that of a CSV file from its beginning.

    Raises:
        InvalidStudy: the file cannot be read as a table. The message says why in one sentence.
    """
    with open_table(path, encoding) as file:
        columns: list[list[Any]] = [[] for _ in file.names]
        for row in file.rows:
            for column, value in zip(columns, row, strict=True):
                column.append(value)
    return Table(dict(zip(file.names, columns, strict=True)), file.settings)


@contextmanager
def open_csv(path: Path, encoding: str | None = None) -> Iterator[RowFile]:
    """Open a CSV file with a header line, to read it row by row. Without `encoding`, detect it.

    Raises:
        InvalidStudy: the file cannot be read as a table, found here or while its rows are read.
    """
    with path.open("rb") as opened:
        beginning = opened.read(PREFIX_BYTES)
    chosen = encoding or detect_encoding(beginning)
    chosen = "utf-8" if chosen.lower() in ("utf-8-sig", "utf8") else chosen
    try:
        text = beginning.decode(chosen, errors="replace").removeprefix("\ufeff")
    except LookupError:
        raise invalid_study(path, f"there is no encoding {chosen!r}; try --encoding cp949, cp1252 or utf-16") from None
    try:
        if "\0" in text:
            raise invalid_study(path, "is not a CSV file: it holds binary data")
        delimiter = detect_delimiter(text)
        decoded = "utf-8-sig" if chosen == "utf-8" else chosen
        with path.open("rb") as binary, io.TextIOWrapper(binary, encoding=decoded, newline="") as wrapped:
            rows = csv.reader(_lines(path, wrapped), delimiter=delimiter)
            names = next(rows, [])
            if len(set(names)) < len(names):
                raise invalid_study(path, "has two columns of the same name; rename one of them")
            size = max(1, path.stat().st_size)
            settings = {} if chosen == "utf-8" else {"encoding": chosen}
            settings |= {} if delimiter == "," else {"delimiter": delimiter}
            yield RowFile(names, _checked_rows(path, rows, len(names)), lambda: binary.tell() / size, settings)
    except UnicodeError:
        guess = detect_encoding(beginning)
        hint = f"it looks like {guess}" if guess != chosen else "name the right one by --encoding, or save it as UTF-8"
        raise invalid_study(path, f"is not written in {chosen}; {hint}") from None
    except csv.Error as error:
        raise invalid_study(path, f"is not a CSV file: {error}") from None


@contextmanager
def open_parquet(path: Path) -> Iterator[RowFile]:
    """Open a Parquet file, to read it row by row as Python values.

    Raises:
        InvalidStudy: the file is not a Parquet file, or pyarrow is not installed.
    """
    try:
        from pyarrow import ArrowException  # noqa: PLC0415 - only a worker must have it
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415
    except ImportError:
        raise invalid_study(path, "needs pyarrow to be read; pip install pyarrow, or write the file by hand") from None
    try:
        with ParquetFile(path) as file:
            names, num_rows, num_read = file.schema_arrow.names, max(1, file.metadata.num_rows), 0

            def rows() -> Iterator[list[Any]]:
                nonlocal num_read
                for batch in file.iter_batches(_BATCH_ROWS):
                    num_read += batch.num_rows
                    yield from map(list, zip(*(column.to_pylist() for column in batch.columns), strict=True))

            yield RowFile(names, rows(), lambda: num_read / num_rows, {})
    except (ArrowException, OSError) as error:
        raise invalid_study(path, f"is not a Parquet file: {error}") from None


def _lines(path: Path, file: io.TextIOWrapper) -> Iterator[str]:
    """Return the file's lines. Refuse a line that is too long to be read into memory."""
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE and line[-1] not in "\r\n":
            raise invalid_study(path, "is not a CSV file: a line is longer than a megabyte")
        yield line


def _checked_rows(path: Path, rows: Any, num_columns: int) -> Iterator[list[str | None]]:
    """Return the rows of `csv.reader` that are not empty, with None for missing values."""
    for row in rows:
        if not row:
            continue
        if len(row) != num_columns:
            raise invalid_study(path, f"line {rows.line_num} has {len(row)} values, the header has {num_columns}")
        yield [None if value in _MISSING else value for value in row]


def read_archive(path: Path, target: str) -> tuple[Column, tuple[int, ...]]:
    """Return an archive's target values as a flat list, and the shape of its inputs `x`.

    An archive may hold the arrays split: then the values are those of the training part, `{target}_train`.
    """
    with open_archive(path) as archive:
        names, part = archive.files, "" if target in archive.files else "_train"
        for name in (f"{target}{part}", f"x{part}"):
            if name not in names:
                raise invalid_study(path, f"there is no array {name!r}; {did_you_mean(name, names)}")
        return archive[f"{target}{part}"].reshape(-1).tolist(), archive[f"x{part}"].shape


@contextmanager
def open_archive(path: Path) -> Iterator[Any]:
    """Open a NumPy archive, without running code that it holds.

    Yields:
        NumPy's archive: `files` are the names of its arrays, and an index with a name reads one.

    Raises:
        InvalidStudy: the file is damaged or no archive, found here or while its arrays are read.
    """
    import numpy as np  # noqa: PLC0415 - slow to load

    try:
        # NumPy does not close a damaged file that it opened itself.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            yield archive
    except _DAMAGED:
        message = "is not a readable NumPy archive; write it with numpy.savez, without objects"
        raise invalid_study(path, message) from None
