"""Reads the categories that a user names for error analysis: a column of the data, or a file of ids and categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from service.cli.data_files import read_table
from service.cli.errors.example_data import ExampleData
from service.client.errors import invalid_study
from service.contract.validation_errors import did_you_mean

_FILES = (".csv", ".tsv", ".parquet")


def read_categories(names: Sequence[str], ids: NDArray[Any], data: ExampleData | None) -> Mapping[str, Sequence[Any]]:
    """Return the category of each example for each name given by `--by`.

    Args:
        names: columns of the data, or files with the columns `id` and `category`.
        ids: [n], the ids of the examples, or of the queries of a ranking.
        data: the examples; None: the data were not found.

    Raises:
        InvalidStudy: there is no such column, or a file lacks a column or has none of the ids.
    """
    return {name: _of_file(name, ids) if name.lower().endswith(_FILES) else _of_column(name, data) for name in names}


def _of_column(name: str, data: ExampleData | None) -> Sequence[Any]:
    if data is None:
        raise invalid_study("--by", f"the column {name!r} is in the data, which were not found; give them by --data")
    columns: dict[str, Sequence[Any]] = dict(data.columns) | {
        key: list(each) for key, each in (data.facts or {}).items()
    }
    if name not in columns:
        hint = did_you_mean(name, columns) if columns else "its examples have no columns; use --by FILE.csv"
        raise invalid_study("--by", f"{data.source} has no column {name!r}; {hint}")
    return columns[name]


def _of_file(name: str, ids: NDArray[Any]) -> Sequence[Any]:
    path = Path(name)
    if not path.is_file():
        raise invalid_study("--by", f"there is no file {name!r}")
    columns = read_table(path).columns
    for needed in ("id", "category"):
        if needed not in columns:
            raise invalid_study(
                path, f"needs the columns id and category, and has no {needed!r}; {did_you_mean(needed, columns)}"
            )
    of_id = {
        str(key): value for key, value in zip(columns["id"], columns["category"], strict=True) if value is not None
    }
    found = [of_id.get(str(each)) for each in ids.tolist()]
    if all(each is None for each in found):
        raise invalid_study(
            path, f"has none of the examples' ids, such as {ids[0]}; its column id must hold the ids of the predictions"
        )
    return found
