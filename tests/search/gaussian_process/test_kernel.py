"""Distances between configurations and their covariance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import Matern

from service.search.gaussian_process.encoding import Encoding
from service.search.gaussian_process.kernel import Distances, matern, matern_derivative, squared_distances
from tests.search.studies import EVERY_KIND, study


def test_the_covariance_is_scikit_learns() -> None:
    points = np.random.default_rng(0).random((20, 3))
    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    assert np.allclose(matern(squared), Matern(length_scale=1.0, nu=2.5)(points))


def test_its_derivative_is_that_of_finite_differences() -> None:
    squared, step = np.linspace(0.01, 9.0, 50), 1e-6
    slope = (matern(squared + step) - matern(squared - step)) / (2 * step)
    assert np.allclose(matern_derivative(squared), slope, atol=1e-8)


def test_a_matrix_product_gives_the_same_distances_as_each_parameter_alone() -> None:
    encoding, rng = Encoding(study(EVERY_KIND).space), np.random.default_rng(0)
    first, second = (encoding.nearest(rng.random((num, len(encoding)))) for num in (30, 40))
    weights = rng.random(len(encoding)) * 5
    distances = Distances(second, weights, encoding.is_choice, encoding.num_values)
    expected = squared_distances(first, second, encoding.is_choice) @ weights
    assert np.allclose(distances.to(first), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "squared"),
    [
        ({"a": "x", "b": 0.0, "n": 0.25}, {"a": "x", "b": 0.0, "n": 0.75}, [0.0, 0.0, 0.25]),
        ({"a": "x", "b": 0.0, "n": 0.5}, {"a": "z", "n": 0.5}, [1.0, 0.5, 0.0]),
        ({"a": "y", "n": 0.5}, {"a": "z", "n": 0.5}, [1.0, 0.0, 0.0]),
        ({"a": "x", "b": 0.0, "n": 0.5}, {"a": "x", "b": 1.0, "n": 0.5}, [0.0, 1.0, 0.0]),
    ],
    ids=["numbers", "only one has b", "neither has b", "both have b"],
)
def test_each_kind_of_parameter_has_its_distance(
    first: dict[str, float], second: dict[str, float], squared: list[float]
) -> None:
    unit = {"type": "float", "low": 0, "high": 1}
    choices = {"type": "categorical", "choices": ["x", "y", "z"]}
    encoding = Encoding(study({"a": choices, "b": {**unit, "when": {"a": "x"}}, "n": unit}).space)
    assert encoding.names == ["a", "b", "n"]
    both = encoding.points([first, second])
    (found,) = squared_distances(both.take([0]), both.take([1]), encoding.is_choice)[0]
    assert found == pytest.approx(squared)
