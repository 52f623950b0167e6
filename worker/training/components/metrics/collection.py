"""All metrics of one dataset: updated batch by batch, each from what its entry says that it takes.

Values are in the target's own unit. A metric's name tells how it averages over classes: `f1_macro` is the mean over
classes, `f1/CLASS` is that of one class, and accuracy counts all examples alike.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassStatScores
from torchmetrics.functional.classification import multiclass_confusion_matrix

from worker.training.components.link import LINKS, Link
from worker.training.components.metrics.entries import METRICS
from worker.training.components.metrics.example_mean import ExampleMean
from worker.training.components.metrics.names import MetricSettings, chosen_entries, class_label, defined_entries
from worker.training.components.metrics.ranking import ranking_values
from worker.training.data import Dataset, SplitName
from worker.training.errors import ConfigError

_NO_EXTRA: MetricSettings = {}
# The metrics of these classes that update alike share the states that they update.
_SHARING = (MulticlassStatScores, MulticlassConfusionMatrix)


class Metrics:
    """The metrics of one dataset: update them batch by batch, compute all, and reset them before the next pass.

    Args:
        dataset: gives the kind of task, the classes, and the scale of regression targets.
        device: where the metrics are computed.
        extra: the metrics to report beyond the kind's defaults.
        link: maps outputs to probabilities.

    Raises:
        ConfigError: a metric's setting does not fit the dataset.
    """

    def __init__(
        self,
        dataset: Dataset,
        device: torch.device,
        extra: MetricSettings = _NO_EXTRA,
        link: Link = LINKS["softmax"],
    ) -> None:
        self._kind = dataset.kind
        self._mean, self._std = dataset.target_mean, dataset.target_std
        self._class_names = [class_label(index, name) for index, name in enumerate(dataset.class_names)]
        self._link = link
        self._defined = {
            split: {each.name for each in defined_entries(dataset, split, extra)} for split in dataset.splits
        }
        self._entry_of: dict[str, str] = {}
        members: dict[str, dict[str, Metric | MetricCollection]] = {}
        for entry in chosen_entries(dataset.kind, extra):
            settings = METRICS.check(entry.name, extra.get(entry.name, {}), "metrics")
            metric = METRICS.create(entry.name, settings, dataset, path="metrics")
            named = dict(metric.items()) if isinstance(metric, MetricCollection) else {entry.name: metric}
            for name, each in named.items():
                if name in self._entry_of or name == "loss":
                    raise ConfigError(f"metrics.{entry.name}", f"another metric is called {name!r}; rename yours")
                self._entry_of[name] = entry.name
                members.setdefault(entry.facts.get("takes", "outputs"), {})[name] = each
        self._collections = {takes: _collection(metrics).to(device) for takes, metrics in members.items()}
        for collection in self._collections.values():
            for module in collection.modules():
                if isinstance(module, Metric):
                    module.distributed_available_fn = _is_distributed

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch of model outputs and targets.

        Args:
            outputs: logits [..., num_classes] for classification and language modelling, standardised values [n, 1] for
                regression, or scores [n, rows] for ranking.
            targets: class indices [...], standardised values [n, 1], or relevances [n, rows] (-1 where a query has no
                row).
        """
        for takes, collection in self._collections.items():
            match takes:
                case "classes":
                    collection.update(outputs.argmax(-1).flatten(), targets.flatten())
                case "probabilities":
                    collection.update(self._link.inverse(outputs), targets)
                case "log_probabilities":
                    collection.update(self._link.log_probabilities(outputs), targets)
                case "values":
                    both = (values.squeeze(1).double() * self._std + self._mean for values in (outputs, targets))
                    collection.update(*both)
                case "query_values":
                    values, counts = ranking_values(outputs, targets)
                    for name, metric in collection.items(copy_state=False):
                        metric.update(values[name], weight=counts)
                case _:
                    collection.update(outputs, targets)

    def compute(self, split: SplitName) -> dict[str, float]:
        """Return the values over all batches since the last reset, by metric name without the split.

        Args:
            split: the split of the batches; a metric that its targets leave undefined is left out.
        """
        values: dict[str, float] = {}
        for collection in self._collections.values():
            for name, metric in collection.items(copy_state=False):
                if self._entry_of[name] not in self._defined[split]:
                    continue
                value = metric.compute()
                if value.ndim:
                    numbers = zip(self._class_names, value.tolist(), strict=True)
                    values |= {f"{name}/{label}": number for label, number in numbers}
                else:
                    values[name] = float(value)
        return values

    def reset(self) -> None:
        for collection in self._collections.values():
            collection.reset()


def confusion_matrix(outputs: Tensor, targets: Tensor) -> list[list[int]]:
    """Count examples by true class (rows) and predicted class (columns), [num_classes, num_classes].

    Args:
        outputs: logits or probabilities, [n, num_classes]; the largest is the prediction.
        targets: class indices, [n].
    """
    matrix: list[list[int]] = multiclass_confusion_matrix(outputs, targets, outputs.shape[-1]).tolist()
    return matrix


def _collection(metrics: Mapping[str, Metric | MetricCollection]) -> MetricCollection:
    """Return a collection in which metrics with the same update are updated once."""
    groups: dict[Any, list[str]] = {}
    for name, metric in metrics.items():
        groups.setdefault(_update_of(metric) or name, []).append(name)
    return MetricCollection(dict(metrics), compute_groups=list(groups.values()))


def _update_of(metric: Metric | MetricCollection) -> tuple[Any, ...] | None:
    """Return what decides on the effect of `update`, or None if no other metric may share the states."""
    if isinstance(metric, ExampleMean):
        return ExampleMean, metric.value
    for base in _SHARING:
        if isinstance(metric, base) and type(metric).update is base.update:
            settings = ("num_classes", "top_k", "multidim_average", "ignore_index", "validate_args")
            return (
                base,
                getattr(metric, "average", None) == "micro",
                *(getattr(metric, each, None) for each in settings),
            )
    return None


def _is_distributed() -> bool:
    """Tell torchmetrics not to synchronise: every rank has all outputs, so each would be counted once per rank."""
    return False
