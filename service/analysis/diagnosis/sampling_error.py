"""Sampling error of metrics: how far a value on n examples may be from the value on infinitely many."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.96
"""Half the width of a 95 % interval, in standard errors."""

_MEANS = frozenset({"accuracy", "mrr", "map", "ndcg", "ndcg_10"})
"""Means over examples or queries of numbers from 0 to 1. Their variance is at most that of a proportion."""

_SHARES = _MEANS | {
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "balanced_accuracy",
    "binary_precision",
    "binary_recall",
    "binary_f1",
    "auroc",
    "average_precision",
}
"""Metrics from 0 to 1 of which a larger value is better."""

_OVER_CLASSES = 4.0
"""A metric over classes counts as a proportion of this many times fewer examples: rare classes have few of them.

A class with a quarter of an equal share of the examples makes its recall this uncertain.
"""

_RELATIVE = {"rmse": 1.0, "mae": 1.0, "rmsle": 1.0, "mape": 2.0, "mse": 2.0, "cross_entropy": 2.0, "log_loss": 2.0}
"""Standard deviation of one example's loss, as a multiple of the mean loss.

Squared errors of normal residuals have 1.4, and their root half of that; heavier tails have more. For an exponential
distribution, near which cross-entropies lie, it is 1.
"""

_UNKNOWN = 2.0
"""The same for a loss of another name."""


@dataclass(frozen=True, slots=True)
class Measured:
    """An error measured on a sample of examples, with its 95 % interval."""

    error: float
    low: float
    high: float

    def minus(self, other: Measured) -> Measured:
        """Return the difference of two errors on independent samples.

        Newcombe's interval (1998, method 10): the sides of the two intervals that oppose each other add in quadrature.
        """
        difference = self.error - other.error
        below = math.hypot(self.error - self.low, other.high - other.error)
        above = math.hypot(self.high - self.error, other.error - other.low)
        return Measured(difference, difference - below, difference + above)

    def plus(self, other: Measured) -> Measured:
        """Return the sum of two errors on independent samples."""
        total = self.error + other.error
        below = math.hypot(self.error - self.low, other.error - other.low)
        above = math.hypot(self.high - self.error, other.high - other.error)
        return Measured(total, total - below, total + above)


def is_share(metric: str) -> bool:
    """Return whether a metric (without its split) is a share from 0 to 1 of which a larger value is better."""
    return metric in _SHARES


def error_of(metric: str, value: float, *, is_maximized: bool) -> float | None:
    """Return the error that a value of a metric stands for; None if the metric has no scale of errors.

    Args:
        metric: the metric without its split.
        value: its value.
        is_maximized: whether a larger value is better.
    """
    if not math.isfinite(value):
        return None
    if metric in _SHARES:
        return 1 - value if 0 <= value <= 1 else None
    if metric == "r2":
        return 1 - value
    return None if is_maximized or value < 0 else value


def standard_error(metric: str, error: float, num: float) -> float:
    """Return the standard error of an error on `num` examples.

    Args:
        metric: the metric without its split.
        error: the error, as `error_of` returns it.
        num: the number of independent examples.
    """
    if metric in _SHARES:
        # Agresti and Coull's estimate is not 0 at an error of 0 or 1.
        num = _effective(metric, num)
        share = (error * num + 2) / (num + 4)
        return math.sqrt(share * (1 - share) / (num + 4))
    return _relative(metric, error) * error / math.sqrt(num)


def measured(metric: str, error: float, num: int, *, of: int | None = None) -> Measured:
    """Return an error on `num` examples with its 95 % interval: Wilson's for shares, else normal.

    Args:
        metric: the metric without its split.
        error: the error, as `error_of` returns it.
        num: the number of examples that it was measured on.
        of: the number of examples that these were drawn from without replacement. None: infinitely many.
    """
    shrink = 1.0 if of is None else math.sqrt(max(0, of - num) / max(1, of - 1))
    if metric not in _SHARES:
        half = shrink * Z * standard_error(metric, error, num)
        return Measured(error, error - half, error + half)
    effective = _effective(metric, num)
    centre = (error + Z**2 / (2 * effective)) / (1 + Z**2 / effective)
    half = Z / (1 + Z**2 / effective) * math.sqrt(error * (1 - error) / effective + Z**2 / (4 * effective**2))
    # Rounding may leave the interval short of the error itself.
    low, high = min(error, max(0.0, centre - half)), max(error, min(1.0, centre + half))
    return Measured(error, error - shrink * (error - low), error + shrink * (high - error))


def _effective(metric: str, num: float) -> float:
    return max(1.0, num if metric in _MEANS else num / _OVER_CLASSES)


def _relative(metric: str, error: float) -> float:
    if metric == "perplexity":  # The exponential of a cross-entropy: its relative error is the loss's absolute one.
        return _UNKNOWN * math.log(max(error, math.e))
    return _RELATIVE.get(metric, _UNKNOWN)
