"""Predictions as one Parquet file, which pandas and polars read in one line; written and read back without pickle.

A row is an example of a split: `split`, `id` (as the data has it: a number or a text) and `target`. Of a classification
`target` and `prediction` are names of classes and `p/CLASS` is the probability of each; else `target` and `prediction`
are numbers. The classes in their order stand in the schema's metadata under `classes`, as JSON.
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
    """Bytes of all outputs, which the file is not much larger than."""
    return sum(each.outputs.numel() * _BYTES for each in predictions.values())


def write(path: Path, predictions: Mapping[SplitName, Predictions], class_names: tuple[str, ...] = ()) -> None:
    """Write the predictions of at least one split, whose outputs are all of one kind; raises OSError."""
    tables = [_table(name, each, class_names) for name, each in predictions.items()]
    if len({table.schema.field("id").type for table in tables}) > 1:  # a split that came apart has ids of its own kind
        tables = [table.set_column(1, "id", table.column("id").cast(pa.string())) for table in tables]
    whole = pa.concat_tables(tables).unify_dictionaries()
    whole = whole.replace_schema_metadata({"classes": json.dumps(class_names)})
    parquet.write_table(whole, path, compression="zstd")


def read(path: Path) -> tuple[dict[SplitName, Predictions], tuple[str, ...]]:
    """The predictions by split, and the names of the classes; none of a regression or a ranking."""
    table = parquet.read_table(path)
    class_names = tuple(json.loads(table.schema.metadata[b"classes"]))
    found: dict[SplitName, Predictions] = {}
    splits = table.column("split").to_pylist()
    for name in dict.fromkeys(splits):
        part = table.filter(pa.array([split == name for split in splits]))
        found[name] = _predictions(part, class_names)
    return found, class_names


def _table(name: SplitName, given: Predictions, class_names: tuple[str, ...]) -> pa.Table:
    outputs, targets = given.outputs.float().numpy(), given.targets.numpy()
    columns: dict[str, Any] = {"split": _words([0] * len(targets), (name,)), "id": pa.array(given.ids.tolist())}
    if class_names:
        columns |= {"target": _words(targets, class_names), "prediction": _words(outputs.argmax(1), class_names)}
        columns |= {f"p/{each}": pa.array(outputs[:, index]) for index, each in enumerate(class_names)}
    else:
        columns |= {"target": pa.array(targets), "prediction": pa.array(outputs)}
    return pa.table(columns)


def _words(indices: Any, names: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(names, pa.string()))


def _predictions(part: pa.Table, class_names: tuple[str, ...]) -> Predictions:
    def tensor(name: str) -> torch.Tensor:
        return torch.from_numpy(part.column(name).to_numpy().copy())

    ids = np.array(part.column("id").to_pylist())
    if not class_names:
        return Predictions(ids, tensor("prediction"), tensor("target"))
    index = {name: at for at, name in enumerate(class_names)}
    targets = torch.tensor([index[name] for name in part.column("target").to_pylist()])
    return Predictions(ids, torch.stack([tensor(f"p/{name}") for name in class_names], dim=1), targets)
