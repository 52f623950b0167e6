"""Registry of metrics: factories from a dataset and settings to a torchmetrics metric of a split."""

from worker.training.components.metrics.collection import Metrics, confusion_matrix
from worker.training.components.metrics.entries import METRICS
from worker.training.components.metrics.names import METRIC_NAMES, MetricSettings, metric_notes, reported_names

__all__ = [
    "METRICS",
    "METRIC_NAMES",
    "MetricSettings",
    "Metrics",
    "confusion_matrix",
    "metric_notes",
    "reported_names",
]
