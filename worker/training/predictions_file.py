"""Predictions as one Parquet file, which pandas and polars read in one line; no pickle.

A row is an example of a split, with columns `split`, `id` (the data's own: a number or a text) and `target`. For
classification, `target` and `prediction` are class names and `p/CLASS` is the probability of each class. Otherwise
`target` and `prediction` are numbers. The schema's metadata holds the classes in order under `classes`, as JSON.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet

from worker.training.data import SplitName
from worker.training.predictions import Predictions

_BYTES = 4


def num_bytes(predictions: Mapping[SplitName, Predictions]) -> int:
    """Return the bytes of all outputs, an estimate of the file's size."""
    return sum(each.outputs.numel() * _BYTES for each in predictions.values())


def write(path: Path, predictions: Mapping[SplitName, Predictions], class_names: tuple[str, ...] = ()) -> None:
    """Write the predictions to a Parquet file.

    Args:
        path: the file.
        predictions: those of at least one split, with outputs of one kind.
        class_names: the classes in order; empty for regression and ranking.

    Raises:
        OSError: the file can't be written.
    """
    tables = [_table(name, each, class_names) for name, each in predictions.items()]
    if len({table.schema.field("id").type for table in tables}) > 1:  # a separate file's ids may be of another type
        tables = [table.set_column(1, "id", table.column("id").cast(pa.string())) for table in tables]
    whole = pa.concat_tables(tables).unify_dictionaries()
    whole = whole.replace_schema_metadata({"classes": json.dumps(class_names)})
    parquet.write_table(whole, path, compression="zstd")


def read(path: Path) -> tuple[dict[SplitName, Predictions], tuple[str, ...]]:
    """Return the predictions by split and the class names (empty for regression and ranking)."""
    table = parquet.read_table(path)
    class_names = tuple(json.loads(table.schema.metadata[b"classes"]))
    predictions: dict[SplitName, Predictions] = {}
    splits = table.column("split").to_pylist()
    for name in dict.fromkeys(splits):
        part = table.filter(pa.array([split == name for split in splits]))
        predictions[name] = _predictions(part, class_names)
    return predictions, class_names


def _table(name: SplitName, predictions: Predictions, class_names: tuple[str, ...]) -> pa.Table:
    outputs, targets = predictions.outputs.float().numpy(), predictions.targets.numpy()
    columns: dict[str, Any] = {
        "split": _dictionary([0] * len(targets), (name,)),
        "id": pa.array(predictions.ids.tolist()),
    }
    if class_names:
        columns |= {
            "target": _dictionary(targets, class_names),
            "prediction": _dictionary(outputs.argmax(1), class_names),
        }
        columns |= {f"p/{each}": pa.array(outputs[:, index]) for index, each in enumerate(class_names)}
    else:
        columns |= {"target": pa.array(targets), "prediction": pa.array(outputs)}
    return pa.table(columns)


def _dictionary(indices: Any, names: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(names, pa.string()))


def _predictions(part: pa.Table, class_names: tuple[str, ...]) -> Predictions:
    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(part.column(name).to_numpy().copy())

    ids = np.array(part.column("id").to_pylist())
    if not class_names:
        return Predictions(ids, tensor("prediction"), tensor("target"))
    index = {name: position for position, name in enumerate(class_names)}
    targets = torch.tensor([index[name] for name in part.column("target").to_pylist()])
    return Predictions(ids, torch.stack([tensor(f"p/{name}") for name in class_names], dim=1), targets)
