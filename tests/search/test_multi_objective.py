"""Multi-objective search: what is refused, what `auto` chooses, and that models beat random search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from typing import Any

import pytest

from service.contract.base import Value
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History
from service.domain.pareto import losses
from service.search import decide
from service.search.optuna_bridge.pareto import hypervolume
from service.search.replay import simulate
from service.search.validation import check_strategy
from tests.search.studies import record, study

SPACE: dict[str, Any] = {f"x{at}": {"type": "float", "low": 0.0, "high": 1.0} for at in range(5)}
TWO = [{"metric": "f1", "direction": "minimize"}, {"metric": "f2", "direction": "minimize"}]


def spec_of(sampler: Any, *, trials: int = 100, **changes: Any) -> StudySpec:
    return study(SPACE, **{"objective": TWO, "sampler": sampler, "budget": {"trials": trials}, **changes})


@pytest.mark.parametrize("name", ["gp", "optuna:cmaes", "optuna:gp", "coarse_to_fine"])
def test_samplers_that_follow_one_objective_say_what_to_write(name: str) -> None:
    (error,) = check_strategy(spec_of(name))
    assert error.path == "sampler.name"
    assert error.message == (
        f"{name} supports one objective, and this study has 2; "
        "write sampler: tpe, or optuna:nsga2, random, sobol, grid, optuna:qmc or auto"
    )


@pytest.mark.parametrize(
    "pruner", ["median", "percentile", "patience", "asha", "hyperband", {"name": "threshold", "upper": 1}]
)
def test_every_pruner_is_refused_and_says_what_to_write(pruner: Any) -> None:
    (error,) = check_strategy(spec_of("tpe", pruner=pruner, resource={"max": 9}))
    assert error.path == "pruner"
    assert error.message.endswith("write pruner: none, or a single objective")


def test_a_warm_start_is_refused_too() -> None:
    (error,) = check_strategy(spec_of("tpe", warm_start=["other"]))
    assert (error.path, "leave it out" in error.message) == ("warm_start", True)


def test_one_objective_may_be_written_with_any_of_them() -> None:
    one = spec_of("coarse_to_fine", objective=TWO[0], pruner="median")
    assert check_strategy(one) == []


@pytest.mark.parametrize(
    ("num_trials", "budget", "told"),
    [
        (3, 60, "auto: 3 of 10 trials to learn from; sobol: point 3 of the sequence"),
        (12, 60, "auto: tpe, as there are 2 objectives; tpe: a model of 12 trials, 2 of them good"),
        (12, None, "auto: tpe, as there are 2 objectives; tpe: a model of 12 trials"),
        (12, 1000, "auto: nsga2, as 2 objectives and 1000 trials leave time for generations; nsga2: generation 0"),
    ],
)
def test_auto_picks_by_the_budget_and_says_why(num_trials: int, budget: int | None, told: str) -> None:
    values = {f"x{at}": 0.5 for at in range(5)}
    history = History(trials=tuple(record(at, values, value=1.0, other_values=(at / 9,)) for at in range(num_trials)))
    decision = decide.next_action(history, spec_of("auto", trials=budget))  # type: ignore[arg-type]
    assert isinstance(decision, decide.Suggest)
    assert decision.suggestion.reason.startswith(told)


def zdt(parameters: Mapping[str, Value], step: int, *, power: float) -> dict[str, float]:
    """ZDT1 (power 0.5) or ZDT2 (power 2) of Zitzler, Deb & Thiele 2000, in five dimensions."""
    del step
    x = [float(str(parameters[f"x{at}"])) for at in range(5)]
    rest = 1 + 9 * sum(x[1:]) / 4
    return {"f1": x[0], "f2": rest * (1 - (x[0] / rest) ** power)}


def volume(sampler: Any, seed: int, power: float) -> float:
    spec = spec_of(sampler)
    played = simulate.run(spec, lambda *asked: zdt(*asked, power=power), workers=2, seed=seed)
    points = [losses(trial.values or (), spec.directions) for trial in played.history.pareto_front(spec.directions)]
    return hypervolume(points, (1.1, 6.0))


@pytest.mark.parametrize("power", [0.5, 2.0], ids=["ZDT1", "ZDT2"])
@pytest.mark.parametrize("sampler", ["tpe", {"name": "optuna:nsga2", "population": 20}], ids=["tpe", "nsga2"])
def test_the_front_found_is_larger_than_by_random_search(sampler: Any, power: float) -> None:
    seeds = range(3)
    found, by_chance = ([volume(each, seed, power) for seed in seeds] for each in (sampler, "random"))
    assert median(found) > 1.05 * median(by_chance)
    assert min(found) > median(by_chance)


def test_a_simulated_trial_has_every_objective_or_none() -> None:
    def measured(parameters: Mapping[str, Value], step: int) -> dict[str, float]:
        del step
        x = float(str(parameters["x0"]))
        return {"f1": x, "f2": math.nan if x > 0.5 else 1 - x, "not asked for": 1.0}

    played = simulate.run(spec_of("random", trials=20), measured, workers=1)
    for trial in played.history:
        x = float(str(trial.parameters["x0"]))
        assert trial.values == (None if x > 0.5 else (x, 1 - x))
        assert trial.infeasible == (x > 0.5)
        assert trial.state is (TrialState.PRUNED if x > 0.5 else TrialState.COMPLETED)
