"""Columns that decide the split or name the examples: the same for tables, archives, texts and images."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv as arrow_csv

from tests.training.data.sources import CLASSES, COLUMNS, ROWS, SOURCES, a_csv, image_file, images, load
from worker.training import ConfigError, TrainingConfig, train
from worker.training.data import Dataset

each_source = pytest.mark.parametrize("source", SOURCES)
each_with_ids = pytest.mark.parametrize("source", [name for name in SOURCES if name != "images"])


def rows_of(dataset: Dataset) -> dict[str, list[int]]:
    """Of each split, which rows of COLUMNS it holds."""
    rows = {}
    for name, split in dataset.splits.items():
        assert split.ids is not None
        places = split.ids.tolist()
        by_file = {image_file(row): row for row in range(ROWS)}
        rows[name] = [by_file[str(split.names[place])] for place in places] if dataset.inputs == "images" else places
        said = [dataset.class_names[target] for target in split.targets]
        assert said == [CLASSES[row] for row in rows[name]]
    assert sorted(row for part in rows.values() for row in part) == list(range(ROWS))
    return rows


@each_source
def test_a_group_stays_in_one_part(source: str, tmp_path: Path):
    rows = rows_of(load(SOURCES[source](tmp_path) | {"group": "site"}))
    sites = [{COLUMNS["site"][row] for row in part} for part in rows.values()]
    assert sum(len(part) for part in sites) == 10
    assert set(rows) == {"train", "val", "test"}


@each_source
def test_the_oldest_train_and_the_newest_test(source: str, tmp_path: Path):
    rows = rows_of(load(SOURCES[source](tmp_path) | {"time": "day"}))
    days = {name: sorted(COLUMNS["day"][row] for row in part) for name, part in rows.items()}
    assert days == {"train": [*range(36)], "val": [*range(36, 48)], "test": [*range(48, 60)]}


@each_source
def test_a_fold_says_which_part_an_example_is_in(source: str, tmp_path: Path):
    rows = rows_of(load(SOURCES[source](tmp_path) | {"fold": "part", "val_folds": ["val"], "test_folds": ["test"]}))
    assert {name: {COLUMNS["part"][row] for row in part} for name, part in rows.items()} == {
        name: {name} for name in ("train", "val", "test")
    }


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_may_be_read_with_fewer_classes(source: str, tmp_path: Path):
    classes = ["dead" if row % 5 == 0 else each for row, each in enumerate(CLASSES)]
    dataset = load({**SOURCES[source](tmp_path, classes), "classes": 2, "group": "site"})
    assert dataset.class_names == ("ill", "well")
    assert sum(len(split) for split in dataset.splits.values()) == ROWS - classes.count("dead")


@each_with_ids
@pytest.mark.parametrize("column", ["patient", "number"])
def test_examples_have_the_ids_that_the_data_gives_them(source: str, column: str, tmp_path: Path):
    dataset = load(SOURCES[source](tmp_path) | {"id": column})
    for split in dataset.splits.values():
        assert split.names[split.ids].tolist() == [COLUMNS[column][place] for place in split.ids]


def trained(data: dict[str, Any], **changes: Any) -> Any:
    return train(
        TrainingConfig.from_mapping(
            {
                "data": data, "model": {"name": "linear"}, "loss": {"name": "cross_entropy"}, "batch_size": 8,
                "optimizer": {"name": "adamw"}, "epochs": 1, **changes,
            }
        )
    )  # fmt: skip


@pytest.mark.parametrize("column", ["patient", "number"])
def test_predictions_out_of_fold_name_the_examples(column: str, tmp_path: Path):
    data = a_csv(tmp_path) | {"id": column, "test_fraction": 0}
    predicted = trained(data, folds=3).predictions["val"]
    assert predicted.ids.tolist() == sorted(COLUMNS[column])
    wanted = dict(zip(COLUMNS[column], CLASSES, strict=True))
    assert [("ill", "well")[target] for target in predicted.targets] == [wanted[each] for each in predicted.ids]


def test_images_are_named_by_their_files(tmp_path: Path):
    predicted = trained(images(tmp_path) | {"group": "site"}).predictions["test"]
    assert set(predicted.ids) <= {image_file(row) for row in range(ROWS)}
    assert [("ill", "well")[target] for target in predicted.targets] == [
        name.partition("/")[0] for name in predicted.ids
    ]


def test_rows_of_queries_have_ids_too(tmp_path: Path):
    data = a_csv(tmp_path) | {"target": "twice", "query": "site", "id": "patient"}
    predicted = trained(data, loss={"name": "listnet"}, batch_size=2).predictions["test"]
    relevance = dict(zip(COLUMNS["patient"], COLUMNS["twice"], strict=True))
    assert predicted.targets.tolist() == [relevance[each] for each in predicted.ids]


def test_parts_that_come_apart_bring_their_own_ids(tmp_path: Path):
    given: dict[str, Any] = {"name": "csv", "target": "y", "id": "who"}
    arrays: dict[str, Any] = {}
    for part, initial in (("train", "t"), ("val", "v"), ("test", "e")):
        rows = {"who": [f"{initial}{row}" for row in range(8)], "x": [*range(8)], "y": [row % 2 for row in range(8)]}
        arrow_csv.write_csv(pa.table(rows), tmp_path / f"{part}.csv")
        given[part] = str(tmp_path / f"{part}.csv")
        arrays |= {f"who_{part}": rows["who"], f"x_{part}": np.eye(8), f"y_{part}": rows["y"]}
    np.savez(tmp_path / "t.npz", **arrays)
    for data in (given, {"name": "npz", "path": str(tmp_path / "t.npz"), "id": "who"}):
        result = trained(data)
        assert result.predictions["val"].ids.tolist() == [f"v{row}" for row in range(8)]
        assert result.predictions["test"].ids.tolist() == [f"e{row}" for row in range(8)]


@each_source
@pytest.mark.parametrize("setting", ["group", "time", "fold"])
def test_an_unknown_name_is_reported(source: str, setting: str, tmp_path: Path):
    what = "array" if source == "npz" else "column"
    with pytest.raises(ConfigError, match=rf"data\.{setting}: there is no {what} 'patent'; did you mean 'patient'\?"):
        load(SOURCES[source](tmp_path) | {setting: "patent"})


@each_source
def test_only_one_can_decide(source: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"data\.time: only one of group and time can decide the split"):
        load(SOURCES[source](tmp_path) | {"group": "site", "time": "day"})


@each_source
def test_deciding_parameters_have_a_value_everywhere(source: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"data\.time: column 'gaps' lacks a value in 6 rows; remove those rows"):
        load(SOURCES[source](tmp_path) | {"time": "gaps"})


@each_with_ids
@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("twice", r"data\.id: column 'twice' of data\.path holds 0 more than once; ids must differ"),
        ("half", r"data\.id: column 'half' holds (double|float), not whole numbers or texts"),
        ("gaps", r"data\.id: column 'gaps' lacks a value in 6 rows; remove those rows"),
        ("patent", r"data\.id: there is no (column|array) 'patent'; did you mean 'patient'\?"),
    ],
)
def test_ids_that_name_no_example_are_refused(source: str, column: str, message: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=message):
        load(SOURCES[source](tmp_path) | {"id": column})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"table": None, "group": "site"},
            r"data\.group: a folder of images has no columns; name a CSV file with this column as data",
        ),
        ({}, r"data\.table: no setting uses a column of this file; name one as data\.group, data\.time or data\.fold"),
        ({"table": "no.csv", "group": "site"}, r"data\.table: there is no file 'no\.csv'"),
        ({"table": "short.csv", "group": "site"}, r"data\.table: 'short\.csv' has no row for the file 'ill/02\.png'"),
        ({"table": "twice.csv", "group": "site"}, r"data\.table: 'twice\.csv' has two rows for 'ill/00\.png'; keep"),
        ({"table": "other.csv", "group": "site"}, r"data\.table: there is no column 'file'"),
    ],
)
def test_a_table_of_images_has_a_row_for_each(
    given: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = images(tmp_path)
    monkeypatch.chdir(tmp_path)
    lines = (tmp_path / "t.csv").read_text().splitlines(keepends=True)
    (tmp_path / "short.csv").write_text("".join(lines[:3]))
    (tmp_path / "twice.csv").write_text("".join([*lines, lines[1]]))
    (tmp_path / "other.csv").write_text("site\n1\n")
    with pytest.raises(ConfigError, match=message):
        load(data | given)


def test_arrays_of_different_lengths_are_refused(tmp_path: Path):
    np.savez(tmp_path / "t.npz", x=np.eye(8), y=[0, 1] * 4, site=[1, 2])
    with pytest.raises(ConfigError, match=r"data\.group: 'site' has the shape \[2\] for 8 examples"):
        load({"name": "npz", "path": str(tmp_path / "t.npz"), "group": "site"})
