"""Statistics of one or two columns: summaries, histograms, correlation and association. Pure functions over NumPy."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.cli.look.report import Histogram, Numbers

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Values = NDArray[Any]
"""Floats are numbers, NaN where one is missing; integers are codes of categories or classes."""

NUM_BINS = 24
_FENCE = 3.0
LARGEST = 1e300
"""Numbers beyond are not told apart: their differences may overflow."""


def summarise(values: Floats) -> Numbers | None:
    """Summarise finite numbers [n]. None if there are none."""
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, q1, median, q3, high = (float(each) for each in np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
    fence = _FENCE * (q3 - q1) if max(abs(q1), abs(q3)) < LARGEST else 0.0
    num_outliers = int(((values < q1 - fence) | (values > q3 + fence)).sum()) if fence else 0
    # Scaled, so that the squares of numbers near the largest float do not overflow.
    scale = max(abs(low), abs(high)) or 1.0
    return Numbers(
        low=low,
        q1=q1,
        median=median,
        q3=q3,
        high=high,
        mean=float((values / scale).mean() * scale),
        std=float((values / scale).std() * scale),
        num_outliers=num_outliers,
        histogram=histogram(values),
    )


def is_constant(values: Floats) -> bool:
    """Return whether all finite numbers [n] are equal, without subtracting them: that may overflow."""
    return bool(values.min() == values.max())


def histogram(values: Floats, num_bins: int = NUM_BINS) -> Histogram:
    """Count finite numbers in bins of equal width. Few different whole numbers get a bin each."""
    low, high = float(values.min()), float(values.max())
    if abs(low) < 2**52 and high < 2**52 and high - low < num_bins and (values == np.round(values)).all():
        edges = np.arange(low, high + 2) - 0.5
    elif high == low or abs(high) > LARGEST or abs(low) > LARGEST:
        edges = np.array([low, np.nextafter(high, np.inf)])
    else:
        edges = np.linspace(low, high, num_bins + 1)
        if (np.diff(edges) <= 0).any():  # the numbers are too close to one another for so many bins
            edges = np.array([low, np.nextafter(high, np.inf)])
    counts = np.histogram(values, edges)[0]
    return Histogram(edges=edges.tolist(), counts=counts.tolist())


def ranks(values: Floats) -> Floats:
    """Return the rank of each number [n] from 1; equal numbers share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_ranks: Floats = last - (counts - 1) / 2
    return mean_ranks[inverse]


def pearson(x: Floats, y: Floats) -> float | None:
    """Return Pearson's correlation of two columns [n] without missing values. None if one of them is constant."""
    if len(x) < 3 or is_constant(x) or is_constant(y):
        return None
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x * x).sum()) * np.sqrt((y * y).sum()))
    return float(np.clip((x * y).sum() / norm, -1, 1)) if norm > 0 else None


def spearman(x: Floats, y: Floats) -> float | None:
    """Return Spearman's rank correlation of two columns [n] without missing values. None if one is constant."""
    return pearson(ranks(x), ranks(y))


def cramers_v(x: Codes, y: Codes) -> float | None:
    """Return Cramér's V of two columns of codes [n], corrected for its bias (Bergsma 2013). None if one is constant."""
    table = contingency(x, y)
    num_rows, num_columns = table.shape
    total = float(table.sum())
    if min(num_rows, num_columns) < 2 or total < 3:
        return None
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / total
    phi2 = float(((table - expected) ** 2 / expected).sum()) / total
    corrected = max(0.0, phi2 - (num_rows - 1) * (num_columns - 1) / (total - 1))
    smallest = min(
        num_rows - (num_rows - 1) ** 2 / (total - 1) - 1, num_columns - (num_columns - 1) ** 2 / (total - 1) - 1
    )
    return min(1.0, float(np.sqrt(corrected / smallest))) if smallest > 0 else None


def correlation_ratio(groups: Codes, y: Floats) -> float | None:
    """Return the correlation ratio eta: the root of the share of y's variance that lies between the groups.

    The share is adjusted for the number of groups (epsilon squared), so that many small groups do not look informative.
    """
    codes, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(codes) < 2 or len(y) <= len(codes) or is_constant(y):
        return None
    y = y / np.abs(y).max()
    means = np.bincount(inverse, y) / counts
    within, total = float(((y - means[inverse]) ** 2).sum()), float(((y - y.mean()) ** 2).sum())
    if total <= 0:
        return None
    share = 1 - (within / (len(y) - len(codes))) / (total / (len(y) - 1))
    return float(np.sqrt(np.clip(share, 0, 1)))


def contingency(x: Codes, y: Codes) -> Floats:
    """Count each pair of codes: [different codes of x, different codes of y]."""
    _, rows = np.unique(x, return_inverse=True)
    _, columns = np.unique(y, return_inverse=True)
    table = np.zeros((rows.max() + 1, columns.max() + 1)) if len(x) else np.zeros((0, 0))
    np.add.at(table, (rows, columns), 1)
    return table


def codes_of(values: Iterable[Hashable]) -> Codes:
    """Return an integer for each value, equal where the values are equal, in the order of first occurrence."""
    seen: dict[Any, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values], dtype=np.int64)
