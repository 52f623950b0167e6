"""Objectives written for Optuna: their suggestions are read from the study, and differences name the remedy."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.worker.custom_code import trial_and_agent
from worker.protocol import Report
from worker.training.errors import ConfigError
from worker.trial.optuna_trial import OptunaTrial, is_pruned

PARAMETERS = {"x": 0.3, "n": 4, "name": "sgd", "flag": True}


@pytest.mark.parametrize(
    ("suggest", "value"),
    [
        (lambda trial: trial.suggest_float("x", 0, 1), 0.3),
        (lambda trial: trial.suggest_float("x", 0.1, 0.3, step=0.1), 0.3),
        (lambda trial: trial.suggest_float("n", 1, 10, log=True), 4.0),
        (lambda trial: trial.suggest_int("n", 1, 10, log=True), 4),
        (lambda trial: trial.suggest_categorical("name", ["sgd", "adam"]), "sgd"),
        (lambda trial: trial.suggest_categorical("flag", [True, False]), True),
        (lambda trial: trial.params, PARAMETERS),
        (lambda trial: trial.number, 3),
    ],
)
def test_the_declared_value_is_suggested(tmp_path: Path, suggest: Callable[[OptunaTrial], Any], value: Any) -> None:
    with trial_and_agent(tmp_path, parameters=PARAMETERS) as (trial, _):
        suggested = suggest(OptunaTrial(trial))
    assert (suggested, type(suggested)) == (value, type(value))


@pytest.mark.parametrize(
    ("suggest", "message"),
    [
        (
            lambda trial: trial.suggest_float("lr", 1e-5, 0.1, log=True),
            "but the study does not declare it; write lr: {type: float, low: 1e-05, high: 0.1, log: true}",
        ),
        (
            lambda trial: trial.suggest_float("x", 0.5, 1.0),
            "space.x: is 0.3, but the objective asks for 0.5 to 1.0; declare it as {type: float, low: 0.5, high: 1.0}",
        ),
        (
            lambda trial: trial.suggest_int("x", 0, 8, step=2),
            "asks for a whole number; declare it as {type: int, low: 0, high: 8, step: 2}",
        ),
        (lambda trial: trial.suggest_int("name", 0, 8), "space.name: is 'sgd', but the objective asks for a number; "),
        (
            lambda trial: trial.suggest_categorical("name", ["adam", "lion"]),
            "which the objective does not offer; declare it as {type: categorical, choices: ['adam', 'lion']}",
        ),
        (lambda trial: trial.suggest_categorical("flag", [0, 1]), "space.flag: is True, which the objective does not"),
    ],
)
def test_a_disagreement_says_what_to_declare(
    tmp_path: Path, suggest: Callable[[OptunaTrial], Any], message: str
) -> None:
    with trial_and_agent(tmp_path, parameters=PARAMETERS) as (trial, _), pytest.raises(ConfigError) as caught:
        suggest(OptunaTrial(trial))
    assert message in str(caught.value)


def test_values_are_reported_as_the_objective_s_and_a_step_counts_once(tmp_path: Path) -> None:
    with trial_and_agent(tmp_path) as (trial, agent):
        objective = OptunaTrial(trial)
        objective.report(0.5, 0)
        objective.report(0.7, 0)
        objective.report(0.4, step=1)
        assert agent.heard() == [Report(0, {"loss": 0.5}), Report(1, {"loss": 0.4})]
        assert not objective.should_prune()
        agent.order("stop")
        assert objective.should_prune()
        objective.set_user_attr("notes", [1, 2])
        assert objective.user_attrs == {"notes": [1, 2]}


def test_optuna_s_own_exception_ends_a_trial_as_pruned() -> None:
    assert is_pruned(optuna.TrialPruned())
    assert not is_pruned(ValueError())


def test_it_has_the_methods_of_optuna_with_their_arguments() -> None:
    for name in ("suggest_float", "suggest_int", "suggest_categorical", "report", "should_prune", "set_user_attr"):
        theirs, ours = (signature(getattr(kind, name)).parameters for kind in (optuna.Trial, OptunaTrial))
        assert list(ours) == list(theirs), name
