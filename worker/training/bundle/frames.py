"""Frames that a user predicts on, as the types that preprocessing encodes: a table, an array, images or texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worker.training.data.image_file import ENDINGS
from worker.training.data.preprocessing import ArrayPreprocessing, TablePreprocessing, TextPreprocessing
from worker.training.data.table_file import plain_column
from worker.training.errors import ConfigError

_NUM_NAMED = 10

Frame: TypeAlias = Any
"""A dict of columns, a list of dicts, a pyarrow, pandas or polars table, an array, images, texts, or one text."""


@dataclass(frozen=True)
class Examples:
    """Examples as preprocessing encodes them.

    Attributes:
        values: a table with the columns of training, an array, or a list of images or texts.
        ids: [n], the user's own ids; None: their positions.
        notes: what a user should know about the frame, one sentence each.
        queries: the table's column of queries, for ranking; None: there is none.
    """

    values: Any
    ids: NDArray[Any] | None = None
    notes: tuple[str, ...] = ()
    queries: pa.ChunkedArray | None = None

    def __len__(self) -> int:
        return len(self.values)

    def slice(self, start: int, stop: int) -> Any:
        """Return the values from `start` to `stop`, to be encoded."""
        return self.values.slice(start, stop - start) if isinstance(self.values, pa.Table) else self.values[start:stop]


def table_of(frame: Frame) -> pa.Table | None:
    """Return a frame with named columns as a table; None for anything else.

    Raises:
        ConfigError: columns have different lengths, or a column mixes values of different types.
    """
    if isinstance(frame, np.ndarray) and frame.dtype.names:
        frame = {name: frame[name] for name in frame.dtype.names}
    try:
        if isinstance(frame, pa.Table):
            table = frame
        elif isinstance(frame, pa.RecordBatch):
            table = pa.Table.from_batches([frame])
        elif isinstance(frame, Mapping):
            table = pa.table({str(name): _column(values) for name, values in frame.items()})
        elif isinstance(frame, list) and frame and isinstance(frame[0], Mapping):
            table = pa.Table.from_pylist(frame)
        elif hasattr(frame, "__arrow_c_stream__") or hasattr(frame, "iloc"):  # polars and pandas
            table = pa.table(frame)
        else:
            return None
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError) as error:
        raise ConfigError("data", f"the columns can't be read as a table: {str(error).splitlines()[0]}") from None
    return pa.table({name: plain_column(table.column(name)) for name in table.column_names})


def rows_for(preprocessing: TablePreprocessing, frame: Frame, *, impute_columns: bool) -> Examples:
    """Return the rows of a frame with the columns of training, in any order.

    Args:
        preprocessing: the columns of training.
        frame: a frame with named columns, or an array [n, columns] of exactly the training's columns in their order.
        impute_columns: whether a missing column counts as a column of missing values.

    Raises:
        ConfigError: columns are missing, or the frame is no table.
    """
    table = table_of(frame)
    if table is None:
        table = _named(np.asarray(frame), preprocessing.names)
    names, notes = preprocessing.names, []
    if missing := [name for name in names if name not in table.column_names]:
        if not impute_columns or preprocessing.rows.missing == "refuse":
            remedy = "" if preprocessing.rows.missing == "refuse" else "; add them, or ask to impute missing columns"
            raise ConfigError("data", f"{_columns(missing)} of the training data {_are(missing)} missing{remedy}")
        for name in missing:
            table = table.append_column(name, pa.nulls(table.num_rows))
        notes.append(f"{_columns(missing)} {_are(missing)} missing, so all values count as missing values")
    roles = preprocessing.roles
    known = {*names, preprocessing.target, *roles.values()}
    if extra := [name for name in table.column_names if name not in known]:
        notes.append(
            f"{_columns(extra)} {_are(extra)} ignored: training did not use {'it' if len(extra) == 1 else 'them'}"
        )
    query = roles.get("query")
    return Examples(
        table.select(names),
        _ids(table, roles.get("id")),
        tuple(notes),
        table.column(query) if query in table.column_names else None,
    )


def array_for(preprocessing: ArrayPreprocessing, frame: Frame) -> Examples:
    """Return the rows or images of a frame as an array.

    Raises:
        ConfigError: a column of the training data is missing, or a column does not hold numbers.
    """
    table = table_of(frame)
    if table is None:
        return Examples(np.asarray(frame))
    names: Sequence[str] = preprocessing.columns or table.column_names
    if missing := [name for name in names if name not in table.column_names]:
        raise ConfigError("data", f"{_columns(missing)} of the training data {_are(missing)} missing")
    try:
        columns = [table.column(name).cast(pa.float64()).to_numpy() for name in names]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ConfigError("data", f"a column does not hold numbers: {str(error).splitlines()[0]}") from None
    extra = [name for name in table.column_names if name not in names]
    notes = (f"{_columns(extra)} {_are(extra)} ignored: training did not use them",) if extra else ()
    return Examples(np.column_stack(columns), notes=notes)


def images_of(frame: Frame) -> Examples:
    """Return a folder's image files, or a sequence of paths, Pillow images or arrays, with paths as ids."""
    if isinstance(frame, str | Path):
        folder = Path(frame)
        files = image_files(folder) if folder.is_dir() else [folder]
        ids = [file.relative_to(folder).as_posix() if folder.is_dir() else file.name for file in files]
        return Examples(files, np.array(ids))
    if isinstance(frame, Mapping):  # images by id
        return Examples(list(frame.values()), np.array([str(name) for name in frame]))
    images = list(frame)
    are_paths = bool(images) and all(isinstance(each, str | Path) for each in images)
    return Examples(images, np.array([str(each) for each in images]) if are_paths else None)


