"""Metrics of predicted probabilities: cross entropy, log loss, perplexity, AUROC and average precision."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAUROC, MulticlassAveragePrecision
from torchmetrics.utilities.data import dim_zero_cat

from worker.training.components.metrics.class_index import class_index
from worker.training.components.metrics.example_mean import ExampleMean
from worker.training.data import Dataset
from worker.training.parameters import Setting

_EPSILON = torch.finfo(torch.float32).eps


class PresentAUROC(MulticlassAUROC):
    """Area under the ROC curve, averaged over the classes present."""

    def compute(self) -> Tensor:  # type: ignore[override]  # torchmetrics declares the base's curve
        """Return the mean over the classes with an example."""
        with _without_warnings():
            return _mean_of_present(super().compute(), self.target)


class PresentAveragePrecision(MulticlassAveragePrecision):
    """Average precision, averaged over the classes present."""

    def compute(self) -> Tensor:  # type: ignore[override]  # torchmetrics declares the base's curve
        """Return the mean over the classes with an example."""
        with _without_warnings():
            return _mean_of_present(super().compute(), self.target)


class ClassAveragePrecision(MulticlassAveragePrecision):
    """Average precision of one class against the rest.

    Args:
        num_classes: the number of classes.
        index: the index of the class.
    """

    def __init__(self, num_classes: int, index: int) -> None:
        super().__init__(num_classes, average=None, validate_args=False)
        self._index = index

    def compute(self) -> Tensor:  # type: ignore[override]  # torchmetrics declares the base's curve
        """Return the average precision of the class; 0 if no example is of it."""
        with _without_warnings():
            return super().compute()[self._index].nan_to_num(0.0)


def cross_entropy(_: Dataset) -> Metric:
    """Cross entropy of the predicted probabilities, in nats; no option of the loss changes it."""
    return ExampleMean(_surprise)


def perplexity(_: Dataset) -> Metric:
    """Perplexity: e to the mean cross entropy of a token."""
    return ExampleMean(_surprise, torch.exp)


def log_loss(_: Dataset) -> Metric:
    """Log loss: cross entropy with probabilities clipped at 1.2e-7, so that one wrong example costs 15.9 at most."""
    return ExampleMean(_clipped_surprise)


def auroc(dataset: Dataset) -> Metric:
    """Area under the ROC curve of one class against the rest, averaged over the classes present in the split."""
    return PresentAUROC(dataset.num_classes, average=None, validate_args=False)


def average_precision(
    dataset: Dataset,
    *,
    positive: Annotated[
        str | None, Setting("the class to find; null: the mean over the classes present in the split")
    ] = None,
) -> Metric:
    """Average precision, the area under the precision-recall curve; for a rare class, which accuracy hides."""
    if positive is None:
        return PresentAveragePrecision(dataset.num_classes, average=None, validate_args=False)
    return ClassAveragePrecision(dataset.num_classes, class_index(dataset, "average_precision", positive))


def _surprise(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    return -log_probabilities.gather(-1, targets.unsqueeze(-1))


def _clipped_surprise(probabilities: Tensor, targets: Tensor) -> Tensor:
    shares = probabilities.double()
    of_target = (shares / shares.sum(-1, keepdim=True)).gather(-1, targets.unsqueeze(-1))
    return -of_target.clamp(_EPSILON, 1 - _EPSILON).log()


def _mean_of_present(values: Tensor, targets: list[Tensor]) -> Tensor:
    """Return the mean of the values [num_classes] of the classes that the targets have."""
    counts = torch.bincount(dim_zero_cat(targets), minlength=len(values))
    return values[counts > 0].mean()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence torchmetrics, which warns of each absent class in every epoch; `metric_notes` tells the user once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
