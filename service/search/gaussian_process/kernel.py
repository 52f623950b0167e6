"""The covariance of two configurations: a Matérn kernel on distances between numbers, choices and conditions."""

from __future__ import annotations

import numpy as np

from service.search.gaussian_process.encoding import Floats, Mask, Points

_ONE_INACTIVE = 0.5
"""Squared distance along a parameter that only one of two configurations has; it is 0 if neither has it."""


def squared_distances(first: Points, second: Points, is_choice: Mask) -> Floats:
    """Return the squared distance of each pair along each parameter, shape (first, second, parameters).

    Numbers and ordered choices differ by their positions in [0, 1], other choices by 0 or 1 (Hamming distance).
    """
    difference = first.units[:, None, :] - second.units[None, :, :]
    squared: Floats = np.where(is_choice, np.abs(difference) > 1e-9, difference * difference)
    only_one = first.active[:, None, :] != second.active[None, :, :]
    neither = ~(first.active[:, None, :] | second.active[None, :, :])
    squared[only_one] = _ONE_INACTIVE
    squared[neither] = 0.0
    return squared


class Distances:
    """Weighted squared distances of many points to fixed ones, by one matrix product instead of a loop over parameters.

    Args:
        fixed: the points that distances are measured to.
        weights: shape (parameters,): the inverse squared length scales.
        is_choice: shape (parameters,): whether the parameter is categorical without an order.
        num_values: shape (parameters,): number of choices of such a parameter.
    """

    def __init__(self, fixed: Points, weights: Floats, is_choice: Mask, num_values: Floats) -> None:
        self._weights = weights
        self._is_choice = is_choice
        self._num_values = num_values.astype(int)
        self._fixed = self._right(fixed)
        self._fixed_share = fixed.active @ (_ONE_INACTIVE * weights)

    def to(self, points: Points) -> Floats:
        """Return the weighted squared distances, shape (points, fixed)."""
        share = points.active @ (_ONE_INACTIVE * self._weights)
        total = self._left(points) @ self._fixed.T
        total += share[:, None]
        total += self._fixed_share[None, :]
        return np.maximum(total, 0.0, out=total)

    # With activity a and position x, the squared distance along a number is
    #   a a' (x - x')² + (a + a' - 2 a a') / 2  =  a/2 + a'/2 + a (x² - 1) a' + a a' x'² - 2 (a x) (a' x'),
    # and along a choice with indicators e it is  a/2 + a'/2 - e · e',  because e · e' = a a' [same].

    def _left(self, points: Points) -> Floats:
        active, units = self._numbers(points)
        weights = self._weights[~self._is_choice]
        numbers = (active * (units * units - 1.0) * weights, active * weights, -2.0 * active * units * weights)
        return np.hstack([*numbers, *self._indicators(points, self._weights)])

    def _right(self, points: Points) -> Floats:
        active, units = self._numbers(points)
        return np.hstack([active, active * units * units, active * units, *self._indicators(points)])

    def _numbers(self, points: Points) -> tuple[Floats, Floats]:
        return points.active[:, ~self._is_choice].astype(float), points.units[:, ~self._is_choice]

    def _indicators(self, points: Points, weights: Floats | None = None) -> list[Floats]:
        blocks = []
        for column in np.flatnonzero(self._is_choice):
            num = self._num_values[column]
            index = np.minimum((points.units[:, column] * num).astype(int), num - 1)
            block = np.zeros((len(points), num))
            block[np.arange(len(points)), index] = points.active[:, column]
            blocks.append(block if weights is None else -weights[column] * block)
        return blocks


def matern(squared: Floats) -> Floats:
    """Return the Matérn covariance with smoothness 5/2 of squared distances, 1 at distance 0.

    With s = √(5 r²) it is (1 + s + s²/3) exp(-s) (Rasmussen & Williams 2006, eq. 4.17).
    """
    scaled = np.sqrt(5.0 * squared)
    return (1.0 + scaled + scaled * scaled / 3.0) * np.exp(-scaled)


def matern_derivative(squared: Floats) -> Floats:
    """Return the derivative of `matern` by the squared distance: -5/6 (1 + s) exp(-s)."""
    scaled = np.sqrt(5.0 * squared)
    return -5.0 / 6.0 * (1.0 + scaled) * np.exp(-scaled)
