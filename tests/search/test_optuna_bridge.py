"""TPE and NSGA-II answer as Optuna's own do for the same trials, at a bounded cost."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import optuna
import pytest

from service.contract.trial import TrialState
from service.domain.history import TrialRecord
from service.search.optuna_bridge import nsga2, tpe
from service.search.optuna_bridge.distributions import distribution
from service.search.space.sampling import sample
from service.search.space.transform import coordinate, value_at
from service.search.trial_matrix import trial_matrix_of
from tests.search.studies import curve, record, study

SPACE: dict[str, Any] = {
    "batch": {"type": "categorical", "choices": [16, 32, 64, 128], "ordered": True},
    "decay": {"type": "float", "low": 1e-6, "high": 1e-2, "log": True, "zero": True},
    "depth": {"type": "int", "low": 1, "high": 9, "step": 2},
    "dropout": {"type": "float", "low": 0.0, "high": 0.6, "step": 0.1},
    "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "momentum": {"type": "float", "low": 0.0, "high": 0.99},
    "name": {"type": "categorical", "choices": ["sgd", [1, 2], True, 1]},
    "width": {"type": "int", "low": 8, "high": 512, "log": True},
}
SPEC = study(SPACE)


def lived(num_trials: int, seed: int = 0) -> list[TrialRecord]:
    """Trials with every fate, the last few open; good ones lie close together, as they do late in a search."""
    chance = random.Random(seed)
    center = sample(SPEC.space, seed)
    trials = []
    for number in range(num_trials):
        values = sample(SPEC.space, seed, number)
        if chance.random() < number / num_trials / 2:
            values = {name: center[name] if chance.random() < 0.7 else value for name, value in values.items()}
        loss = sum(values[name] != center[name] for name in values) + chance.random()
        fate: dict[str, Any] = {"value": loss}
        if number >= num_trials - 3:
            fate = {}
        elif number % 7 == 3:
            fate = {"state": TrialState.PRUNED, "series": curve(*(loss,) * (number % 5))}
        elif number % 11 == 5:
            fate = {"state": TrialState.PRUNED, "infeasible": True}
        trials.append(record(number, values, **fate))
    return trials


def told(trial: TrialRecord) -> optuna.trial.FrozenTrial:
    """A trial as Optuna would have kept it."""
    states = {
        TrialState.COMPLETED: optuna.trial.TrialState.COMPLETE,
        TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
        TrialState.RUNNING: optuna.trial.TrialState.RUNNING,
    }
    return optuna.trial.create_trial(
        state=states[trial.state],
        values=trial.values,
        params={
            name: distribution(SPEC.space[name]).to_external_repr(coordinate(SPEC.space[name], value))
            for name, value in trial.parameters.items()
        },
        distributions={name: distribution(SPEC.space[name]) for name in trial.parameters},
        intermediate_values=dict(trial.series),
        system_attrs={"constraints:feasible": 1.0} if trial.infeasible else {},
    )


@pytest.mark.parametrize("num_trials", [0, 4, 12, 200])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_answer_is_optunas_own_to_the_last_bit(num_trials: int, direction: Any) -> None:
    trials = lived(num_trials)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: distribution(parameter) for name, parameter in SPEC.space.items()}
    columns = trial_matrix_of(SPEC.space, trials)
    for seed in range(5):
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True)
        study = optuna.create_study(direction=direction)
        study.add_trials([told(trial) for trial in trials])
        # Asking adds a trial of its own to the study, and the sampler shares in it what it drew.
        asking = study._storage.get_trial(study._storage.create_new_trial(study._study_id))
        theirs = sampler.sample_relative(study, asking, distributions)
        ours = tpe.suggest_tpe(SPEC.space, (direction,), columns, seed).parameters
        numbers = {name: distributions[name].to_internal_repr(value) for name, value in theirs.items()}
        assert ours == {name: value_at(SPEC.space[name], number) for name, number in numbers.items()}


def with_several(trials: list[TrialRecord], num: int) -> list[TrialRecord]:
    """The same trials with so many objectives, of which each wants something else; nothing of several is pruned."""

    def further(trial: TrialRecord) -> tuple[float, ...]:
        chance = random.Random(trial.number)
        return tuple(round(chance.random() / (1 + (trial.value or 0)), 2) for _ in range(num - 1))

    return [
        replace(trial, other_values=further(trial))
        if trial.state is not TrialState.PRUNED or trial.infeasible
        else replace(trial, state=TrialState.COMPLETED, value=1.0, other_values=further(trial), series=())
        for trial in trials
    ]


@pytest.mark.parametrize("num_trials", [0, 12, 200])
@pytest.mark.parametrize("directions", [("minimize", "maximize"), ("maximize", "minimize", "minimize")])
def test_with_several_objectives_it_is_too(num_trials: int, directions: Any) -> None:
    trials = with_several(lived(num_trials), len(directions))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: distribution(parameter) for name, parameter in SPEC.space.items()}
    columns = trial_matrix_of(SPEC.space, trials, len(directions))
    for seed in range(3):
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, multivariate=True, constant_liar=True)
        study = optuna.create_study(directions=directions)
        study.add_trials([told(trial) for trial in trials])
        asking = study._storage.get_trial(study._storage.create_new_trial(study._study_id))
        theirs = sampler.sample_relative(study, asking, distributions)
        ours = tpe.suggest_tpe(SPEC.space, directions, columns, seed).parameters
        numbers = {name: distributions[name].to_internal_repr(value) for name, value in theirs.items()}
        assert ours == {name: value_at(SPEC.space[name], number) for name, number in numbers.items()}


@pytest.mark.parametrize("directions", [("minimize",), ("minimize", "minimize"), ("minimize",) * 4])
def test_parents_and_children_are_those_of_optunas_nsga2(directions: Any) -> None:
    chance = random.Random(len(directions))
    cube = {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in "abc"}
    places = {number: {name: chance.random() for name in cube} for number in range(20)}
    losses = {number: tuple(chance.random() for _ in directions) for number in places}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for seed in range(5):
        sampler = optuna.samplers.NSGAIISampler(population_size=8, seed=seed)
        study = optuna.create_study(directions=directions)
        for number, place in places.items():
            of_first = {sampler._get_generation_key(): 0}
            study.add_trial(
                optuna.trial.create_trial(
                    values=losses[number], params=place, distributions=cube, system_attrs=of_first
                )
            )
        asking = study._storage.get_trial(study._storage.create_new_trial(study._study_id))
        # Asked for once more, they come in the order of their numbers.
        chosen = [trial.number for trial in sampler.get_parent_population(study, 1)]
        theirs = sampler.sample_relative(study, asking, cube)
        parents = nsga2.survivors(losses, 8)
        assert parents == sorted(chosen)
        child = nsga2.child_of({number: places[number] for number in parents}, losses, seed)
        assert child == theirs


@pytest.mark.parametrize("num_trials", [3000, 10_000])
def test_for_a_long_history_the_nearest_kernels_give_the_same_suggestion(
    num_trials: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = trial_matrix_of(SPEC.space, lived(num_trials))
    bounded = [tpe.suggest_tpe(SPEC.space, ("minimize",), columns, seed) for seed in range(10)]
    monkeypatch.setattr(tpe, "MAX_KERNELS", num_trials)
    assert bounded == [tpe.suggest_tpe(SPEC.space, ("minimize",), columns, seed) for seed in range(10)]
