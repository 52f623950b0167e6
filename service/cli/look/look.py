"""Examines a data file or a folder of images by its kind, within bounded memory and time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from service.cli.data_files import Table, open_table
from service.cli.inspect_data import InspectOptions
from service.cli.look import archive, image_folder
from service.cli.look.images import report_images
from service.cli.look.report import Report, sort_findings
from service.cli.look.row_sample import sample_rows
from service.cli.look.table import report_table
from service.cli.look.text_file import report_text
from service.client.errors import invalid_study
from service.contract.catalogue import load_catalogue
from service.contract.validation_errors import did_you_mean

Notice = Callable[[str, float], None]
"""Is called with the step in progress and the share of it that is done."""


def look(
    source: str, asked: InspectOptions, seed: int = 0, notice: Notice | None = None, table: Table | None = None
) -> Report:
    """Examine a CSV, Parquet, NPZ or text file, or a folder of images.

    Args:
        source: the path of the file or folder.
        asked: the user's options about the data.
        seed: decides the sample of a large file, the examples, and the halves of the one-column rules.
        notice: is called with the progress.
        table: the rows of the file, if they are in memory already; None: they are read from the file.

    Raises:
        InvalidStudy: the source does not exist or cannot be read. The message says why in one sentence.
    """
    path = Path(source)
    notice = notice or _ignore
    try:
        match path.suffix.lower():
            case _ if path.is_dir():
                return _folder(path, seed, notice)
            case _ if not path.is_file():
                raise _not_there(source)
            case ".csv" | ".tsv" | ".parquet":
                return _table(path, asked, seed, notice, table)
            case ".npz":
                return _archive(path, asked, seed, notice)
            case ".txt":
                return report_text(path)
            case _:
                raise invalid_study(source, "is no .csv, .tsv, .parquet, .npz or .txt file, nor a folder of images")
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


def _table(path: Path, asked: InspectOptions, seed: int, notice: Notice, table: Table | None) -> Report:
    is_text = path.suffix.lower() != ".parquet"
    data: dict[str, Any] = {"name": "csv" if is_text else "parquet", "path": str(path)}
    with open_table(path, asked.encoding) if table is None else nullcontext(table.row_file()) as file:
        data |= file.settings
        sample = sample_rows(file, seed, lambda share: notice("reading", share))
    return report_table(
        str(path), data, sample, asked, seed=seed, notice=lambda share: notice("analysing", share), is_text=is_text
    )


def _folder(path: Path, seed: int, notice: Notice) -> Report:
    facts = image_folder.read_folder(str(path), seed, lambda share: notice("reading", share))
    data = {"name": "images", "path": str(path)}
    return report_images(facts, data, lambda record: image_folder.pixels_of(path / record.name), seed)


def _archive(path: Path, asked: InspectOptions, seed: int, notice: Notice) -> Report:
    target = asked.target or "y"
    parts = archive.read_parts(path, target)
    notice("reading", 1.0)
    data: dict[str, Any] = {"name": "npz", "path": str(path), "target": target}
    if parts["train"][0].ndim > 2:
        facts, pixels = archive.images_of(str(path), parts, asked, seed)
        return report_images(facts, data, lambda record: pixels[record.name], seed)
    report = report_table(
        str(path),
        data,
        archive.rows_of(parts, target, seed),
        replace(asked, target=target),
        seed=seed,
        notice=lambda share: notice("analysing", share),
        is_text=False,
    )
    notes = [*report.notes, "No setting leaves out a column of an archive: write the archive without it."]
    findings = sort_findings([*archive.split_duplicates(parts), *report.findings])
    return report.model_copy(update={"notes": notes if report.findings else report.notes, "findings": findings})
