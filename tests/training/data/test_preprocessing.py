"""Fitted preprocessing: plain data that encodes raw examples as the training did."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from worker.training import ConfigError, train
from worker.training.checkpoints.checkpoint import load_checkpoint
from worker.training.checkpoints.load import models_of
from worker.training.data import DATA, Dataset
from worker.training.data.csv_file import read_csv
from worker.training.data.facts import dataset_of, describe_dataset
from worker.training.data.preprocessing import from_mapping, to_mapping
from worker.training.data.preprocessing.rows import Encoding, Missing, fit_rows

HOUSES = """id,area,price,heating,garden,rooms,sold
a,"1,200.5",$ 7,gas,true,3,2020-01-01
b,n/a,$ 9,oil,false,NA,2020-01-02
c,80,$ 3,,true,4,2020-01-03
d,95.25,$ 4,gas,false,,2020-01-04
e,-7,$ 4,coal,true,2,2020-01-05
f,0,$ 8,oil,false,-1,2020-01-06
g,55,$ 1,gas,true,5,2020-01-07
h,60,$ 2,wood,,3,2020-01-08
"""


def create(name: str, **settings: Any) -> Dataset:
    return DATA.create(name, DATA.check(name, settings))


def restored(dataset: Dataset) -> Any:
    """The dataset's preprocessing after a way through JSON."""
    assert dataset.preprocessing is not None
    return from_mapping(json.loads(json.dumps(to_mapping(dataset.preprocessing))))


def houses(tmp_path: Path, **settings: Any) -> tuple[Dataset, pa.Table]:
    path = tmp_path / "houses.csv"
    path.write_text(HOUSES)
    given = {"features": ["area", "heating", "garden", "rooms"], "target": "price", "kind": "regression", "id": "id"}
    dataset = create("csv", path=str(path), na_values=["-1"], **given, **settings)
    return dataset, read_csv("utf-8", None, "path", str(path), ["area"])


@pytest.mark.parametrize("missing", ["median", "indicator"])
@pytest.mark.parametrize("encoding", ["onehot", "embedded"])
def test_rows_are_encoded_bit_by_bit_as_the_pipelines_of_scikit_learn_do(missing: Missing, encoding: Encoding):
    random = np.random.default_rng(0)
    numeric = random.normal(3, 1e3, (300, 7)) ** 3
    numeric[random.random((300, 7)) < 0.1] = np.nan
    numeric[:200, 1], numeric[:, 2], numeric[:, 3] = np.nan, 7.0, np.abs(numeric[:, 3] > 0)
    texts = random.choice(np.array(["red", "green", "", "Ärger", "blau"], dtype=object), (300, 3))
    texts[200:, 0] = "new"
    rows = fit_rows(numeric[:200], texts[:200], encoding=encoding, missing=missing)

    imputer = SimpleImputer(strategy="median", keep_empty_features=True, add_indicator=missing == "indicator")
    numbers = make_pipeline(imputer, StandardScaler()).fit(numeric[:200]).transform(numeric)
    if encoding == "onehot":
        one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(texts[:200])
        categories = one_hot.transform(texts)
    else:
        ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(texts[:200])
        categories = ordinal.transform(texts) + 1
    expected = torch.from_numpy(np.concatenate([numbers, categories], axis=1).astype(np.float32))
    assert torch.equal(rows.encode(numeric, texts), expected)
    assert rows.categorical.num_unknown(texts) == [100, 0, 0]


@pytest.mark.parametrize("settings", [{}, {"missing": "indicator", "categories": "embedded"}], ids=["plain", "other"])
def test_new_rows_of_a_table_become_the_features_that_training_had(settings: Mapping[str, Any], tmp_path: Path):
    dataset, table = houses(tmp_path, **settings)
    shuffled = table.select(list(reversed(table.column_names)))
    features = restored(dataset).encode(shuffled)
    for split in dataset.splits.values():
        assert split.ids is not None
        assert torch.equal(features[split.ids], split.features)


