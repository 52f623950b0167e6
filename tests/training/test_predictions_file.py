"""Prediction files: read back equal, and readable by other tools in one line."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch

from tests.training.conftest import Configure
from worker.training import train
from worker.training.predictions import Predictions
from worker.training.predictions_file import num_bytes, read, write

NAMES = ("cat", "", "ein Hund, groß")


def same(one: Predictions, other: Predictions) -> bool:
    pairs = ((one.outputs, other.outputs), (one.targets, other.targets))
    return np.array_equal(one.ids, other.ids) and all(torch.equal(left, right) for left, right in pairs)


@pytest.mark.parametrize("data", ["wine", "diabetes"])
def test_a_trainings_predictions_come_back_as_they_were(configure: Configure, tmp_path: Path, data: str) -> None:
    loss = {"name": "cross_entropy" if data == "wine" else "mse"}
    names = ("one", "two", "three") if data == "wine" else ()
    result = train(configure(data={"name": data}, loss=loss, epochs=1, folds=2))
    path = tmp_path / "p.parquet"
    write(path, result.predictions, names)
    found, class_names = read(path)
    assert class_names == names
    assert found.keys() == result.predictions.keys() == {"val", "test"}
    assert all(same(found[name], result.predictions[name]) for name in found)
    assert num_bytes(result.predictions) == sum(each.outputs.nbytes for each in result.predictions.values())


def test_columns_are_for_people(tmp_path: Path) -> None:
    outputs = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]])
    path = tmp_path / "p.parquet"
    write(path, {"val": Predictions(np.array([4, 9]), outputs, torch.tensor([0, 1]))}, NAMES)
    table = pyarrow.parquet.read_table(path)
    assert table.column_names == ["split", "id", "target", "prediction", *(f"p/{name}" for name in NAMES)]
    first, second = table.to_pylist()
    assert (first["split"], first["id"], first["target"], first["prediction"]) == ("val", 4, "cat", "cat")
    assert (second["id"], second["target"], second["prediction"]) == (9, "", "ein Hund, groß")
    assert second["p/ein Hund, groß"] == pytest.approx(0.7)
    assert json.loads(table.schema.metadata[b"classes"]) == list(NAMES)


def test_numbers_have_one_column_of_predictions(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    write(path, {"test": Predictions(np.array([1]), torch.tensor([0.5]), torch.tensor([0.25]))})
    [row] = pyarrow.parquet.read_table(path).to_pylist()
    assert row == {"split": "test", "id": 1, "target": 0.25, "prediction": 0.5}


def test_ids_are_numbers_or_texts_as_the_data_has_them(tmp_path: Path) -> None:
    path, values = tmp_path / "p.parquet", torch.tensor([0.5, 0.25])
    named = Predictions(np.array(["patient 7", "ß"], dtype=object), values, values)
    numbered = Predictions(np.array([3, 4]), values, values)
    write(path, {"val": named, "test": named})
    assert all(same(each, named) for each in read(path)[0].values())
    write(path, {"val": named, "test": numbered})
    assert read(path)[0]["test"].ids.tolist() == ["3", "4"]
    write(path, {"val": numbered})
    assert pyarrow.parquet.read_table(path).schema.field("id").type == pyarrow.int64()
