"""The default sampler chooses a suitable sampler, says which and why, and always the same for the same study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from service.domain.history import History
from service.search import decide, optional_deps
from service.search.space.sampling import config_keys
from tests.search.studies import EVERY_KIND, begun, played, record, smooth, study

NUMBERS: dict[str, Any] = {f"x{at}": {"type": "float", "low": 0.0, "high": 1.0} for at in range(3)}
FINITE: dict[str, Any] = {
    "a": {"type": "int", "low": 1, "high": 4, "points": 2},
    "b": {"type": "categorical", "choices": ["x", "y", "z"]},
}


@pytest.fixture
def without_gp(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(optional_deps._LIBRARIES, "gp", ("a_library_that_is_not_there",))
    optional_deps.has_extra.cache_clear()
    yield
    optional_deps.has_extra.cache_clear()


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
        (2, 10, "auto: 10 trials are too few for a model; sobol: point 2 of the sequence"),
        (3, 50, "auto: 3 of 10 trials to learn from; sobol: point 3 of the sequence"),
        (3, None, "auto: 3 of 10 trials to learn from; sobol: point 3 of the sequence"),
        (12, 50, "auto: gp, as the space is mostly numbers and 12 trials are few; gp: expected improvement by"),
        (201, 300, "auto: tpe, as 201 trials are more than the 200 that it is fast with; tpe: a model of 201 trials"),
    ],
)
def test_auto_starts_evenly_and_continues_with_a_suitable_model(num_trials: int, budget: int | None, told: str) -> None:
    assert reason(NUMBERS, num_trials, budget).startswith(told)


@pytest.mark.usefixtures("without_gp")
def test_without_the_extra_the_model_is_tpe() -> None:
    assert reason(NUMBERS, 12).startswith("auto: tpe, as this service lacks the extra gp; tpe: a model of 12 trials")


def test_spaces_of_conditions_or_of_many_dimensions_are_tpe_s() -> None:
    conditional = {name: each for name, each in EVERY_KIND.items() if name not in ("batch_size", "model.dropout")}
    assert "tpe, as only 3 of 6 parameters are numbers that always exist" in reason(conditional, 12)
    many = {f"x{at}": {"type": "float", "low": 0.0, "high": 1.0} for at in range(21)}
    assert "tpe, as 21 parameters are many for a Gaussian process" in reason(many, 12)


def test_it_is_the_default() -> None:
    assert study().sampler.name == "auto"


@pytest.mark.usefixtures("without_gp")
def test_it_finds_what_tpe_finds() -> None:
    best = played(study(sampler="auto", budget={"trials": 40}), smooth).best("minimize")
    assert best is not None
    assert best.value is not None
    assert best.value < 0.5
