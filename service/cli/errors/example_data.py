"""Reads the examples that predictions are about from a study's data: rows, texts and images, by id and part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.cli.data_files import open_archive, read_table
from service.cli.errors.predictions import Floats
from service.cli.look import png
from service.cli.look.image_folder import pixels_of
from service.client.errors import InvalidStudy, invalid_study
from service.contract.validation_errors import did_you_mean

_BUILTIN = ("digits", "wine", "breast_cancer", "diabetes")
_PARTS = ("val", "test", "test_val")
_ROLES = ("group", "time", "fold", "query", "id")

Column = Sequence[Any]


@dataclass(frozen=True)
class ExampleData:
    """The examples of one split, in the order of the ids that were asked for.

    Attributes:
        source: the file, folder or built-in dataset.
        columns: column -> values [n], what an example's row shows.
        features: the names of the columns by which errors are compared.
        target: the labels or values in the file [n]; None: the source does not tell them.
        texts: the text of each example [n]; None: the examples are no texts.
        image: returns an example's picture by its place, as a data URI; None: the examples are no images.
        facts: derived columns by which errors are compared, such as the length of a text.
    """

    source: str
    columns: Mapping[str, Column]
    features: Sequence[str] = ()
    target: Column | None = None
    texts: Sequence[str] | None = None
    image: Callable[[int], str] | None = None
    facts: Mapping[str, Floats] | None = None
    query: Column | None = None
    """The query of each row of a ranking."""


class NoData(Exception):
    """The examples can't be shown; the message says why and what to do."""


def read_examples(section: Mapping[str, Any], given: str | None, ids: NDArray[Any], split: str) -> ExampleData:
    """Read the examples with these ids.

    Args:
        section: the task's `data` section; empty: the study has none.
        given: the file or folder that the user named instead of the section's; None: none.
        ids: [n], the ids in the predictions.
        split: their split.

    Raises:
        NoData: the data can't be found on this machine, and the user named none.
        InvalidStudy: the data can be found and don't fit the predictions.
    """
    name = section.get("name", "csv" if given is not None else None)
    if name in _BUILTIN:
        return _builtin(name, ids)
    if name not in ("csv", "parquet", "texts", "npz", "images"):
        what = "the study does not say what its data are" if name is None else f"the data {name!r} can't be read here"
        raise NoData(f"{what}, so examples are shown by their ids; --data FILE.csv names a table with a column `id`")
    own = section.get(split) if split in _PARTS and given is None else None
    path = given or own or section.get("path") or section.get("train")
    if not isinstance(path, str) or not Path(path).exists():
        if given is not None:
            raise invalid_study("--data", f"there is no file or folder {given!r}")
        raise NoData(
            f"the data {path!r} are not on this machine, so examples are shown by their ids; give them by --data PATH"
        )
    if name == "images":
        return _folder(Path(path), ids)
    if name == "npz":
        return _archive(Path(path), section, ids, split)
    return _table(Path(path), section, ids)


def _table(path: Path, section: Mapping[str, Any], ids: NDArray[Any]) -> ExampleData:
    table = read_table(path, section.get("encoding"))
    num_rows = max(map(len, table.columns.values()), default=0)
    roles = {role: section[role] for role in _ROLES if isinstance(section.get(role), str)}
    id_column = roles.get("id") or ("id" if "name" not in section and "id" in table.columns else None)
    named = {"target": section.get("target"), "text": section.get("text"), "id": id_column, "query": roles.get("query")}
    for setting, column in named.items():
        if column is not None and column not in table.columns:
            near = did_you_mean(str(column), table.columns)
            raise invalid_study(path, f"has no column {column!r}, the study's data.{setting}; {near}")
    keys: Column = range(num_rows) if id_column is None else table.columns[id_column]
    rows = _rows(keys, ids, path, "row" if id_column is None else f"{id_column!r}")
    columns = {name: [values[row] for row in rows] for name, values in table.columns.items()}
    target, text = named["target"], named["text"]
    features = section.get("features") or [
        name for name in columns if name not in {target, text, *roles.values(), id_column}
    ]
    texts = None if text is None else [str(each or "") for each in columns[text]]
    facts = None if texts is None else {"words in the text": np.array([float(len(each.split())) for each in texts])}
    return ExampleData(
        str(path),
        {name: values for name, values in columns.items() if name not in (target, text)},
        [name for name in features if name in columns],
        None if target is None else columns[target],
        texts,
        facts=facts,
        query=columns[roles["query"]] if "query" in roles else None,
    )


