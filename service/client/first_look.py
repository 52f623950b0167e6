"""What there is to learn from, as far as a first study must know: the kind of task, and what knowing nothing scores.

Reads files by the rules of the training core, without it: whoever writes a study need not have torch.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from service.client.data_files import Column, read_archive, read_csv, read_parquet
from service.client.errors import InvalidStudy
from service.contract.catalogue import load_catalogue
from service.contract.mistakes import did_you_mean
from service.contract.problem import FieldError

Kind = Literal["classification", "regression", "language"]

_MAX_INTEGER_CLASSES = 20
"""Whole numbers with more distinct values are measured, with fewer they are classes, as for the training core."""

_MAX_TEXTS = 1000
"""Different texts in a column above which the core takes them for identifiers, and refuses to learn from them."""

_FEWEST = 5
"""Examples of a class below which no part of a split could be sure to have one."""

_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)?[ T]?(\d\d:\d\d(:\d\d(\.\d+)?)?)?Z?")
_TEXT_LENGTH = 128


@dataclass(frozen=True)
class FirstLook:
    """What a first study must know of its data."""

    data: dict[str, Any]
    """The study file's section."""
    kind: Kind
    inputs: Literal["rows", "images", "tokens"]
    num_examples: int | None = None
    """None: a built-in set, which only the worker has."""
    classes: Counter[Any] = field(default_factory=Counter)
    spread: float | None = None
    """What knowing nothing costs: the target's standard deviation, or the nats in a byte."""
    left_out: list[str] = field(default_factory=list)
    """Columns from which nothing can be learnt, in words."""


def look(source: str, target: str | None, kind: Kind | None) -> FirstLook:
    """Look at a built-in set, a CSV, Parquet, NPZ or text file, or a folder of images.

    Raises:
        InvalidStudy: there is nothing such, or nothing can be learnt from it; a sentence says why.
    """
    entries = load_catalogue().registries["data"]
    builtin = {name: entry for name, entry in entries.items() if "path" not in entry.parameters}
    path = Path(source)
    if source in builtin:
        _refuse_target(source, target)
        return FirstLook({"name": source}, builtin[source].facts["kinds"][0], "rows")
    if path.is_dir():
        _refuse_target(source, target)
        return _images(path)
    if not path.is_file():
        raise _wrong(source, f"there is no such file, folder or built-in set; {did_you_mean(source, builtin)}")
    match path.suffix.lower():
        case ".csv" | ".tsv":
            delimiter, columns = read_csv(path)
            settings = {} if delimiter == "," else {"delimiter": delimiter}
            return _table({"name": "csv", "path": source, **settings}, columns, target, kind)
        case ".parquet":
            return _table({"name": "parquet", "path": source}, read_parquet(path), target, kind)
        case ".npz":
            return _archive(path, target or "y", kind)
        case ".txt":
            _refuse_target(source, target)
            return _text(path)
        case _:
            raise _wrong(source, "is no .csv, .tsv, .parquet, .npz or .txt file; write the study file by hand")


def _table(data: dict[str, Any], columns: Mapping[str, Column], target: str | None, kind: Kind | None) -> FirstLook:
    if target is None:
        raise _wrong(data["path"], f"which column is to be predicted? write --target, one of: {', '.join(columns)}")
    if target not in columns:
        raise _wrong("--target", f"there is no column {target!r}; {did_you_mean(target, columns)}")
    left_out = {name: why for name, values in columns.items() if name != target and (why := _useless(values))}
    features = [name for name in columns if name != target and name not in left_out]
    if not features:
        raise _wrong(data["path"], f"has no column to learn from beside {target!r}")
    told = _targets(f"column {target!r}", columns[target], kind)
    found = {**data, "target": target, "kind": told.kind} | ({"features": features} if left_out else {})
    without = [f"{name} {why}" for name, why in left_out.items()]
    return FirstLook(found, told.kind, "rows", len(columns[target]), told.classes, told.spread, without)


