"""The metrics that `study errors` computes from predictions are the training core's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from service.cli.errors.metrics import metric_named
from service.cli.errors.model_errors import errors_of_queries
from service.cli.errors.predictions import SplitPredictions
from worker.training.components.metrics.collection import Metrics
from worker.training.components.metrics.ranking import ranking_values
from worker.training.data.dataset import Dataset, Split

OF_CLASSES = (
    "accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro", "mcc", "auroc", "cross_entropy",
    "log_loss",
)  # fmt: skip
OF_VALUES = ("mae", "mse", "rmse", "r2", "mape", "rmsle")


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_metrics_of_classes_are_the_cores(num_classes: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(60, num_classes, generator=draw)
    # Of four classes the last one occurs nowhere, and the third one is never predicted.
    targets = torch.randint(0, min(3, num_classes), (60,), generator=draw)
    logits[:, 2:] -= 20
    names = tuple(f"c{at}" for at in range(num_classes))
    split = Split(torch.zeros(60, 1), targets)
    metrics = Metrics(
        Dataset("classification", {"train": split, "val": split}, names), torch.device("cpu"),
        {name: {} for name in OF_CLASSES},
    )  # fmt: skip
    metrics.update(logits, targets)
    values = metrics.compute("val")
    predictions = SplitPredictions(np.arange(60), names, targets.numpy(), logits.softmax(1).double().numpy())
    for name in OF_CLASSES:
        metric = metric_named(name, is_classification=True)
        assert metric is not None
        assert metric.compute(predictions) == pytest.approx(values[name], abs=2e-6), name


def test_metrics_of_values_are_the_cores() -> None:
    draw = torch.Generator().manual_seed(0)
    targets = torch.rand(50, 1, generator=draw) + 1
    outputs = targets + 0.3 * torch.randn(50, 1, generator=draw)
    split = Split(torch.zeros(50, 1), targets)
    metrics = Metrics(
        Dataset("regression", {"train": split, "val": split}), torch.device("cpu"), {name: {} for name in OF_VALUES}
    )
    metrics.update(outputs, targets)
    values = metrics.compute("val")
    predictions = SplitPredictions(
        np.arange(50), (), targets.squeeze(1).double().numpy(), outputs.squeeze(1).double().numpy()
    )
    for name in OF_VALUES:
        metric = metric_named(name, is_classification=False)
        assert metric is not None
        assert metric.compute(predictions) == pytest.approx(values[name], abs=1e-6), name


@pytest.mark.parametrize("name", ["ndcg", "ndcg_10", "mrr", "map"])
def test_values_of_queries_are_the_cores(name: str) -> None:
    draw = torch.Generator().manual_seed(0)
    relevance = torch.randint(0, 3, (8, 12), generator=draw).float()
    relevance[0] = 0.0  # a query without a relevant row is not counted
    scores = torch.randn(8, 12, generator=draw).round(decimals=0)  # with ties
    values, counts = ranking_values(scores, relevance)
    expected = float(values[name].sum() / counts.sum())
    predictions = SplitPredictions(
        np.arange(96), (), relevance.flatten().double().numpy(), scores.flatten().double().numpy()
    )
    queries = np.repeat(np.arange(8), 12).astype(str)
    assert errors_of_queries(predictions, queries, name).value == pytest.approx(expected, abs=1e-6)
