"""Files to predict on, read in batches of bounded memory: tables, archives, folders of images, and texts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet as arrow_parquet

from worker.training.bundle.bundle import Bundle
from worker.training.bundle.frames import image_files
from worker.training.data.csv_dialect import PREFIX_BYTES, detect_encoding
from worker.training.data.csv_file import stream_csv
from worker.training.data.number_checks import DescribeRow, at_index, in_row
from worker.training.data.preprocessing import (
    ArrayPreprocessing,
    ImagePreprocessing,
    StreamPreprocessing,
    TablePreprocessing,
    TextPreprocessing,
)
from worker.training.errors import ConfigError, MissingFile

_ROWS = 65_536
_IMAGES = 512
_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Batch:
    """A part of a file.

    Attributes:
        frame: the examples, as `Bundle.predict` takes them.
        first: the position of the first example in the file.
        share: how much of the file has been read, from 0 to 1.
        describe_row: returns in words where in the file an example of the batch is.
    """

    frame: Any
    first: int
    share: float
    describe_row: DescribeRow


def read_batches(path: Path, bundle: Bundle, *, encoding: str | None = None) -> Iterator[Batch]:
    """Read a file of the kind that the bundle's data source reads.

    Args:
        path: a CSV or Parquet file, an archive, an image or a folder of images, or a text file.
        bundle: says what is read.
        encoding: the encoding of a CSV or text file; None: it is detected.

    Raises:
        ConfigError: the file is empty, can't be read, or is of another kind.
    """
    if not path.exists():
        raise MissingFile("data", f"there is no {str(path)!r} (looked for {path.absolute()})")
    if path.is_file() and not path.stat().st_size:
        raise ConfigError("data", f"{str(path)!r} is empty")
    preprocessing = bundle.preprocessing
    match preprocessing:
        case StreamPreprocessing():
            yield Batch(path.read_bytes(), 0, 1.0, at_index)
        case ImagePreprocessing():
            yield from _images(path)
        case TextPreprocessing() if path.suffix.lower() == ".txt":
            yield from _lines(path, encoding)
        case ArrayPreprocessing() if path.suffix.lower() in (".npz", ".npy"):
            yield Batch(_array(path, preprocessing), 0, 1.0, at_index)
        case TablePreprocessing() if bundle.dataset.kind == "ranking":  # a query's rows may lie apart
            batches = list(_tables(path, encoding))
            whole = pa.concat_tables([each.frame for each in batches])
            yield Batch(_with_numbers(whole, _plain_numbers(preprocessing)), 0, 1.0, in_row)
        case _:
            numbers = _plain_numbers(preprocessing)
            for batch in _tables(path, encoding):
                yield replace(batch, frame=_with_numbers(batch.frame, numbers))


def _tables(path: Path, encoding: str | None) -> Iterator[Batch]:
    first = 0
    is_parquet = path.suffix.lower() in _PARQUET
    for table, share in _parquet(path) if is_parquet else stream_csv(path, encoding or detected_encoding(path)):
        place = at_index if is_parquet else in_row
        if table.num_rows:
            yield Batch(table, first, share, _from(place, first))
        first += table.num_rows
    if not first:
        raise ConfigError("data", f"{str(path)!r} has columns but no rows")


def _parquet(path: Path) -> Iterator[tuple[pa.Table, float]]:
    try:
        with arrow_parquet.ParquetFile(path) as file:
            read, total = 0, max(1, file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=_ROWS):
                read += batch.num_rows
                yield pa.Table.from_batches([batch]), read / total
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ConfigError("data", f"{str(path)!r} can't be read as a Parquet file") from None


def _images(path: Path) -> Iterator[Batch]:
    files = image_files(path) if path.is_dir() else [path]
    names = [file.relative_to(path).as_posix() if path.is_dir() else file.name for file in files]
    for start in range(0, len(files), _IMAGES):
        stop = min(start + _IMAGES, len(files))
        frame = dict(zip(names[start:stop], files[start:stop], strict=True))
        yield Batch(frame, start, stop / len(files), at_index)


def _lines(path: Path, encoding: str | None) -> Iterator[Batch]:
    """Yield the lines of a text file, of which each is a text; empty ones at the end are left out."""
    try:
        lines = path.read_text(encoding=encoding or detected_encoding(path)).splitlines()
    except (UnicodeDecodeError, LookupError) as error:
        raise ConfigError("data", f"{str(path)!r} can't be decoded ({error}); name its encoding") from None
    for start in range(0, len(lines), _ROWS):
        yield Batch(lines[start : start + _ROWS], start, min(1.0, (start + _ROWS) / len(lines)), at_index)


def _array(path: Path, preprocessing: ArrayPreprocessing) -> Any:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded as archive:
            wanted = dict(preprocessing.arrays).get("features", "x")
            if wanted in archive.files:
                return archive[wanted]
            names = archive.files
    except (ValueError, OSError, EOFError, KeyError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ConfigError("data", f"{str(path)!r} can't be read as a NumPy archive") from None
    raise ConfigError("data", f"{str(path)!r} has no array {wanted!r}, but {', '.join(names)}")


def _plain_numbers(preprocessing: Any) -> set[str]:
    """Return the columns whose texts are plain numbers, which pyarrow converts fast."""
    if isinstance(preprocessing, TablePreprocessing):
        return {column.name for column in preprocessing.columns if column.type == "number" and column.numbers is None}
    return set(preprocessing.columns) if isinstance(preprocessing, ArrayPreprocessing) else set()


def _with_numbers(table: pa.Table, numbers: set[str]) -> pa.Table:
    """Return the table with plain numbers as numbers; texts that are none stay, and the column's reading names them."""
    for index, name in enumerate(table.column_names):
        if name in numbers and pa.types.is_string(table.column(index).type):
            try:
                table = table.set_column(index, name, table.column(index).cast(pa.float64()))
            except pa.ArrowInvalid:
                continue
    return table


def detected_encoding(path: Path) -> str:
    """Return the most plausible encoding of a text file."""
    with path.open("rb") as stream:
        return detect_encoding(stream.read(PREFIX_BYTES))


def _from(place: DescribeRow, first: int) -> Callable[[int], str]:
    return lambda row: place(first + row)
