"""`study errors`: planted mistakes are told with exact gains, label errors found, and what cannot be is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from sklearn import datasets

from service.cli.errors.analysis import Subject, analyse
from service.cli.errors.predictions import SplitPredictions
from tests.client.conftest import Study
from tests.client.predicted import complete, predicted
from tests.client.test_look_html import Tags

NUM = 300
CLASSES = ("cat", "dog", "eel")
DRAW = np.random.default_rng(0)
TRUTH = DRAW.integers(0, 3, NUM)
PLACE = DRAW.choice(["north", "south", "west"], NUM)
SIZE = DRAW.random(NUM).round(3)
FLIPPED = np.array([11, 47, 200])
LABELS = TRUTH.copy()
LABELS[FLIPPED] = (TRUTH[FLIPPED] + 1) % 3
IDS = np.arange(NUM) * 2 + 1  # the rows that validate


def outputs(seed: int, confused: float = 0.8) -> np.ndarray:
    """Probabilities of a model that takes dogs from the south for eels."""
    draw = np.random.default_rng(seed)
    logits = 4 * np.eye(3)[TRUTH] + draw.normal(scale=0.5, size=(NUM, 3))
    taken = (TRUTH == 1) & (PLACE == "south") & (np.random.default_rng(5).random(NUM) < confused)
    logits[taken] = 2 * np.eye(3)[2] + draw.normal(scale=0.3, size=(taken.sum(), 3))
    logits[FLIPPED] = 6 * np.eye(3)[TRUTH[FLIPPED]]
    weights = np.exp(logits)
    return weights / weights.sum(1, keepdims=True)


def table(seed: int = 0, confused: float = 0.8, ids: Any = IDS) -> dict[str, Any]:
    probabilities = outputs(seed, confused)
    names = np.array(CLASSES)
    return {
        "split": ["val"] * NUM, "id": list(ids), "target": names[LABELS].tolist(),
        "prediction": names[probabilities.argmax(1)].tolist(),
        **{f"p/{name}": pyarrow.array(probabilities[:, at], pyarrow.float32()) for at, name in enumerate(CLASSES)},
    }  # fmt: skip


def write_data(path: Path, labels: np.ndarray = LABELS) -> str:
    """Write the file whose odd rows validate."""
    lines = ["animal,place,size"]
    for row in range(2 * NUM + 1):
        at = row // 2 if row % 2 else 0
        lines.append(f"{CLASSES[labels[at]]},{PLACE[at]},{SIZE[at]}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def of_csv(path: str) -> dict[str, Any]:
    """A train task on a CSV file."""
    train = {
        "data": {"name": "csv", "path": path, "target": "animal", "kind": "classification"},
        "model": {"name": "linear"}, "loss": {"name": "cross_entropy"}, "optimizer": {"name": "sgd", "lr": 0.1},
    }  # fmt: skip
    space = {"optimizer.momentum": {"type": "float", "low": 0.0, "high": 0.9}}
    return {"task": {"train": train}, "preflight": "off", "space": space}


def test_planted_mistakes_are_told_with_what_fixing_them_gains(study: Study, tmp_path: Path) -> None:
    path = write_data(tmp_path / "animals.csv")
    name = predicted(study, table(0), table(1), table(2), values=[0.9, 0.91, 0.9], **of_csv(path))
    report = study.json("errors", name)
    wrong = outputs(1).argmax(1) != LABELS
    assert (report["format"], report["trial"], report["data"]) == (1, "1", path)
    assert report["num_mistakes"] == wrong.sum()
    assert report["value"] == pytest.approx(1 - wrong.mean())
    pair = report["confusions"][0]
    as_eel = (LABELS == 1) & (outputs(1).argmax(1) == 2)
    assert (pair["label"], pair["prediction"], pair["num_examples"]) == ("dog", "eel", as_eel.sum())
    assert pair["gain"] == pytest.approx(as_eel.sum() / NUM)
    assert pair["value_if_fixed"] == pytest.approx(report["value"] + pair["gain"])
    assert set(pair["ids"]) <= set(IDS[as_eel].tolist())
    worse = [(each["column"], each["name"]) for each in report["columns"] if each["error"] > each["error_of_rest"]]
    assert worse == [("place", "south")]
    labels = report["label_errors"]
    assert {each["id"]: each["suggested"] for each in labels["suspects"]} == {
        int(IDS[at]): CLASSES[TRUTH[at]] for at in FLIPPED
    }
    assert labels["suspects"][0]["values"].keys() == {"place", "size"}
    assert (sorted(labels["trials"]), labels["num_kept"]) == (["0", "1", "2"], 3)
    worst = report["worst"][0]
    assert worst["loss"] == pytest.approx(-np.log(worst["label_probability"]))
    page = study("errors", name, "0")
    assert f"{name}, trial 0: {(outputs(0).argmax(1) != LABELS).sum()} of 300 validation examples are wrong" in page
    assert "3 labels of 300 look wrong: read these examples before anything else" in page
    assert "dog taken for eel: " in page
    assert "fixing this gains at most accuracy 0." in page
    assert max(map(len, page.splitlines())) < 260


def test_categories_of_a_file_and_of_a_column_are_compared(study: Study, tmp_path: Path) -> None:
    name = predicted(study, table(), **of_csv(write_data(tmp_path / "animals.csv")))
    file = tmp_path / "causes.csv"
    file.write_text("id,category\n" + "\n".join(f"{each},blurred" for each in IDS[:20]) + "\n", encoding="utf-8")
    by_file, by_column = study.json("errors", name, "--by", str(file), "--by", "place")["categories"]
    assert (by_file["num_without"], [each["name"] for each in by_file["groups"]]) == (NUM - 20, ["blurred"])
    wrong = outputs(0).argmax(1) != LABELS
    assert by_file["groups"][0]["gain"] == pytest.approx(wrong[:20].sum() / NUM)
    assert by_column["groups"][0]["name"] == "south"
    assert by_column["groups"][0]["is_beyond_noise"]
    assert sum(each["num_mistakes"] for each in by_column["groups"]) == wrong.sum()
    assert "Error by place" in study("errors", name, "--by", "place")


def test_without_the_data_file_ids_are_shown_and_it_says_how_to_give_it(study: Study, tmp_path: Path) -> None:
    name = predicted(study, table(), **of_csv("/elsewhere/animals.csv"))
    page = study("errors", name)
    assert "The data '/elsewhere/animals.csv' are not on this machine, so examples are shown by their ids; " in page
    assert "give them by --data PATH" in page
    given = study.json("errors", name, "--data", write_data(tmp_path / "a.csv"))
    assert given["worst"][0]["values"]["place"] in {"north", "south", "west"}
    assert study("errors", name, "--data", "no.csv", status=1) == "--data: there is no file or folder 'no.csv'\n"
    without_task = predicted(study, table())
    assert "the study does not say what its data are" in study("errors", without_task).lower()


def test_the_html_report_loads_nothing_and_shows_texts_as_texts(study: Study, tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    rows = [f'"<b>said {row}</b>, twice",{CLASSES[LABELS[row]]}' for row in range(NUM)]
    path.write_text("\n".join(["said,animal", *rows]) + "\n", encoding="utf-8")
    changes = of_csv(str(path))
    changes["task"]["train"]["data"] = {"name": "texts", "path": str(path), "text": "said", "target": "animal"}
    changes["task"]["train"]["model"] = {"name": "lstm"}
    name = predicted(study, table(ids=range(NUM)), **changes)
    page = tmp_path / "errors.html"
    study("errors", name, "--html", str(page))
    tags = Tags(page.read_text(encoding="utf-8"))
    assert tags.open == []
    assert {"script", "link", "iframe", "img", "b"} & {tag for tag, _ in tags.seen} == {"b"}  # a tile's number
    assert f"<b>said {FLIPPED[0]}</b>, twice" in tags.text
    assert study("errors", name, "--html", "e.svg", status=1).startswith("--html: the file's name must end with .html")


def test_pictures_of_a_built_in_dataset_are_in_the_html_report(study: Study, tmp_path: Path) -> None:
    ids = np.arange(40)
    labels = datasets.load_digits().target[ids]
    probabilities = np.full((40, 10), 0.01)
    probabilities[ids, labels] = 0.91
    probabilities[0] = np.roll(probabilities[0], 1)
    names = [str(digit) for digit in range(10)]
    columns = {f"p/{digit}": probabilities[:, digit] for digit in range(10)}
    split = {"split": ["val"] * 40, "id": ids, "target": [names[label] for label in labels]}
    changes = of_csv("") | {"task": {"train": of_csv("")["task"]["train"] | {"data": {"name": "digits"}}}}
    name = predicted(study, split | {"prediction": split["target"]} | columns, **changes)
    page = tmp_path / "errors.html"
    study("errors", name, "--html", str(page))
    suspect, worst = [
        dict(attributes) for tag, attributes in Tags(page.read_text(encoding="utf-8")).seen if tag == "img"
    ]
    assert suspect["src"] == worst["src"]
    assert worst["src"].startswith("data:image/png;base64,")
    assert (suspect["alt"], worst["alt"]) == (
        "labelled 0; 1 of 1 trial says 1 (0.910)", "0 taken for 1 with 0.910 (its own class 0.010)",
    )  # fmt: skip


def test_values_are_analysed_in_their_own_unit(study: Study, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    price = 100 + 10 * draw.normal(size=NUM)
    old = np.arange(NUM) % 4 == 0
    guessed = price + draw.normal(scale=np.where(old, 6.0, 1.0))
    price[5] += 40
    path = tmp_path / "houses.csv"
    rows = [f"{value:.4f},{'old' if each else 'new'}" for value, each in zip(price, old, strict=True)]
    path.write_text("\n".join(["price,age", *rows]) + "\n", encoding="utf-8")
    data = {"name": "csv", "path": str(path), "target": "price", "kind": "regression"}
    task = of_csv("")["task"]["train"] | {"data": data, "loss": {"name": "mse"}}
    changes = of_csv("") | {"task": {"train": task}, "objective": {"metric": "val/rmse", "direction": "minimize"}}
    tables = {"split": ["val"] * NUM, "id": range(NUM), "target": price, "prediction": guessed}
    name = study.create(trials=1, **changes)
    report = analyse_values(study, name, tables)
    assert (report["kind"], report["metric"], report["num_mistakes"]) == ("regression", "rmse", None)
    assert report["worst"][0]["id"] == 5
    assert [each["id"] for each in report["label_errors"]["suspects"]][:1] == [5]
    assert (report["columns"][0]["column"], report["columns"][0]["name"]) == ("age", "old")
    errors = np.where(old, 0, guessed - price)
    assert report["columns"][0]["value_if_fixed"] == pytest.approx(float(np.sqrt(np.square(errors).mean())))


def analyse_values(study: Study, name: str, tables: dict[str, Any]) -> Any:
    """Complete the study's trial with these predictions, and return the report."""
    complete(study, name, tables, {"val/rmse": 3.0})
    assert "validation examples (rmse " in study("errors", name)
    return study.json("errors", name)