def image_files(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, sorted; files with a leading dot are left out.

    Raises:
        ConfigError: there are none.
    """
    files = sorted(
        file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and not file.name.startswith(".")
    )
    if not files:
        raise ConfigError("data", f"the folder {str(folder)!r} has no images ({', '.join(sorted(ENDINGS))})")
    return files


def texts_for(preprocessing: TextPreprocessing, frame: Frame) -> Examples:
    """Return the texts of a frame's text column, a sequence of texts, or one text.

    Raises:
        ConfigError: the column is missing, or a value is no text.
    """
    table, ids = table_of(frame), None
    if table is not None:
        if preprocessing.text not in table.column_names:
            raise ConfigError("data", f"column {preprocessing.text!r} of the training data, the text, is missing")
        ids = _ids(table, preprocessing.id)
        texts = table.column(preprocessing.text).to_pylist()
    else:
        texts = [frame] if isinstance(frame, str) else list(frame)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ConfigError("data", f"example {index} is {text!r}, not a text")
    return Examples(texts, ids)


def _column(values: Any) -> Any:
    """Return one column of a dict; a single value is one row."""
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        values = [values]
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if not isinstance(values, np.ndarray):
        values = [None if isinstance(each, float) and each != each else each for each in values]  # noqa: PLR0124 - NaN
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # The values are of several types: as texts, the column's reading names the wrong ones.
        return pa.array([None if each is None else str(each) for each in values], pa.string())


def _named(array: NDArray[Any], names: Sequence[str]) -> pa.Table:
    if array.ndim != 2 or array.shape[1] != len(names):
        raise ConfigError(
            "data",
            f"the frame has no column names and the shape {list(array.shape)}; give a dict or a table of columns, or "
            f"an array [n, {len(names)}] of the columns in the order of training",
        )
    return pa.table({name: _column(list(column)) for name, column in zip(names, array.T, strict=True)})


def _ids(table: pa.Table, name: str | None) -> NDArray[Any] | None:
    return np.array(table.column(name).to_pylist()) if name is not None and name in table.column_names else None


def _columns(names: Sequence[str]) -> str:
    """Return `column 'a'` or `columns 'a', 'b' and 3 more`."""
    more = f" and {len(names) - _NUM_NAMED} more" if len(names) > _NUM_NAMED else ""
    return f"column{'s' if len(names) > 1 else ''} {', '.join(map(repr, names[:_NUM_NAMED]))}{more}"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
