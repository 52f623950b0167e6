"""Examines a data file or a folder of images by its kind, within bounded memory and time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.cli.data_files import open_csv, open_parquet
from service.cli.inspect_data import InspectOptions
from service.cli.look.report import Report
from service.cli.look.row_sample import sample_rows
from service.cli.look.table import report_table
from service.client.errors import invalid_study
from service.contract.catalogue import load_catalogue
from service.contract.validation_errors import did_you_mean

Notice = Callable[[str, float], None]
"""Is called with the step in progress and the share of it that is done."""


def look(source: str, asked: InspectOptions, seed: int = 0, notice: Notice | None = None) -> Report:
    """Examine a CSV, Parquet, NPZ or text file, or a folder of images.

    Args:
        source: the path of the file or folder.
        asked: the user's options about the data.
        seed: decides the sample of a large file, the examples, and the halves of the one-column rules.
        notice: is called with the progress.

    Raises:
        InvalidStudy: the source does not exist or cannot be read. The message says why in one sentence.
    """
    path = Path(source)
    notice = notice or _ignore
    try:
        match path.suffix.lower():
            case _ if not path.is_file():
                raise _not_there(source)
            case ".csv" | ".tsv" | ".parquet":
                return _table(path, asked, seed, notice)
            case _:
                raise invalid_study(source, "is no .csv, .tsv or .parquet file; convert it to one")
    except OSError as error:
        raise invalid_study(source, f"cannot be read: {error.strerror or error}") from None


def _ignore(step: str, share: float) -> None:
    del step, share


def _not_there(source: str) -> Exception:
    entries = load_catalogue().registries["data"]
    builtin = [name for name, entry in entries.items() if "path" not in entry.parameters]
    if source in builtin:
        return invalid_study(source, "is a built-in set, which only the worker has; look takes a file or a folder")
    return invalid_study(source, f"there is no such file or folder; {did_you_mean(source, builtin)}")


def _table(path: Path, asked: InspectOptions, seed: int, notice: Notice) -> Report:
    is_text = path.suffix.lower() != ".parquet"
    data: dict[str, Any] = {"name": "csv" if is_text else "parquet", "path": str(path)}
    with open_csv(path, asked.encoding) if is_text else open_parquet(path) as file:
        data |= file.settings
        sample = sample_rows(file, seed, lambda share: notice("reading", share))
    return report_table(
        str(path), data, sample, asked, seed=seed, notice=lambda share: notice("analysing", share), is_text=is_text
    )