def test_the_worst_queries_of_a_ranking_need_the_data(study: Study, tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    relevance, scores = [2, 0, 1, 0, 2, 1], [0.9, 0.1, 0.5, 0.8, 0.1, 0.3]
    rows = [f"{value},{query},{at}" for at, (value, query) in enumerate(zip(relevance, "aaabbb", strict=True))]
    path.write_text("\n".join(["clicks,who,price", *rows]) + "\n", encoding="utf-8")
    data = {"name": "csv", "path": str(path), "target": "clicks", "query": "who"}
    task = of_csv("")["task"]["train"] | {"data": data, "loss": {"name": "listnet"}}
    changes = of_csv("") | {"task": {"train": task}, "objective": {"metric": "val/ndcg", "direction": "maximize"}}
    name = study.create(trials=1, **changes)
    columns = {"split": ["val"] * 6, "id": range(6), "target": [float(each) for each in relevance]}
    complete(study, name, columns | {"prediction": scores}, {"val/ndcg": 0.8})
    report = study.json("errors", name)
    assert [each["id"] for each in report["worst"]] == ["b"]
    assert (report["kind"], report["num_examples"], report["label_errors"]) == ("ranking", 2, None)
    file = tmp_path / "kinds.csv"
    file.write_text("id,category\na,short\nb,long\n", encoding="utf-8")
    groups = study.json("errors", name, "--by", str(file))["categories"][0]["groups"]
    assert [(each["name"], each["num_examples"]) for each in groups] == [("long", 1), ("short", 1)]
    assert "Worst queries" in study("errors", name)
    path.unlink()
    assert "only the data say which rows belong together; give them by --data PATH" in study("errors", name, status=1)


def test_what_cannot_be_analysed_is_refused_in_one_sentence(study: Study, tmp_path: Path) -> None:
    path = write_data(tmp_path / "animals.csv")
    name = predicted(study, table(), **of_csv(path))
    refusals = {
        ("errors", name, "7"): "no trial 7",
        ("errors", name, "--split", "test"): "trial 0: has no predictions on the split 'test', but on val",
        ("errors", name, "--by", "plce"): f"--by: {path} has no column 'plce'; did you mean 'place'?",
        ("errors", name, "--by", "no.csv"): "--by: there is no file 'no.csv'",
        ("errors", name, "--by", path): f"{path}: needs the columns id and category, and has no 'id'",
        ("errors", study.create()): "has no kept predictions yet",
    }
    (tmp_path / "other.csv").write_text("id,category\nx,blurred\n", encoding="utf-8")
    refusals["errors", name, "--by", str(tmp_path / "other.csv")] = "has none of the examples' ids, such as 1;"
    (tmp_path / "short.csv").write_text("animal,place,size\ncat,north,1\n", encoding="utf-8")
    refusals["errors", name, "--data", str(tmp_path / "short.csv")] = (
        "does not fit the predictions: it has no row 1, and"
    )
    shuffled = write_data(tmp_path / "shuffled.csv", np.roll(LABELS, 1))
    refusals["errors", name, "--data", shuffled] = "does not fit the predictions: the example"
    for words, told in refusals.items():
        answer = study(*words, status=1)
        assert told in answer, words
        assert len(answer.splitlines()) == 1, words
    language = {"data": {"name": "text", "path": "t.txt"}, "model": {"name": "lstm"}, "loss": {"name": "cross_entropy"}}
    task = of_csv("")["task"]["train"] | language
    changes = of_csv("") | {"task": {"train": task}, "objective": {"metric": "val/accuracy", "direction": "maximize"}}
    assert "is a language model: it predicts every token" in study("errors", study.create(**changes), status=1)


def test_the_test_set_is_read_on_request_only_and_that_is_said(study: Study) -> None:
    both = {name: [*column, *column] for name, column in table().items()}
    both["split"] = ["val"] * NUM + ["test"] * NUM
    name = predicted(study, both)
    assert "test set was consulted" not in study("errors", name)
    assert "The test set was consulted. Decisions that follow" in study("errors", name, "--split", "test")


def test_a_few_corrected_labels_are_noted_and_trials_on_other_examples_have_no_say(
    study: Study, tmp_path: Path
) -> None:
    path = write_data(tmp_path / "animals.csv", TRUTH)
    name = predicted(study, table(0), table(1, ids=IDS + 1), values=[0.9, 0.8], **of_csv(path))
    notes = study.json("errors", name)["notes"]
    assert any(each.startswith("3 targets changed in ") for each in notes)
    assert any(each.startswith("1 kept trial predicted other examples of val") for each in notes)


def test_predictions_without_a_mistake_have_an_empty_report() -> None:
    right = SplitPredictions(np.arange(4), ("a", "b"), np.array([0, 1, 0, 1]), np.eye(2)[[0, 1, 0, 1]])
    report = analyse(Subject("s", "0", "val", "accuracy", right, {}, None, {}), 5)
    assert (report.worst, report.confusions, report.value) == ([], [], 1.0)
    assert report.label_errors is not None
    assert report.label_errors.num_suspects == 0
