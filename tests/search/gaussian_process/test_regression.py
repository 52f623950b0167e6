"""Gaussian process regression: gradients, predictions and the treatment of pending points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from service.search.gaussian_process.encoding import Encoding, Floats, Points
from service.search.gaussian_process.kernel import squared_distances
from service.search.gaussian_process.regression import Hyperparameters, Posterior, fit, negative_log_posterior
from tests.search.studies import EVERY_KIND, study

SQUARE = study({name: {"type": "float", "low": 0, "high": 1} for name in ("x", "y")}).space
KNOWN = Hyperparameters((1.0, -0.5), 0.3, -4.0)


def observed(encoding: Encoding, num: int = 25) -> tuple[Points, Floats]:
    rng = np.random.default_rng(3)
    points = encoding.nearest(rng.random((num, len(encoding))))
    values = np.sin(4.0 * points.units[:, 0]) + points.units[:, 1] ** 2 + 0.05 * rng.normal(size=num)
    return points, (values - values.mean()) / values.std()


@pytest.mark.parametrize("seed", range(4))
def test_the_gradient_is_that_of_finite_differences(seed: int) -> None:
    encoding = Encoding(study(EVERY_KIND).space)
    points, values = observed(encoding)
    squared = squared_distances(points, points, encoding.is_choice)
    theta = np.random.default_rng(seed).uniform(-2.0, 1.0, len(encoding) + 2)
    _, gradient = negative_log_posterior(theta, squared, values)
    numeric = approx_fprime(theta, lambda at: negative_log_posterior(at, squared, values)[0], 1e-6)
    assert np.allclose(gradient, numeric, rtol=1e-3, atol=1e-3)


def test_predictions_are_scikit_learns() -> None:
    encoding = Encoding(SQUARE)
    points, values = observed(encoding)
    theirs = GaussianProcessRegressor(
        ConstantKernel(KNOWN.signal) * Matern(KNOWN.weights**-0.5, nu=2.5), alpha=KNOWN.noise, optimizer=None
    ).fit(points.units, values)
    new = encoding.nearest(np.random.default_rng(1).random((50, 2)))
    mean, deviation = Posterior(points, values, encoding, KNOWN).predict(new)
    expected_mean, expected_deviation = theirs.predict(new.units, return_std=True)
    assert np.allclose(mean, expected_mean)
    assert np.allclose(deviation, expected_deviation)


def test_a_fit_finds_which_parameter_matters() -> None:
    encoding = Encoding(SQUARE)
    rng = np.random.default_rng(0)
    points = encoding.nearest(rng.random((40, 2)))
    values = np.sin(8.0 * points.units[:, 0])
    found = fit(points, (values - values.mean()) / values.std(), encoding, Hyperparameters.initial(2))
    assert found.weights[0] > 20 * found.weights[1]
    assert found.noise < 0.01


def test_pending_points_leave_the_mean_and_shrink_the_deviation_near_them() -> None:
    encoding = Encoding(SQUARE)
    points, values = observed(encoding, 8)
    alone = Posterior(points, values, encoding, KNOWN)
    pending = encoding.nearest(np.array([[0.9, 0.9]]))
    believing = alone.with_pending(pending)
    near, far = encoding.nearest(np.array([[0.9, 0.9]])), encoding.nearest(np.array([[0.1, 0.1]]))
    assert believing.predict(near)[0] == pytest.approx(alone.predict(near)[0], abs=0.05)
    assert believing.predict(near)[1] < 0.5 * alone.predict(near)[1]
    assert believing.predict(far)[1] == pytest.approx(alone.predict(far)[1], rel=0.1)


def test_repeated_points_and_equal_values_are_no_obstacle() -> None:
    encoding = Encoding(SQUARE)
    points = encoding.nearest(np.full((30, 2), 0.5))
    found = fit(points, np.zeros(30), encoding, Hyperparameters.initial(2))
    mean, deviation = Posterior(points, np.zeros(30), encoding, found).predict(points)
    assert np.isfinite(mean).all()
    assert np.isfinite(deviation).all()


def test_hyperparameters_survive_their_way_through_a_vector() -> None:
    assert Hyperparameters.of(KNOWN.vector()) == KNOWN