def _archive(path: Path, section: Mapping[str, Any], ids: NDArray[Any], split: str) -> ExampleData:
    features, target, id_array = section.get("features", "x"), section.get("target", "y"), section.get("id")
    with open_archive(path) as archive:
        names = archive.files
        part = f"_{split}" if f"{features}_{split}" in names else "_train" if f"{features}_train" in names else ""
        for name in (f"{features}{part}", f"{target}{part}", *([f"{id_array}{part}"] if id_array else [])):
            if name not in names:
                raise invalid_study(path, f"there is no array {name!r}; {did_you_mean(name, names)}")
        x, y = archive[f"{features}{part}"], archive[f"{target}{part}"].reshape(-1)
        keys: Column = archive[f"{id_array}{part}"].tolist() if id_array else range(len(x))
    rows = _rows(keys, ids, path, "example" if not id_array else f"{id_array!r}")
    labels = y[rows].tolist()
    if x.ndim == 2:
        return _of_rows(str(path), x[rows], [f"{features}[:, {place}]" for place in range(x.shape[1])], labels)
    return _of_images(str(path), x[rows] if x.ndim == 3 else x[rows].transpose(0, 2, 3, 1), labels)


def _builtin(name: str, ids: NDArray[Any]) -> ExampleData:
    try:
        from sklearn import datasets  # noqa: PLC0415 - only a worker must have it
    except ImportError:
        raise NoData(
            f"the examples of {name} are in scikit-learn, which is missing, so they are shown by their ids; "
            "pip install scikit-learn"
        ) from None
    bunch: Any = getattr(datasets, f"load_{name}")()
    rows = _rows(range(len(bunch.target)), ids, name, "example")
    is_regression = name == "diabetes"
    labels = [each if is_regression else str(bunch.target_names[each]) for each in bunch.target[rows].tolist()]
    if name == "digits":
        return _of_images(name, bunch.images[rows], labels)
    return _of_rows(name, bunch.data[rows], [str(each) for each in bunch.feature_names], labels)


def _of_rows(source: str, x: NDArray[Any], names: Sequence[str], labels: Column) -> ExampleData:
    columns: dict[str, Column] = {name: x[:, place].tolist() for place, name in enumerate(names)}
    return ExampleData(source, columns, list(names), labels)


def _of_images(source: str, pixels: NDArray[Any], labels: Column) -> ExampleData:
    """Return images [n, height, width] or [n, height, width, channels]."""
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    facts = {"brightness of the image": flat.mean(1), "contrast of the image": flat.std(1)}
    return ExampleData(source, {}, (), labels, image=lambda place: png.data_uri(pixels[place]), facts=facts)


def _folder(root: Path, ids: NDArray[Any]) -> ExampleData:
    try:
        import PIL.Image  # noqa: F401, PLC0415 - only images need it
    except ImportError:
        raise NoData("images need Pillow to be shown, so examples are shown by their ids; pip install pillow") from None
    files = [root / str(each) for each in ids.tolist()]
    missing = [each for each, file in zip(ids.tolist(), files, strict=True) if not file.is_file()]
    if missing:
        raise _does_not_fit(root, missing, len(ids), "file")
    labels = [file.parent.name for file in files]
    columns = {"file": [str(each) for each in ids.tolist()]}
    return ExampleData(
        str(root), columns, (), labels, image=lambda place: png.data_uri(pixels_of(files[place])), facts=_sizes(files)
    )


def _sizes(files: Sequence[Path]) -> Mapping[str, Floats]:
    """Return the size of each image file, which costs no decoding."""
    return {"kilobytes of the file": np.array([file.stat().st_size / 1000 for file in files])}


def _rows(keys: Column, ids: NDArray[Any], source: str | Path, what: str) -> list[int]:
    """Return the place of each id among the keys of the data; ids and keys of different types are compared as texts."""
    wanted = ids.tolist()
    if isinstance(keys, range):
        place_of: Mapping[Any, int] = {key: key for key in keys}
    else:
        place_of = {str(key): place for place, key in enumerate(keys)}
        wanted = [str(each) for each in wanted]
    missing = [each for each in wanted if each not in place_of]
    if missing:
        raise _does_not_fit(source, missing, len(wanted), what)
    return [place_of[each] for each in wanted]


def _does_not_fit(source: str | Path, missing: Sequence[Any], num: int, what: str) -> InvalidStudy:
    return invalid_study(
        source,
        f"does not fit the predictions: it has no {what} {missing[0]!r}, and lacks {len(missing):,} of {num:,} ids; "
        "name the data that the trial was trained on by --data PATH",
    )
