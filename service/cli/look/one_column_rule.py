"""Measures how well one column predicts the target: a rule is learned on half of the rows, scored on the others.

A column that predicts the target almost alone is often a leak: it was written down after the target was known.
"""

from __future__ import annotations

import numpy as np

from service.cli.look.statistics import Codes, Floats, Values, codes_of, ranks

_NUM_BINS, _ROWS_PER_BIN = (64, 8), 5
"""Many bins follow a curve or a threshold closely; few bins show a trend in noise."""

_FEWEST_ROWS, _FEWEST_ERRORS = 40, 10
"""With fewer rows, or fewer errors of the constant guess on the held-out half, a score would be chance."""


def prediction_score(feature: Values, target: Values, seed: int = 0) -> float | None:
    """Return the share of a constant guess's error that a rule of one column removes on the held-out half.

    Args:
        feature: [n]. Floats are numbers, NaN where one is missing; integers are categories.
        target: [n]. Floats are a regression's target, judged by its ranks; integers are classes.
        seed: decides the halves.

    Returns:
        1 for a perfect prediction, about 0 for an irrelevant column; None if there are too few rows to say.
    """
    if len(target) < _FEWEST_ROWS:
        return None
    order = np.random.default_rng(seed).permutation(len(target))
    learn, judge = order[: len(order) // 2], order[len(order) // 2 :]
    target = ranks(target) / len(target) if target.dtype.kind == "f" else codes_of(target.tolist())
    guess = _constant(target[learn], target)
    baseline = _error(np.full(len(judge), guess), target[judge])
    if baseline <= 0 or (target.dtype.kind == "i" and baseline * len(judge) < _FEWEST_ERRORS):
        return None
    all_bins = [codes_of(feature.tolist())]
    if feature.dtype.kind == "f":
        all_bins = [_intervals(feature, learn, num_bins) for num_bins in _NUM_BINS]
    errors = [_error(_by_bin(bins, target, learn, judge, guess), target[judge]) for bins in all_bins]
    if feature.dtype.kind == "f":
        errors.append(_error(_by_neighbour(feature, target, learn, judge, guess), target[judge]))
    return float(1 - min(errors) / baseline)


def _constant(learned: Values, target: Values) -> float:
    if target.dtype.kind == "f":
        return float(learned.mean())
    return float(np.bincount(learned.astype(np.int64)).argmax())


def _error(predicted: Floats, target: Values) -> float:
    """Return the mean squared error of a regression, or the share of wrong classes."""
    if target.dtype.kind == "f":
        return float(((predicted - target) ** 2).mean())
    return float((predicted != target).mean())


def _intervals(feature: Floats, learn: Codes, num_bins: int) -> Codes:
    """Return the interval of each row's number between quantiles of the rows to learn from; one for missing ones."""
    present = feature[learn][~np.isnan(feature[learn])]
    values = np.unique(present)
    if len(values) > num_bins:
        num_bins = max(2, min(num_bins, len(present) // _ROWS_PER_BIN))
        values = np.unique(np.quantile(present, np.linspace(0, 1, num_bins + 1)[1:-1]))
    bins = np.searchsorted(values, feature, side="right").astype(np.int64)
    bins[np.isnan(feature)] = len(values) + 1
    return bins


def _by_bin(bins: Codes, target: Values, learn: Codes, judge: Codes, guess: float) -> Floats:
    """Predict each bin's mean or most frequent class, and the constant guess in bins that no learned row is in."""
    num_bins = int(bins.max()) + 1
    predicted = np.full(num_bins, guess)
    counts = np.bincount(bins[learn], minlength=num_bins)
    if target.dtype.kind == "f":
        sums = np.bincount(bins[learn], target[learn], minlength=num_bins)
        predicted[counts > 0] = sums[counts > 0] / counts[counts > 0]
        return predicted[bins[judge]]
    num_classes = int(target.max()) + 1
    pairs, times = np.unique(bins[learn] * num_classes + target[learn].astype(np.int64), return_counts=True)
    for position in np.argsort(times, kind="stable"):  # the most frequent class of a bin is written last
        predicted[pairs[position] // num_classes] = pairs[position] % num_classes
    return predicted[bins[judge]]


def _by_neighbour(feature: Floats, target: Values, learn: Codes, judge: Codes, guess: float) -> Floats:
    """Predict between the two nearest learned values (regression), or the class of the nearest one."""
    known = learn[~np.isnan(feature[learn])]
    if not len(known):
        return np.full(len(judge), guess)
    values, first, inverse, counts = np.unique(
        feature[known], return_index=True, return_inverse=True, return_counts=True
    )
    asked = feature[judge]
    if target.dtype.kind == "f":
        means = np.bincount(inverse, target[known]) / counts
        predicted = np.interp(np.nan_to_num(asked, nan=0.0), values, means)
    else:
        right = np.clip(np.searchsorted(values, asked), 0, len(values) - 1)
        left = np.maximum(right - 1, 0)
        nearest = np.where(np.abs(asked - values[left]) <= np.abs(values[right] - asked), left, right)
        predicted = target[known][first][nearest].astype(np.float64)
    predicted[np.isnan(asked)] = guess
    return predicted
