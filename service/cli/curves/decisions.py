"""Curves and decision thresholds of a binary classifier, from scores and labels; numpy alone.

An example counts as positive if its score is at least the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Criterion = Literal["f1", "balanced_accuracy", "cost"]
"""What a threshold is chosen by: the largest F1 or balanced accuracy, or the smallest cost."""


@dataclass(frozen=True)
class Costs:
    """What a false positive and a false negative cost, in any unit."""

    false_positive: float = 1.0
    false_negative: float = 1.0


@dataclass(frozen=True)
class Curves:
    """The counts of a classifier at every threshold that gives other decisions, from the strictest to the most lenient.

    Attributes:
        scores: the lowest score that counts as positive at each point, [n], strictly descending; the first is infinity,
            at which nothing is positive.
        true_positives: [n], from 0 to `num_positive`.
        false_positives: [n], from 0 to `num_negative`.
    """

    scores: NDArray[np.float64]
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]

    @property
    def num_positive(self) -> int:
        return int(self.true_positives[-1])

    @property
    def num_negative(self) -> int:
        return int(self.false_positives[-1])

    @property
    def recall(self) -> NDArray[np.float64]:
        """The true positive rate at each point."""
        return self.true_positives / self.num_positive

    @property
    def false_positive_rate(self) -> NDArray[np.float64]:
        return self.false_positives / self.num_negative

    @property
    def precision(self) -> NDArray[np.float64]:
        """The share of the positive decisions that are right; 1 where there is none, as scikit-learn has it."""
        decided = self.true_positives + self.false_positives
        return np.where(decided > 0, self.true_positives / np.maximum(decided, 1), 1.0)

    @property
    def auroc(self) -> float:
        """The area under the ROC curve, by trapezoids."""
        return float(np.trapezoid(self.recall, self.false_positive_rate))

    @property
    def average_precision(self) -> float:
        """The mean of the precisions, weighted by the steps of recall."""
        return float(np.sum(np.diff(self.recall) * self.precision[1:]))


def binary_curves(scores: ArrayLike, is_positive: ArrayLike) -> Curves:
    """Return the curves of a binary classifier.

    Args:
        scores: larger where the positive class is more likely, finite, [n].
        is_positive: whether each example is positive, [n].

    Raises:
        ValueError: there is no positive or no negative example, or a score is not finite.
    """
    values, labels = np.asarray(scores, np.float64), np.asarray(is_positive, bool)
    if labels.all() or not labels.any():
        raise ValueError("both positive and negative examples are needed")
    if not np.isfinite(values).all():
        raise ValueError("a score is not a finite number")
    order = np.argsort(-values, kind="stable")
    values, labels = values[order], labels[order]
    # The last example of each score: examples with equal scores are decided alike.
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    true_positives = np.cumsum(labels)[last]
    return Curves(
        scores=np.concatenate([[np.inf], values[last]]),
        true_positives=np.concatenate([[0], true_positives]),
        false_positives=np.concatenate([[0], last + 1 - true_positives]),
    )


@dataclass(frozen=True)
class Decisions:
    """The decisions at one threshold, counted."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def precision(self) -> float:
        """The share of the positive decisions that are right; 0 if there is none."""
        return self.true_positives / max(self.true_positives + self.false_positives, 1)

    @property
    def recall(self) -> float:
        """The share of the positive examples that are found; 0 if there is none."""
        return self.true_positives / max(self.true_positives + self.false_negatives, 1)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.true_positives / max(2 * self.true_positives + self.false_positives + self.false_negatives, 1)

    @property
    def balanced_accuracy(self) -> float:
        """The mean of recall and of the share of the negative examples that are left out."""
        specificity = self.true_negatives / max(self.true_negatives + self.false_positives, 1)
        return (self.recall + specificity) / 2

    def cost(self, costs: Costs) -> float:
        """Return the mean cost of an example."""
        total = self.true_positives + self.false_positives + self.false_negatives + self.true_negatives
        spent = self.false_positives * costs.false_positive + self.false_negatives * costs.false_negative
        return spent / total


def decide(scores: ArrayLike, is_positive: ArrayLike, threshold: float) -> Decisions:
    """Count the decisions at a threshold."""
    decided, labels = np.asarray(scores, np.float64) >= threshold, np.asarray(is_positive, bool)
    return Decisions(
        true_positives=int(np.sum(decided & labels)),
        false_positives=int(np.sum(decided & ~labels)),
        false_negatives=int(np.sum(~decided & labels)),
        true_negatives=int(np.sum(~decided & ~labels)),
    )


def choose_threshold(curves: Curves, criterion: Criterion, costs: Costs | None = None) -> float:
    """Return the threshold that is best by the criterion; among equally good ones that nearest to 0.5.

    It lies halfway between two scores, so that rounding it changes no decision. Above 1 nothing is positive.

    Args:
        curves: the curves of probabilities on validation examples.
        criterion: what to choose by.
        costs: for `cost`; None: a false positive and a false negative cost 1 each.
    """
    below = np.append(curves.scores[1:], 0.0)
    above = np.where(np.isinf(curves.scores), np.maximum(1.0, below + 0.01), curves.scores)
    thresholds = (above + below) / 2
    values = _values(curves, criterion, costs or Costs())
    best = np.flatnonzero(np.isclose(values, values.max(), rtol=0, atol=1e-12))
    return float(thresholds[best[np.argmin(np.abs(thresholds[best] - 0.5))]])


def _values(curves: Curves, criterion: Criterion, costs: Costs) -> NDArray[np.float64]:
    """Return what the criterion says of each point; larger is better."""
    true_positives, false_positives = curves.true_positives, curves.false_positives
    if criterion == "f1":
        return 2 * true_positives / (true_positives + false_positives + curves.num_positive)
    if criterion == "balanced_accuracy":
        return (curves.recall + 1 - curves.false_positive_rate) / 2
    false_negatives = curves.num_positive - true_positives
    return -(false_positives * costs.false_positive + false_negatives * costs.false_negative)
