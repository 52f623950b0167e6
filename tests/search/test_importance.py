"""Importance: separates parameters that matter from others, as Optuna does, and reports what is unknown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.importance import PedAnovaImportanceEvaluator

from service.contract.base import Value
from service.contract.importance import Importance
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, RungResult, TrialRecord
from service.search.importance import importance
from service.search.optuna_bridge.distributions import distribution
from service.search.optuna_bridge.ped_anova import divergences
from service.search.space.sampling import sample
from service.search.space.transform import coordinate
from service.search.trial_matrix import trial_matrix_of
from tests.search.studies import EVERY_KIND, curve, record, study

RATE = {"type": "float", "low": 1e-5, "high": 1e-1, "log": True}
DUMMY = {"type": "float", "low": 0.0, "high": 1.0}
SPEC = study({"lr": RATE, "dummy": DUMMY})

Objective = Callable[[Mapping[str, Value]], float]


def of_rate(values: Mapping[str, Value]) -> float:
    """How far a learning rate is from the best one, in decades."""
    return abs(math.log10(float(str(values["lr"]))) + 2.5)


def tried(spec: StudySpec, num: int, objective: Objective = of_rate, seed: int = 0) -> list[TrialRecord]:
    drawn = [sample(spec.space, seed, number) for number in range(num)]
    return [record(number, values, objective(values)) for number, values in enumerate(drawn)]


def judged(trials: list[TrialRecord], spec: StudySpec = SPEC) -> Importance:
    return importance(History(7, tuple(trials)), spec)


def shares(trials: list[TrialRecord], spec: StudySpec = SPEC) -> dict[str, float]:
    return {each.name: each.share for each in judged(trials, spec).parameters}


def test_trials_of_a_stage_on_other_data_are_not_compared() -> None:
    sampler = {"name": "coarse_to_fine", "stages": [{"trials": 1, "overrides": {"data.size": 8}}, {"trials": 1}]}
    spec = study({"lr": RATE, "dummy": DUMMY}, sampler=sampler)
    full = tried(SPEC, 60)
    easy = [record(60 + number, {"lr": 1e-5, "dummy": 0.9}, -1.0, stage=0) for number in range(20)]
    assert judged([*full, *easy], spec) == judged(full)


@pytest.mark.parametrize("num", [50, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_important_parameters_are_separated_from_unimportant_ones(num: int, seed: int) -> None:
    found = shares(tried(SPEC, num, seed=seed))
    assert list(found) == ["lr", "dummy"]
    assert found["lr"] > 0.75
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_direction_says_which_trials_are_the_best(direction: str) -> None:
    spec = study({"lr": RATE, "dummy": DUMMY}, objective={"metric": "val/loss", "direction": direction})
    sign = 1 if direction == "minimize" else -1
    trials = tried(spec, 200, lambda values: sign * (of_rate(values) if of_rate(values) < 0.2 else 2 + values["dummy"]))  # type: ignore[operator]
    assert shares(trials, spec)["lr"] > 0.85


def test_with_several_objectives_the_best_are_on_the_first_fronts() -> None:
    """What the objectives quarrel about tells no best trials from others; what spoils both does."""
    two = [{"metric": "one", "direction": "minimize"}, {"metric": "other", "direction": "maximize"}]
    spec = study({"lr": RATE, "dummy": DUMMY}, objective=two)
    trials = [
        replace(
            trial,
            value=float(str(trial.parameters["dummy"])) + loss,
            other_values=(float(str(trial.parameters["dummy"])) - loss,),
        )
        for trial in tried(spec, 200)
        if (loss := trial.value) is not None
    ]
    assert shares(trials, spec)["lr"] > 0.75


@pytest.mark.parametrize("num", [30, 300])
def test_it_is_optunas_own(num: int) -> None:
    spec = study(EVERY_KIND)
    trials = tried(spec, num, lambda values: float(len(repr(values))) + float(str(values["optimizer.lr"])))
    columns = trial_matrix_of(spec.space, trials)
    domains = {name: distribution(parameter) for name, parameter in spec.space.items()}
    known = optuna.create_study()
    for trial in trials:
        told = {
            name: domains[name].to_external_repr(coordinate(spec.space[name], value))
            for name, value in trial.parameters.items()
        }
        at = {name: domains[name] for name in told}
        known.add_trial(optuna.trial.create_trial(value=trial.value, params=told, distributions=at))
    quantile = 0.2
    losses = np.array([trial.value for trial in trials])
    best = losses <= np.sort(losses)[math.ceil(quantile * num) - 1]
    ours = divergences(spec.space, columns, np.ones(num, bool), best)
    theirs = PedAnovaImportanceEvaluator(target_quantile=quantile).evaluate(known)
    assert set(theirs) - set(ours) == {"optimizer.nesterov"}, "a constant"
    for name, found in ours.items():
        assert found * (best.sum() / num) ** 2 == pytest.approx(theirs[name])


def test_the_same_trials_are_judged_alike() -> None:
    assert judged(tried(SPEC, 60)) == judged(tried(SPEC, 60))


def test_diverged_pruned_and_failed_trials_do_not_prevent_completion() -> None:
    trials = tried(SPEC, 400)
    fates: list[dict[str, Any]] = [
        {},
        {},
        {"state": TrialState.PRUNED, "value": None, "series": curve(9.0, 8.0)},
        {"state": TrialState.PRUNED, "value": None, "infeasible": True, "series": curve(math.nan)},
        {"state": TrialState.PRUNED, "value": None, "series": curve(math.inf)},
        {"state": TrialState.FAILED, "value": None},
        {"state": TrialState.CANCELLED, "value": None},
        {"state": TrialState.RUNNING, "value": None, "series": curve(1.0)},
    ]
    mixed = [replace(trial, **fates[number % len(fates)]) for number, trial in enumerate(trials)]
    found = judged(mixed)
    assert found.num_trials == sum(number % len(fates) < 5 for number in range(400))
    assert found.parameters[0].name == "lr"


def test_a_cause_of_divergence_is_important() -> None:
    """Half of the trials diverge by their rate; those that do not are all alike."""

    def diverged(trial: TrialRecord) -> TrialRecord:
        if float(str(trial.parameters["lr"])) < 1e-3:
            return trial
        return replace(trial, state=TrialState.PRUNED, value=None, infeasible=True)

    found = shares([diverged(trial) for trial in tried(SPEC, 100, lambda _: 0.5)])
    assert found["lr"] > 0.85


def test_a_conditional_parameter_is_judged_by_the_trials_that_had_it() -> None:
    spec = study({"net": {"type": "categorical", "choices": ["a", "b"]}, "lr": RATE | {"when": {"net": "a"}}})
    trials = tried(spec, 200, lambda values: of_rate(values) if "lr" in values else 9.0)
    found = {each.name: each for each in judged(trials, spec).parameters}
    assert found["lr"].num_trials == sum("lr" in trial.parameters for trial in trials) < 200
    assert found["net"].num_trials == 200
    assert found["lr"].share > found["net"].share > 0


def test_a_parameter_with_one_value_has_no_importance() -> None:
    fixed = {"net": {"type": "constant", "value": "a"}, "depth": {"type": "categorical", "choices": [3]}}
    spec = study({"lr": RATE, "dummy": DUMMY, **fixed})
    assert set(shares(tried(spec, 60), spec)) == {"lr", "dummy"}


def test_too_few_trials_give_no_importance() -> None:
    found = judged(tried(SPEC, 19))
    assert (found.revision, found.num_trials, found.parameters) == (7, 19, [])
    assert found.notes == ["19 trials have ended so far; importance needs 20"]
    assert judged([]).notes == ["0 trials have ended so far; importance needs 20"]


def test_few_trials_are_reported_as_too_few() -> None:
    assert judged(tried(SPEC, 49)).notes == ["49 trials give a rough estimate; with 50 it is more reliable"]
    assert judged(tried(SPEC, 50)).notes == []


def test_where_all_are_alike_nothing_is_important() -> None:
    found = judged(tried(SPEC, 60, lambda _: 0.5))
    assert [each.share for each in found.parameters] == [0, 0]
    assert found.notes == ["no parameter separates the better trials from the others"]


def test_under_a_scheduler_trials_are_compared_at_one_rung() -> None:
    spec = study({"lr": RATE, "dummy": DUMMY}, pruner={"name": "asha", "min": 1}, resource={"name": "epoch", "max": 9})
    paused = [
        replace(
            trial,
            state=TrialState.PAUSED,
            value=None,
            series=((1, trial.value or 0.0),),
            rung_results=(RungResult(1, trial.value or 0.0, 1, 1),),
        )
        for trial in tried(spec, 60)
    ]
    found = judged(paused, spec)
    assert found.parameters[0].name == "lr"
    assert found.notes == ["trials are compared by step 1, which 60 have reached"]
