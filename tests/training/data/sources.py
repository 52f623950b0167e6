"""The same sixty patients in every file format of the data readers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import csv as arrow_csv
from pyarrow import parquet as arrow_parquet

from worker.training.data import DATA, Dataset

ROWS = 60
CLASSES = [("ill", "well")[row % 2] for row in range(ROWS)]
COLUMNS: dict[str, list[Any]] = {
    "site": [f"site {row // 6}" for row in range(ROWS)],
    "day": [(row * 7) % ROWS for row in range(ROWS)],
    "part": [("train", "train", "val", "test")[row // 2 % 4] for row in range(ROWS)],
    "patient": [f"p{1000 - row}" for row in range(ROWS)],
    "number": [1000 - row for row in range(ROWS)],
    "half": [row / 2 for row in range(ROWS)],
    "twice": [row // 2 for row in range(ROWS)],
    "gaps": [None if row % 10 == 0 else float(row) for row in range(ROWS)],
}
AGES = [float(row % 13) for row in range(ROWS)]


def a_csv(folder: Path, classes: Sequence[str] = CLASSES) -> dict[str, Any]:
    arrow_csv.write_csv(pa.table({"age": AGES, **COLUMNS, "state": classes}), folder / "t.csv")
    return {"name": "csv", "path": str(folder / "t.csv"), "target": "state", "features": ["age"]}


def a_parquet(folder: Path, classes: Sequence[str] = CLASSES) -> dict[str, Any]:
    arrow_parquet.write_table(pa.table({"age": AGES, **COLUMNS, "state": classes}), folder / "t.parquet")
    return {"name": "parquet", "path": str(folder / "t.parquet"), "target": "state", "features": ["age"]}


def an_archive(folder: Path, classes: Sequence[str] = CLASSES) -> dict[str, Any]:
    arrays = {name: np.array([np.nan if each is None else each for each in column]) for name, column in COLUMNS.items()}
    np.savez(folder / "t.npz", x=np.array(AGES)[:, np.newaxis], y=classes, **arrays)
    return {"name": "npz", "path": str(folder / "t.npz")}


def texts(folder: Path, classes: Sequence[str] = CLASSES) -> dict[str, Any]:
    says = [f"age {age}" for age in AGES]
    arrow_csv.write_csv(pa.table({"says": says, **COLUMNS, "state": classes}), folder / "t.csv")
    return {"name": "texts", "path": str(folder / "t.csv"), "text": "says", "target": "state", "length": 8}


def image_file(row: int, classes: Sequence[str] = CLASSES) -> str:
    return f"{classes[row]}/{row:02}.png"


def images(folder: Path, classes: Sequence[str] = CLASSES) -> dict[str, Any]:
    for name in set(classes):
        (folder / "all" / name).mkdir(parents=True)
    for row in range(ROWS):
        Image.new("L", (4, 4), int(AGES[row])).save(folder / "all" / image_file(row, classes))
    table = pa.table({"file": [image_file(row, classes) for row in range(ROWS)], **COLUMNS})
    arrow_csv.write_csv(table, folder / "t.csv")
    return {"name": "images", "path": str(folder / "all"), "size": 4, "table": str(folder / "t.csv")}


SOURCES: dict[str, Callable[..., dict[str, Any]]] = {
    "csv": a_csv, "parquet": a_parquet, "npz": an_archive, "texts": texts, "images": images,
}  # fmt: skip


def load(given: dict[str, Any]) -> Dataset:
    settings = {name: value for name, value in given.items() if name != "name"}
    return DATA.create(given["name"], DATA.check(given["name"], settings))
