"""CSV files of the user's own: what is read, guessed and refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from worker.training import ConfigError
from worker.training.data import DATA, Dataset


def load(path: Path | None = None, **given: Any) -> Dataset:
    files = {} if path is None else {"path": str(path)}
    return DATA.create("csv", DATA.check("csv", {**files, **given}))


def write(path: Path, header: str, rows: list[str], encoding: str = "utf-8") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
    return path


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """Forty rows: a number, a number with gaps, a colour, true or false, and the kind to predict."""
    rows = [
        f"{i},{'' if i % 7 == 0 else i * i},{('red', 'blue')[i % 2]},{str(i % 3 == 0).lower()},{'ab'[i % 2]}"
        for i in range(40)
    ]
    return write(tmp_path / "flowers.csv", "size,area,colour,wild,sort", rows)


def test_columns_become_features(flowers: Path):
    dataset = load(flowers, target="sort")
    assert dataset.kind == "classification"
    assert dataset.class_names == ("a", "b")
    assert dataset.num_features == 3 + 2, "size, area and wild, and a column for each colour"
    assert {name: len(split) for name, split in dataset.splits.items()} == {"test": 8, "val": 8, "train": 24}
    colours = dataset.train.features[:, 3:]
    assert torch.equal(colours.sum(1), torch.ones(24))


def test_missing_numbers_get_the_training_median(tmp_path: Path):
    train = write(tmp_path / "train.csv", "x,y", ["1,0.5", "2,1.5", "9,2.5", ",3.5"])
    dataset = load(train=str(train), val=str(train), test=str(train), target="y")
    x = sorted(dataset.train.features[:, 0].tolist())
    assert x[0] < x[1] == x[2] < x[3], "1, 2, 9 and the gap, filled with 2"


def test_features_can_be_chosen(flowers: Path):
    assert load(flowers, target="sort", features=["size"]).num_features == 1


def test_a_category_unknown_to_training_is_all_zeros(tmp_path: Path):
    train = write(tmp_path / "train.csv", "c,y", ["red,a", "blue,b", "red,a", "blue,b"])
    val = write(tmp_path / "val.csv", "c,y", ["green,a", "red,b"])
    dataset = load(train=str(train), val=str(val), test=str(val), test_val=str(val), target="y")
    assert set(dataset.splits) == {"train", "val", "test", "test_val"}
    assert len(dataset.train) == 4, "no part of it is split off where files give the others"
    assert dataset.splits["val"].features.tolist() == [[0, 0], [0, 1]]


def test_a_file_may_hold_fractions_where_training_held_whole_numbers(tmp_path: Path):
    train = write(tmp_path / "train.csv", "x,y", ["1,a", "2,b", "3,a", "4,b"])
    val = write(tmp_path / "val.csv", "x,y", ["1.5,a", "2.5,b"])
    dataset = load(train=str(train), val=str(val), test=str(val), target="y")
    assert dataset.splits["val"].features[0, 0] < dataset.splits["val"].features[1, 0]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([f"{i}.5" for i in range(30)], None, "regression"),
        ([str(i) for i in range(30)], None, "regression"),
        ([str(i % 5) for i in range(30)], None, "classification"),
        ([str(i % 5) for i in range(30)], "regression", "regression"),
        (["true", "false"] * 15, None, "classification"),
        (["yes", "no"] * 15, None, "classification"),
    ],
)
def test_the_target_tells_the_kind_unless_told(tmp_path: Path, values: list[str], kind: str | None, expected: str):
    path = write(tmp_path / "t.csv", "x,y", [f"{i}.0,{value}" for i, value in enumerate(values)])
    assert load(path, target="y", kind=kind).kind == expected


def test_other_encodings_and_delimiters(tmp_path: Path):
    rows = [f"{i};{('서울', '부산')[i % 2]}" for i in range(20)]
    path = write(tmp_path / "korean.csv", "수;도시", rows, encoding="cp949")
    dataset = load(path, target="도시", encoding="cp949", delimiter=";")
    assert dataset.class_names == ("부산", "서울")


@pytest.mark.parametrize("header", ["x,y", "키,y"])
def test_a_wrong_encoding_is_told(tmp_path: Path, header: str):
    path = write(
        tmp_path / "korean.csv", header, [f"{i},{('서울', '부산')[i % 2]}" for i in range(20)], encoding="cp949"
    )
    with pytest.raises(ConfigError, match=r"data\.encoding: .*korean\.csv' is not written in utf-8; try"):
        load(path, target="y")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": "sorts"}, "data.target: there is no column 'sorts'; did you mean 'sort'?"),
        ({"target": "sort", "features": ["sizes"]}, "data.features: there is no column 'sizes'; did you mean 'size'?"),
        ({"target": "sort", "features": ["sort"]}, "data.features: needs at least one column, and not the target"),
        ({"target": "sort", "kind": "regression"}, "data.kind: column 'sort' holds no numbers"),
        ({"target": "sort", "encoding": "utf-88"}, "data.encoding: unknown encoding 'utf-88'"),
        ({"target": "sort", "delimiter": ";;"}, "data.delimiter: must be one character"),
        ({"target": "sort", "delimiter": ";"}, "data.target: there is no column 'sort'"),
        ({"target": "area"}, "data.target: column 'area' lacks a value in 6 rows"),
        ({"target": "sort", "train": "x.csv"}, "data.path: give either path"),
        ({"target": "sort", "val": "no.csv"}, "data.val: there is no file 'no.csv' (looked for /"),
    ],
)
def test_a_fault_names_its_setting(flowers: Path, given: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        load(flowers, **given)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("x,y", ["1,a", "2,a", "3,a"] * 5, "data.target: the training examples hold one class only: a"),
        ("x,y", ["1,0.5", "2,0.5", "3,0.5"] * 5, "data.target: every training example has the value 0.5"),
        ("x,y", [], "data.path: .* has columns but no rows"),
        ("x,x", ["1,2"], "data.path: .* two columns of the same name"),
        ("x,y", ["inf,a", "1,b"] * 10, "data.features: the test examples hold infinite numbers"),
        ("x,y", ["1,nan", "2,0.5"] * 10, "data.target: column 'y' lacks a value in 10 rows"),
        ("x,y", ["1,inf", "2,0.5"] * 10, "data.target: column 'y' holds values that are no finite numbers"),
        ("x,y", ["2024-01-31,a", "2024-02-01,b"] * 10, "data.features: column 'x' holds date32.* no numbers or text"),
        ("x,y", ["1,a", "2,b,c"], "data.path: .* is no table that can be read"),
        ("x,y", [f"name{i},{'ab'[i % 2]}" for i in range(1500)], "data.features: column 'x' has 1500 different texts"),
    ],
)
def test_contents_that_cannot_be_learned_from(tmp_path: Path, header: str, rows: list[str], message: str):
    with pytest.raises(ConfigError, match=message):
        load(write(tmp_path / "t.csv", header, rows), target=header[-1])


def test_an_empty_file_is_told(tmp_path: Path):
    (tmp_path / "t.csv").touch()
    with pytest.raises(ConfigError, match=r"data\.path: .* is no table that can be read"):
        load(tmp_path / "t.csv", target="y")


def test_a_class_that_training_never_saw(tmp_path: Path):
    train = write(tmp_path / "train.csv", "x,y", ["1,a", "2,b"] * 4)
    val = write(tmp_path / "val.csv", "x,y", ["1,a", "2,c"])
    with pytest.raises(ConfigError, match=r"data\.target: the val examples hold class 'c', which training never saw"):
        load(train=str(train), val=str(val), test=str(val), target="y")


def test_another_type_in_another_file(tmp_path: Path):
    train = write(tmp_path / "train.csv", "x,y", ["1,a", "2,b"] * 4)
    val = write(tmp_path / "val.csv", "x,y", ["one,a", "two,b"])
    with pytest.raises(ConfigError, match=r"data\.val: .* is no table that can be read"):
        load(train=str(train), val=str(val), test=str(val), target="y")


def test_the_fingerprint_names_the_content_of_every_file_and_not_its_place(flowers: Path, tmp_path: Path):
    moved = tmp_path / "moved.csv"
    moved.write_bytes(flowers.read_bytes())
    fingerprint = load(flowers, target="sort").fingerprint
    assert fingerprint is not None
    assert load(moved, target="sort", features=["size"], val_fraction=0.3).fingerprint == fingerprint
    assert load(train=str(flowers), target="sort").fingerprint != fingerprint
    assert load(flowers, target="sort", test=str(moved)).fingerprint != fingerprint
    moved.write_bytes(flowers.read_bytes() + flowers.read_bytes().splitlines(keepends=True)[-1])
    assert load(moved, target="sort").fingerprint != fingerprint
