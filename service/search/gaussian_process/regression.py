"""Gaussian process regression: hyperparameters by maximum a posteriori, and the prediction at new points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, lapack, solve_triangular
from scipy.optimize import minimize

from service.search.gaussian_process.encoding import Encoding, Floats, Points, join
from service.search.gaussian_process.kernel import Distances, matern, matern_derivative, squared_distances

_MIN_NOISE = 1e-6
"""Smallest variance of the noise, of values with variance 1. It keeps covariance matrices invertible."""

_MAX_ITERATIONS = 40

_LOG_WEIGHTS = (-7.0, 7.0)
_LOG_SIGNAL = (-5.0, 5.0)
_LOG_NOISE = (-14.0, 1.0)


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """The model's hyperparameters, as logarithms."""

    log_weights: tuple[float, ...]
    """One per parameter: the logarithm of the inverse squared length scale."""
    log_signal: float
    """Logarithm of the signal's variance."""
    log_noise: float
    """Logarithm of the noise's variance above `_MIN_NOISE`."""

    @classmethod
    def initial(cls, num_parameters: int) -> Hyperparameters:
        """Return the start of a first fit: length scales and signal of 1, and noise of 1 %."""
        return cls((0.0,) * num_parameters, 0.0, float(np.log(0.01)))

    @classmethod
    def of(cls, theta: Floats) -> Hyperparameters:
        """Return the hyperparameters of a vector: log weights, log signal, log noise."""
        return cls(tuple(float(each) for each in theta[:-2]), float(theta[-2]), float(theta[-1]))

    def vector(self) -> Floats:
        """Return the hyperparameters as a vector: log weights, log signal, log noise."""
        return np.array([*self.log_weights, self.log_signal, self.log_noise])

    @property
    def weights(self) -> Floats:
        """Inverse squared length scales, shape (parameters,)."""
        weights: Floats = np.exp(np.array(self.log_weights))
        return weights

    @property
    def signal(self) -> float:
        """Variance of the signal."""
        return float(np.exp(self.log_signal))

    @property
    def noise(self) -> float:
        """Variance of the noise."""
        return float(np.exp(self.log_noise)) + _MIN_NOISE


def fit(points: Points, values: Floats, encoding: Encoding, start: Hyperparameters) -> Hyperparameters:
    """Return the hyperparameters with the largest posterior density, found by L-BFGS from `start`.

    Args:
        points: the observed points.
        values: shape (points,): observed values with mean 0 and variance 1.
        encoding: the encoding of the points.
        start: where the optimisation starts.
    """
    squared = squared_distances(points, points, encoding.is_choice)
    bounds = [_LOG_WEIGHTS] * len(encoding) + [_LOG_SIGNAL, _LOG_NOISE]
    found = minimize(
        negative_log_posterior,
        start.vector(),
        args=(squared, values),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": _MAX_ITERATIONS, "ftol": 1e-5, "gtol": 1e-2},
    )
    return Hyperparameters.of(found.x)


def negative_log_posterior(theta: Floats, squared: Floats, values: Floats) -> tuple[float, Floats]:
    """Return the negative log posterior density of hyperparameters, up to a constant, and its gradient.

    The log marginal likelihood and its gradient are eq. 5.8 and 5.9 of Rasmussen & Williams 2006. The priors are those
    of Optuna's Gaussian process: they keep length scales between the extremes, the signal near 1 and the noise small.

    Args:
        theta: shape (parameters + 2,): log weights, log signal, log noise.
        squared: shape (points, points, parameters): squared distances.
        values: shape (points,): observed values.
    """
    weights, signal = np.exp(theta[:-2]), float(np.exp(theta[-2]))
    noise = float(np.exp(theta[-1])) + _MIN_NOISE
    distance = squared @ weights
    correlation = matern(distance)
    covariance = signal * correlation
    covariance.flat[:: len(values) + 1] += noise
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
    by_distance = signal * by_covariance * matern_derivative(distance)
    gradient[:-2] = -np.tensordot(by_distance, squared, 2) * weights
    gradient[-2] = -float((by_covariance * correlation).sum()) * signal
    gradient[-1] = -float(np.trace(by_covariance)) * (noise - _MIN_NOISE)
    negative += float((0.1 / weights + 0.1 * weights).sum())
    negative -= float(np.log(signal)) - signal + 0.1 * float(np.log(noise)) - 30.0 * noise
    gradient[:-2] += -0.1 / weights + 0.1 * weights
    gradient[-2] += signal - 1.0
    gradient[-1] -= (0.1 / noise - 30.0) * (noise - _MIN_NOISE)
    return negative, gradient


class Posterior:
    """The Gaussian process given observations.

    Args:
        points: the observed points.
        values: shape (points,): observed values.
        encoding: the encoding of the points.
        hyperparameters: the hyperparameters.
    """

    def __init__(self, points: Points, values: Floats, encoding: Encoding, hyperparameters: Hyperparameters) -> None:
        self.points = points
        self.values = values
        self.hyperparameters = hyperparameters
        self._encoding = encoding
        self._distances = Distances(points, hyperparameters.weights, encoding.is_choice, encoding.num_values)
        covariance = hyperparameters.signal * matern(self._distances.to(points))
        self._factor = _factor(covariance, hyperparameters.noise)
        self._solved = cho_solve((self._factor, True), values, check_finite=False)

    def predict(self, points: Points) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the noiseless value at each point, both of shape (points,)."""
        signal = self.hyperparameters.signal
        covariance = signal * matern(self._distances.to(points))
        explained = solve_triangular(self._factor, covariance.T, lower=True, check_finite=False)
        variance = signal - (explained * explained).sum(axis=0)
        return covariance @ self._solved, np.sqrt(np.maximum(variance, 1e-10))

    def mean(self, points: Points) -> Floats:
        """Return the mean of the value at each point, shape (points,)."""
        mean: Floats = self.hyperparameters.signal * matern(self._distances.to(points)) @ self._solved
        return mean

    def with_pending(self, pending: Points) -> Posterior:
        """Return the process with its own mean observed at pending points (kriging believer; Ginsbourger et al. 2010).

        The mean stays the same, and the deviation shrinks near the pending points, so that suggestions differ.
        """
        if not len(pending):
            return self
        values = np.concatenate([self.values, self.mean(pending)])
        return Posterior(join(self.points, pending), values, self._encoding, self.hyperparameters)


def _factor(covariance: Floats, noise: float) -> Floats:
    """Return the Cholesky factor of the covariance of noisy values.

    Distances between configurations with different active parameters may make the matrix slightly indefinite, so the
    diagonal is raised until the factorisation succeeds.
    """
    diagonal = covariance.diagonal().copy()
    while True:
        np.fill_diagonal(covariance, diagonal + noise)
        factor: Floats
        factor, failed = lapack.dpotrf(covariance, lower=1, clean=1)
        if not failed:
            return factor
        noise *= 10.0
