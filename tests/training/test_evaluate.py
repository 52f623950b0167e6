"""Losses and metrics of a split agree with scikit-learn, in the target's own unit."""

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import nn

from worker.training.data import Dataset, Split
from worker.training.evaluate import evaluate
from worker.training.metrics import METRIC_NAMES, Metrics

CPU = torch.device("cpu")


def measure(dataset: Dataset, loss: nn.Module) -> dict[str, float]:
    return evaluate(nn.Identity(), loss, Metrics(dataset, CPU), dataset, ("val", "test_val"))


def test_classification():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(5000, 4, generator=draw)
    labels = torch.randint(0, 4, (5000,), generator=draw)
    dataset = Dataset("classification", {"val": Split(logits, labels)}, class_names=("a", "b", "c", "d"))
    predicted = logits.argmax(1)
    assert measure(dataset, nn.CrossEntropyLoss()) == pytest.approx(
        {
            "val/loss": reference.log_loss(labels, logits.double().softmax(1)),
            "val/accuracy": reference.accuracy_score(labels, predicted),
            "val/f1": reference.f1_score(labels, predicted, average="macro"),
        },
        rel=1e-4,
    )


def test_regression_is_told_in_the_unit_of_the_target():
    draw = torch.Generator().manual_seed(0)
    outputs, targets = (torch.randn(5000, 1, generator=draw) for _ in range(2))
    dataset = Dataset("regression", {"val": Split(outputs, targets)}, target_mean=150.0, target_std=50.0)
    true, predicted = targets.numpy() * 50 + 150, outputs.numpy() * 50 + 150
    assert measure(dataset, nn.MSELoss()) == pytest.approx(
        {
            "val/loss": reference.mean_squared_error(targets, outputs),
            "val/rmse": np.sqrt(reference.mean_squared_error(true, predicted)),
            "val/mae": reference.mean_absolute_error(true, predicted),
            "val/r2": reference.r2_score(true, predicted),
        },
        rel=1e-4,
    )


def test_one_pass_leaves_nothing_for_the_next():
    split = Split(torch.eye(3), torch.arange(3))
    dataset = Dataset("classification", {"val": split, "test_val": split}, class_names=("a", "b", "c"))
    values = measure(dataset, nn.CrossEntropyLoss())
    assert values["val/accuracy"] == values["test_val/accuracy"] == 1.0
    assert set(values) <= set(METRIC_NAMES["classification"])
