"""The registry `METRICS`: each metric with its kinds of task, its direction, and what it is computed from.

The facts of an entry:
    kinds: the kinds of task; left out: all.
    direction: `maximize` or `minimize`.
    takes: what `update` receives besides the targets; left out: the model's outputs. `classes` are the predicted
        classes, `probabilities` those of all classes, `log_probabilities` their logarithms, `values` predictions of a
        regression in the target's own unit, and `query_values` the values of `ranking_values`.
    default: whether every training of these kinds reports it.
    names: the members of a MetricCollection, each reported as NAME/CLASS; left out: the entry's own name.
    distinct_targets: how many different targets a split needs; without them the metric is left out.
"""

from collections.abc import Callable
from functools import partial

from torchmetrics import MeanMetric, Metric, MetricCollection

from worker.training.components.metrics import likelihood, predicted_classes, regression
from worker.training.data import Dataset
from worker.training.registry import Registry

METRICS: Registry[Metric | MetricCollection] = Registry("metric")


def mrr(_: Dataset) -> Metric:
    """Mean reciprocal rank of the first relevant row."""
    return MeanMetric()


def map(_: Dataset) -> Metric:  # noqa: A001 (the metric's name)
    """Mean average precision of the queries; any relevance above 0 is relevant."""
    return MeanMetric()


def ndcg(_: Dataset) -> Metric:
    """Normalised discounted cumulative gain of the queries (Järvelin & Kekäläinen 2002)."""
    return MeanMetric()


def ndcg_10(_: Dataset) -> Metric:
    """Normalised discounted cumulative gain of each query's first ten rows."""
    return MeanMetric()


def _add(
    *factories: Callable[..., Metric | MetricCollection], kinds: list[str], takes: str, direction: str, **facts: object
) -> None:
    for factory in factories:
        METRICS.add(factory, kinds=kinds, direction=direction, takes=takes, **facts)


_classification = partial(_add, kinds=["classification"], takes="classes", direction="maximize")
_add(
    predicted_classes.accuracy,
    kinds=["classification", "language"],
    takes="classes",
    direction="maximize",
    default=True,
)
_classification(
    predicted_classes.precision_macro, predicted_classes.recall_macro, predicted_classes.f1_macro, default=True
)
_classification(predicted_classes.per_class, names=["precision", "recall", "f1"])
_classification(
    predicted_classes.balanced_accuracy,
    predicted_classes.binary_precision,
    predicted_classes.binary_recall,
    predicted_classes.binary_f1,
    predicted_classes.mcc,
)
_classification(predicted_classes.quadratic_kappa, distinct_targets=2)
_add(
    likelihood.cross_entropy,
    kinds=["classification", "language"],
    takes="log_probabilities",
    direction="minimize",
    default=True,
)
_add(likelihood.perplexity, kinds=["language"], takes="log_probabilities", direction="minimize", default=True)
_classification(likelihood.log_loss, takes="probabilities", direction="minimize")
_classification(likelihood.auroc, likelihood.average_precision, takes="probabilities", distinct_targets=2)
_regression = partial(_add, kinds=["regression"], takes="values", direction="minimize")
_regression(regression.rmse, regression.mse, regression.mae, default=True)
_regression(regression.r2, direction="maximize", default=True, distinct_targets=2)
_regression(regression.mape, regression.rmsle)
_add(mrr, map, ndcg, ndcg_10, kinds=["ranking"], takes="query_values", direction="maximize", default=True)
