"""Tables: CSV and Parquet give the same dataset."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import csv as arrow_csv
from pyarrow import parquet as arrow_parquet

from worker.training import ConfigError, TrainingConfig, train
from worker.training.data import DATA, Dataset

ROWS = 60
TABLE = pa.table(
    {
        "age": [None if i % 10 == 0 else float(i) for i in range(ROWS)],
        "colour": [("red", "green", "blue")[i % 3] for i in range(ROWS)],
        "site": [f"site {i // 6}" for i in range(ROWS)],
        "day": [datetime.date(2024, 1, 1) + datetime.timedelta(days=(i * 7) % ROWS) for i in range(ROWS)],
        "part": [("train", "train", "val", "test")[i % 4] for i in range(ROWS)],
        "ill": [("yes", "no")[i % 2] for i in range(ROWS)],
    }
)


def load(name: str, path: Path, **given: Any) -> Dataset:
    return DATA.create(
        name, DATA.check(name, {"path": str(path), "target": "ill", "features": ["age", "colour"], **given})
    )


@pytest.fixture(params=["csv", "parquet"], name="read")
def a_format(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    path = tmp_path / f"patients.{request.param}"
    if request.param == "csv":
        arrow_csv.write_csv(TABLE, path)
    else:
        arrow_parquet.write_table(TABLE, path)
    return lambda **given: load(request.param, path, **given)


def test_csv_and_parquet_give_the_same_dataset(tmp_path: Path):
    arrow_csv.write_csv(TABLE, tmp_path / "t.csv")
    arrow_parquet.write_table(TABLE, tmp_path / "t.parquet")
    one, other = load("csv", tmp_path / "t.csv"), load("parquet", tmp_path / "t.parquet")
    assert one.class_names == other.class_names
    assert torch.equal(one.train.features, other.train.features)
    assert torch.equal(one.train.targets, other.train.targets)


def test_embedded_categories_are_indices_after_the_numbers(read: Any):
    dataset = read(categories="embedded")
    assert dataset.categories == (4,), "three colours, and one for those that training never saw"
    assert dataset.num_features == 2
    assert set(dataset.train.features[:, 1].tolist()) == {1, 2, 3}


def test_an_unknown_category_has_an_index_of_its_own(tmp_path: Path):
    for name, colour in (("train", "red"), ("val", "green")):
        rows = "".join(f"{colour},{'ab'[i % 2]}\n" for i in range(8))
        (tmp_path / f"{name}.csv").write_text("c,y\n" + rows)
    files = {part: str(tmp_path / f"{part}.csv") for part in ("train", "val")}
    given = files | {"test": files["val"], "target": "y", "categories": "embedded"}
    dataset = DATA.create("csv", DATA.check("csv", given))
    assert dataset.splits["val"].features.flatten().tolist() == [0] * 8
    assert dataset.train.features.flatten().tolist() == [1] * 8


def test_a_missing_number_can_be_flagged_for_the_model(read: Any):
    assert read().num_features == 1 + 3
    told = read(missing="indicator")
    assert told.num_features == 2 + 3
    assert len(told.train.features[:, 1].unique()) == 2


@pytest.mark.parametrize("categories", ["onehot", "embedded"])
@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_categories_and_missing_values_are_learned(categories: str, kind: str, tmp_path: Path):
    draw = np.random.default_rng(0)
    colours, gaps = draw.integers(0, 5, 400), draw.random(400) < 0.3
    signal = np.array([2, -1, 0, 1, -2])[colours] + 1.5 * gaps
    rows = [
        f"{'' if gap else round(draw.normal(), 2)},{'abcde'[colour]},{value > 0 if kind == 'classification' else value}"
        for gap, colour, value in zip(gaps, colours, signal, strict=True)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["x,colour,y", *rows]))
    data = {"name": "csv", "path": str(tmp_path / "t.csv"), "target": "y", "kind": kind}
    loss, metric = ("cross_entropy", "accuracy") if kind == "classification" else ("mse", "r2")
    config = {
        "data": data | {"categories": categories, "missing": "indicator"}, "model": {"name": "linear"},
        "loss": {"name": loss}, "optimizer": {"name": "adamw", "lr": 0.05}, "batch_size": 32, "epochs": 15,
    }  # fmt: skip
    assert train(TrainingConfig.from_mapping(config)).metrics[f"test/{metric}"] > 0.95


def test_missing_numbers_can_be_refused(read: Any):
    with pytest.raises(ConfigError, match=r"data\.missing: the \w+ examples have missing numbers; remove those rows"):
        read(missing="refuse")


def test_a_column_that_splits_is_no_feature(read: Any):
    dataset = read(time="day", features=None)
    assert dataset.num_features == 1 + 3 + 10 + 3, "age, colours, sites and parts, and no day"


def test_groups_stay_together(read: Any):
    dataset = read(group="site", features=["site"])
    for name in ("val", "test"):
        assert (dataset.splits[name].features == 0).all(), "no site of it was seen in training"


def test_time_decides(tmp_path: Path):
    table = pa.table(
        {"x": [float(i) for i in range(ROWS)], "at": list(range(ROWS))[::-1], "y": [i % 2 for i in range(ROWS)]}
    )
    arrow_parquet.write_table(table, tmp_path / "t.parquet")
    given = {"path": str(tmp_path / "t.parquet"), "target": "y", "time": "at", "features": ["x"]}
    dataset = DATA.create("parquet", DATA.check("parquet", given))
    largest = {name: split.features.max().item() for name, split in dataset.splits.items()}
    assert largest["test"] < largest["val"] < dataset.train.features.min().item()


def test_a_fold_column_decides(read: Any):
    dataset = read(fold="part")
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 30, "val": 15, "test": 15}


def test_folds_may_be_numbers(tmp_path: Path):
    table = pa.table(
        {"x": np.random.default_rng(0).normal(size=ROWS), "k": [i % 5 for i in range(ROWS)], "y": TABLE["ill"]}
    )
    arrow_parquet.write_table(table, tmp_path / "t.parquet")
    given = {"path": str(tmp_path / "t.parquet"), "target": "y", "fold": "k", "val_folds": ["3"], "test_folds": []}
    dataset = DATA.create("parquet", DATA.check("parquet", given))
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 48, "val": 12}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"group": "cite"}, r"data\.group: there is no column 'cite'; did you mean 'site'\?"),
        ({"group": "site", "time": "day"}, r"data\.time: only one of group and time can decide the split"),
        ({"time": "age"}, r"data\.time: column 'age' lacks a value in 6 rows"),
        (
            {"fold": "part", "val_folds": ["dev"]},
            r"data\.val_folds: no row has the fold 'dev'; the folds are: test, train, val",
        ),
        ({"target": "il"}, r"data\.target: there is no column 'il'; did you mean 'ill'\?"),
    ],
)
def test_a_fault_names_its_setting(read: Any, given: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        read(**given)


def test_another_file_called_parquet_is_refused(tmp_path: Path):
    (tmp_path / "t.parquet").write_text("age,ill\n1,yes\n")
    with pytest.raises(ConfigError, match=r"data\.path: .* can't be read as a Parquet file"):
        load("parquet", tmp_path / "t.parquet")


def test_texts_of_parquet_may_be_dictionaries(tmp_path: Path):
    coded = TABLE.set_column(1, "colour", TABLE["colour"].dictionary_encode())
    arrow_parquet.write_table(coded, tmp_path / "t.parquet")
    assert load("parquet", tmp_path / "t.parquet").num_features == 1 + 3


def test_parts_of_parquet_are_read_with_the_types_of_training(tmp_path: Path):
    for name, kind in (("train", pa.int64()), ("val", pa.float64())):
        table = pa.table({"x": pa.array(range(8), kind), "y": ["a", "b"] * 4})
        arrow_parquet.write_table(table, tmp_path / f"{name}.parquet")
    files = {part: str(tmp_path / f"{part}.parquet") for part in ("train", "val")}
    dataset = DATA.create("parquet", DATA.check("parquet", files | {"test": files["val"], "target": "y"}))
    assert torch.equal(dataset.splits["val"].features.sort(0)[0], dataset.train.features.sort(0)[0])
