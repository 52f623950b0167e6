"""Properties of every sampler."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from service.contract.base import Value
from service.contract.study import Budget, StudySpec
from service.contract.trial import TrialState
from service.domain.finite_space import num_configurations
from service.domain.history import History, TrialRecord
from service.domain.space import check_parameters
from service.search import decide
from service.search.samplers import sampler_for
from service.search.space.sampling import config_keys
from tests.search.studies import DIGITS, EVERY_KIND, begun, curve, ended, played, study

GRID_DIGITS = {
    **DIGITS,
    "optimizer.lr": {**DIGITS["optimizer.lr"], "points": 3},
    "optimizer.momentum": {**DIGITS["optimizer.momentum"], "points": 2},
    "batch_size": {**DIGITS["batch_size"], "points": 3},
}
SMALL: dict[str, Any] = {
    "a": {"type": "categorical", "choices": ["x", "y", [1, 2]]},
    "b": {"type": "int", "low": 1, "high": 4, "when": {"a": "x"}},
    "c": {"type": "float", "low": 0.0, "high": 0.2, "step": 0.1},
    "d": {"type": "categorical", "choices": [True, 1]},
}
STAGES = [{"trials": 8, "sampler": "random"}, {"trials": 8, "sampler": "sobol"}, {"trials": 8, "sampler": "tpe"}]
SAMPLERS: dict[str, dict[str, Any]] = {
    "auto": {"name": "auto"},
    "grid": {"name": "grid"},
    "shuffled grid": {"name": "grid", "shuffle": True},
    "random": {"name": "random"},
    "sobol": {"name": "sobol"},
    "coarse_to_fine": {"name": "coarse_to_fine"},
    "three stages": {"name": "coarse_to_fine", "stages": STAGES},
    "cmaes": {"name": "optuna:cmaes"},
    "gp": {"name": "gp"},
    "optuna gp": {"name": "optuna:gp", "startup_trials": 12},
    "halton": {"name": "optuna:qmc"},
    "nsga2": {"name": "optuna:nsga2", "population": 4},
    "tpe": {"name": "tpe", "startup_trials": 4},
    "tpe at once": {"name": "tpe", "startup_trials": 0},
}
SEVERAL = {"auto of two": "auto", "nsga2 of two": "nsga2", "tpe of two": "tpe", "random of two": "random"}
SAMPLERS |= {name: SAMPLERS[one] for name, one in SEVERAL.items()}
TWO = [{"metric": "val/loss", "direction": "minimize"}, {"metric": "speed", "direction": "maximize"}]
NO_DUPLICATES = [
    "auto",
    "gp",
    "grid",
    "shuffled grid",
    "random",
    "sobol",
    "halton",
    "nsga2",
    "tpe",
    "tpe at once",
    *SEVERAL,
]

EDITS: dict[str, dict[str, Any]] = {
    "narrower": {
        "optimizer.lr": {**EVERY_KIND["optimizer.lr"], "low": 1e-3, "high": 1e-2},
        "model.depth": {"type": "int", "low": 4, "high": 5},
        "model.dropout": {"type": "float", "low": 0.4, "high": 0.6, "step": 0.2},
        "batch_size": {"type": "categorical", "choices": [64, 128], "ordered": True},
    },
    "wider": {
        "optimizer.lr": {**EVERY_KIND["optimizer.lr"], "high": 1.0},
        "optimizer.name": {"type": "categorical", "choices": ["rmsprop", "sgd", "adamw"]},
        "model.dropout": {"type": "float", "low": 0.0, "high": 0.8, "step": 0.1},
    },
    "other parameters": {
        "optimizer.name": {"type": "categorical", "choices": ["adamw", "lion"]},
        "optimizer.nesterov": None,
        "optimizer.momentum": None,
        "model.dropout": None,
        "model.norm": {"type": "categorical", "choices": ["batch", "layer"]},
    },
    "other types": {
        "optimizer.lr": {"type": "categorical", "choices": [1e-3, 1e-2]},
        "batch_size": {"type": "int", "low": 16, "high": 64, "log": True, "points": 3},
        "optimizer.weight_decay": {"type": "constant", "value": 0.0},
    },
}

_SLOW = ("optuna gp",)
"""Samplers whose suggestions take long, as Optuna maximises the acquisition function."""


def each_of(names: Iterable[str]) -> pytest.MarkDecorator:
    """Parametrise a test by samplers; the slow ones are tested in `make prove`."""
    listed = [pytest.param(name, marks=pytest.mark.prove) if name in _SLOW else name for name in names]
    return pytest.mark.parametrize("name", listed)


every = each_of(SAMPLERS)
never_twice = pytest.mark.parametrize("name", NO_DUPLICATES)


def spec_of(name: str, *, seed: int = 7, space: Mapping[str, Any] | None = None) -> StudySpec:
    default = GRID_DIGITS if "grid" in name else DIGITS
    several = {"objective": TWO} if name in SEVERAL else {}
    sampler = {**SAMPLERS[name], "seed": seed}
    return study(space or default, sampler=sampler, resource={"name": "epoch", "max": 8}, **several)


def rough(spec: StudySpec) -> Callable[[Mapping[str, Value]], tuple[float, ...]]:
    """Some values for any configuration, one of each objective, with nothing to learn from."""

    def values(parameters: Mapping[str, Value]) -> tuple[float, ...]:
        chance = random.Random(repr(sorted(parameters.items())))
        return tuple(chance.random() for _ in spec.objectives)

    return values


def turbulent(spec: StudySpec) -> History:
    """A history in which everything that can happen to a trial has happened."""
    key = spec.model_dump_json()
    if key not in _TURBULENT:
        _TURBULENT[key] = _shaken(spec)
    return _TURBULENT[key]


_TURBULENT: dict[str, History] = {}


def _shaken(spec: StudySpec) -> History:
    history = History()
    fates: list[dict[str, Any]] = [
        {"value": 0.3},
        {"value": None, "state": TrialState.FAILED},
        {"value": float("nan")},
        {"value": float("inf")},
        {"value": 0.5, "state": TrialState.PRUNED, "series": curve(0.7, 0.5)},
        {"value": None, "state": TrialState.PRUNED, "infeasible": True, "series": curve(0.7, float("nan"))},
        {"value": None, "state": TrialState.FAILED, "infeasible": True},
        {"value": None, "state": TrialState.CANCELLED},
        {"value": None, "state": TrialState.PRUNED},
        {"value": None},
        {"value": 0.1},
    ]
    while isinstance(decision := decide.next_action(history, spec), decide.Suggest):
        history = begun(history, decision)
        if decision.number < 22:
            fate = fates[decision.number % len(fates)]
            further = fate["value"] is not None and {
                "other_values": (decision.number / 22,) * (len(spec.objectives) - 1)
            }
            history = ended(history, decision.number, **fate, **(further or {}))
        else:
            state = [TrialState.RUNNING, TrialState.PAUSED, TrialState.WAITING][decision.number % 3]
            trials = (*history.trials[:-1], replace(history.trials[-1], state=state, series=curve(0.4)))
            history = History(history.revision, trials)
    return history


@every
@pytest.mark.parametrize("space", [None, EVERY_KIND], ids=["digits", "every kind"])
def test_every_configuration_is_in_the_space_whatever_happened_before(name: str, space: dict[str, Any] | None) -> None:
    spec = spec_of(name, space=space)
    history = turbulent(spec)
    assert len(history) == 30
    for trial in history:
        assert check_parameters(spec.space, trial.parameters) == []


@every
def test_a_suggestion_depends_on_its_arguments_alone(name: str) -> None:
    spec = spec_of(name)
    history = turbulent(spec)
    for number in (0, 9, 17, 29):
        earlier = History(trials=history.trials[:number])
        random.seed(number)
        once = sampler_for(spec).suggest(earlier, number, 7)
        again = sampler_for(spec).suggest(earlier, number, 7)
        assert once == again
        assert sampler_for(spec).suggest(history, number, 7) == once, "later trials are not looked at"


@every
def test_the_order_of_keys_does_not_matter(name: str) -> None:
    spec = spec_of(name)
    turned = spec.model_copy(update={"space": dict(reversed(spec.space.items()))})
    history = turbulent(spec)
    back = History(trials=tuple(replace(t, parameters=dict(reversed(list(t.parameters.items())))) for t in history))
    for number in (0, 9, 17, 29):
        one = sampler_for(spec).suggest(history, number, 7)
        other = sampler_for(turned).suggest(back, number, 7)
        assert (one.parameters, one.reason) == (other.parameters, other.reason)


@every
def test_nothing_that_it_is_given_changes(name: str) -> None:
    spec = spec_of(name)
    history = turbulent(spec)
    before = copy.deepcopy((spec, history))
    state = random.getstate()
    sampler_for(spec).suggest(history, 29, 7)
    assert repr((spec, history)) == repr(before)
    assert random.getstate() == state


@every
def test_seeds_lead_to_different_searches(name: str) -> None:
    # Models follow after 10 random trials, and a few of their suggestions show whether they differ.
    budget = Budget(trials=13)
    specs = [spec_of(name, seed=seed).model_copy(update={"budget": budget}) for seed in (1, 2)]
    searches = [[trial.parameters for trial in played(spec, rough(spec))] for spec in specs]
    assert (searches[0] == searches[1]) is (name == "grid")


@every
def test_each_suggestion_gives_its_reason(name: str) -> None:
    spec = spec_of(name)
    history = turbulent(spec)
    # The first ones, the last of a startup and the first of a model, of each stage and generation, and the last one.
    numbers = (0, 1, 3, 4, 7, 8, 9, 10, 11, 12, 15, 16, 20, 29)
    reasons = [sampler_for(spec).suggest(history, number, 7).reason for number in numbers]
    assert all(len(reason) > 10 and "\n" not in reason for reason in reasons)


@never_twice
@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.prove), 4])
def test_no_configuration_is_tried_twice_while_a_new_one_is_left(name: str, at_once: int) -> None:
    spec = spec_of(name, space=SMALL)
    assert num_configurations(spec.space) == (4 + 2) * 3 * 2
    larger = spec.model_copy(update={"budget": spec.budget.model_copy(update={"trials": 36})})
    history = played(larger, rough(larger), at_once=at_once)
    assert len(history) == len(config_keys(trial.parameters for trial in history)) == 36


ENDING = ("grid", "shuffled grid", "auto", "auto of two")


# A grid ends with its last cell, and auto makes one of so small a space; CMA-ES refuses a space without numbers.
@each_of(name for name in SAMPLERS if name not in (*ENDING, "cmaes"))
def test_an_exhausted_space_is_searched_on(name: str) -> None:
    spec = spec_of(
        name, space={"a": {"type": "categorical", "choices": [1, 2]}, "b": {"type": "categorical", "choices": ["one"]}}
    )
    assert len(played(spec, rough(spec))) == 30


@every
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_history_made_under_another_version_of_the_space_is_searched_on(name: str, edit: dict[str, Any]) -> None:
    before = turbulent(spec_of(name, space=EVERY_KIND))
    spec = spec_of(name, space={key: kind for key, kind in {**EVERY_KIND, **edit}.items() if kind is not None})
    spec = spec.model_copy(update={"budget": spec.budget.model_copy(update={"trials": 60})})
    values = {"value": 0.2, "other_values": (0.2,) * (len(spec.objectives) - 1)}
    ended_too = [replace(each, state=TrialState.COMPLETED, **values) if each.is_open else each for each in before]
    history = replace(before, trials=tuple(ended_too))
    for _ in range(2):
        decision = decide.next_action(history, spec)
        assert isinstance(decision, decide.Suggest)
        assert check_parameters(spec.space, decision.suggestion.parameters) == []
        again = sampler_for(spec).suggest(copy.deepcopy(history), decision.number, 7)
        assert again == decision.suggestion
        history = ended(begun(history, decision), decision.number, rough(spec)(decision.suggestion.parameters))


@every
def test_a_configuration_of_a_persons_own_does_not_disturb(name: str) -> None:
    spec = spec_of(name)
    further = (0.1,) * (len(spec.objectives) - 1)
    own = {
        "parameters": {"optimizer.name": "adamw"},
        "value": 0.1,
        "other_values": further,
        "state": TrialState.COMPLETED,
    }
    history = History(trials=tuple(TrialRecord(number, **own) for number in range(5)))  # type: ignore[arg-type]
    suggestion = sampler_for(spec).suggest(history, 5, 7)
    assert check_parameters(spec.space, suggestion.parameters) == []


TAUGHT = ["auto", "gp", "optuna gp", "tpe", "tpe at once"]


# With several objectives a warm start is refused.
@each_of(name for name in SAMPLERS if name not in SEVERAL)
def test_a_warm_start_teaches_models_and_leaves_the_others_as_they_were(name: str) -> None:
    spec = spec_of(name)
    theirs = [trial for trial in turbulent(spec).trials if trial.value is not None and trial.value in {0.1, 0.3}]
    earlier = tuple(replace(trial, number=at - len(theirs)) for at, trial in enumerate(theirs))
    warm = [sampler_for(spec).suggest(History(prior_trials=earlier), 0, 7) for _ in range(2)]
    assert warm[0] == warm[1]
    assert check_parameters(spec.space, warm[0].parameters) == []
    assert (warm[0] != sampler_for(spec).suggest(History(), 0, 7)) is (len(earlier) >= 4 and name in TAUGHT)
