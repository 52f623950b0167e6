"""Inspects a data file for `study init`: the kind of task, the classes, and the score of a trivial baseline.

It follows the training core's rules for reading files without loading the core, because a user who writes a study file
need not have torch.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from service.cli.column_texts import (
    MAX_INTEGER_CLASSES,
    Decimal,
    NumberRules,
    Numbers,
    describe_classes,
    describe_numbers,
    describe_sentences,
    missing_target_message,
    mixed_column_message,
)
from service.cli.data_columns import (
    Column,
    ColumnTreatment,
    place,
    read_features,
    read_target,
    usual_decimal,
    wrong_number,
)
from service.cli.data_files import Table, read_archive, read_table
from service.client.errors import invalid_study
from service.contract.catalogue import load_catalogue
from service.contract.validation_errors import did_you_mean

Kind = Literal["classification", "regression", "language"]

_FEWEST = 5
"""The smallest number of examples per class. With fewer, some part of a split might have none of them."""

IMAGE_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
_WORD = re.compile(r"\w+|[^\w\s]")
TEXT_LENGTH = 128
FEWEST_TEXT_BYTES = 10 * (TEXT_LENGTH + 2)
"""The smallest text file that can be split into windows that train, validate and test."""


@dataclass(frozen=True)
class DataSummary:
    """Properties of the data from which `study init` writes the study file."""

    data: dict[str, Any]
    """The `data` section of the study file."""
    kind: Kind
    inputs: Literal["rows", "images", "tokens"]
    num_examples: int
    classes: Counter[Any] = field(default_factory=Counter)
    """Class -> number of examples. Empty: there are no classes, or it is a built-in set, which only the worker has."""
    spread: float | None = None
    """The loss of a trivial baseline: the target's standard deviation, or the entropy of a byte in nats."""
    left_out: list[str] = field(default_factory=list)
    """Columns that are left out, each with the reason."""
    columns: dict[str, str] = field(default_factory=dict)
    """How the training core will read each column that it learns from, and the target."""
    table: Table | None = field(default=None, repr=False)
    """The rows of a table, so that nobody reads the file again. None: the data are no table."""
    num_builtin_classes: int = 0

    @property
    def num_classes(self) -> int:
        """The number of classes; 0: there are none."""
        return len(self.classes) or self.num_builtin_classes

    def relative_to(self, folder: Path) -> DataSummary:
        """Return the same with a path that is relative to the folder of the study file."""
        path = self.data.get("path")
        if path is None or Path(path).is_absolute() or (folder / path).exists():
            return self
        return replace(self, data={**self.data, "path": os.path.relpath(path, folder)})

    def without_columns(self, reasons: Mapping[str, str]) -> DataSummary:
        """Return the same with fewer features, unless none would be left.

        Args:
            reasons: column -> a sentence that says why it is left out.
        """
        target = self.data.get("target")
        kept = [name for name in self.columns if name not in reasons and name != target]
        dropped = [name for name in self.columns if name in reasons and name != target]
        if self.inputs != "rows" or not kept or not dropped:
            return self
        return replace(
            self,
            data={**self.data, "features": kept},
            columns={name: each for name, each in self.columns.items() if name not in dropped},
            left_out=list(dict.fromkeys([*self.left_out, *(reasons[name] for name in dropped)])),
        )


@dataclass(frozen=True)
class InspectOptions:
    """The user's options about the data. None: detect it from the data."""

    target: str | None = None
    kind: Kind | None = None
    encoding: str | None = None
    rules: NumberRules = field(default_factory=NumberRules)


def inspect_data(source: str, options: InspectOptions) -> DataSummary:
    """Inspect a built-in dataset, a CSV, Parquet, NPZ or text file, or a folder of images.

    Raises:
        InvalidStudy: the source does not exist, or training cannot learn from it. The message says why.
    """
    entries = load_catalogue().registries["data"]
    builtin = {name: entry for name, entry in entries.items() if "path" not in entry.parameters}
    path = Path(source)
    if source in builtin:
        _refuse_target(source, options.target)
        facts = builtin[source].facts
        return DataSummary(
            {"name": source}, facts["kinds"][0], "rows", facts["examples"], num_builtin_classes=facts["classes"]
        )
    if path.is_dir():
        _refuse_target(source, options.target)
        return _images(path)
    if not path.is_file():
        raise invalid_study(source, f"there is no such file, folder or built-in set; {did_you_mean(source, builtin)}")
    match path.suffix.lower():
        case ".csv" | ".tsv" | ".parquet" as ending:
            table = read_table(path, options.encoding)
            name = "parquet" if ending == ".parquet" else "csv"
            summary = _table({"name": name, "path": source, **table.settings}, table.columns, options)
            return replace(summary, table=table)
        case ".npz":
            return _archive(path, options.target or "y", options.kind)
        case ".txt":
            _refuse_target(source, options.target)
            return _text(path)
        case _:
            raise invalid_study(source, "is no .csv, .tsv, .parquet, .npz or .txt file; write the study file by hand")


