"""The final value of a series: last, best, or the mean of the last few; non-finite values by rule."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.study import Objective
from service.domain.objective import final_value, is_better

INF = math.inf


def objective(value: Any = "last", direction: Any = "maximize") -> Objective:
    return Objective.model_validate({"metric": "val/accuracy", "direction": direction, "value": value})


@pytest.mark.parametrize(
    ("value", "direction", "series", "expected"),
    [
        ("last", "maximize", [(1, 0.9), (2, 0.5)], 0.5),
        ("best", "maximize", [(1, 0.5), (2, 0.9), (3, 0.7)], 0.9),
        ("best", "minimize", [(1, 0.5), (2, 0.9), (3, 0.7)], 0.5),
        ("best", "maximize", [(1, 0.5), (2, INF), (3, math.nan)], 0.5),
        ("best", "minimize", [(1, -INF), (2, 0.5)], 0.5),
        ({"mean_of_last": 2}, "maximize", [(1, 0.0), (5, 0.4), (9, 0.8)], 0.6),
        ({"mean_of_last": 5}, "maximize", [(1, 0.2), (2, 0.4)], 0.3),
        ("last", "maximize", [(1, 0.5), (2, INF)], INF),
        ({"mean_of_last": 2}, "minimize", [(1, -INF), (2, 0.5)], -INF),
    ],
)
def test_the_final_value(value: Any, direction: str, series: list[tuple[int, float]], expected: float) -> None:
    assert final_value(objective(value, direction), tuple(series)) == pytest.approx(expected)


@pytest.mark.parametrize("value", ["last", "best", {"mean_of_last": 3}])
def test_an_empty_series_has_none(value: Any) -> None:
    assert final_value(objective(value), ()) is None


def test_best_has_none_where_nothing_is_finite() -> None:
    assert final_value(objective("best"), ((1, math.nan), (2, INF))) is None


@pytest.mark.parametrize("value", ["last", {"mean_of_last": 2}])
def test_a_nan_that_counts_is_the_answer(value: Any) -> None:
    answer = final_value(objective(value), ((1, 0.5), (2, math.nan)))
    assert answer is not None
    assert math.isnan(answer)


finite = st.floats(-1e6, 1e6)


@given(values=st.lists(finite, min_size=1), direction=st.sampled_from(["maximize", "minimize"]))
def test_nothing_in_the_series_beats_the_best(values: list[float], direction: str) -> None:
    asked = objective("best", direction)
    best = final_value(asked, tuple(enumerate(values)))
    assert best in values
    assert not any(is_better(asked, value, best) for value in values)


@given(one=finite, other=finite)
def test_of_two_different_values_one_is_better_and_the_other_in_the_other_direction(one: float, other: float) -> None:
    up, down = objective(direction="maximize"), objective(direction="minimize")
    assert is_better(up, one, other) == is_better(down, other, one) == (one > other)