def _useless(values: Column) -> str | None:
    """Why the core learns nothing from a column."""
    known = [value for value in values if value is not None]
    if known and all(not isinstance(value, bool | int | float | str) for value in known):
        return "holds no numbers or texts"
    texts = {value for value in known if isinstance(value, str)}
    if known and texts and all(value and _MOMENT.fullmatch(value) for value in texts):
        return "holds dates or times"
    if len(texts) > _MAX_TEXTS and not all(_number(value) is not None for value in texts):
        return f"holds {len(texts)} different texts"
    return None


@dataclass(frozen=True)
class _Targets:
    kind: Kind
    classes: Counter[Any] = field(default_factory=Counter)
    spread: float | None = None


def _targets(what: str, values: Column, asked: Kind | None) -> _Targets:
    """What is to be predicted; refused where nothing can be learnt of it."""
    lacking = sum(value is None for value in values)
    if lacking or not len(values):
        raise _wrong(
            "--target", f"{what} lacks a value in {lacking} rows; remove them" if lacking else f"{what} is empty"
        )
    numbers = [_number(value) for value in values]
    kind = asked or _kind_of(values, numbers)
    if kind == "classification":
        classes = Counter(values)
        if len(classes) == 1:
            raise _wrong("--target", f"{what} holds one value only: {values[0]}")
        rarest, num = min(classes.items(), key=lambda each: each[1])
        if num < _FEWEST:
            hint = f"{_FEWEST} are needed to train, validate and test; merge or remove it, or write --task regression"
            raise _wrong("--target", f"{what} has too few examples of {rarest!r} ({num}); {hint}")
        return _Targets(kind, classes)
    known = [number for number in numbers if number is not None and math.isfinite(number)]
    if len(known) < len(values):
        raise _wrong(
            "--target", f"{what} holds {len(values) - len(known)} values that are no finite numbers; remove them"
        )
    mean = math.fsum(known) / len(known)
    spread = math.sqrt(math.fsum((number - mean) ** 2 for number in known) / len(known))
    if spread == 0:
        raise _wrong("--target", f"{what} holds one value only: {values[0]}")
    return _Targets(kind, spread=spread)


def _kind_of(values: Column, numbers: Sequence[float | None]) -> Kind:
    """Texts and few different whole numbers are classes."""
    if any(number is None for number in numbers):
        return "classification"
    is_whole = all(isinstance(value, int) or (isinstance(value, str) and _is_whole(value)) for value in values)
    return "classification" if is_whole and len(set(numbers)) <= _MAX_INTEGER_CLASSES else "regression"


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"[-+]?\d+", text) is not None


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _archive(path: Path, target: str, kind: Kind | None) -> FirstLook:
    values, shape = read_archive(path, target)
    told = _targets(f"array {target!r}", values, kind)
    data = {"name": "npz", "path": str(path), "target": target, "kind": told.kind}
    inputs: Literal["rows", "images"] = "rows" if len(shape) == 2 else "images"
    return FirstLook(data, told.kind, inputs, len(values), told.classes, told.spread)


def _images(folder: Path) -> FirstLook:
    main = folder / "train" if (folder / "train").is_dir() else folder
    found = [file for file in main.glob("*/*") if file.suffix.lower() in _IMAGES and not file.name.startswith(".")]
    if not found:
        raise _wrong(str(folder), "holds no images in folders of classes, like cat/1.png")
    told = _targets("the folder", sorted(file.parent.name for file in found), "classification")
    return FirstLook({"name": "images", "path": str(folder)}, told.kind, "images", len(found), told.classes)


def _text(path: Path) -> FirstLook:
    content = path.read_bytes()
    fewest = 10 * (_TEXT_LENGTH + 2)
    if len(content) < fewest:
        raise _wrong(str(path), f"has {len(content)} bytes; at least {fewest} are needed to train, validate and test")
    counts = Counter(content)
    nats = -sum(num / len(content) * math.log(num / len(content)) for num in counts.values())
    data = {"name": "text", "path": str(path), "length": _TEXT_LENGTH}
    return FirstLook(data, "language", "tokens", len(content) // _TEXT_LENGTH, spread=nats)


def _refuse_target(source: str, target: str | None) -> None:
    if target is not None:
        raise _wrong("--target", f"{source} says itself what is to be predicted; leave it out")


def _wrong(source: str, message: str) -> InvalidStudy:
    return InvalidStudy(source, [FieldError(path="", message=message)])
