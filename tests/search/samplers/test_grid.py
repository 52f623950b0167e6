"""A grid suggests every configuration exactly once, then reports that it is done."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.space import FloatParameter, IntParameter
from service.domain.history import History
from service.search import decide
from service.search.samplers.grid import GridSampler, grid_axis
from service.search.space.sampling import config_keys
from service.search.validation import check_strategy
from tests.search.studies import begun, ended, played, record, study

SPACE: dict[str, Any] = {
    "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True, "points": 5},
    "name": {"type": "categorical", "choices": ["sgd", "adamw"]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.9, "points": 3, "when": {"name": "sgd"}},
}


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    shuffle=st.booleans(),
    seed=st.integers(0, 99),
    at_once=st.integers(1, 5),
    budget=st.none() | st.integers(1, 70),
)
def test_numbers_handed_out_are_the_smaller_of_budget_and_size(
    sizes: list[int], shuffle: bool, seed: int, at_once: int, budget: int | None
) -> None:
    space = {f"p{at}": {"type": "categorical", "choices": list(range(num))} for at, num in enumerate(sizes)}
    spec = study(space, sampler={"name": "grid", "shuffle": shuffle, "seed": seed}, budget={"trials": budget})
    history = played(spec, lambda _: 0.0, at_once=at_once)
    total = GridSampler(spec.space, shuffle=shuffle).size
    assert len(history) == min(total, budget or total)
    assert len(config_keys(trial.parameters for trial in history)) == len(history)


def test_cells_come_in_order_the_last_name_fastest_without_repeats_under_conditions() -> None:
    history = played(study(SPACE, sampler="grid", budget={}), lambda _: 0.0)
    assert len(history) == 5 * (1 + 3)
    assert [dict(trial.parameters) for trial in history.trials[:5]] == [
        {"lr": 1e-5, "name": "sgd", "momentum": 0.0},
        {"lr": 1e-5, "name": "sgd", "momentum": 0.45},
        {"lr": 1e-5, "name": "sgd", "momentum": 0.9},
        {"lr": 1e-5, "name": "adamw"},
        {"lr": 1e-4, "name": "sgd", "momentum": 0.0},
    ]


def test_enqueued_configurations_cost_no_cell() -> None:
    spec = study(SPACE, sampler="grid", budget={})
    history = History(trials=(record(0, {"name": "adamw", "lr": 0.03}, 0.5),))
    cells = []
    while isinstance(decision := decide.next_action(history, spec), decide.Suggest):
        cells.append(decision.suggestion.parameters)
        history = begun(history, decision)
    assert len(config_keys(cells)) == len(cells) == 20
    assert len(history) == 21


@settings(deadline=None, max_examples=40)
@given(
    edits=st.lists(st.tuples(st.integers(0, 6), st.integers(3, 4), st.booleans(), st.integers(0, 2)), min_size=2),
    own=st.lists(st.integers(1, 6), max_size=3),
)
def test_after_any_edits_every_cell_of_the_last_grid_was_tried_exactly_once(
    edits: list[tuple[int, int, bool, int]], own: list[int]
) -> None:
    """Grids of other values and in other orders follow one another, and a person tried some cells before."""
    by_hand = tuple(record(number, {"a": choice, "b": 1}, 0.0) for number, choice in enumerate(dict.fromkeys(own)))
    history = History(trials=by_hand)
    for at, (num, high, shuffle, seed) in enumerate(edits):
        space = {
            "a": {"type": "int", "low": 1, "high": high},
            "b": {"type": "categorical", "choices": [1, 2]},
        }
        spec = study(space, sampler={"name": "grid", "shuffle": shuffle, "seed": seed}, budget={})
        left = num if at < len(edits) - 1 else 100
        while left and isinstance(decision := decide.next_action(history, spec), decide.Suggest):
            history = ended(begun(history, decision), decision.number, 0.0)
            left -= 1
    tried = [dict(trial.parameters) for trial in history.trials[len(by_hand) :]]
    assert len(config_keys(tried)) == len(tried)
    assert not config_keys(tried) & config_keys(trial.parameters for trial in by_hand)
    cells = [{"a": a, "b": b} for a in range(1, high + 1) for b in (1, 2)]
    assert config_keys(cells) <= config_keys(trial.parameters for trial in history)
    assert isinstance(decide.next_action(history, spec), decide.Done)


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        (FloatParameter(type="float", low=1e-4, high=1e-1, log=True, points=4), [1e-4, 1e-3, 1e-2, 1e-1]),
        (FloatParameter(type="float", low=0, high=1, points=6), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (FloatParameter(type="float", low=0, high=0.9, step=0.1, points=4), [0.0, 0.3, 0.6, 0.9]),
        (FloatParameter(type="float", low=1e-4, high=1e-2, log=True, zero=True, points=3), [0.0, 1e-4, 1e-3, 1e-2]),
        (IntParameter(type="int", low=1, high=1000, log=True, points=4), [1, 10, 100, 1000]),
        (IntParameter(type="int", low=1, high=4, log=True, points=4), [1, 2, 3, 4]),
        (IntParameter(type="int", low=0, high=10, step=5), [0, 5, 10]),
        (IntParameter(type="int", low=0, high=100, step=10, points=3), [0, 50, 100]),
    ],
    ids=str,
)
def test_points_are_even_on_the_parameters_own_scale(parameter: Any, values: list[float]) -> None:
    assert list(grid_axis(parameter)) == values


def test_a_billion_cells_are_handed_out_as_quickly_as_ten() -> None:
    space = {f"p{at}": {"type": "int", "low": 1, "high": 1000} for at in range(3)}
    spec = study(space, sampler={"name": "grid", "shuffle": True}, budget={})
    decision = decide.next_action(History(), spec)
    assert isinstance(decision, decide.Suggest)
    assert decision.suggestion.reason.endswith("of 1000000000, number 1 in shuffled order")


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (
            {"type": "float", "low": 0.0, "high": 1.0},
            "a grid cannot list the continuous range [0, 1]; write points: 5 (or another number), or a step",
        ),
        (
            {"type": "int", "low": 1, "high": 4, "points": 9},
            "9 points, but the range has only 4 values; drop points for all",
        ),
    ],
)
def test_a_range_that_is_no_axis_says_what_to_write(parameter: dict[str, Any], message: str) -> None:
    errors = check_strategy(study({"x": parameter}, sampler="grid"))
    assert [(error.path, error.message) for error in errors] == [("space.x.points", message)]
