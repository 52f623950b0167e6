"""The objective values of a trial: from each series by its rule, or measured at the end."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.study import Objective, StudySpec
from service.domain.objective import (
    check_objectives,
    final_value,
    is_better,
    objective_results,
    plain_losses_of,
    tie_break_loss,
)

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


LOSS = objective(direction="minimize").model_copy(update={"metric": "val/loss"})
SIZE = LOSS.model_copy(update={"metric": "num_parameters"})


def test_an_objective_without_a_series_is_what_was_measured_at_the_end() -> None:
    loss, size = objective_results(
        [LOSS, SIZE], {"val/loss": ((1, 0.5), (2, 0.4))}, {"num_parameters": 100.0, "val/loss": 9.0}
    )
    assert (loss.value, size.value, size.last) == (0.4, 100.0, 100.0)


def test_a_missing_value_differs_from_a_non_finite_one() -> None:
    loss, size = objective_results([LOSS, SIZE], {"val/loss": ((1, 0.5), (2, math.nan))}, {})
    assert (loss.value, str(loss.last), loss.is_finite) == (None, "nan", False)
    assert (size.value, size.last, size.is_finite) == (None, None, True)
    (wild,) = objective_results([SIZE], {}, {"num_parameters": INF})
    assert (wild.value, wild.last, wild.is_finite) == (None, INF, False)


ACCURACY = {"metric": "val/accuracy", "direction": "maximize"}
SECONDS = {"metric": "seconds", "direction": "minimize"}


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"objective": ACCURACY, "reference_point": [0.0]}, "reference_point", "this study has one; leave it out"),
        ({"objective": [ACCURACY, SECONDS], "reference_point": [0.0]}, "reference_point", "val/accuracy, seconds"),
        ({"objective": [ACCURACY, SECONDS], "budget": {"target": 1}}, "budget.target", "has several; leave it out"),
        (
            {"objective": [ACCURACY, SECONDS], "reference": {"human": 1}},
            "reference",
            "this study has several; leave it",
        ),
    ],
)
def test_objectives_that_cannot_be_had_say_what_to_write(changes: Any, path: str, message: str) -> None:
    spec = StudySpec.model_validate({"name": "s", "space": {"x": {"type": "int", "low": 0, "high": 9}}, **changes})
    (error,) = check_objectives(spec)
    assert error.path == path
    assert message in error.message


finite = st.floats(-1e6, 1e6)


@given(values=st.lists(finite, min_size=1), direction=st.sampled_from(["maximize", "minimize"]))
def test_nothing_in_the_series_beats_the_best(values: list[float], direction: str) -> None:
    asked = objective("best", direction)
    best = final_value(asked, tuple(enumerate(values)))
    assert best in values
    assert not any(is_better(asked, value, best) for value in values)


@given(one=finite, other=finite)
def test_of_two_different_values_exactly_one_is_better_per_direction(one: float, other: float) -> None:
    up, down = objective(direction="maximize"), objective(direction="minimize")
    assert is_better(up, one, other) == is_better(down, other, one) == (one > other)


@pytest.mark.parametrize(
    ("metric", "losses"),
    [
        ("val/accuracy", ("val/cross_entropy", "val/mse")),
        ("test_val/rmse", ("test_val/cross_entropy", "test_val/mse")),
        ("val/f1/cat", ("val/cross_entropy", "val/mse")),
        ("val/cross_entropy", ()),
        ("loss", ()),
    ],
)
def test_a_metric_of_a_split_has_the_plain_losses_of_that_split(metric: str, losses: tuple[str, ...]) -> None:
    assert plain_losses_of(metric) == losses


ACCURACY = ((1, 0.5), (2, 0.9), (3, 0.9), (4, 0.7))
ENTROPY = ((1, 0.8), (2, 0.4), (3, 0.3), (4, 0.2))


@pytest.mark.parametrize(
    ("value", "losses", "loss"),
    [
        ("best", ENTROPY, 0.3),
        ("last", ENTROPY, 0.2),
        ({"mean_of_last": 2}, ENTROPY, 0.2),
        ("best", ((2, math.nan), (3, 0.4)), 0.4),
        ("best", ((2, math.nan), (3, INF)), None),
        ("best", ((1, 0.1), (4, 0.1)), None),
        ("best", (), None),
    ],
)
def test_the_loss_that_breaks_ties_is_the_lowest_where_the_final_value_was_reached(
    value: Any, losses: Any, loss: float | None
) -> None:
    curves = {"val/accuracy": ACCURACY, "val/cross_entropy": losses}
    assert tie_break_loss(objective(value), curves, {}) == loss


def test_without_a_series_the_loss_that_breaks_ties_is_the_one_of_the_outcome() -> None:
    measured = {"val/accuracy": 0.9, "val/mse": 0.1}
    assert tie_break_loss(objective(), {"val/accuracy": ()}, measured) == 0.1
    assert tie_break_loss(objective(), {"val/accuracy": ACCURACY}, measured) is None
