"""Metrics of predictions, by the training core's names and definitions; numpy alone.

They say what a metric would be if some examples were right. `tests/contract` compares them with the core's metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.cli.errors.predictions import SMALLEST, Floats, SplitPredictions

_EPSILON = float(np.finfo(np.float32).eps)
"""The core clips the probabilities of `log_loss` at it."""

Compute = Callable[[SplitPredictions], float]


@dataclass(frozen=True)
class Metric:
    """A metric that can be computed from predictions."""

    name: str
    is_maximized: bool
    compute: Compute


def metric_named(name: str, *, is_classification: bool) -> Metric | None:
    """Return the metric of a name such as `accuracy`; None: it can't be computed from predictions."""
    return (_OF_CLASSES if is_classification else _OF_VALUES).get(name)


def default_metric(*, is_classification: bool) -> Metric:
    """Return the metric that takes the place of one that can't be computed from predictions."""
    return _OF_CLASSES["accuracy"] if is_classification else _OF_VALUES["mae"]


def _counts(of: SplitPredictions) -> NDArray[np.int64]:
    """Return the confusion matrix: true classes in rows, predicted classes in columns."""
    num = len(of.classes)
    return np.bincount(of.targets * num + of.predicted, minlength=num * num).reshape(num, num)


def _accuracy(of: SplitPredictions) -> float:
    return 1 - float(of.errors.mean())


def _macro(score: Callable[[Floats, Floats, Floats], Floats]) -> Compute:
    """Return the mean of a score over the classes that have examples or predictions.

    Args:
        score: maps true positives, predicted and true counts [num_classes] to scores; 0 where it has no value.
    """

    def compute(of: SplitPredictions) -> float:
        counts = _counts(of).astype(np.float64)
        hits, predicted, true = np.diag(counts), counts.sum(0), counts.sum(1)
        return float(score(hits, predicted, true)[predicted + true > 0].mean())

    return compute


def _balanced_accuracy(of: SplitPredictions) -> float:
    counts = _counts(of).astype(np.float64)
    true = counts.sum(1)
    return float((np.diag(counts)[true > 0] / true[true > 0]).mean())


def _mcc(of: SplitPredictions) -> float:
    counts = _counts(of).astype(np.float64)
    total, hits, predicted, true = counts.sum(), np.trace(counts), counts.sum(0), counts.sum(1)
    spread = (total**2 - predicted @ predicted) * (total**2 - true @ true)
    return float((hits * total - predicted @ true) / np.sqrt(spread)) if spread > 0 else 0.0


def _cross_entropy(of: SplitPredictions) -> float:
    return float(of.losses.mean())


def _log_loss(of: SplitPredictions) -> float:
    total = np.maximum(of.outputs.sum(1), SMALLEST)  # probabilities of a sigmoid do not add up to 1
    return float(-np.log(np.clip(of.probabilities_of_target / total, _EPSILON, 1 - _EPSILON)).mean())


def _auroc(of: SplitPredictions) -> float:
    """Return the mean over classes of the area under each one's ROC curve against the rest."""
    areas = []
    for place in range(len(of.classes)) if len(of.classes) > 2 else [1]:
        positive = of.targets == place
        num = int(positive.sum())
        if 0 < num < len(of):
            ranks = mean_ranks(of.outputs[:, place])
            areas.append((ranks[positive].sum() - num * (num + 1) / 2) / (num * (len(of) - num)))
    return float(np.mean(areas)) if areas else float("nan")


def mean_ranks(values: Floats) -> Floats:
    """Return the ranks from 1, where equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def _r2(of: SplitPredictions) -> float:
    spread = np.square(of.targets - of.targets.mean()).sum()
    return float(1 - np.square(of.errors).sum() / spread) if spread > 0 else float("nan")


def _mape(of: SplitPredictions) -> float:
    return float((of.errors / np.maximum(np.abs(of.targets), np.finfo(np.float64).eps)).mean())


def _rmsle(of: SplitPredictions) -> float:
    logs = [np.log1p(np.maximum(each, 0)) for each in (of.outputs, of.targets)]
    return float(np.sqrt(np.square(logs[0] - logs[1]).mean()))


def _metrics(**computes: tuple[bool, Compute]) -> Mapping[str, Metric]:
    return {name: Metric(name, is_maximized, compute) for name, (is_maximized, compute) in computes.items()}


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


_OF_CLASSES = _metrics(
    accuracy=(True, _accuracy),
    balanced_accuracy=(True, _balanced_accuracy),
    precision_macro=(True, _macro(lambda hits, predicted, true: _share(hits, predicted))),  # noqa: ARG005
    recall_macro=(True, _macro(lambda hits, predicted, true: _share(hits, true))),  # noqa: ARG005
    f1_macro=(True, _macro(lambda hits, predicted, true: _share(2 * hits, predicted + true))),
    mcc=(True, _mcc),
    auroc=(True, _auroc),
    cross_entropy=(False, _cross_entropy),
    log_loss=(False, _log_loss),
)
_OF_VALUES = _metrics(
    mae=(False, lambda of: float(of.errors.mean())),
    mse=(False, lambda of: float(np.square(of.errors).mean())),
    rmse=(False, lambda of: float(np.sqrt(np.square(of.errors).mean()))),
    r2=(True, _r2),
    mape=(False, _mape),
    rmsle=(False, _rmsle),
)
