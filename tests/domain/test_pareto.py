"""The Pareto front: properties that hold for any points."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.domain.pareto import LossVector, dominates, losses, nadir, pareto_front

MOST = 10


def points_of(num_objectives: int, *, most: int = 12) -> st.SearchStrategy[list[LossVector]]:
    """Few coordinates, so that points tie and repeat."""
    return st.lists(st.tuples(*[st.integers(0, MOST).map(float)] * num_objectives), max_size=most)


any_points = st.integers(1, 4).flatmap(points_of)


@given(any_points)
def test_no_point_on_the_front_is_dominated_and_every_other_point_is(points: list[LossVector]) -> None:
    on_front = [points[at] for at in pareto_front(points)]
    for at, point in enumerate(points):
        beaten_by = [other for other in on_front if dominates(other, point)]
        assert (at in pareto_front(points)) == (not beaten_by)


@given(any_points, st.randoms())
def test_the_order_of_the_points_does_not_matter_and_equal_ones_stay_together(
    points: list[LossVector], chance: object
) -> None:
    turned = sorted(points, key=lambda _: chance.random())  # type: ignore[attr-defined]
    assert sorted(points[at] for at in pareto_front(points)) == sorted(turned[at] for at in pareto_front(turned))
    doubled = pareto_front([*points, *points])
    assert doubled == [*pareto_front(points), *(len(points) + at for at in pareto_front(points))]


@given(points_of(3))
def test_no_two_points_dominate_each_other(points: list[LossVector]) -> None:
    assert not any(dominates(one, other) and dominates(other, one) for one in points for other in points)
    assert not any(dominates(one, one) for one in points)


def test_larger_is_better_where_an_objective_is_maximized() -> None:
    values = [(0.9, 100.0), (0.8, 10.0), (0.7, 50.0)]
    points = [losses(each, ("maximize", "minimize")) for each in values]
    assert pareto_front(points) == [0, 1]
    assert losses(nadir(points) or (), ("maximize", "minimize")) == (0.7, 100.0)
    assert nadir([]) is None
