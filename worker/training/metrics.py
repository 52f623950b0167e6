"""Metrics by kind of task, through torchmetrics; names are `split/metric`, values in the target's own unit."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score

from worker.training.data import Dataset, Kind

_BY_KIND: Mapping[Kind, tuple[str, ...]] = {"classification": ("accuracy", "f1"), "regression": ("rmse", "mae", "r2")}
_EVALUATED = ("val", "test_val", "test")

# What a training may report: the loss of the training examples as seen while training, everything else after the epoch.
METRIC_NAMES: Mapping[Kind, tuple[str, ...]] = {
    kind: ("train/loss", *(f"{split}/{metric}" for split in _EVALUATED for metric in ("loss", *metrics)))
    for kind, metrics in _BY_KIND.items()
}


class Metrics:
    """The metrics of one dataset: update with batches, then read all at once; reset before the next pass."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self._classifies = dataset.kind == "classification"
        self._mean, self._std = dataset.target_mean, dataset.target_std
        collection: dict[str, Metric | MetricCollection]
        if self._classifies:
            classes = dataset.num_classes
            collection = {
                "accuracy": MulticlassAccuracy(classes, average="micro", validate_args=False),
                "f1": MulticlassF1Score(classes, average="macro", validate_args=False),
            }
        else:
            collection = {"rmse": MeanSquaredError(squared=False), "mae": MeanAbsoluteError(), "r2": R2Score()}
        self._collection = MetricCollection(collection).to(device)

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch: logits [n, num_classes] and class indices [n], or standardised values [n, 1] both."""
        if not self._classifies:
            outputs, targets = (values.squeeze(1) * self._std + self._mean for values in (outputs, targets))
        self._collection.update(outputs, targets)

    def compute(self) -> dict[str, float]:
        """The values over all batches since the last reset."""
        return {name: float(value) for name, value in self._collection.compute().items()}

    def reset(self) -> None:
        self._collection.reset()
