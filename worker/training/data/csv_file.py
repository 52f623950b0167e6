"""CSV data source: tables of features and a target, read by pyarrow."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias

import pyarrow as pa
from pyarrow import csv as arrow_csv

from worker.training.data.column_roles import RankingRoles
from worker.training.data.column_texts import NULL_TEXTS
from worker.training.data.csv_dialect import PREFIX_BYTES, detect_delimiter, detect_encoding
from worker.training.data.dataset import Dataset
from worker.training.data.number_checks import in_row
from worker.training.data.splits import Fold, Stratified
from worker.training.data.tables import TableSettings, load_tables
from worker.training.data.unreadable import why_no_csv
from worker.training.errors import ConfigError
from worker.training.parameters import Setting

Encoding: TypeAlias = Annotated[str, Setting("text encoding of the files: utf-8, cp949, latin-1, …")]
Delimiter: TypeAlias = Annotated[
    str | None, Setting("character between the values; null: the one of , ; | and tab that the first lines show")
]

_BLOCK_BYTES = 1 << 23
"""How much of a large file is read at a time."""


def csv(
    fold: Fold | None = None,
    *,
    table: TableSettings,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = None,
    roles: RankingRoles,
    splitting: Stratified,
) -> Dataset:
    """A CSV file with a header line: numbers are standardised, texts are one-hot encoded or embedded.

    Relative paths are resolved from the directory in which the process was started. `study create` makes paths absolute
    that lie beside the study file.
    """
    return load_tables(
        partial(read_csv, encoding, delimiter), table, roles, splitting.at_fold(fold), describe_row=in_row, is_text=True
    )


def read_csv(encoding: str, delimiter: str | None, setting: str, file: str, as_text: Sequence[str] = ()) -> pa.Table:
    """Read the table in `file`.

    Args:
        encoding: the text encoding.
        delimiter: the character between values; None: detected from the first lines.
        setting: the setting that names the file.
        file: the path.
        as_text: columns to read as the texts in the file, even if they hold numbers.

    Raises:
        ConfigError: at `data.SETTING`, `data.encoding` or `data.delimiter`, if the file can't be read.
    """
    if delimiter is not None and len(delimiter) != 1:
        raise ConfigError("data.delimiter", f"must be one character, got {delimiter!r}")
    if encoding == "utf-8" and detect_encoding(_prefix(file)) in {"utf-16", "utf-32"}:
        raise _wrong_encoding(file, encoding)
    try:
        read = partial(
            arrow_csv.read_csv,
            file,
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter or _delimiter_of(file, encoding)),
            convert_options=_convert_options(as_text),
        )
        table = read(read_options=arrow_csv.ReadOptions(encoding=encoding))
        _ = table.column_names  # pyarrow decodes the names on this access
    except LookupError:
        raise ConfigError("data.encoding", f"unknown encoding {encoding!r}; try utf-8, latin-1 or cp949") from None
    except UnicodeDecodeError:
        raise _wrong_encoding(file, encoding) from None
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error):
            raise _wrong_encoding(file, encoding) from None
        reason = why_no_csv(
            partial(read, read_options=arrow_csv.ReadOptions(encoding=encoding, use_threads=False)), error
        )
        raise ConfigError(f"data.{setting}", f"{file!r} can't be read as a CSV file: {reason}") from None
    # pyarrow returns columns that it can't decode as bytes instead of failing.
    if any(pa.types.is_binary(kind) for kind in table.schema.types):
        raise _wrong_encoding(file, encoding)
    return table


def stream_csv(path: Path, encoding: str, where: str = "data") -> Iterator[tuple[pa.Table, float]]:
    """Yield the rows of a large file as texts, block by block, with the share of the file that has been read.

    Raises:
        ConfigError: at `where`, if the file can't be read.
    """
    file, total = str(path), path.stat().st_size
    try:
        open_csv = partial(
            arrow_csv.open_csv,
            read_options=arrow_csv.ReadOptions(encoding=encoding, block_size=_BLOCK_BYTES),
            parse_options=arrow_csv.ParseOptions(delimiter=_delimiter_of(file, encoding)),
        )
        with open_csv(file) as header:
            options = _convert_options(header.schema.names)
        with path.open("rb") as stream, open_csv(stream, convert_options=options) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch]), min(1.0, stream.tell() / total)
    except LookupError:
        raise ConfigError(where, f"unknown encoding {encoding!r}; try utf-8, latin-1 or cp949") from None
    except UnicodeDecodeError:
        raise ConfigError(where, f"{file!r} is not written in {encoding}; name its encoding") from None
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error):
            raise ConfigError(where, f"{file!r} is not written in {encoding}; name its encoding") from None
        raise ConfigError(where, f"{file!r} can't be read as a CSV file: {why_no_csv(lambda: None, error)}") from None


def _convert_options(as_text: Sequence[str]) -> arrow_csv.ConvertOptions:
    return arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(as_text, pa.string()),
        null_values=list(NULL_TEXTS),
        strings_can_be_null=True,
    )


def _prefix(file: str) -> bytes:
    with Path(file).open("rb") as stream:
        return stream.read(PREFIX_BYTES)


def _delimiter_of(file: str, encoding: str) -> str:
    return detect_delimiter(_prefix(file).decode(encoding, errors="replace"))


def _wrong_encoding(file: str, encoding: str) -> ConfigError:
    guess = detect_encoding(_prefix(file))
    return ConfigError(
        "data.encoding",
        f"{file!r} is not written in {encoding}; it looks like {guess}: write data.encoding: {guess}"
        if guess != encoding
        else f"{file!r} is not written in {encoding} as a whole; save it as utf-8",
    )
