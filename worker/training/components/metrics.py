"""Metrics by kind of task, computed by torchmetrics.

Names are `split/metric`. Values are in the target's own unit. A metric's name tells how it averages over classes:
`f1_macro` is the mean over classes, `f1/CLASS` is that of one class, and accuracy counts all examples alike.
"""

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)
from torchmetrics.functional.classification import multiclass_confusion_matrix
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score
from torchmetrics.text import Perplexity

from worker.training.components.link import LINKS, Link
from worker.training.components.ranking_metrics import ranking_values
from worker.training.data import Dataset, Kind

_BY_KIND: Mapping[Kind, tuple[str, ...]] = {
    "classification": ("accuracy", "precision_macro", "recall_macro", "f1_macro"),
    "regression": ("rmse", "mse", "mae", "r2"),
    "language": ("accuracy", "perplexity"),
    "ranking": ("mrr", "map", "ndcg", "ndcg_10"),
}
EXTRA_METRICS = ("auroc", "per_class")
_EVALUATED = ("val", "test_val", "test")
# The protocol allows metric names of up to 128 characters.
_MAX_CLASS_NAME_LENGTH = 64

# What a training may report: the training loss is a mean during the epoch, everything else is measured after it.
METRIC_NAMES: Mapping[Kind, tuple[str, ...]] = {
    kind: ("train/loss", *(f"{split}/{metric}" for split in _EVALUATED for metric in ("loss", *metrics)))
    for kind, metrics in _BY_KIND.items()
}


class Metrics:
    """The metrics of one dataset: update them batch by batch, compute all, and reset them before the next pass.

    Args:
        dataset: gives the kind of task, the classes, and the scale of regression targets.
        device: where the metrics are computed.
        extra: for classification also `auroc` (one class against the rest, mean over the classes) or `per_class`
            (precision, recall and F1 of each class).
        link: maps outputs to probabilities.
    """

    def __init__(
        self, dataset: Dataset, device: torch.device, extra: Collection[str] = (), link: Link = LINKS["softmax"]
    ) -> None:
        self._kind = dataset.kind
        self._mean, self._std = dataset.target_mean, dataset.target_std
        self._class_names = [_short(index, name) for index, name in enumerate(dataset.class_names)]
        self._collection = MetricCollection(_metrics_of(dataset, extra)).to(device)
        # AUROC ranks examples by a class's probability, while the other metrics need only the largest output.
        self._link = link
        self._auroc = None
        if "auroc" in extra:
            self._auroc = MulticlassAUROC(dataset.num_classes, average="macro", validate_args=False).to(device)
        for metric in [*self._collection.modules(), self._auroc]:
            if isinstance(metric, Metric):
                metric.distributed_available_fn = _is_distributed

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch of model outputs and targets.

        Args:
            outputs: logits [..., num_classes] for classification and language modelling, standardised values [n, 1] for
                regression, or scores [n, rows] for ranking.
            targets: class indices [...], standardised values [n, 1], or relevances [n, rows] (-1 where a query has no
                row).
        """
        match self._kind:
            case "classification":
                self._collection.update(outputs, targets)
                if self._auroc is not None:
                    self._auroc.update(self._link.inverse(outputs), targets)
            case "regression":
                self._collection.update(*(values.squeeze(1) * self._std + self._mean for values in (outputs, targets)))
            case "language":
                self._collection["accuracy"].update(outputs.flatten(0, 1), targets.flatten())
                self._collection["perplexity"].update(outputs, targets)
            case "ranking":
                values, counts = ranking_values(outputs, targets)
                for name, value in values.items():
                    self._collection[name].update(value, weight=counts)

    def compute(self) -> dict[str, float]:
        """Return the values over all batches since the last reset, by metric name without the split."""
        values: dict[str, float] = {}
        for name, value in self._collection.compute().items():
            if value.ndim:
                values |= {
                    f"{name}/{label}": number for label, number in zip(self._class_names, value.tolist(), strict=True)
                }
            else:
                values[name] = float(value)
        if self._auroc is not None:
            values["auroc"] = float(self._auroc.compute())
        return values

    def reset(self) -> None:
        self._collection.reset()
        if self._auroc is not None:
            self._auroc.reset()


def confusion_matrix(outputs: Tensor, targets: Tensor) -> list[list[int]]:
    """Count examples by true class (rows) and predicted class (columns), [num_classes, num_classes].

    Args:
        outputs: logits or probabilities, [n, num_classes]; the largest is the prediction.
        targets: class indices, [n].
    """
    matrix: list[list[int]] = multiclass_confusion_matrix(outputs, targets, outputs.shape[-1]).tolist()
    return matrix


def reported_names(dataset: Dataset, extra: Collection[str]) -> list[str]:
    """Return the names of all metrics that a training on this dataset reports after an epoch."""
    metrics = ["loss", *_BY_KIND[dataset.kind]]
    if "auroc" in extra:
        metrics.append("auroc")
    if "per_class" in extra:
        short = [_short(index, name) for index, name in enumerate(dataset.class_names)]
        metrics += [f"{metric}/{name}" for metric in ("precision", "recall", "f1") for name in short]
    # The test split is evaluated once, when training has finished.
    splits = [split for split in _EVALUATED if split != "test" and split in dataset.splits]
    return ["train/loss", *(f"{split}/{metric}" for split in splits for metric in metrics)]


def _is_distributed() -> bool:
    """Tell torchmetrics not to synchronise: every rank has all outputs, so each would be counted once per rank."""
    return False


def _metrics_of(dataset: Dataset, extra: Collection[str]) -> dict[str, Metric | MetricCollection]:
    if dataset.kind == "regression":
        return {
            "rmse": MeanSquaredError(squared=False), "mse": MeanSquaredError(), "mae": MeanAbsoluteError(),
            "r2": R2Score(),
        }  # fmt: skip

    if dataset.kind == "ranking":
        return {name: MeanMetric() for name in _BY_KIND["ranking"]}

    def create(metric: Callable[..., Metric], average: str | None) -> Metric:
        return metric(dataset.num_classes, average=average, validate_args=False)

    accuracy = create(MulticlassAccuracy, "micro")
    if dataset.kind == "language":
        return {"accuracy": accuracy, "perplexity": Perplexity()}
    by_name = {"precision": MulticlassPrecision, "recall": MulticlassRecall, "f1": MulticlassF1Score}
    metrics: dict[str, Metric | MetricCollection] = {"accuracy": accuracy}
    metrics |= {f"{name}_macro": create(kind, "macro") for name, kind in by_name.items()}
    if "per_class" in extra:
        metrics |= {name: create(kind, None) for name, kind in by_name.items()}
    return metrics


def _short(index: int, class_name: str) -> str:
    """Return a class's name for use in a metric's name, or its index if the name is too long."""
    return class_name if len(class_name) <= _MAX_CLASS_NAME_LENGTH else str(index)
