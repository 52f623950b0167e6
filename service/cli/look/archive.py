"""Reads a NumPy archive for `study look`: rows as a table, images as images, and what two parts have in common."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.cli.data_files import open_archive
from service.cli.inspect_data import InspectOptions, kind_of_target
from service.cli.look.image_facts import ImageFacts, ImageRecord, digest_of
from service.cli.look.report import Finding
from service.cli.look.row_sample import MAX_CELLS, MAX_ROWS, RowSample
from service.cli.look.wording import counted, percent
from service.client.errors import invalid_study
from service.contract.validation_errors import did_you_mean

MAX_BYTES = 4 << 30
_PARTS = ("train", "val", "test", "test_val")
_MAX_IMAGES = 10_000

Arrays = dict[str, tuple[NDArray[Any], NDArray[Any]]]
"""Part -> examples and targets. An archive that is not split has the part train."""


def read_parts(path: Path, target: str) -> Arrays:
    """Return the examples and targets of each part of an archive.

    Raises:
        InvalidStudy: the file is no archive, is too large, or lacks the arrays. The message says why.
    """
    with open_archive(path) as archive:
        if (size := sum(each.file_size for each in archive.zip.infolist())) > MAX_BYTES:
            raise invalid_study(path, f"holds {size / 1e9:.3g} GB, more than look reads; look at a part of it")
        names = archive.files
        suffixes = {part: f"_{part}" for part in _PARTS if f"x_{part}" in names}
        if "train" not in suffixes:
            suffixes = {"train": ""} | {part: each for part, each in suffixes.items() if part != "train"}
        for name in (f"x{suffixes['train']}", *(f"{target}{each}" for each in suffixes.values())):
            if name not in names:
                raise invalid_study(path, f"there is no array {name!r}; {did_you_mean(name, names)}")
        parts = {part: (archive[f"x{each}"], archive[f"{target}{each}"]) for part, each in suffixes.items()}
    for part, (x, y) in parts.items():
        if x.ndim not in (2, 3, 4) or x.dtype.kind not in "uifb" or not x.size:
            shape = " by ".join(map(str, x.shape))
            raise invalid_study(path, f"the examples of {part} are {x.dtype} of the shape {shape}, not rows or images")
        if y.reshape(-1).shape != (len(x),):
            raise invalid_study(path, f"part {part} has {len(x):,} examples and {y.size:,} targets")
    return parts


def rows_of(parts: Arrays, target: str, seed: int) -> RowSample:
    """Return a sample of the rows of the part that trains, with a column `x[:, 0]`, `x[:, 1]`, … each."""
    x, y = parts["train"]
    y = y.reshape(-1)
    capacity = max(1, min(MAX_ROWS, MAX_CELLS // x.shape[1]))
    rows = np.arange(len(x))
    if len(x) > capacity:
        rows = np.sort(np.random.default_rng(seed).permutation(len(x))[:capacity])
    columns: dict[str, Any] = {f"x[:, {place}]": _values(x[rows, place]) for place in range(x.shape[1])}
    columns[target] = _values(y[rows])
    gaps = np.isnan(x).sum(axis=0) if x.dtype.kind == "f" else np.zeros(x.shape[1], dtype=np.int64)
    distinct = {digest_of(row) + str(value).encode() for row, value in zip(x, y.tolist(), strict=True)}
    missing = {f"x[:, {place}]": int(num) for place, num in enumerate(gaps)} | {target: 0}
    return RowSample(columns, rows.tolist(), len(x), missing, len(distinct), is_distinct_exact=True, read_share=1.0)


def images_of(source: str, parts: Arrays, asked: InspectOptions, seed: int) -> tuple[ImageFacts, dict[str, Any]]:
    """Return the facts about an archive's images, and the pixels of each by its name."""
    records, pixels, targets = [], {}, []
    counts: Counter[str] = Counter()
    kind = asked.kind or kind_of_target(parts["train"][1].reshape(-1).tolist())
    for part, (x, y) in parts.items():
        chosen = np.sort(np.random.default_rng(seed).permutation(len(x))[:_MAX_IMAGES])
        labels = y.reshape(-1).tolist()
        counts.update(str(label) for label in labels if part == "train")
        for place in chosen.tolist():
            image = x[place] if x.ndim == 3 else x[place].transpose(1, 2, 0)
            name = f"{part}[{place}]"
            pixels[name] = image
            records.append(_record(name, part, image, str(labels[place])))
            targets.append(labels[place])
    numbers = [float(each) for each in targets] if kind == "regression" else None
    num_images = sum(len(x) for x, _ in parts.values())
    facts = ImageFacts(source, num_images, records, counts=counts, is_folder=False, numbers=numbers)
    return facts, pixels


def split_duplicates(parts: Arrays) -> list[Finding]:
    """Report rows of one part that the part that trains has, too."""
    trained = {digest_of(example) for example in parts["train"][0]}
    findings = []
    for part, (x, _) in parts.items():
        num = sum(digest_of(example) in trained for example in x) if part != "train" else 0
        if num:
            findings.append(
                Finding(
                    rule="split_duplicates",
                    level="warning",
                    columns=[f"x_{part}"],
                    figure=num,
                    message=f"{counted(num, 'example')} of x_{part} ({percent(num / len(x))}) are in the training part "
                    "too",
                    remedy="remove them from one of the parts: a score on examples that were trained on is too good",
                )
            )
    return findings


def _values(column: NDArray[Any]) -> list[Any]:
    values: list[Any] = column.tolist()
    if column.dtype.kind != "f":
        return values
    return [None if missing else value for value, missing in zip(values, np.isnan(column).tolist(), strict=True)]


def _record(name: str, part: str, image: NDArray[Any], label: str) -> ImageRecord:
    shown = image.astype(np.float64)
    low, high = float(shown.min()), float(shown.max())
    scale = 1.0 if image.dtype == np.uint8 else 255 / max(1.0, abs(low), abs(high))
    return ImageRecord(
        name=name,
        part=part,
        label=label,
        width=image.shape[1],
        height=image.shape[0],
        channels="1" if image.ndim == 2 else str(image.shape[2]),
        format=str(image.dtype),
        num_bytes=image.nbytes,
        brightness=float(shown.mean()) * scale,
        contrast=float(shown.std()) * scale if high > low else 0.0,
        is_gray=image.ndim == 2 or image.shape[2] == 1,
        digest=digest_of(image),
    )
