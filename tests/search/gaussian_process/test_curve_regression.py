"""Regression over configurations and steps: gradients, predictions of ends, and pending points."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from service.search.gaussian_process.curve_regression import (
    CurveHyperparameters,
    CurvePoints,
    CurvePosterior,
    fit,
    negative_log_posterior,
    step_position,
)
from service.search.gaussian_process.encoding import Encoding, Floats
from service.search.gaussian_process.kernel import matern, squared_distances
from tests.search.studies import EVERY_KIND, study

LINE = study({"x": {"type": "float", "low": 0, "high": 1}}).space
LAST = 27


def observed(
    encoding: Encoding, num_trials: int = 8, steps: tuple[int, ...] = (3, 9, 27)
) -> tuple[CurvePoints, Floats]:
    """Curves that fall towards the value of the first parameter, with standardised values."""
    units = np.random.default_rng(3).random((num_trials, len(encoding)))
    trials = np.repeat(np.arange(num_trials), len(steps))
    at = np.tile(np.array(steps), num_trials)
    points = CurvePoints(encoding.nearest(units[trials]), step_position(at, LAST), trials)
    values = points.configurations.units[:, 0] + 1 / at
    return points, (values - values.mean()) / values.std()


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_finite_differences(seed: int) -> None:
    encoding = Encoding(study(EVERY_KIND).space)
    points, values = observed(encoding)
    squared = squared_distances(points.configurations, points.configurations, encoding.is_choice)
    over_steps = matern((points.positions[:, None] - points.positions[None]) ** 2)
    same = (points.trials[:, None] == points.trials[None]).astype(float)
    theta = np.random.default_rng(seed).uniform(-2.0, 1.0, len(encoding) + 5)
    _, gradient = negative_log_posterior(theta, squared, over_steps, same, values)
    numeric = approx_fprime(theta, lambda at: negative_log_posterior(at, squared, over_steps, same, values)[0], 1e-6)
    assert np.allclose(gradient, numeric, rtol=1e-3, atol=1e-3)


def test_observed_ends_are_predicted_and_far_configurations_are_uncertain() -> None:
    encoding = Encoding(LINE)
    points, values = observed(encoding)
    posterior = CurvePosterior(points, values, encoding, fit(points, values, encoding, CurveHyperparameters.initial(1)))
    ends = points.positions == 1.0
    mean, deviation = posterior.predict(points.configurations.take(np.flatnonzero(ends)), 1.0, points.trials[ends])
    assert np.allclose(mean, values[ends], atol=0.1)
    _, of_new = posterior.predict(encoding.points([{"x": 0.0}]), 1.0)
    assert float(of_new[0]) > float(deviation.max())


def test_a_trials_own_early_values_tell_more_than_those_of_its_neighbours() -> None:
    """Of two trials with the same configuration, the one whose curve lies lower is expected to end lower."""
    encoding = Encoding(LINE)
    at = np.array([3, 9, 27, 3, 9, 3, 9])
    trials = np.array([0, 0, 0, 1, 1, 2, 2])
    configurations = encoding.points({"x": x} for x in (0.2, 0.2, 0.2, 0.5, 0.5, 0.5, 0.5))
    values = np.array([1.0, 0.0, -1.0, 1.5, 0.9, 0.6, -0.6])
    posterior = CurvePosterior(
        CurvePoints(configurations, step_position(at, LAST), trials), values, encoding, CurveHyperparameters.initial(1)
    )
    mean, _ = posterior.predict(configurations.take([3, 5]), 1.0, np.array([1, 2]))
    assert float(mean[0]) > float(mean[1]) + 0.3


def test_a_pending_point_keeps_the_mean_and_shrinks_the_deviation() -> None:
    encoding = Encoding(LINE)
    points, values = observed(encoding)
    posterior = CurvePosterior(points, values, encoding, CurveHyperparameters.initial(1))
    pending = CurvePoints(encoding.points([{"x": 0.0}]), np.array([1.0]), np.array([99]))
    believed = posterior.with_pending(pending)
    before, after = (each.predict(pending.configurations, 1.0, pending.trials) for each in (posterior, believed))
    assert np.allclose(before[0], after[0], atol=0.05)
    assert float(after[1][0]) < 0.5 * float(before[1][0])
