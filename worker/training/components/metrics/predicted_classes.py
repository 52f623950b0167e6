"""Metrics of predicted classes: accuracy, precision, recall, F1, and agreement beyond chance, by torchmetrics."""

from typing import Annotated

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassCohenKappa,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from worker.training.components.metrics.class_index import class_index
from worker.training.components.metrics.example_mean import ExampleMean
from worker.training.data import Dataset
from worker.training.parameters import Setting

Positive = Annotated[str, Setting("the class that counts as positive; all others are negative")]


class BalancedAccuracy(MulticlassRecall):
    """Mean recall of the classes that have an example; scikit-learn's `balanced_accuracy_score`."""

    def compute(self) -> Tensor:
        """Return the balanced accuracy; a class that is only predicted does not count."""
        hits, _, _, misses = self._final_state()
        num_examples = hits + misses
        return (hits[num_examples > 0] / num_examples[num_examples > 0]).mean()


class MatthewsCorrelation(MulticlassConfusionMatrix):
    """Matthews correlation coefficient; 0 if the targets or the predictions are constant, as scikit-learn has it."""

    def compute(self) -> Tensor:
        """Return the coefficient in [-1, 1] (Gorodkin 2004)."""
        counts = self.confmat.double()
        true, predicted, num = counts.sum(1), counts.sum(0), counts.sum()
        spread = (num.square() - true.square().sum()) * (num.square() - predicted.square().sum())
        covariance = counts.trace() * num - true @ predicted
        return covariance / spread.sqrt() if spread > 0 else torch.zeros_like(num)


class ClassPrecision(MulticlassPrecision):
    """Precision of the class `index`."""

    index: int

    def compute(self) -> Tensor:
        """Return the value of the class."""
        return super().compute()[self.index]


class ClassRecall(MulticlassRecall):
    """Recall of the class `index`."""

    index: int

    def compute(self) -> Tensor:
        """Return the value of the class."""
        return super().compute()[self.index]


class ClassF1(MulticlassF1Score):
    """F1 of the class `index`."""

    index: int

    def compute(self) -> Tensor:
        """Return the value of the class."""
        return super().compute()[self.index]


def accuracy(_: Dataset) -> Metric:
    """Share of the examples, or tokens, whose class is predicted; all examples count alike."""
    return ExampleMean(torch.eq)


def precision_macro(dataset: Dataset) -> Metric:
    """Precision, averaged over the classes that occur or are predicted."""
    return MulticlassPrecision(dataset.num_classes, average="macro", validate_args=False)


def recall_macro(dataset: Dataset) -> Metric:
    """Recall, averaged over the classes that occur or are predicted."""
    return MulticlassRecall(dataset.num_classes, average="macro", validate_args=False)


def f1_macro(dataset: Dataset) -> Metric:
    """F1, averaged over the classes that occur or are predicted."""
    return MulticlassF1Score(dataset.num_classes, average="macro", validate_args=False)


def per_class(dataset: Dataset) -> MetricCollection:
    """Precision, recall and F1 of each class, as precision/CLASS, recall/CLASS and f1/CLASS."""
    by_name = {"precision": MulticlassPrecision, "recall": MulticlassRecall, "f1": MulticlassF1Score}
    return MetricCollection(
        {name: metric(dataset.num_classes, average=None, validate_args=False) for name, metric in by_name.items()}
    )


def balanced_accuracy(dataset: Dataset) -> Metric:
    """Recall averaged over the classes present in the split: accuracy in which each class counts alike."""
    return BalancedAccuracy(dataset.num_classes, average=None, validate_args=False)


def binary_precision(dataset: Dataset, *, positive: Positive) -> Metric:
    """Precision of a named positive class: the share of its predictions that are right; 0 if it is never predicted."""
    metric = ClassPrecision(dataset.num_classes, average=None, validate_args=False)
    metric.index = class_index(dataset, "binary_precision", positive)
    return metric


def binary_recall(dataset: Dataset, *, positive: Positive) -> Metric:
    """Recall of a named positive class: the share of its examples that are found; 0 if it has none."""
    metric = ClassRecall(dataset.num_classes, average=None, validate_args=False)
    metric.index = class_index(dataset, "binary_recall", positive)
    return metric


def binary_f1(dataset: Dataset, *, positive: Positive) -> Metric:
    """F1 of a named positive class: the harmonic mean of its precision and recall."""
    metric = ClassF1(dataset.num_classes, average=None, validate_args=False)
    metric.index = class_index(dataset, "binary_f1", positive)
    return metric


def mcc(dataset: Dataset) -> Metric:
    """Matthews correlation coefficient: 0 for a constant prediction or chance, 1 if all are right (Gorodkin 2004)."""
    return MatthewsCorrelation(dataset.num_classes, validate_args=False)


def quadratic_kappa(dataset: Dataset) -> Metric:
    """Quadratic weighted kappa, for ordered classes: agreement beyond chance; a far miss costs more (Cohen 1968)."""
    return MulticlassCohenKappa(dataset.num_classes, weights="quadratic", validate_args=False)
