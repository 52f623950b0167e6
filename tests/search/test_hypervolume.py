"""The hypervolume: by hand in the plane, by counting cubes in space, and properties for any points."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.pareto import LossVector, dominates, pareto_front
from service.search.optuna_bridge.pareto import hypervolume
from tests.domain.test_pareto import points_of

CORNER = 10


def swept(points: list[LossVector]) -> float:
    """The area under a front in the plane, by rectangles from left to right."""
    stairs = sorted({points[at] for at in pareto_front(points)})
    edges = [x for x, _ in stairs] + [float(CORNER)]
    return sum((right - left) * (CORNER - y) for (left, right), (_, y) in zip(pairwise(edges), stairs, strict=True))


def volume(points: list[LossVector]) -> float:
    num_objectives = len(points[0]) if points else 2
    return hypervolume(points, (float(CORNER),) * num_objectives)


@given(points_of(2))
def test_in_the_plane_it_is_the_area_under_the_stairs(points: list[LossVector]) -> None:
    assert volume(points) == pytest.approx(swept(points))


@settings(deadline=None)
@given(st.integers(2, 4).flatmap(lambda num: points_of(num, most=6)))
def test_it_is_what_counting_cubes_gives(points: list[LossVector]) -> None:
    """Coordinates are whole numbers here, so the space is made of unit cubes."""
    num_objectives = len(points[0]) if points else 2
    cubes = np.indices((CORNER,) * num_objectives)
    dominated = np.zeros((CORNER,) * num_objectives, dtype=bool)
    for point in points:
        dominated |= np.all([cubes[at] >= x for at, x in enumerate(point)], axis=0)
    assert volume(points) == pytest.approx(dominated.sum())


@given(st.integers(2, 4).flatmap(lambda num: st.tuples(points_of(num), points_of(num, most=3))))
def test_another_point_adds_to_it_or_is_dominated(given_points: tuple[list[LossVector], list[LossVector]]) -> None:
    points, more = given_points
    before, after = volume(points), volume([*points, *more])
    assert after >= before - 1e-9
    if all(any(one == other or dominates(one, other) for one in points) for other in more):
        assert after == pytest.approx(before)


def test_points_beyond_the_corner_add_nothing() -> None:
    assert volume([(11.0, 0.0), (10.0, 0.0)]) == 0.0
    assert volume([(11.0, 0.0), (9.0, 8.0)]) == 2.0
    assert volume([]) == 0.0
