"""CSV files: what is read, guessed and refused."""

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
def test_the_target_decides_the_kind_of_task_by_default(
    tmp_path: Path, values: list[str], kind: str | None, expected: str
):
    path = write(tmp_path / "t.csv", "x,y", [f"{i}.0,{value}" for i, value in enumerate(values)])
    assert load(path, target="y", kind=kind).kind == expected


def test_other_encodings_and_delimiters(tmp_path: Path):
    rows = [f"{i};{('서울', '부산')[i % 2]}" for i in range(20)]
    path = write(tmp_path / "korean.csv", "수;도시", rows, encoding="cp949")
    dataset = load(path, target="도시", encoding="cp949", delimiter=";")
    assert dataset.class_names == ("부산", "서울")


@pytest.mark.parametrize("header", ["x,y", "키,y"])
def test_a_wrong_encoding_is_reported(tmp_path: Path, header: str):
    path = write(
        tmp_path / "korean.csv", header, [f"{i},{('서울', '부산')[i % 2]}" for i in range(20)], encoding="cp949"
    )
    with pytest.raises(
        ConfigError, match=r"data\.encoding: .*korean\.csv' is not written in utf-8; it looks like cp949: "
    ):
        load(path, target="y")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": "sorts"}, "data.target: there is no column 'sorts'; did you mean 'sort'?"),
        ({"target": "sort", "features": ["sizes"]}, "data.features: there is no column 'sizes'; did you mean 'size'?"),
        ({"target": "sort", "features": ["sort"]}, "data.features: must name at least one column and not the target"),
        ({"target": "sort", "kind": "regression"}, "data.kind: column 'sort' does not hold numbers"),
        ({"target": "sort", "encoding": "utf-88"}, "data.encoding: unknown encoding 'utf-88'"),
        ({"target": "sort", "delimiter": ";;"}, "data.delimiter: must be one character"),
        ({"target": "sort", "delimiter": ";"}, "data.target: there is no column 'sort'"),
        ({"target": "area"}, "data.target: column 'area' lacks a value in 6 rows, the first in row 1 (not counting"),
        ({"target": "sort", "categorical": ["sizes"]}, "data.categorical: there is no column 'sizes'; did you mean"),
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
        ("x,y", ["1,a", "2,a", "3,a"] * 5, "data.target: the training examples have only the class a"),
        ("x,y", ["1,0.5", "2,0.5", "3,0.5"] * 5, "data.target: every training example has the value 0.5"),
        ("x,y", [], "data.path: .* has columns but no rows"),
        ("x,x", ["1,2"], "data.path: .* two columns of the same name"),
        ("x,y", [*["1,a", "2,b"] * 8, "inf,a"], r"data.features: column 'x' holds inf in row 17 \(not counting the he"),
        ("x,y", [*["1,a", "2,b"] * 8, "1e300,a"], r"data.features: column 'x' holds 1e\+300 in row 17 "),
        ("x,y", [*["1,a", "2,b"] * 8, "1e30,a"], r"column 'x' holds 1e\+30 in row 17 .* so far from the other values"),
        ("x,y", [*["1,1.5", "2,2.5"] * 8, "3,-1e39"], r"data.target: column 'y' holds -1e\+39 in row 17 "),
        ("x,y", [*["1,1.5", "2,2.5"] * 8, "3,1e30"], r"data.target: column 'y' holds 1e\+30 in row 17 .* so far from"),
        ("x,y", ["1,nan", "2,0.5"] * 10, "data.target: column 'y' lacks a value in 10 rows"),
        ("x,y", ["1,inf", "2,0.5"] * 10, r"data.target: column 'y' holds inf in row 1 \(not"),
        (
            "x,y",
            ["2024-01-31,a", "2024-02-01,b"] * 10,
            "data.features: column 'x' holds date32.* neither numbers nor text",
        ),
        ("x,y", ["1,a", "2,b,c"], "data.path: .* can't be read as a CSV file"),
        ("x,y", [f"name{i},{'ab'[i % 2]}" for i in range(1500)], "data.features: column 'x' has 1500 different texts"),
    ],
)
def test_contents_that_cannot_be_learned_from(tmp_path: Path, header: str, rows: list[str], message: str):
    with pytest.raises(ConfigError, match=message):
        load(write(tmp_path / "t.csv", header, rows), target=header[-1])


