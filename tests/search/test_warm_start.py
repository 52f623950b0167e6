"""Warm start: prior trials of other studies guide only the first suggestions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.base import Value
from service.domain.history import History
from service.search import decide
from service.search.replay import simulate
from service.search.samplers import sampler_for
from service.search.validation import check_strategy
from service.search.warm_start import MAX_PRIOR_TRIALS, REPLACED, active_prior_trials, select_spread
from tests.search.studies import played, record, smooth, study

CUBE: dict[str, Any] = {name: {"type": "float", "low": 0.0, "high": 1.0} for name in "abc"}
SEEDS = range(6)

Function = Callable[[Mapping[str, Value], int], dict[str, float]]


def bowl(*centre: float, sign: float = 1.0, offset: float = 0.0) -> Function:
    """A function of the unit cube that is best, or with a sign of -1 worst, at its centre."""

    def value(parameters: Mapping[str, Value], step: int) -> dict[str, float]:
        del step
        places = [float(parameters[name]) for name in "abc"]  # type: ignore[arg-type]
        return {"val/loss": offset + sign * sum((x - c) ** 2 for x, c in zip(places, centre, strict=True))}

    return value


HERE = bowl(0.3, 0.65, 0.3)


def reached(num_trials: int, *, after: Function | None = None) -> float:
    """The best value of so many trials, on the average over seeds, warm-started from 40 random ones of a function."""
    found = []
    for seed in SEEDS:
        spec = study(CUBE, sampler="tpe", budget={"trials": num_trials})
        random = study(CUBE, sampler="random", budget={"trials": 40})
        earlier = simulate.run(random, after, workers=2, seed=100 + seed).history.trials if after else ()
        best = simulate.run(spec, HERE, workers=2, seed=seed, earlier=earlier).history.best("minimize")
        assert best is not None
        assert best.value is not None
        found.append(best.value)
    return mean(found)


def test_it_begins_better_after_a_function_that_is_a_little_shifted() -> None:
    shifted = bowl(0.35, 0.6, 0.25)
    assert reached(5, after=shifted) < 0.25 * reached(5)
    assert reached(10, after=shifted) < 0.5 * reached(10)


@pytest.mark.parametrize(
    "unlike", [bowl(0.3, 0.65, 0.3, sign=-1), bowl(0.9, 0.1, 0.9, offset=-10)], ids=["opposite", "elsewhere and lower"]
)
def test_warm_start_from_an_unlike_function_is_overcome(unlike: Function) -> None:
    assert reached(10, after=unlike) > reached(10)
    assert reached(40, after=unlike) < reached(20)


def test_after_enough_trials_of_its_own_a_study_is_as_if_it_had_begun_cold() -> None:
    spec = study(sampler={"name": "tpe", "startup_trials": 5})
    own = played(spec, smooth)
    foreign = tuple(record(at - MAX_PRIOR_TRIALS, own.trials[0].parameters, -9.0) for at in range(MAX_PRIOR_TRIALS))
    num = MAX_PRIOR_TRIALS // REPLACED
    for number, is_cold in ((num - 1, False), (num, True), (num + 9, True)):
        cold = History(trials=own.trials[:number])
        warm = History(trials=own.trials[:number], prior_trials=foreign)
        asked = [sampler_for(spec).suggest(history, number, 7) for history in (cold, warm)]
        assert (asked[0] == asked[1]) is is_cold


def test_the_worst_make_way_first() -> None:
    earlier = tuple(record(at - 8, value=float(-at)) for at in range(8))
    own = (record(0, value=1.0), record(1))
    assert active_prior_trials(History(trials=own, prior_trials=earlier), 2) == earlier[REPLACED:]
    assert active_prior_trials(History(trials=own, prior_trials=earlier), 0) == earlier


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.sampled_from(["minimize", "maximize"]))
def test_of_many_prior_trials_an_even_spread_with_the_best_is_selected(values: list[float], direction: Any) -> None:
    taken = select_spread([record(at, value=value) for at, value in enumerate(values)], direction)
    kept = [trial.value for trial in taken]
    assert len(taken) == min(len(values), MAX_PRIOR_TRIALS)
    assert kept == sorted(kept, reverse=direction == "minimize")  # type: ignore[type-var]
    assert kept[-1] == (min if direction == "minimize" else max)(values)
    assert [trial.number for trial in taken] == list(range(-len(taken), 0))
    ranked = sorted(values, reverse=direction == "minimize")
    gaps = [ranked.index(value) for value in kept]  # type: ignore[arg-type]
    assert gaps[0] <= len(values) / len(taken)


def test_in_a_finite_space_what_others_tried_may_be_tried_here() -> None:
    space = {"a": {"type": "int", "low": 1, "high": 6}}
    spec = study(space, sampler={"name": "tpe", "startup_trials": 2}, budget={"trials": 6})
    earlier = [record(at, {"a": at + 1}, value=float(at)) for at in range(6)]
    decision = decide.next_action(History(prior_trials=select_spread(earlier, "minimize")), spec)
    assert isinstance(decision, decide.Suggest)
    assert decision.suggestion.reason.startswith("tpe: a model of 6 trials")
    run = simulate.run(spec, lambda given, _: {"val/loss": float(str(given["a"]))}, workers=1, earlier=earlier)
    assert sorted(str(trial.parameters["a"]) for trial in run.history) == list("123456")


def test_other_trials_are_neither_numbered_nor_best_nor_of_any_budget() -> None:
    spec = study(sampler="tpe", budget={"trials": 1, "target": 0.5})
    earlier = tuple(record(at - 20, smooth_parameters(at), 0.1) for at in range(20))
    history = History(prior_trials=earlier)
    decision = decide.next_action(history, spec)
    assert isinstance(decision, decide.Suggest)
    assert decision.number == 0
    assert "20 of other studies" in decision.suggestion.reason
    assert history.best("minimize") is None
    assert list(history) == history.finished() == []


def smooth_parameters(at: int) -> dict[str, Value]:
    return dict(played(study(sampler="random"), smooth).trials[at].parameters)


def test_warm_start_for_a_sampler_that_ignores_trials_is_refused() -> None:
    for name in ("grid", "random", "coarse_to_fine", "optuna:cmaes"):
        (error,) = check_strategy(study(CUBE_GRID, sampler=name, warm_start=["older"]))
        assert (error.path, error.message) == (
            "warm_start",
            f"{name} does not learn from other studies; write sampler: auto, tpe or gp",
        )


CUBE_GRID = {name: {**each, "points": 2} for name, each in CUBE.items()}