def _table(data: dict[str, Any], columns: Mapping[str, Column], options: InspectOptions) -> DataSummary:
    target, rules, is_text = options.target, options.rules, data["name"] == "csv"
    if target is None:
        raise invalid_study(
            data["path"], f"the target column is not known; add --target with one of: {', '.join(columns)}"
        )
    for option, names in (("--target", [target]), ("--categorical", rules.categorical)):
        for name in names:
            if name not in columns:
                raise invalid_study(option, f"there is no column {name!r}; {did_you_mean(name, columns)}")
    data |= {"na_values": list(rules.na_values)} if rules.na_values else {}
    data |= {"categorical": list(rules.categorical)} if rules.categorical else {}
    usual = usual_decimal(columns, rules, is_text=is_text)
    summary = _table_target(target, columns[target], options, usual, is_text=is_text)
    others = {name: each for name, each in columns.items() if name != target}
    treatments = read_features(others, rules, usual, is_text=is_text)
    if is_text and summary.kind == "classification" and (text := _text_column(treatments, columns)) is not None:
        return _texts(data, columns, target, summary, text)
    for each in treatments.values():
        if each.refusal and not each.left_out:
            hint = "; here: --na-value TEXT, --categorical COLUMN" if "data.na_values" in each.refusal else ""
            raise invalid_study(data["path"], each.refusal + hint)
    features = [name for name, each in treatments.items() if not each.left_out]
    if not features:
        raise invalid_study(data["path"], f"has no column to learn from beside {target!r}")
    is_complete = len(features) == len(treatments)
    data_settings = {**data, "target": target, "kind": summary.kind} | ({} if is_complete else {"features": features})
    if any(treatments[name].lacks_numbers for name in features):
        data_settings["missing"] = "indicator"
    without = [f"{name} {each.left_out}" for name, each in treatments.items() if each.left_out]
    described = {name: treatments[name].description for name in features} | {target: f"target; {summary.words}"}
    return DataSummary(
        data_settings, summary.kind, "rows", len(columns[target]), summary.classes, summary.spread, without, described
    )


def _table_target(target: str, values: Column, options: InspectOptions, usual: Decimal, *, is_text: bool) -> _Targets:
    """Return the targets in a table's column."""
    are_classes = options.kind == "classification" or target in options.rules.categorical
    read, texts = read_target(values, options.rules, usual, are_classes=are_classes, is_text=is_text)
    if texts is not None and texts.others and not are_classes:
        remedy = "write data.kind: classification if they are classes; here: --na-value TEXT, --task classification"
        raise invalid_study("--target", mixed_column_message(target, texts, remedy))
    numbers = None if texts is None or are_classes else texts.numbers
    return _targets(f"column {target!r}", read, options.kind, numbers, is_text=is_text)


def _text_column(treatments: Mapping[str, ColumnTreatment], columns: Mapping[str, Column]) -> str | None:
    """Return the column with the most text among those that hold sentences."""
    text_columns = [name for name, each in treatments.items() if each.sentences is not None]
    return max(text_columns, key=lambda name: sum(len(value or "") for value in columns[name]), default=None)


def _texts(
    data: dict[str, Any], columns: Mapping[str, Column], target: str, summary: _Targets, text: str
) -> DataSummary:
    """Inspect a table as texts: the model reads one column of sentences and ignores the other columns."""
    written = columns[text]
    if gaps := [index for index, value in enumerate(written) if value is None]:
        raise invalid_study(
            data["path"], missing_target_message(f"column {text!r}", len(gaps), place(gaps[0], is_text=True))
        )
    num_words = sorted(len(_WORD.findall(value)) for value in written)
    usual = num_words[int(0.95 * (len(num_words) - 1))]
    length = next((size for size in (16, 32, 64, 128) if size >= usual), 256)
    settings = {name: value for name, value in data.items() if name not in ("na_values", "categorical")}
    data_settings = {**settings, "name": "texts", "text": text, "target": target, "tokens": "words", "length": length}
    without = [f"{name}, since a model of texts reads one column" for name in columns if name not in (text, target)]
    described = {text: describe_sentences(written), target: f"target; {summary.words}"}
    return DataSummary(
        data_settings, "classification", "tokens", len(written), summary.classes, None, without, described
    )


