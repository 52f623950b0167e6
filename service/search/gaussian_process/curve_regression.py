"""Gaussian process over configurations and training steps: one model of all learning curves, finished or not.

The covariance of the values of trials i and j after t and u steps is (in the spirit of Swersky, Snoek & Adams 2014,
"Freeze-Thaw Bayesian Optimization"; here with one Matérn kernel over the logarithm of the step)

    K = shared · T(t, u) + (level + change · T(t, u)) · M(x_i, x_j) + own · [i = j] · T(t, u)

with M the Matérn kernel of the configurations and T that of log(1 + t). So curves share a trend, similar
configurations have similar levels and similar changes, and each trial deviates from both smoothly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, lapack, solve_triangular
from scipy.optimize import minimize

from service.search.gaussian_process.encoding import Encoding, Floats, Points
from service.search.gaussian_process.kernel import Distances, matern, matern_derivative, squared_distances

_MIN_NOISE = 1e-6
"""Smallest variance of the noise, of values with variance 1. It keeps covariance matrices invertible."""

_STEP_LENGTH = 0.6
"""Length scale of the kernel over steps, where `step_position` is 1 at the last step."""

_MAX_ITERATIONS = 25

_LOG_WEIGHTS = (-6.0, 6.0)
_LOG_VARIANCES = (-9.0, 4.0)

_START = np.log([0.3, 0.7, 0.3, 0.1, 0.01])
"""Logarithms of the variances at the start of a first fit: shared, level, change, own, noise."""

_PRIOR = np.log([0.3, 0.7, 0.3, 0.1, 0.005])
"""Mean of the prior of these logarithms; its standard deviation is √2."""

_NUM_VARIANCES = 5


def step_position(steps: NDArray[np.int64] | Floats, last: int) -> Floats:
    """Return the positions of steps on the model's time axis: the logarithm of 1 + step, 1 at `last`."""
    position: Floats = np.log1p(np.asarray(steps, float)) / math.log1p(last)
    return position


@dataclass(frozen=True, slots=True)
class CurvePoints:
    """Values of learning curves."""

    configurations: Points
    """The configuration of each value's trial."""
    positions: Floats
    """Shape (values,): `step_position` of each value."""
    trials: NDArray[np.int64]
    """Shape (values,): the number of each value's trial."""

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, slots=True)
class CurveHyperparameters:
    """The model's hyperparameters, as logarithms."""

    log_weights: tuple[float, ...]
    """One per parameter: the logarithm of the inverse squared length scale."""
    log_variances: tuple[float, ...]
    """Logarithms of the variances: shared, level, change, own, and noise above `_MIN_NOISE`."""

    @classmethod
    def initial(cls, num_parameters: int) -> CurveHyperparameters:
        """Return the start of a first fit."""
        return cls((0.0,) * num_parameters, tuple(_START.tolist()))

    @classmethod
    def of(cls, theta: Floats) -> CurveHyperparameters:
        """Return the hyperparameters of a vector: log weights, then log variances."""
        values = [float(each) for each in theta]
        return cls(tuple(values[:-_NUM_VARIANCES]), tuple(values[-_NUM_VARIANCES:]))

    def vector(self) -> Floats:
        """Return the hyperparameters as a vector: log weights, then log variances."""
        return np.array([*self.log_weights, *self.log_variances])

    @property
    def weights(self) -> Floats:
        """Inverse squared length scales, shape (parameters,)."""
        weights: Floats = np.exp(np.array(self.log_weights))
        return weights

    @property
    def noise(self) -> float:
        """Variance of the noise."""
        return math.exp(self.log_variances[4]) + _MIN_NOISE


def fit(points: CurvePoints, values: Floats, encoding: Encoding, start: CurveHyperparameters) -> CurveHyperparameters:
    """Return the hyperparameters with the largest posterior density, found by L-BFGS from `start`.

    Args:
        points: where values were observed.
        values: shape (values,): observed values with mean 0 and variance 1.
        encoding: the encoding of the configurations.
        start: where the optimisation starts.
    """
    squared = squared_distances(points.configurations, points.configurations, encoding.is_choice)
    found = minimize(
        negative_log_posterior,
        start.vector(),
        args=(squared, _over_steps(points.positions, points.positions), _same_trial(points), values),
        jac=True,
        method="L-BFGS-B",
        bounds=[_LOG_WEIGHTS] * len(encoding) + [_LOG_VARIANCES] * _NUM_VARIANCES,
        options={"maxiter": _MAX_ITERATIONS, "ftol": 1e-4, "gtol": 3e-2},
    )
    return CurveHyperparameters.of(found.x)


