"""Log expected improvement: exact where the improvement is representable, and ordered where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from service.search.gaussian_process.acquisition import log_expected_improvement


@pytest.mark.parametrize(("mean", "deviation", "incumbent"), [(0.0, 1.0, 0.5), (2.0, 0.5, 1.0), (-1.0, 0.1, -2.0)])
def test_it_is_the_logarithm_of_the_integral(mean: float, deviation: float, incumbent: float) -> None:
    low = min(mean - 12 * deviation, incumbent - 1.0)
    improvement, _ = quad(
        lambda value: (incumbent - value) * norm.pdf(value, mean, deviation), low, incumbent, epsabs=0.0
    )
    (found,) = log_expected_improvement(np.array([mean]), np.array([deviation]), incumbent)
    assert found == pytest.approx(np.log(improvement), rel=1e-4)


def test_it_is_finite_and_falls_with_the_mean_however_small_the_improvement() -> None:
    means = np.linspace(0.0, 1000.0, 2001)
    scores = log_expected_improvement(means, np.full(len(means), 0.5), 0.0)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) < 0).all()


def test_it_rises_with_the_deviation() -> None:
    deviations = np.linspace(0.01, 2.0, 100)
    assert (np.diff(log_expected_improvement(np.full(100, 0.3), deviations, 0.0)) > 0).all()
