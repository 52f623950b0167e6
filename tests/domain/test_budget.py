"""Budgets that complete a search early: each alone, at its exact limit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from service.contract.study import Budget, Objective, StudySpec
from service.contract.trial import TrialState
from service.domain.budget import BudgetUsage, exhausted_reason, has_stopping_limits
from service.domain.history import History, TrialRecord

FAILED, PRUNED = TrialState.FAILED, TrialState.PRUNED


def spec_of(direction: str = "minimize", **budget: Any) -> StudySpec:
    return StudySpec.model_validate(
        {
            "name": "small",
            "objective": {"metric": "loss", "direction": direction},
            "space": {"x": {"type": "float", "low": 0, "high": 1}},
            "budget": budget,
        }
    )


def history_of(*ends: float | TrialState, order: list[int] | None = None) -> History:
    """Trials that ended: completed with a value, or in a state; in the order of their numbers or another."""
    order = order or list(range(len(ends)))
    return History(
        trials=tuple(
            TrialRecord(number, end, {}, finished_at=order.index(number) + 1)
            if isinstance(end, TrialState)
            else TrialRecord(number, TrialState.COMPLETED, {}, value=end, finished_at=order.index(number) + 1)
            for number, end in enumerate(ends)
        )
    )


def test_time_is_over_when_it_is_used_to_the_last_second() -> None:
    spec = spec_of(hours=2)
    assert exhausted_reason(spec, History(), BudgetUsage(seconds=7199.9, device_seconds=1e9)) is None
    assert exhausted_reason(spec, History(), BudgetUsage(seconds=7200)) == "the budget of 2 h is used up"


def test_device_hours_are_of_all_attempts_together() -> None:
    spec = spec_of(device_hours=0.5)
    assert exhausted_reason(spec, History(), BudgetUsage(seconds=1e9, device_seconds=1799)) is None
    assert (
        exhausted_reason(spec, History(), BudgetUsage(device_seconds=1800))
        == "the budget of 0.5 device-hours is used up"
    )


def test_failures_are_trials_that_ended_failed() -> None:
    spec = spec_of(failures=2)
    assert exhausted_reason(spec, history_of(FAILED, 0.5, PRUNED, TrialState.CANCELLED)) is None
    reason = "the budget of failures is used up: 2 of 3 trials have failed"
    assert exhausted_reason(spec, history_of(FAILED, 0.5, FAILED)) == reason


@pytest.mark.parametrize(("direction", "short", "reached"), [("minimize", 0.11, 0.1), ("maximize", 0.09, 0.1)])
def test_a_target_is_reached_by_a_completed_trial(direction: str, short: float, reached: float) -> None:
    spec = spec_of(direction, target=0.1)
    assert exhausted_reason(spec, history_of(short, short)) is None
    assert exhausted_reason(spec, history_of(short, reached)) == "trial 1 reached 0.1, and the target is 0.1"
    running = TrialRecord(0, TrialState.RUNNING, {}, series=((1, reached),))
    assert exhausted_reason(spec, History(trials=(running,))) is None


def test_no_improvement_counts_the_ends_since_the_best() -> None:
    spec = spec_of(no_improvement=3)
    assert exhausted_reason(spec, history_of(0.5, 0.6, PRUNED, 0.4, 0.7, 0.4)) is None
    reason = "the last 3 trials gave no better value than trial  3"
    assert exhausted_reason(spec, history_of(0.5, 0.6, PRUNED, 0.4, 0.7, 0.4, PRUNED)) == reason


def test_with_several_objectives_the_last_improvement_is_the_newest_on_the_front() -> None:
    two = [{"metric": "loss", "direction": "minimize"}, {"metric": "speed", "direction": "maximize"}]
    spec = spec_of(no_improvement=2).model_copy(update={"objective": [Objective.model_validate(each) for each in two]})
    lived = history_of(0.5, 0.6, 0.9, 0.9, 0.9)
    speeds = (5.0, 6.0, 1.0, 2.0, 7.0)
    trials = [replace(trial, other_values=(speed,)) for trial, speed in zip(lived, speeds, strict=True)]
    assert exhausted_reason(spec, History(trials=tuple(trials[:3]))) is None
    assert (
        exhausted_reason(spec, History(trials=tuple(trials[:4])))
        == "the last 2 trials gave no better value than trial  1"
    )
    assert exhausted_reason(spec, History(trials=tuple(trials))) is None


def test_trials_that_failed_or_were_cancelled_say_nothing_of_improvement() -> None:
    spec = spec_of(no_improvement=2)
    assert exhausted_reason(spec, history_of(0.5, FAILED, TrialState.CANCELLED, 0.6)) is None


def test_before_a_trial_has_completed_there_is_nothing_to_improve_on() -> None:
    assert exhausted_reason(spec_of(no_improvement=2), history_of(PRUNED, PRUNED, PRUNED)) is None


def test_ends_count_in_their_own_order_not_in_that_of_numbers() -> None:
    spec = spec_of(no_improvement=3)
    assert exhausted_reason(spec, history_of(0.1, 0.5, 0.6, 0.7, order=[1, 2, 3, 0])) is None
    assert exhausted_reason(spec, history_of(0.1, 0.5, 0.6, 0.7)) is not None


def test_a_search_without_such_budgets_never_ends_early() -> None:
    assert not has_stopping_limits(Budget(trials=3))
    assert has_stopping_limits(Budget(failures=1))
    assert exhausted_reason(spec_of(trials=1), history_of(0.1, FAILED, 0.1), BudgetUsage(math.inf, math.inf)) is None