@dataclass(frozen=True)
class _Targets:
    kind: Kind
    classes: Counter[Any] = field(default_factory=Counter)
    spread: float | None = None
    words: str = ""


def _targets(
    what: str, values: Column, requested: Kind | None, numbers: Numbers | None = None, *, is_text: bool = False
) -> _Targets:
    """Analyse the target's values. Refuse those that training cannot learn."""
    if not len(values):
        raise invalid_study("--target", f"{what} is empty")
    if gaps := [index for index, value in enumerate(values) if value is None]:
        raise invalid_study("--target", missing_target_message(what, len(gaps), place(gaps[0], is_text=is_text)))
    kind = requested or kind_of_target(values)
    if kind == "classification":
        classes = Counter(values)
        if len(classes) == 1:
            raise invalid_study("--target", f"{what} has only one value: {values[0]}")
        rarest, num = min(classes.items(), key=lambda each: each[1])
        if num < _FEWEST:
            hint = f"{_FEWEST} are needed to train, validate and test; merge or remove it, or write --task regression"
            raise invalid_study("--target", f"{what} has too few examples of {str(rarest)!r} ({num}); {hint}")
        words = describe_classes({str(label): count for label, count in classes.items()})
        return _Targets(kind, classes, words=words)
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        raise invalid_study("--target", f"{what} has values that are not numbers, which regression needs")
    if refusal := wrong_number(what, values, is_text=is_text):
        raise invalid_study("--target", refusal)
    mean = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((number - mean) ** 2 for number in values) / len(values))
    if spread == 0:
        raise invalid_study("--target", f"{what} has only one value: {values[0]}")
    return _Targets(kind, spread=spread, words=describe_numbers(min(values), max(values), 0, numbers))


def kind_of_target(values: Column) -> Kind:
    """Return the kind of task: texts and few different integers are classes, other numbers are regression."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return "classification"
    is_whole = all(isinstance(value, int) for value in values)
    return "classification" if is_whole and len(set(values)) <= MAX_INTEGER_CLASSES else "regression"


def _archive(path: Path, target: str, kind: Kind | None) -> DataSummary:
    values, shape = read_archive(path, target)
    summary = _targets(f"array {target!r}", values, kind)
    described = {target: f"target; {summary.words}"}
    data = {"name": "npz", "path": str(path), "target": target, "kind": summary.kind}
    inputs: Literal["rows", "images"] = "rows" if len(shape) == 2 else "images"
    return DataSummary(data, summary.kind, inputs, len(values), summary.classes, summary.spread, columns=described)


def _images(folder: Path) -> DataSummary:
    main = folder / "train" if (folder / "train").is_dir() else folder
    images = [
        file for file in main.glob("*/*") if file.suffix.lower() in IMAGE_ENDINGS and not file.name.startswith(".")
    ]
    if not images:
        raise invalid_study(str(folder), "holds no images in folders of classes, like cat/1.png")
    summary = _targets("the folder", sorted(file.parent.name for file in images), "classification")
    return DataSummary({"name": "images", "path": str(folder)}, summary.kind, "images", len(images), summary.classes)


def _text(path: Path) -> DataSummary:
    content = path.read_bytes()
    if len(content) < FEWEST_TEXT_BYTES:
        needed = f"at least {FEWEST_TEXT_BYTES} are needed to train, validate and test"
        raise invalid_study(str(path), f"has {len(content)} bytes; {needed}")
    counts = Counter(content)
    nats = -sum(num / len(content) * math.log(num / len(content)) for num in counts.values())
    data = {"name": "text", "path": str(path), "length": TEXT_LENGTH}
    return DataSummary(data, "language", "tokens", len(content) // TEXT_LENGTH, spread=nats)


def _refuse_target(source: str, target: str | None) -> None:
    if target is not None:
        raise invalid_study("--target", f"{source} defines its own target; remove this option")