def test_an_empty_file_is_refused(tmp_path: Path):
    (tmp_path / "t.csv").touch()
    with pytest.raises(ConfigError, match=r"data\.path: .* can't be read as a CSV file"):
        load(tmp_path / "t.csv", target="y")


def test_a_class_that_training_never_saw(tmp_path: Path):
    train = write(tmp_path / "train.csv", "x,y", ["1,a", "2,b"] * 4)
    val = write(tmp_path / "val.csv", "x,y", ["1,a", "2,c"])
    with pytest.raises(
        ConfigError, match=r"data\.target: the val examples hold class 'c', which no training example has"
    ):
        load(train=str(train), val=str(val), test=str(val), target="y")


def test_another_type_in_another_file(tmp_path: Path):
    train = write(tmp_path / "train.csv", "x,y", ["1,a", "2,b"] * 4)
    val = write(tmp_path / "val.csv", "x,y", ["one,a", "two,b"])
    with pytest.raises(ConfigError, match=r"data\.val: column 'x' holds 'one', 'two' here, but numbers in training"):
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


NUMBERS = {
    "markers": (["1", "?", "3.5", "N/A", "-", "n.a.", "7", ""], [1, None, 3.5, None, None, None, 7, None]),
    "thousands": (['"1,234.50"', '"12,000"', "3.5"], [1234.5, 12000, 3.5]),
    "decimal comma": (['"1.234,50"', '"3,5"', '"12"'], [1234.5, 3.5, 12]),
    "spaces": ([" 12 ", "?", "7"], [12, None, 7]),
    "grouped by spaces": (["1 234", "?", "7"], [1234, None, 7]),
    "currency": (["$5", '"-$1,200"', "$7"], [5, -1200, 7]),
    "percent": (["12%", "5 %", "7.5%"], [12, 5, 7.5]),
    "exponent": (["1e5", "?", "2E-1"], [1e5, None, 0.2]),
    "a unit": (["5 kg", "7.5 kg", "12kg"], [5, 7.5, 12]),
    "a unit with a digit": (["80 m2", "75.5 m2", "12m2"], [80, 75.5, 12]),
    "a unit with a slash": (["80 km/h", "75.5 km/h", "12 km/h"], [80, 75.5, 12]),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_texts_that_hold_numbers_are_numbers(case: str, tmp_path: Path):
    texts, numbers = NUMBERS[case]
    plain = write(
        tmp_path / "plain.csv",
        "x,y",
        [f"{'' if number is None else number},{i}.5" for i, number in enumerate(numbers * 9)],
    )
    dirty = write(tmp_path / "dirty.csv", "x,y", [f"{text},{i}.5" for i, text in enumerate(texts * 9)])
    clean, read = load(plain, target="y"), load(dirty, target="y")
    assert torch.equal(read.train.features, clean.train.features)
    target = load(
        write(tmp_path / "t.csv", "y,x", [f"{text},{i}.5" for i, text in enumerate(texts * 9) if text]), target="x"
    )
    assert target.num_features == 1


def test_a_target_may_be_written_in_any_notation(tmp_path: Path):
    rows = [f"{i},€ 1.{i:03},50" for i in range(40)]
    path = write(tmp_path / "t.csv", "x;y", [row.replace(",", ";", 1) for row in rows])
    dataset = load(path, target="y")
    assert dataset.kind == "regression"
    assert 1000 < dataset.target_mean < 1040
    assert dataset.columns == (
        "x: numbers from 0 to 39", "y: target; numbers from 1000.5 to 1039.5; decimal comma; without the unit '€'"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["1", "2", "3", "ca. 12", "ca. 12", "5"],
            "data.features: column 'x' holds 20 numbers and 10 other values ('ca. 12'); correct them, list those that",
        ),
        (
            ["5 kg", "7 kg", "3 lb"],
            "data.features: column 'x' holds 10 numbers and 5 other values ('3 lb'); correct them",
        ),
        (
            ["1.5", '"2,5"', "3.5"],
            "data.features: column 'x' holds 10 numbers and 5 other values ('2,5'); correct them",
        ),
        (
            ["1", "2", "x" * 99],
            f"data.features: column 'x' holds 10 numbers and 5 other values ('{'x' * 39}…'); correct",
        ),
    ],
)
def test_a_column_of_numbers_and_other_texts_is_refused_by_name(tmp_path: Path, values: list[str], message: str):
    path = write(tmp_path / "t.csv", "x,y", [f"{value},{i}.5" for i, value in enumerate(values * 5)])
    with pytest.raises(ConfigError) as caught:
        load(path, target="y")
    assert str(caught.value).startswith(message)
    assert load(path, target="y", categorical=["x"]).num_features > 1, "the remedy that it names"
    others = [value.strip('"') for value in values if value not in {"1", "2", "3", "5", "1.5", "3.5", "5 kg"}]
    assert load(path, target="y", na_values=others).num_features == 1, "and the other one"


