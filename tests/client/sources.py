"""Data of every kind that `study init` reads, written into the current directory; each function returns its name."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from tests.support.service import ROOT

DIABETES = str(ROOT / "examples" / "data" / "diabetes.csv")


def table(name: str, rows: Sequence[Sequence[object]], delimiter: str = ",") -> str:
    with Path(name).open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return name


def labelled(*labels: object, num: int = 40) -> list[list[object]]:
    chance = random.Random(1)
    return [["x", "y"], *([round(chance.random(), 3), labels[at % len(labels)]] for at in range(num))]


def archive() -> str:
    numbers = np.random.default_rng(0)
    np.savez("blobs.npz", x=numbers.normal(size=(60, 8, 8)), y=np.arange(60) % 3)
    return "blobs.npz"


def folder() -> str:
    for at in range(12):
        path = Path("pets") / ("cat" if at % 2 else "dog") / f"{at}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (at, 0, 0)).save(path)
    return "pets"


def columns() -> str:
    chance = np.random.default_rng(0)
    held = {"x": chance.normal(size=80), "day": pa.array([0] * 80, pa.date32()), "y": chance.normal(size=80)}
    parquet.write_table(pa.table(held), "table.parquet")
    return "table.parquet"


def book() -> str:
    Path("book.txt").write_text("It is a truth universally acknowledged. " * 100)
    return "book.txt"


def reviews() -> str:
    rows = [[f"I think that part {at} was really {'good' if at % 2 else 'bad'}", at, "ab"[at % 2]] for at in range(60)]
    return table("reviews.csv", [["says", "number", "label"], *rows])


def korean() -> str:
    rows = [["수", "도시"], *([at, ("서울", "부산")[at % 2]] for at in range(40))]
    Path("cities.csv").write_text("\n".join(f"{at};{city}" for at, city in rows), encoding="cp949")
    return "cities.csv"


def dirty() -> str:
    rows = [[f"1.{at:03},50 €", "?" if at % 7 == 0 else at, f"{at},5"] for at in range(60)]
    return table("dirty.csv", [["price", "age", "y"], *rows], ";")


CASES: dict[str, tuple[Any, list[str]]] = {
    "csv, classes": (lambda: table("wine.csv", labelled("red", "white")), ["--target", "y"]),
    "csv, numbers": (lambda: DIABETES, ["--target", "progression"]),
    "tsv": (lambda: table("wine.tsv", labelled("red", "white"), "\t"), ["--target", "y"]),
    "sentences": (reviews, ["--target", "label"]),
    "cp949 and semicolons": (korean, ["--target", "도시"]),
    "dirty numbers": (dirty, ["--target", "y"]),
    "parquet": (columns, ["--target", "y"]),
    "npz": (archive, []),
    "images": (folder, []),
    "text": (book, []),
    **{name: (lambda name=name: name, []) for name in ("digits", "wine", "breast_cancer", "diabetes")},
}