def test_a_value_of_another_type_is_refused_with_its_column_and_row(tmp_path: Path):
    dataset, table = houses(tmp_path)
    rows = table.set_column(table.column_names.index("rooms"), "rooms", pa.array(["3"] * 5 + ["many"] * 3))
    with pytest.raises(ConfigError, match=r"column 'rooms' holds 'many' here \(the first in row 6 .*numbers in train"):
        restored(dataset).encode(rows)
    gardens = table.set_column(table.column_names.index("garden"), "garden", pa.array(["maybe"] * 8))
    with pytest.raises(ConfigError, match=r"column 'garden' holds 'maybe' here \(the first in row 1 .*true or false"):
        restored(dataset).encode(gardens)
    infinite = table.set_column(table.column_names.index("rooms"), "rooms", pa.array([1.0, np.inf] + [3.0] * 6))
    with pytest.raises(ConfigError, match=r"column 'rooms' holds inf in row 2"):
        restored(dataset).encode(infinite)


def test_arrays_and_images_and_texts_become_the_features_that_training_had(tmp_path: Path):
    random = np.random.default_rng(0)
    rows, pixels = random.normal(5, 3, (40, 4)), random.integers(0, 256, (40, 8, 6)).astype(np.uint8)
    labels = np.arange(40) % 2
    for name, x in (("rows", rows), ("pixels", pixels), ("reals", pixels / 7)):
        np.savez(tmp_path / f"{name}.npz", x=x, y=labels)
        dataset = create("npz", path=str(tmp_path / f"{name}.npz"))
        assert dataset.train.ids is not None
        assert torch.equal(restored(dataset).encode(x)[dataset.train.ids], dataset.train.features)

    for index, image in enumerate(pixels):
        folder = tmp_path / "images" / f"class{index % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index}.png")
    dataset = create("images", path=str(tmp_path / "images"), size=5, grayscale=True)
    assert dataset.train.ids is not None
    assert dataset.train.names is not None
    files = [tmp_path / "images" / name for name in dataset.train.names[dataset.train.ids.numpy()]]
    assert torch.equal(restored(dataset).encode(files), dataset.train.features)
    arrays = [np.asarray(Image.open(file)) for file in files]
    assert torch.equal(restored(dataset).encode(arrays), dataset.train.features)

    texts = [f"Word{index % 7}, and {index}!" for index in range(40)]
    table = "\n".join(["text,y", *(f'"{text}",{label}' for text, label in zip(texts, labels, strict=True))])
    (tmp_path / "texts.csv").write_text(table)
    for tokens in ("bytes", "words"):
        dataset = create(
            "texts", path=str(tmp_path / "texts.csv"), text="text", target="y", tokens=tokens, length=9, words=11
        )
        assert dataset.train.ids is not None
        assert torch.equal(restored(dataset).encode(texts)[dataset.train.ids], dataset.train.features)


@pytest.mark.parametrize("tokens", ["bytes", "characters"])
def test_a_long_text_becomes_the_tokens_that_training_had(tokens: str, tmp_path: Path):
    path = tmp_path / "long.txt"
    path.write_text("ein Text mit Zeichen, die es später nicht gab: " * 4 + "αβγ" * 10)
    dataset = create("text", path=str(path), tokens=tokens, length=5)
    stream = restored(dataset).encode(path.read_bytes()).astype(np.int64)
    train = dataset.train.features.flatten()
    assert torch.equal(torch.from_numpy(stream[: len(train)]), train)


def test_a_checkpoint_holds_the_preprocessing_of_each_fold_and_what_sizes_a_model(configure: Any, tmp_path: Path):
    result = train(configure(folds=2, epochs=1), checkpoint_dir=tmp_path)
    content = load_checkpoint(tmp_path)
    assert content is not None
    assert len(content["preprocessing"]) == 2
    kept = [dataset_of(json.loads(json.dumps(each))) for each in content["preprocessing"]]
    assert kept[0].preprocessing != kept[1].preprocessing  # each fold has a scale of its own
    assert [describe_dataset(each)["inputs"] for each in kept] == [each["inputs"] for each in content["preprocessing"]]
    features = torch.randn(5, 13)
    for model, trained in zip(models_of("checkpoint", content, kept), result.models, strict=True):
        assert torch.equal(model(features), trained(features))
    assert (kept[0].shape, kept[0].class_names) == ((13,), ("class_0", "class_1", "class_2"))
