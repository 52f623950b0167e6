"""Specs, histories and a small simulator for the tests of the strategies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from service.contract.base import Value
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, Series, TrialRecord
from service.search import decide

DIGITS: dict[str, Any] = {
    "optimizer.name": {"type": "categorical", "choices": ["sgd", "adamw"]},
    "optimizer.lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "optimizer.momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer.name": "sgd"}},
    "model.dropout": {"type": "float", "low": 0.0, "high": 0.6, "step": 0.1},
    "model.hidden": {"type": "categorical", "choices": [[64], [128, 64], [256, 128, 64]]},
    "model.depth": {"type": "int", "low": 1, "high": 9, "step": 2},
    "batch_size": {"type": "int", "low": 8, "high": 512, "log": True},
}

EVERY_KIND: dict[str, Any] = {
    "optimizer.name": {"type": "categorical", "choices": ["sgd", "adamw"]},
    "optimizer.lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True, "points": 3},
    "optimizer.weight_decay": {"type": "float", "low": 1e-6, "high": 1e-2, "log": True, "zero": True, "points": 2},
    "optimizer.nesterov": {"type": "constant", "value": True, "when": {"optimizer.name": "sgd"}},
    "optimizer.momentum": {"type": "float", "low": 0.0, "high": 0.9, "points": 2, "when": {"optimizer.nesterov": True}},
    "model.depth": {"type": "int", "low": 1, "high": 5},
    "model.skip": {"type": "categorical", "choices": [False, True], "when": {"model.depth": {"low": 3}}},
    "model.dropout": {"type": "float", "low": 0.0, "high": 0.6, "step": 0.2},
    "batch_size": {"type": "categorical", "choices": [16, 32, 64, 128], "ordered": True},
}
"""Every kind of parameter and of condition: on a value, nested, and on a range."""


def study(space: Mapping[str, Any] = DIGITS, **changes: Any) -> StudySpec:
    return StudySpec.model_validate(
        {
            "name": "digits",
            "objective": {"metric": "val/loss", "direction": "minimize"},
            "space": space,
            "budget": {"trials": 30},
            **changes,
        }
    )


def record(number: int, parameters: Mapping[str, Value] = {}, value: float | None = None, **more: Any) -> TrialRecord:
    state = TrialState.RUNNING if value is None else TrialState.COMPLETED
    return replace(TrialRecord(number, state, parameters, value=value), **more)


def begun(history: History, decision: decide.Suggest) -> History:
    """The history with the decided trial running."""
    made = decision.suggestion
    trial = TrialRecord(decision.number, TrialState.RUNNING, made.parameters, stage=made.stage, notes=made.notes)
    history = replace(history, revision=history.revision + 1, trials=(*history.trials, trial))
    return history if made.new_stage is None else history.with_stage(made.new_stage)


def ended(history: History, number: int, value: float | tuple[float, ...] | None, **more: Any) -> History:
    """The history with a trial ended: completed with its value, or several, unless told otherwise."""
    value, *further = value if isinstance(value, tuple) else (value,)
    values = {"value": value, "other_values": tuple(further)}
    trial = replace(history.trials[number], **{"state": TrialState.COMPLETED, **values, **more})
    return replace(history.with_trial(trial), revision=history.revision + 1)


def played(
    spec: StudySpec, objective: Callable[[Mapping[str, Value]], float | tuple[float, ...]], *, at_once: int = 1
) -> History:
    """The whole study, with `at_once` trials open at a time, the oldest ending first."""
    history = History()
    running: list[int] = []
    while True:
        decision = decide.next_action(history, spec)
        if isinstance(decision, decide.Suggest):
            history = begun(history, decision)
            running.append(decision.number)
        elif isinstance(decision, decide.Propose):
            history = history.with_stage(decision.stage)
        elif isinstance(decision, decide.Done):
            return history
        if len(running) == at_once or isinstance(decision, decide.Wait):
            number = running.pop(0)
            history = ended(history, number, objective(history.trials[number].parameters))


def curve(*values: float) -> Series:
    return tuple(enumerate(values, start=1))


def smooth(parameters: Mapping[str, Value]) -> float:
    """A bowl in log rate and dropout, as a validation loss often is."""
    rate, dropout = parameters["optimizer.lr"], parameters["model.dropout"]
    assert isinstance(rate, float)
    assert isinstance(dropout, float)
    return (math.log10(rate) + 2.5) ** 2 + 4 * (dropout - 0.3) ** 2
