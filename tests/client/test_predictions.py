"""`study predictions` and `study confusion`: rows, the file, the confusion matrix, and missing predictions."""

from __future__ import annotations

import hashlib
import io
import uuid
from pathlib import Path

import pyarrow.parquet
import pytest
from rich.console import Console

from service.cli.predictions import confusion_page
from service.contract.attempt import FinishRequest, Outcome
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, Grant
from service.contract.predictions import Confusion, PredictionsRequest
from service.contract.report import Point, ReportRequest
from tests.client.conftest import Study


@pytest.fixture
def predicted(study: Study) -> str:
    """A study whose first trial has told what it predicts, and its second one nothing."""
    name = study.create(trials=2)
    table = {
        "split": ["val", "val", "test"], "id": [4, 9, 1], "target": ["cat", "a, dog", "cat"],
        "prediction": ["cat", "cat", "cat"], "p/cat": pyarrow.array([0.7, 0.6, 1.0], pyarrow.float32()),
    }  # fmt: skip
    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(table), content)
    counts = {"val": [[1, 0], [1, 0]], "test": [[1, 0], [0, 0]]}
    outcomes = [Outcome(result="succeeded", confusion={"classes": ["cat", "a, dog"], "splits": counts})]  # type: ignore[arg-type]
    for number, outcome in enumerate([*outcomes, Outcome(result="succeeded")]):
        claim = ClaimRequest(
            request_id=uuid.uuid4().hex,
            worker="w",
            capabilities=Capabilities(tasks=[TaskKind.EXTERNAL]),
            studies=[name],
        )
        grant = study.client.claim(claim)
        assert isinstance(grant, Grant)
        key = grant.trial, grant.attempt
        point = Point(step=1, metrics={"val/accuracy": 0.5})
        study.client.report(*key, ReportRequest(nonce=grant.nonce, sequence=1, points=[point]))
        study.client.finish(*key, FinishRequest(nonce=grant.nonce, outcome=outcome))
        if number == 0:
            sha256 = hashlib.sha256(content.getvalue()).hexdigest()
            study.client.put_blob(sha256, io.BytesIO(content.getvalue()))
            request = PredictionsRequest(nonce=grant.nonce, sha256=sha256, size=len(content.getvalue()))
            assert study.client.register_predictions(*key, request).kept
    return name


def test_predictions_are_printed_listed_and_written(study: Study, predicted: str, tmp_path: Path) -> None:
    assert study("predictions", predicted, "0", "--split", "val").splitlines() == [
        "split,id,target,prediction,p/cat", "val,4,cat,cat,0.7", 'val,9,"a, dog",cat,0.6',
    ]  # fmt: skip
    rows = study.json("predictions", predicted, "0")
    assert [(row["split"], row["id"], row["target"]) for row in rows] == [
        ("val", 4, "cat"), ("val", 9, "a, dog"), ("test", 1, "cat"),
    ]  # fmt: skip
    assert study("predictions", predicted).splitlines()[1].split()[:2] == ["0", "0.5"]
    assert [each["number"] for each in study.json("predictions", predicted)["trials"]] == [0]
    assert study("predictions", predicted, "0", "--out", str(tmp_path / "p.parquet")) == ""
    assert pyarrow.parquet.read_table(io.BytesIO(study.client.predictions(predicted, 0))).equals(
        pyarrow.parquet.read_table(tmp_path / "p.parquet")
    )


def test_missing_predictions_are_reported(study: Study, predicted: str, tmp_path: Path) -> None:
    told = study("predictions", predicted, "1", status=1)
    assert told.startswith(
        "there are no predictions of trial 1: a trial's are kept while it is among the best 10 trials"
    )
    assert "has no predictions on the split 'test_val', but on val and test" in study(
        "predictions", predicted, "0", "--split", "test_val", status=1
    )
    assert "cannot be written: Is a directory" in study("predictions", predicted, "0", "--out", str(tmp_path), status=1)
    assert "no predictions are stored yet" in study("predictions", study.create())


def test_confusion_shows_the_confusion_matrix(study: Study, predicted: str) -> None:
    title, _, header, cat, dog = study("confusion", predicted, "0").splitlines()
    assert title == "1 of 2 examples of the split val are right; rows: true, columns: predicted"
    assert header.split() == ["true", "cat", "a,", "dog", "recall"]
    assert cat.split() == ["cat", "1", "0", "1.000"]
    assert dog.split() == ["a,", "dog", "1", "0", "0.000"]
    unseen = study("confusion", predicted, "0", "--split", "test").splitlines()[-1]
    assert unseen.split() == ["a,", "dog", "0", "0", "none"]
    assert study.json("confusion", predicted, "0")["classes"] == ["cat", "a, dog"]
    assert "of the split 'test_val', but of val and test" in study(
        "confusion", predicted, "0", "--split", "test_val", status=1
    )
    told = study("confusion", predicted, "1", status=1)
    assert told.startswith(
        "trial 1: has no confusion matrix (it is completed); classifications of up to 100 classes have"
    )


def test_for_many_classes_the_most_frequent_confusions_are_listed() -> None:
    names = [f"class {number}" for number in range(20)]
    counts = [[7 if to == at else 0 for to in range(20)] for at in range(20)]
    counts[3][:6] = [1, 2, 0, 7, 4, 1]
    page = io.StringIO()
    Console(file=page, width=200).print(confusion_page(Confusion(classes=names, splits={"val": counts}), "val", ""))
    told = next(line for line in page.getvalue().splitlines() if line.startswith("class 3"))
    assert told.split() == [
        "class",
        "3",
        "15",
        "0.467",
        "class",
        "4",
        "(4),",
        "class",
        "1",
        "(2),",
        "class",
        "0",
        "(1)",
    ]