def test_a_mixed_target_is_refused_by_name(tmp_path: Path):
    path = write(tmp_path / "t.csv", "x,y", [f"{i},{i or 'many'}" for i in range(30)])
    with pytest.raises(ConfigError, match=r"data\.target: column 'y' holds 29 numbers and 1 other value \('many'\)"):
        load(path, target="y")
    path = write(tmp_path / "t.csv", "x,y", [f"{i},{i % 2 if i % 5 else 'many'}" for i in range(30)])
    assert load(path, target="y", kind="classification").class_names == ("0", "1", "many")


def test_the_meaning_of_a_point_is_reported_and_can_be_set(tmp_path: Path):
    path = write(tmp_path / "t.csv", "x,y", [f"1.{i:03},{i % 2}" for i in range(30)])
    said = "x: numbers from 1 to 1.029; '1.000' is read as 1; if that is wrong, write data.decimal: ','"
    assert load(path, target="y").columns[0] == said
    assert load(path, target="y", decimal=",").columns[0] == "x: numbers from 1000 to 1029; decimal comma"
    path = write(tmp_path / "t.csv", "x;z;y", [f"1.{i:03};0,5;{i % 2}" for i in range(30)])
    told = load(path, target="y").columns
    assert told[0].startswith("x: numbers from 1000 to 1029; decimal comma; '1.000' is read as 1000; if"), "z shows it"
    assert told[1] == "z: numbers, all 0.5; nothing to learn from; decimal comma"


def test_a_sentinel_can_be_a_missing_value(tmp_path: Path):
    path = write(
        tmp_path / "t.csv", "x,c,y", [f"{-999 if i % 4 == 0 else i},{'ab-'[i % 3]},{i % 2}" for i in range(40)]
    )
    assert load(path, target="y", na_values=["-999", "-"]).columns[:2] == (
        "x: numbers from 1 to 39; 10 missing", "c: 2 categories ('a', 'b'); 13 missing, a category of their own"
    )  # fmt: skip


def test_each_column_says_what_was_made_of_it(flowers: Path):
    assert load(flowers, target="sort").columns == (
        "size: numbers from 0 to 39", "area: numbers from 1 to 1521; 6 missing", "colour: 2 categories ('blue', 'red')",
        "wild: true or false", "sort: target; 2 classes ('a' 20 times, 'b' 20 times)",
    )  # fmt: skip


def test_sentences_are_no_categories(tmp_path: Path):
    rows = [f"I liked part {i} of this a lot,{'ab'[i % 2]}" for i in range(60)]
    path = write(tmp_path / "t.csv", "review,y", rows)
    with pytest.raises(
        ConfigError, match=r"column 'review' holds 60 different sentences.*data: \{name: texts, text: revie"
    ):
        load(path, target="y")
    settings = {"path": str(path), "text": "review", "target": "y"}
    assert DATA.create("texts", DATA.check("texts", settings)).columns[0] == "review: 60 texts, 8 words each on average"


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_is_recognised(tmp_path: Path, delimiter: str):
    rows = [f"{i},5{delimiter}a, b{delimiter}{'ab'[i % 2]}" for i in range(40)]
    dataset = load(write(tmp_path / "t.csv", f"x{delimiter}z{delimiter}y", rows), target="y")
    assert dataset.columns[0] == "x: numbers from 0.5 to 39.5; decimal comma"


def test_bytes_of_utf_16_are_named(tmp_path: Path):
    path = write(tmp_path / "t.csv", "x,y", [f"{i},{'ab'[i % 2]}" for i in range(40)], encoding="utf-16")
    with pytest.raises(ConfigError, match="looks like utf-16"):
        load(path, target="y")
    assert load(path, target="y", encoding="utf-16").class_names == ("a", "b")