def negative_log_posterior(
    theta: Floats, squared: Floats, over_steps: Floats, same: Floats, values: Floats
) -> tuple[float, Floats]:
    """Return the negative log posterior density of hyperparameters, up to a constant, and its gradient.

    The log marginal likelihood and its gradient are eq. 5.8 and 5.9 of Rasmussen & Williams 2006.

    Args:
        theta: shape (parameters + 5,): log weights, then log variances.
        squared: shape (values, values, parameters): squared distances of the configurations.
        over_steps: shape (values, values): covariance over steps.
        same: shape (values, values): 1 where two values are of one trial, else 0.
        values: shape (values,): observed values.
    """
    weights, log_variances = np.exp(theta[:-_NUM_VARIANCES]), theta[-_NUM_VARIANCES:]
    shared, level, change, own, noise = np.exp(log_variances)
    distance = squared @ weights
    correlation = matern(distance)
    amplitude = level + change * over_steps
    covariance = shared * over_steps + amplitude * correlation + own * same * over_steps
    covariance.flat[:: len(values) + 1] += noise + _MIN_NOISE
    factor, failed = lapack.dpotrf(covariance, lower=1, clean=1)
    if failed:
        return 1e10, np.zeros_like(theta)
    inverse, _ = lapack.dpotri(factor, lower=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    solved = inverse @ values
    negative = 0.5 * float(values @ solved) + float(np.log(factor.diagonal()).sum())
    # The derivative of the log likelihood by the covariance matrix.
    by_covariance = 0.5 * (np.outer(solved, solved) - inverse)
    gradient = np.empty_like(theta)
    by_distance = by_covariance * amplitude * matern_derivative(distance)
    gradient[:-_NUM_VARIANCES] = -np.tensordot(by_distance, squared, 2) * weights
    gradient[-5] = -float((by_covariance * over_steps).sum()) * shared
    gradient[-4] = -float((by_covariance * correlation).sum()) * level
    gradient[-3] = -float((by_covariance * correlation * over_steps).sum()) * change
    gradient[-2] = -float((by_covariance * same * over_steps).sum()) * own
    gradient[-1] = -float(np.trace(by_covariance)) * noise
    negative += float((0.1 / weights + 0.1 * weights).sum())
    negative += 0.25 * float(((log_variances - _PRIOR) ** 2).sum())
    gradient[:-_NUM_VARIANCES] += -0.1 / weights + 0.1 * weights
    gradient[-_NUM_VARIANCES:] += 0.5 * (log_variances - _PRIOR)
    return negative, gradient


class CurvePosterior:
    """The Gaussian process given values of learning curves.

    Args:
        points: where values were observed.
        values: shape (values,): observed values.
        encoding: the encoding of the configurations.
        hyperparameters: the hyperparameters.
    """

    def __init__(
        self, points: CurvePoints, values: Floats, encoding: Encoding, hyperparameters: CurveHyperparameters
    ) -> None:
        self.points = points
        self.values = values
        self.hyperparameters = hyperparameters
        self._encoding = encoding
        self._shared, self._level, self._change, self._own, _ = np.exp(np.array(hyperparameters.log_variances))
        self._distances = Distances(
            points.configurations, hyperparameters.weights, encoding.is_choice, encoding.num_values
        )
        covariance = self._covariance(points.configurations, points.positions, points.trials)
        covariance.flat[:: len(points) + 1] += hyperparameters.noise
        self._factor = _factor(covariance)
        self._solved = cho_solve((self._factor, True), values, check_finite=False)

    def predict(
        self, configurations: Points, position: float, trials: NDArray[np.int64] | None = None
    ) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the noiseless value of each configuration at one position.

        Args:
            configurations: the configurations.
            position: `step_position` of the step.
            trials: shape (configurations,): the numbers of their trials, whose own values count; None: new trials.
        """
        covariance = self._covariance(configurations, np.full(len(configurations), position), trials)
        explained = solve_triangular(self._factor, covariance.T, lower=True, check_finite=False)
        variance = self._shared + self._level + self._change + self._own - (explained * explained).sum(axis=0)
        return covariance @ self._solved, np.sqrt(np.maximum(variance, 1e-9))

    def with_pending(self, pending: CurvePoints) -> CurvePosterior:
        """Return the process with its own mean observed at pending points, as a kriging believer does."""
        if not len(pending):
            return self
        means = self._covariance(pending.configurations, pending.positions, pending.trials) @ self._solved
        return CurvePosterior(
            join(self.points, pending), np.concatenate([self.values, means]), self._encoding, self.hyperparameters
        )

    def _covariance(self, configurations: Points, positions: Floats, trials: NDArray[np.int64] | None) -> Floats:
        """Return the covariance of values with the observed ones, shape (values, observed)."""
        over_steps = _over_steps(positions, self.points.positions)
        covariance = (self._level + self._change * over_steps) * matern(self._distances.to(configurations))
        own = 0.0 if trials is None else self._own * (trials[:, None] == self.points.trials[None, :])
        covariance += (self._shared + own) * over_steps
        return np.asarray(covariance)


def join(first: CurvePoints, second: CurvePoints) -> CurvePoints:
    """Return the points of both."""
    return CurvePoints(
        Points(
            np.vstack([first.configurations.units, second.configurations.units]),
            np.vstack([first.configurations.active, second.configurations.active]),
        ),
        np.concatenate([first.positions, second.positions]),
        np.concatenate([first.trials, second.trials]),
    )


def _over_steps(first: Floats, second: Floats) -> Floats:
    """Return the covariance over steps, shape (first, second)."""
    return matern(((first[:, None] - second[None, :]) / _STEP_LENGTH) ** 2)


def _same_trial(points: CurvePoints) -> Floats:
    same: Floats = (points.trials[:, None] == points.trials[None, :]).astype(float)
    return same


def _factor(covariance: Floats) -> Floats:
    """Return the Cholesky factor; the diagonal is raised until the factorisation succeeds."""
    added = _MIN_NOISE
    while True:
        factor: Floats
        factor, failed = lapack.dpotrf(covariance, lower=1, clean=1)
        if not failed:
            return factor
        covariance.flat[:: len(covariance) + 1] += added
        added *= 10.0
