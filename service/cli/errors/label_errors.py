"""Likely label errors: examples on which good trials agree with each other and not with the label; numpy alone.

Classes by confident learning (Northcutt, Jiang & Chuang 2021): an example of class i counts for class j if the
probability of j is at least what the examples labelled j have on average. Values by the residual of the trials' median.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.cli.errors.predictions import SMALLEST, Floats, Mask, SplitPredictions

MIN_RESIDUAL = 4.0
"""The residual, in robust standard deviations, from which a value is suspect; 0.006 % of normal residuals exceed it."""

_NOISE_Z = 1.959964
_MAD_TO_STD = 1.4826


@dataclass(frozen=True)
class LabelScores:
    """How likely it is that each label is wrong.

    Attributes:
        scores: [n], larger is more suspect. They order all examples, suspects or not.
        suggested: [n], the class index or value that the trials agree on.
        confidence: [n], the probability of that class; of values the residual in robust standard deviations.
        num_agreeing: [n], how many trials predict that class; of values how many have a residual of the same sign.
        is_suspect: [n].
    """

    scores: Floats
    suggested: NDArray[np.float64] | NDArray[np.int64]
    confidence: Floats
    num_agreeing: NDArray[np.int64]
    is_suspect: Mask


def trials_within_noise(trials: Sequence[SplitPredictions]) -> list[int]:
    """Return the places of the trials whose mean error is not worse than that of the best by more than noise.

    The noise is that of the paired difference: two standard errors of the mean over the same examples.

    Args:
        trials: predictions for the same examples in the same order.
    """
    errors = [each.errors for each in trials]
    best = min(range(len(errors)), key=lambda place: float(errors[place].mean()))
    kept = []
    for place, each in enumerate(errors):
        excess = each - errors[best]
        noise = float(excess.std(ddof=1)) / len(excess) ** 0.5 if len(excess) > 1 else 0.0
        if place == best or float(excess.mean()) <= _NOISE_Z * noise:
            kept.append(place)
    return kept


def num_independent(trials: Sequence[SplitPredictions]) -> float:
    """Return by how many independent trials the variance of a mean over these would be as small.

    n trials whose residuals correlate by r on average count as n / (1 + (n - 1) r).
    """
    residuals = np.stack([_residuals(each) for each in trials])
    varying = residuals[residuals.std(1) > 0]
    if len(varying) < 2:
        return 1.0
    num = len(varying)
    correlation = (float(np.corrcoef(varying).sum()) - num) / (num * (num - 1))
    return num / (1 + (num - 1) * min(1.0, max(0.0, correlation)))


def _residuals(of: SplitPredictions) -> Floats:
    return 1 - of.probabilities_of_target if of.classes else of.outputs - of.targets


def label_scores(trials: Sequence[SplitPredictions]) -> LabelScores:
    """Return how likely each label is wrong, by all trials together.

    Args:
        trials: predictions of good trials for the same examples in the same order.
    """
    return _of_classes(trials) if trials[0].classes else _of_values(trials)


def _of_classes(trials: Sequence[SplitPredictions]) -> LabelScores:
    first, num = trials[0], len(trials[0])
    labels, rows = first.targets, np.arange(num)
    mean: Floats = np.mean([_normalised(each.outputs) for each in trials], axis=0)
    num_classes = mean.shape[1]
    counts = np.bincount(labels, minlength=num_classes)
    sums = np.bincount(labels, weights=mean[rows, labels], minlength=num_classes)
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)  # no example can be of a class unseen here
    is_other = np.ones_like(mean, dtype=bool)
    is_other[rows, labels] = False
    above = mean >= thresholds
    most_likely = np.where(above, mean, -1.0).argmax(1)
    rival = np.where(is_other, mean, -1.0).argmax(1)
    is_counted_for_another = above.any(1) & (most_likely != labels)
    suggested = np.where(is_counted_for_another, most_likely, rival)
    votes = np.stack([each.predicted for each in trials])
    num_agreeing = (votes == suggested).sum(0)
    confidence = mean[rows, suggested]
    is_suspect = is_counted_for_another & (2 * num_agreeing > len(trials)) & (confidence > mean[rows, labels])
    # The margin in logarithms: a rival of 0.99 against 1e-6 is more suspect than one against 1e-2.
    scores = np.log(np.maximum(mean[rows, rival], SMALLEST)) - np.log(np.maximum(mean[rows, labels], SMALLEST))
    return LabelScores(scores, suggested, confidence, num_agreeing, is_suspect)


def _normalised(probabilities: Floats) -> Floats:
    """Return probabilities that add up to 1, which those of sigmoids do not."""
    normalised: Floats = probabilities / np.maximum(probabilities.sum(1, keepdims=True), SMALLEST)
    return normalised


def _of_values(trials: Sequence[SplitPredictions]) -> LabelScores:
    targets = trials[0].targets.astype(np.float64)
    outputs = np.stack([each.outputs for each in trials])
    median = np.median(outputs, axis=0)
    residuals = targets - median
    centred = residuals - np.median(residuals)
    noise = _MAD_TO_STD * float(np.median(np.abs(centred)))
    # Where the trials disagree, a large residual says less about the label.
    disagreement = outputs.std(axis=0)
    spread = np.sqrt(noise**2 + np.square(disagreement))
    scores = np.divide(np.abs(centred), spread, out=np.zeros_like(spread), where=spread > 0)
    same_side = ((targets - outputs) * residuals > 0).sum(0)
    return LabelScores(scores, median, scores, same_side, scores >= MIN_RESIDUAL)
