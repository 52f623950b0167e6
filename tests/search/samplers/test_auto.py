"""The default sampler chooses a suitable sampler, says which and why, and always the same for the same study."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.history import History
from service.search import decide
from service.search.space.sampling import config_keys
from tests.search.studies import EVERY_KIND, begun, played, record, smooth, study

NUMBERS: dict[str, Any] = {f"x{at}": {"type": "float", "low": 0.0, "high": 1.0} for at in range(3)}
FINITE: dict[str, Any] = {
    "a": {"type": "int", "low": 1, "high": 4, "points": 2},
    "b": {"type": "categorical", "choices": ["x", "y", "z"]},
}


def reason(space: dict[str, Any], num_trials: int, budget: int | None = 100) -> str:
    values = {"x0": 0.1, "x1": 0.2, "x2": 0.3}
    history = History(trials=tuple(record(at, values, value=float(at)) for at in range(num_trials)))
    decision = decide.next_action(history, study(space, sampler="auto", budget={"trials": budget}))
    assert isinstance(decision, decide.Suggest)
    return decision.suggestion.reason


def test_a_budget_that_covers_a_finite_space_makes_a_grid_of_all_of_it() -> None:
    history = played(study(FINITE, sampler="auto", budget={"trials": 50}), lambda _: 0.0, at_once=4)
    assert len(history) == len(config_keys(trial.parameters for trial in history)) == 12
    assert reason(FINITE, 0).startswith("auto: the budget of 100 covers all 12 configurations; grid: cell ")


def test_a_budget_raised_later_does_not_turn_a_model_s_search_into_a_grid() -> None:
    spec = study(FINITE, sampler="auto", budget={"trials": 11})
    history = played(spec, lambda values: float(str(values["a"])))
    larger = spec.model_copy(update={"budget": spec.budget.model_copy(update={"trials": 12})})
    decision = decide.next_action(history, larger)
    assert isinstance(decision, decide.Suggest)
    assert len(config_keys(trial.parameters for trial in begun(history, decision))) == 12


@pytest.mark.parametrize(
    ("num_trials", "budget", "told"),
    [
        (0, 10, "auto: the default model; gp startup: the centre of the space, 0 of 4 trials to learn from"),
        (3, None, "auto: the default model; gp startup: point 3 of Sobol's sequence, 3 of 4 trials to learn from"),
        (13, 50, "auto: the default model; gp: largest expected improvement by a Gaussian process of 13 trials"),
        (401, 500, "auto: tpe, as 401 trials are many for a Gaussian process; tpe: a model of 401 trials"),
    ],
)
def test_one_objective_is_modelled_by_a_gaussian_process(num_trials: int, budget: int | None, told: str) -> None:
    assert reason(NUMBERS, num_trials, budget).startswith(told)


def test_choices_and_conditions_are_modelled_too() -> None:
    assert reason(EVERY_KIND, 0).startswith("auto: the default model; gp startup: the centre of the space")


def test_spaces_of_many_dimensions_are_tpe_s() -> None:
    many = {f"x{at}": {"type": "float", "low": 0.0, "high": 1.0} for at in range(61)}
    assert "tpe, as 61 parameters are many for a Gaussian process" in reason(many, 12)


def test_it_is_the_default() -> None:
    assert study().sampler.name == "auto"


def test_it_finds_what_tpe_finds() -> None:
    best = played(study(sampler="auto", budget={"trials": 40}), smooth).best("minimize")
    assert best is not None
    assert best.value is not None
    assert best.value < 0.5
