"""Predictions that cannot be stored cost the training nothing but a note; large ones are not summarised."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from service.contract.predictions import MAX_CLASSES
from tests.worker.grants import digits, grant, start_of
from worker.training import Ending, TrainingResult
from worker.training.predictions import Predictions
from worker.trial import predictions
from worker.trial.channel import Channel
from worker.trial.predictions import PredictionsNotKept, confusion, save
from worker.trial.tasks import train


def result_of(outputs: torch.Tensor, targets: torch.Tensor) -> TrainingResult:
    told = Predictions(np.arange(len(targets)), outputs, targets)
    return TrainingResult(Ending.FINISHED, 1, {}, None, [], {"val": told})


def classified(num_classes: int) -> tuple[TrainingResult, tuple[str, ...]]:
    result = result_of(torch.eye(num_classes), torch.arange(num_classes))
    return result, tuple(f"class {index}" for index in range(num_classes))


def test_too_many_predictions_are_not_kept_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "_MAX_MIB", 1)
    result = result_of(torch.zeros(700, 400), torch.zeros(700, dtype=torch.int64))
    with pytest.raises(
        PredictionsNotKept, match=r"the predictions were not saved: those of 700 examples take 1.1 MiB, more than 1"
    ):
        save(tmp_path, result, tuple(map(str, range(400))))
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_blob_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PredictionsNotKept, match=r"the predictions were not saved: .*File exists"):
        save(tmp_path / "file", *classified(3))


def test_a_training_without_predictions_writes_no_file(tmp_path: Path) -> None:
    assert save(tmp_path, TrainingResult(Ending.FINISHED, 1, {}, None, []), ()) is None


def test_classes_are_counted_up_to_a_hundred() -> None:
    told = confusion(*classified(MAX_CLASSES))
    assert told is not None
    assert told.splits["val"] == torch.eye(MAX_CLASSES, dtype=torch.int64).tolist()
    assert confusion(*classified(MAX_CLASSES + 1)) is None
    assert confusion(result_of(torch.zeros(3), torch.zeros(3)), ()) is None


def test_a_training_whose_predictions_are_not_kept_succeeds_and_says_so(tmp_path: Path) -> None:
    start = start_of(grant(task=digits(epochs=1)), tmp_path)
    (Path(start.checkpoints) / "predictions.parquet").mkdir(parents=True)  # a folder where the file should be
    agent, connection = socket.socketpair()
    with agent, connection:
        outcome = train.run(grant(task=digits(epochs=1)), start, Channel(connection))
    assert outcome.result == "succeeded"
    assert outcome.message.startswith("the predictions were not saved: ")
    assert outcome.confusion is not None
