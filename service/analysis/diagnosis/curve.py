"""Learning curves as rules read them: finite, ascending values of which lower is better, with their noise and slope."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAX_POINTS = 60
"""Longer curves are averaged to this many points, so that the noise of single batches is not taken for a trend."""
_SIGMA_OF_MAD = 1.4826
"""Factor from the median absolute deviation to the standard deviation of a normal distribution."""


@dataclass(frozen=True)
class Curve:
    """The finite part of one metric's learning curve.

    Attributes:
        name: the metric.
        steps: ascending steps, [n].
        values: the values [n], lower is better: a metric to maximise has the opposite sign.
        sign: 1, or -1 for a metric to maximise.
    """

    name: str
    steps: Floats
    values: Floats
    sign: float = 1.0

    @classmethod
    def of(cls, name: str, points: Iterable[tuple[int, float]], sign: float = 1.0) -> Curve:
        """Return the curve of the finite values; several values of a step count once, the last of them."""
        finite = {int(step): float(value) for step, value in points if _is_usable(value)}
        steps = np.array(sorted(finite), dtype=np.float64)
        values = sign * np.array([finite[step] for step in sorted(finite)], dtype=np.float64)
        if len(steps) > MAX_POINTS:
            steps = np.array([part[-1] for part in np.array_split(steps, MAX_POINTS)])
            values = np.array([part.mean() for part in np.array_split(values, MAX_POINTS)])
        return cls(name, steps, values, sign)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def first(self) -> float:
        return float(self.values[0])

    @cached_property
    def best_index(self) -> int:
        """The index of the best value; of equal ones, the first."""
        return int(np.argmin(self.values))

    @property
    def best(self) -> float:
        return float(self.values[self.best_index])

    @cached_property
    def end(self) -> float:
        """The level at the end: the median of the last tenth, at least of the last three values."""
        return float(np.median(self.values[-tail_length(len(self), 0.1) :]))

    @cached_property
    def noise(self) -> float:
        """The standard deviation of one value about the trend, over the last two thirds of the curve.

        It is estimated from second differences, which a straight trend does not change, and by their median, which
        single jumps do not change. The first third is left out, because a loss curves strongly there.
        """
        values = self.values[len(self) // 3 :]
        if len(values) < 4:
            return 0.0
        differences = np.diff(values, 2)
        # The second difference of independent values has six times their variance (1 + 4 + 1).
        return float(_SIGMA_OF_MAD * np.median(np.abs(differences)) / math.sqrt(6))

    @cached_property
    def smooth(self) -> Floats:
        """The centred moving average over about a tenth of the curve, at least three values."""
        width = max(1, round(len(self) / 20))
        sums = np.concatenate([[0.0], np.cumsum(self.values)])
        index = np.arange(len(self))
        half = np.minimum(np.minimum(index, len(self) - 1 - index), width)
        means: Floats = (sums[index + half + 1] - sums[index - half]) / (2 * half + 1)
        return means

    def part(self, begin: float, end: float = 1.0) -> Curve:
        """Return the curve between two fractions of its number of points."""
        low, high = math.floor(begin * len(self)), math.ceil(end * len(self))
        return Curve(self.name, self.steps[low:high], self.values[low:high], self.sign)

    @property
    def last_half(self) -> Curve:
        """The second half of the curve, at least its last three values."""
        return Curve(self.name, self.steps[-tail_length(len(self), 0.5) :], self.values[-tail_length(len(self), 0.5) :])

    def raw(self, index: int) -> float:
        """Return the value as it was reported."""
        return float(self.sign * self.values[index])


@dataclass(frozen=True, slots=True)
class Slope:
    """A straight line through a curve.

    Attributes:
        change: the change of the line from the first step to the last.
        error: the standard error of `change`.
    """

    change: float
    error: float

    @property
    def falls(self) -> bool:
        """Whether the line falls by more than two standard errors."""
        return self.change < -2 * self.error

    @property
    def rises(self) -> bool:
        return self.change > 2 * self.error


def slope_of(curve: Curve) -> Slope:
    """Return the line of least squares through a curve; flat, with an infinite error, for fewer than three points."""
    if len(curve) < 3:
        return Slope(0.0, math.inf)
    span = curve.steps[-1] - curve.steps[0]
    x = (curve.steps - curve.steps.mean()) / span
    spread = float(x @ x)
    change = float(x @ (curve.values - curve.values.mean())) / spread
    residuals = curve.values - curve.values.mean() - change * x
    error = math.sqrt(float(residuals @ residuals) / (len(curve) - 2) / spread)
    return Slope(change, error)


def tail_length(num: int, share: float, least: int = 3) -> int:
    """Return how many of `num` points are the last `share` of them, at least `least`, or all."""
    return min(num, max(least, round(num * share)))


def _is_usable(value: float) -> bool:
    # Squares of larger numbers overflow; nobody's loss is as large unless it diverges.
    return math.isfinite(value) and abs(value) < 1e100
