"""`study init`: its study file passes the service's check for any data, or it says why the data cannot be learned."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.cli import data_files
from service.cli.look import look
from service.cli.main import main
from service.client import Client, study_file
from service.contract.study import StudySpec
from tests.client.sources import (
    CASES,
    DIABETES,
    archive,
    book,
    dirty,
    folder,
    korean,
    labelled,
    reviews,
    table,
)
from tests.support.service import ROOT, Service
from worker.training import TrainingConfig, train
from worker.training.data import DATA


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def client(shared_service: Service) -> Iterator[Client]:
    with Client(shared_service.url) as opened:
        yield opened


def init(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The study file that is written."""
    assert main(["init", *words]) == 0
    (wrote,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wrote ")]
    return Path(wrote.split(";")[0].removeprefix("wrote ")).read_text(encoding="utf-8")


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["init", *words]) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize("case", CASES)
def test_the_written_study_can_be_planned_and_its_data_loaded(
    client: Client, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    make, words = CASES[case]
    text = init(capsys, make(), *words)
    (file,) = Path.cwd().glob("*.yaml")
    spec = study_file.load(file)
    assert client.post_plan(spec).trials == 30
    train = train_of(spec)
    settings = {name: value for name, value in train["data"].items() if name != "name"}
    data = DATA.create(train["data"]["name"], DATA.check(train["data"]["name"], settings))
    assert f": {data.kind}" in text.splitlines()[0]
    batches = spec.space.get("batch_size")
    largest = max(batches.choices) if batches is not None else train["batch_size"]  # type: ignore[union-attr,type-var]
    assert largest <= len(data.train)


def train_of(spec: StudySpec) -> dict[str, Any]:
    assert spec.task is not None
    assert spec.task.train is not None
    return spec.task.train


def test_the_reading_of_each_column_is_reported_and_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", dirty(), "--target", "y"]) == 0
    lines = [
        "Columns:",
        "  price: numbers from 1000.5 to 1059.5; decimal comma; without the unit '€'",
        "  age: numbers from 1 to 59; 9 missing ('?' included)",
        "  y: target; numbers from 0.5 to 59.5; decimal comma",
    ]
    assert capsys.readouterr().out.splitlines()[-len(lines) :] == lines
    text = Path("dirty.yaml").read_text(encoding="utf-8")
    assert "\n".join(f"# {line}" for line in lines) in text


def test_what_look_finds_is_printed_before_the_file_is_written_and_stands_in_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [[at, label, round(number, 2) + (label == "a"), "ab"[label == "b"]] for at, (number, label) in enumerate(
        zip(np.random.default_rng(0).normal(size=200).tolist(), "abbaababba" * 20, strict=True)
    )]  # fmt: skip
    table("leaky.csv", [["id\nof row", "copy", "x", "y"], *rows])
    assert main(["init", "leaky.csv", "--target", "y"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "leaky.csv: 200 rows, 3 columns, target y (classification)"
    assert lines[1] == "Findings: 2 warnings"
    assert lines[2].startswith("  warning: column `copy` alone predicts the target `y`")
    assert [line[:5] for line in lines].index("wrote") > 3
    text = Path("leaky.yaml").read_text(encoding="utf-8")
    assert "# Findings:\n#   column `copy` alone predicts the target `y`" in text
    assert "# Left out: column `id of row` has a different value" in text
    assert max(len(line) for line in text.partition("name: ")[0].splitlines()) <= 120
    assert study_file.load("leaky.yaml").name == "leaky"
    Path("leaky.yaml").unlink()
    assert main(["init", "leaky.csv", "--target", "y", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "leaky"


def test_without_pillow_a_study_of_images_is_written_and_says_what_is_lacking(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder()
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert main(["init", "pets"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("the data were not examined: pets: needs Pillow")
    assert out.startswith("wrote pets.yaml")


def test_sentences_are_read_by_a_model_of_texts(capsys: pytest.CaptureFixture[str]) -> None:
    text = init(capsys, reviews(), "--target", "label")
    data = train_of(study_file.load("reviews.yaml"))["data"]
    assert {name: data[name] for name in ("name", "text", "target", "tokens", "length")} == {
        "name": "texts", "text": "says", "target": "label", "tokens": "words", "length": 16
    }  # fmt: skip
    assert "#   says: 60 texts, 8 words each on average\n" in text
    assert "# Left out: number, since a model of texts reads one column.\n" in text


def test_the_encoding_is_guessed_or_named_and_written(capsys: pytest.CaptureFixture[str]) -> None:
    text = init(capsys, korean(), "--target", "도시")
    assert text.count("# Read as cp949.\n") == 1
    data = train_of(study_file.load("cities.yaml"))["data"]
    assert (data["encoding"], data["delimiter"]) == ("cp949", ";")
    init(capsys, "cities.csv", "--target", "도시", "--encoding", "euc-kr", "--out", "named.yaml")
    assert train_of(study_file.load("named.yaml"))["data"]["encoding"] == "euc-kr"


def test_a_column_of_numbers_and_other_texts_names_the_options_that_settle_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table("t.csv", [["x", "y"], *([at if at % 9 else "ca. 12", "ab"[at % 2]] for at in range(40))])
    assert refused(capsys, "t.csv", "--target", "y") == (
        "t.csv: column 'x' holds 35 numbers and 5 other values ('ca. 12'); correct them, list those that mean a "
        "missing value in data.na_values, or list the column in data.categorical: [x]; here: --na-value TEXT, "
        "--categorical COLUMN\n"
    )
    init(capsys, "t.csv", "--target", "y", "--na-value", "ca. 12", "--out", "a.yaml")
    assert train_of(study_file.load("a.yaml"))["data"]["na_values"] == ["ca. 12"]
    init(capsys, "t.csv", "--target", "y", "--categorical", "x", "--out", "b.yaml")
    assert train_of(study_file.load("b.yaml"))["data"]["categorical"] == ["x"]
    assert "there is no column 'z'" in refused(capsys, "t.csv", "--target", "y", "--categorical", "z")


def test_unusable_numbers_are_reported_by_row(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("inf", "1e300", "1e30"):
        table("t.csv", [["x", "y"], *([at if at != 16 else wrong, "ab"[at % 2]] for at in range(40))])
        said = refused(capsys, "t.csv", "--target", "y")
        assert f"column 'x' holds {float(wrong):g} in row 17 (not counting the header)" in said


def test_a_whole_number_larger_than_any_float_is_refused_by_row(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[at, "9" * 400 if at == 4 else at] for at in range(60)]
    for words in (("--target", "y"), ("--target", "y", "--task", "regression"), ("--target", "x")):
        assert "holds inf in row 5 (not counting the header)" in refused(
            capsys, table("t.csv", [["x", "y"], *rows]), *words
        )


def test_the_path_is_relative_to_the_study_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("studies").mkdir()
    init(capsys, table("t.csv", labelled("a", "b")), "--target", "y", "--out", "studies/t.yaml")
    assert "path: ../t.csv" in Path("studies/t.yaml").read_text().replace('"', "")
    assert train_of(study_file.load("studies/t.yaml"))["data"]["path"] == str(Path("t.csv").resolve())


def test_the_most_important_parameters_come_first_in_good_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    init(capsys, DIABETES, "--target", "progression", "--name", "mine", "--out", "a.yaml")
    spec = study_file.load("a.yaml")
    assert spec.name == "mine"
    assert list(spec.space) == [
        "optimizer.lr", "model.name", "model.width", "model.depth", "optimizer.weight_decay", "model.dropout"
    ]  # fmt: skip
    told = {name: parameter.model_dump(exclude_defaults=True) for name, parameter in spec.space.items()}
    assert told["optimizer.lr"] == {"type": "float", "low": 3e-4, "high": 3e-2, "log": True}
    assert told["optimizer.weight_decay"] == {"type": "float", "low": 1e-3, "high": 1.0, "log": True, "zero": True}
    assert spec.reference is not None
    assert spec.reference.baseline == pytest.approx(77.0, abs=0.1), "what predicting the mean gives"


def test_few_rows_get_many_epochs_that_end_early_and_many_rows_fewer(capsys: pytest.CaptureFixture[str]) -> None:
    chance = np.random.default_rng(0)
    for num, batch, epochs in ((60, 8, 200), (1500, 32, 110), (20_000, 64, 20)):
        rows = [[round(each, 3), "ab"[at % 2]] for at, each in enumerate(chance.normal(size=num).tolist())]
        init(capsys, table(f"{num}.csv", [["x", "y"], *rows]), "--target", "y")
        train = train_of(study_file.load(f"{num}.yaml"))
        assert (train["batch_size"], train["epochs"], train["patience"]) == (batch, epochs, 20)
    init(capsys, folder())
    assert "patience" not in train_of(study_file.load("pets.yaml"))


def test_where_numbers_are_missing_a_feature_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    init(capsys, dirty(), "--target", "y")
    assert train_of(study_file.load("dirty.yaml"))["data"]["missing"] == "indicator"
    init(capsys, DIABETES, "--target", "progression", "--out", "d.yaml")
    assert "missing" not in train_of(study_file.load("d.yaml"))["data"]


def test_every_parameter_says_why_it_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    lines = init(capsys, "digits").splitlines()
    space = lines[lines.index("space:") + 1 : lines.index("sampler: auto")]
    assert all(line.startswith("  # ") for line in space[::2])
    assert not any(line.startswith("  # ") for line in space[1::2])


def test_the_baseline_that_it_names_can_be_enqueued(
    client: Client, shared_service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    for source in ("wine", book()):
        text = init(capsys, source)
        file = f"{Path(source).stem}.yaml"
        client.create_study(study_file.load(file))
        (line,) = (line for line in text.splitlines() if "study enqueue" in line)
        words = line.removeprefix("#   study ").partition("     #")[0].split()
        assert main(["--server", shared_service.url, *words]) == 0
        capsys.readouterr()


def test_the_metric_and_what_it_is_compared_with_follow_from_the_balance_of_the_classes(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = {
        "even": (
            labelled("a", "b", "c", "c"),
            "val/accuracy",
            0.5,
            "The classes are balanced (10 to 20 examples each)",
        ),
        "odd": (
            labelled(*"aaaaaaaab", num=90),
            "val/average_precision",
            1 / 9,
            "Always saying 'a' would have an accuracy",
        ),
        "three": (labelled(*"aaaaaaaabbc", num=110), "val/balanced_accuracy", 1 / 3, "each class counts alike."),
        "numbers": (
            labelled(0, 0, 0, 0, 0, 1, num=120),
            "val/average_precision",
            1 / 6,
            "how well the rare '1' is found",
        ),
        "words": (
            labelled(*["no"] * 5, "yes\n: {", num=120),
            "val/average_precision",
            1 / 6,
            "the rare 'yes\\n: {' is",
        ),
    }
    for name, (rows, metric, baseline, why) in cases.items():
        text = init(capsys, table(f"{name}.csv", rows), "--target", "y")
        spec = study_file.load(f"{name}.yaml")
        assert spec.objective.metric == metric, name
        assert spec.reference is not None
        assert spec.reference.baseline == pytest.approx(baseline, rel=1e-3)
        assert any(why in line for line in text.splitlines() if line.startswith("#")), text
        client.check_study(spec)
        config = TrainingConfig.from_mapping(train_of(spec) | {"epochs": 1})
        assert metric in train(config).metrics


def test_whole_numbers_are_classes_while_they_are_few_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    table("few.csv", labelled(*range(3)))
    table("many.csv", labelled(*range(21), num=210))
    kinds = [
        train_of(study_file.load(file))["data"]["kind"]
        for file, words in (
            ("a.yaml", ["few.csv"]),
            ("b.yaml", ["many.csv"]),
            ("c.yaml", ["few.csv", "--task", "regression"]),
        )
        if init(capsys, *words, "--target", "y", "--out", file)
    ]
    assert kinds == ["classification", "regression", "regression"]


def test_columns_that_teach_nothing_are_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [["id", "day", "size", "y"], *([f"n{at}", "2026-01-02", at, "ab"[at % 2]] for at in range(1100))]
    text = init(capsys, table("rows.csv", rows), "--target", "y")
    assert train_of(study_file.load("rows.yaml"))["data"]["features"] == ["size"]
    assert "# Left out: id holds 1100 different texts." in text
    assert "# Left out: day holds dates or times." in text


def test_the_encoding_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", korean(), "--target", "도시"]) == 0
    assert capsys.readouterr().out.count("Read as cp949.") == 1


@pytest.mark.parametrize("case", ["cp949 and semicolons", "parquet"])
def test_a_table_is_read_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    make, words = CASES[case]
    source, opened = make(), []
    open_table = data_files.open_table

    def counted(path: Path, encoding: str | None = None) -> Any:
        opened.append(path)
        return open_table(path, encoding)

    for module in (data_files, look):
        monkeypatch.setattr(module, "open_table", counted)
    init(capsys, source, *words)
    assert opened == [Path(source)]


def test_columns_that_look_would_leave_out_are_left_out_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    chance = np.random.default_rng(0)
    rows = [[700 + at, "same", "", round(chance.normal(), 2), "ab"[at % 2]] for at in range(60)]
    text = init(capsys, table("t.csv", [["customer_id", "unit", "note", "x", "y"], *rows]), "--target", "y")
    assert train_of(study_file.load("t.yaml"))["data"]["features"] == ["x"]
    assert "# Left out: column `customer_id` has a different value in every row (60 values), so it" in text
    assert "# Left out: column `unit` has the same value in every row.\n" in text
    assert "# Left out: column `note` has no value in any row.\n" in text
    assert "# To learn from a column that is left out, add its name to data.features.\n" in text
    assert "# Findings:" not in text, "what has been settled is no finding"
    assert "customer_id:" not in text, "how it would be read says nothing"


def test_an_id_is_kept_when_there_is_nothing_else_to_learn_from(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[at, "ab"[at % 2]] for at in range(60)]
    text = init(capsys, table("t.csv", [["id", "y"], *rows]), "--target", "y")
    assert "features" not in train_of(study_file.load("t.yaml"))["data"]
    assert "Left out" not in text
    assert "# Findings:\n#   column `id` has a different value in every row" in text


def test_odd_names_are_written_so_that_they_are_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    for at, odd in enumerate(("yes", "12", "a: b", 'say "hi"', "# n", "größe", " x", "null")):
        rows = [[odd, "y"], *([at, "ab"[at % 2]] for at in range(40))]
        table(f"{at}.csv", [[name, *rest] for name, *rest in rows])
        init(capsys, f"{at}.csv", "--target", odd, "--task", "regression", "--out", f"{at}.yaml")
        assert train_of(study_file.load(f"{at}.yaml"))["data"]["target"] == odd


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (labelled("a"), "--target: column 'y' has only one value: a"),
        (labelled(0.5), "--target: column 'y' has only one value: 0.5"),
        (
            labelled("a", "b", "", num=30),
            "--target: column 'y' lacks a value in 10 rows, the first in row 3 (not counting the",
        ),
        (
            labelled(1.5, 2.5, "nan", num=30),
            "--target: column 'y' lacks a value in 10 rows, the first in row 3 (not counting the",
        ),
        (
            labelled(1.5, 2.5, "inf", num=30),
            "--target: column 'y' holds inf in row 3 (not counting the header); numbers must",
        ),
        ([*labelled("a", "b"), [1, "c"]], "column 'y' has too few examples of 'c' (1); 5 are needed"),
        ([["x", "y"]], "--target: column 'y' is empty"),
        ([["y"], *[[at] for at in range(30)]], "has no column to learn from beside 'y'"),
        ([["y", "y"], [1, 2]], "has two columns of the same name; rename one"),
        ([["x", "y"], [1, 2], [3]], "line 3 has 1 values, the header has 2"),
    ],
)
def test_unlearnable_data_is_refused_by_init(
    capsys: pytest.CaptureFixture[str], rows: list[list[object]], said: str
) -> None:
    assert said in refused(capsys, table("t.csv", rows), "--target", "y")
    assert list(Path.cwd().glob("*.yaml")) == []


def test_mistakes_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    table("t.csv", labelled("a", "b"))
    assert refused(capsys, "digist") == (
        "digist: there is no such file, folder or built-in set; did you mean 'digits'?\n"
    )
    assert refused(capsys, "t.csv") == "t.csv: the target column is not known; add --target with one of: x, y\n"
    assert refused(capsys, "t.csv", "--target", "z") == "--target: there is no column 'z'; known: x, y\n"
    assert "digits defines its own target" in refused(capsys, "digits", "--target", "y")
    assert "holds no images in folders of classes" in refused(capsys, ".")
    assert "is no .csv, .tsv, .parquet, .npz or .txt file" in refused(capsys, str(ROOT / "README.md"))
    archive()
    assert "there is no array 'z_train'; known: x, y" in refused(capsys, "blobs.npz", "--target", "z")
    Path("t.parquet").write_text("no parquet")
    assert "t.parquet: is not a Parquet file" in refused(capsys, "t.parquet", "--target", "y")
    Path("bad.csv").write_bytes(b"x,y\n\xff,1\n")
    said = refused(capsys, "bad.csv", "--target", "y", "--encoding", "utf-8")
    assert said == "bad.csv: is not written in utf-8; it looks like cp1252\n"
    assert "there is no encoding 'utf-88'" in refused(capsys, "bad.csv", "--target", "y", "--encoding", "utf-88")
    assert refused(capsys, "iris").endswith("built-in set; known: breast_cancer, diabetes, digits, wine\n")
    Path("short.txt").write_text("short")
    assert "short.txt: has 5 bytes; at least 1300 are needed" in refused(capsys, "short.txt")


def test_a_file_that_is_there_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    Path("digits.yaml").write_text("mine")
    assert refused(capsys, "digits") == "digits.yaml: already exists; choose another file with --out, or remove it\n"
    assert Path("digits.yaml").read_text() == "mine"
    assert "name: must be letters, digits" in refused(capsys, "digits", "--name", "my digits", "--out", "a.yaml")
    assert not Path("a.yaml").exists()
    assert "cannot be written" in refused(capsys, "digits", "--out", "nowhere/digits.yaml")
