"""Metrics by kind of task, through torchmetrics; names are `split/metric`, values in the target's own unit.

How a metric averages over classes stands in its name: `f1_macro` is the mean over classes, `f1/CLASS` one class's own,
and accuracy counts examples alike.
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

from worker.training.data import Dataset, Kind
from worker.training.link import LINKS, Link
from worker.training.ranked import ranking_values

_BY_KIND: Mapping[Kind, tuple[str, ...]] = {
    "classification": ("accuracy", "precision_macro", "recall_macro", "f1_macro"),
    "regression": ("rmse", "mse", "mae", "r2"),
    "language": ("accuracy", "perplexity"),
    "ranking": ("mrr", "map", "ndcg", "ndcg_10"),
}
EXTRA_METRICS = ("auroc", "per_class")
_EVALUATED = ("val", "test_val", "test")
# The wire takes names of 128 characters.
_LONGEST_CLASS_NAME = 64

# What a training may report: the loss of the training examples as seen while training, everything else after the epoch.
METRIC_NAMES: Mapping[Kind, tuple[str, ...]] = {
    kind: ("train/loss", *(f"{split}/{metric}" for split in _EVALUATED for metric in ("loss", *metrics)))
    for kind, metrics in _BY_KIND.items()
}


class Metrics:
    """The metrics of one dataset: update with batches, then read all at once; reset before the next pass.

    `extra` asks of a classification, too, for `auroc` (one class against the rest, mean over the classes) or for
    `per_class` (precision, recall and F1 of each class). `link` says what the outputs stand for.
    """

    def __init__(
        self, dataset: Dataset, device: torch.device, extra: Collection[str] = (), link: Link = LINKS["softmax"]
    ) -> None:
        self._kind = dataset.kind
        self._mean, self._std = dataset.target_mean, dataset.target_std
        self._class_names = [_short(index, name) for index, name in enumerate(dataset.class_names)]
        self._collection = MetricCollection(_metrics_of(dataset, extra)).to(device)
        # Apart: it compares examples by a class's probability, while the others only ask for the largest output.
        self._link = link
        self._auroc = None
        if "auroc" in extra:
            self._auroc = MulticlassAUROC(dataset.num_classes, average="macro", validate_args=False).to(device)
        for metric in [*self._collection.modules(), self._auroc]:
            if isinstance(metric, Metric):
                metric.distributed_available_fn = _has_all

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch.

        Logits [..., num_classes] and class indices [...]; standardised values [n, 1] both; or of a ranking scores and
        relevances [n, rows] both.
        """
        match self._kind:
            case "classification":
                self._collection.update(outputs, targets)
                if self._auroc is not None:
                    self._auroc.update(self._link.means(outputs), targets)
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
        """The values over all batches since the last reset."""
        values: dict[str, float] = {}
        for name, value in self._collection.compute().items():
            if value.ndim:
                values |= {f"{name}/{each}": one for each, one in zip(self._class_names, value.tolist(), strict=True)}
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
    """Examples of each true class (rows) by the class that the largest output names (columns), [classes, classes]."""
    counted: list[list[int]] = multiclass_confusion_matrix(outputs, targets, outputs.shape[-1]).tolist()
    return counted


def reported_names(dataset: Dataset, extra: Collection[str]) -> list[str]:
    """Names of all that a training on this dataset reports after an epoch."""
    metrics = ["loss", *_BY_KIND[dataset.kind]]
    if "auroc" in extra:
        metrics.append("auroc")
    if "per_class" in extra:
        short = [_short(index, name) for index, name in enumerate(dataset.class_names)]
        metrics += [f"{metric}/{name}" for metric in ("precision", "recall", "f1") for name in short]
    # The test split is looked at once, when training has finished.
    splits = [split for split in _EVALUATED if split != "test" and split in dataset.splits]
    return ["train/loss", *(f"{split}/{metric}" for split in splits for metric in metrics)]


def _has_all() -> bool:
    """Told to torchmetrics, which else would count for every rank of a group what each has all of already."""
    return False


def _metrics_of(dataset: Dataset, extra: Collection[str]) -> dict[str, Metric | MetricCollection]:
    if dataset.kind == "regression":
        return {
            "rmse": MeanSquaredError(squared=False), "mse": MeanSquaredError(), "mae": MeanAbsoluteError(),
            "r2": R2Score(),
        }  # fmt: skip

    if dataset.kind == "ranking":
        return {name: MeanMetric() for name in _BY_KIND["ranking"]}

    def counting(metric: Callable[..., Metric], average: str | None) -> Metric:
        return metric(dataset.num_classes, average=average, validate_args=False)

    accuracy = counting(MulticlassAccuracy, "micro")
    if dataset.kind == "language":
        return {"accuracy": accuracy, "perplexity": Perplexity()}
    by_name = {"precision": MulticlassPrecision, "recall": MulticlassRecall, "f1": MulticlassF1Score}
    metrics: dict[str, Metric | MetricCollection] = {"accuracy": accuracy}
    metrics |= {f"{name}_macro": counting(kind, "macro") for name, kind in by_name.items()}
    if "per_class" in extra:
        metrics |= {name: counting(kind, None) for name, kind in by_name.items()}
    return metrics


def _short(index: int, class_name: str) -> str:
    """A class's name as part of a metric's; its index where it is too long for that."""
    return class_name if len(class_name) <= _LONGEST_CLASS_NAME else str(index)
