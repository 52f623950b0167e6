"""Fits a power law to errors by the number of training examples, and what more data would give; numpy alone.

The error falls as a + b / n^c for many kinds of tasks and sizes (Hestness et al. 2017). More data can't remove `a`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_EXPONENTS = np.linspace(0.05, 1.0, 39)
_NUM_DRAWS = 400
_LEVEL = 0.9
"""The probability of the interval."""


@dataclass(frozen=True)
class PowerLaw:
    """The error a + b / n^c of a model trained on n examples."""

    a: float
    b: float
    c: float

    def at(self, num: float) -> float:
        return float(self.a + self.b * num**-self.c)


@dataclass(frozen=True)
class Prediction:
    """The error expected of n examples, with its interval of 90 %."""

    num_examples: int
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class Fit:
    """The power law, what it predicts, and the noise.

    Attributes:
        law: the power law through the mean errors.
        predictions: the error at each number asked for.
        noise: the standard deviation of the error between two trainings on the same part.
    """

    law: PowerLaw
    predictions: list[Prediction]
    noise: float


def fit_power_law(
    sizes: Sequence[int], errors: Sequence[Sequence[float]], wanted: Sequence[int], *, lowest: float | None
) -> Fit:
    """Fit the law to the errors, with intervals by bootstrap over the seeds.

    Args:
        sizes: the numbers of training examples, [k], ascending.
        errors: [k][seeds].
        wanted: the numbers of examples to predict the error at.
        lowest: the lowest possible error, such as 0; None: there is none.
    """
    measured = np.array(errors, np.float64)
    num_sizes, num_seeds = measured.shape
    means = measured.mean(1)
    numbers = np.array(sizes, np.float64)
    noise = float(np.sqrt(measured.var(1, ddof=1).mean())) if num_seeds > 1 else 0.0
    # A bootstrap of few values has too small a spread by (k - 1) / k.
    inflation = np.sqrt(num_seeds / (num_seeds - 1)) if num_seeds > 1 else 1.0
    places = np.random.default_rng(0).integers(0, num_seeds, (_NUM_DRAWS, num_sizes, num_seeds))
    resampled = np.take_along_axis(measured[np.newaxis], places, axis=2).mean(2)
    a, b, c = _fit(numbers, np.vstack([means, means + inflation * (resampled - means)]), lowest)
    law = PowerLaw(float(a[0]), float(b[0]), float(c[0]))
    predictions = []
    for num in wanted:
        values = a[1:] + b[1:] * float(num) ** -c[1:]
        low, high = np.quantile(values, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
        expected = law.at(num)
        predictions.append(Prediction(num, expected, min(float(low), expected), max(float(high), expected)))
    return Fit(law, predictions, noise)


def _fit(sizes: Floats, means: Floats, lowest: float | None) -> tuple[Floats, Floats, Floats]:
    """Return the laws of the smallest squared errors, with b >= 0 and a >= `lowest`, over a grid of exponents.

    Args:
        sizes: [k].
        means: [m, k], a law is fitted to each row.
        lowest: the lowest possible error; None: there is none.

    Returns:
        a, b and c of each law, [m] each.
    """
    best = np.full(len(means), np.inf)
    found = [means.mean(1), np.zeros(len(means)), np.full(len(means), _EXPONENTS[0])]
    for exponent in _EXPONENTS.tolist():
        powers = sizes**-exponent
        centred = powers - powers.mean()
        b = np.maximum(0.0, means @ centred / (centred @ centred))
        a = means.mean(1) - b * powers.mean()
        if lowest is not None:
            is_below = a < lowest
            a = np.where(is_below, lowest, a)
            b = np.where(is_below, np.maximum(0.0, (means - lowest) @ powers / (powers @ powers)), b)
        error = np.square(a[:, np.newaxis] + b[:, np.newaxis] * powers - means).sum(1)
        is_better = error < best - 1e-15
        best = np.where(is_better, error, best)
        for place, values in enumerate((a, b, np.full(len(means), exponent))):
            found[place] = np.where(is_better, values, found[place])
    return found[0], found[1], found[2]
