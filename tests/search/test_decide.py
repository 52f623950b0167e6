"""`decide`: whether to suggest, promote, wait or end."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.trial import TrialState
from service.domain.budget import BudgetUsage
from service.domain.history import History
from service.search import decide
from service.search.validation import check_strategy
from tests.search.studies import begun, ended, played, record, smooth, study

LIGHT = """
import sys, service.search.decide
assert not {"numpy", "optuna", "scipy", "torch"} & set(sys.modules)
"""


def test_importing_it_loads_no_numerical_library() -> None:
    subprocess.run([sys.executable, "-c", LIGHT], check=True)


@settings(deadline=None, max_examples=30)
@given(
    sampler=st.sampled_from(["random", "coarse_to_fine"]),
    budget=st.integers(2, 15),
    at_once=st.integers(1, 20),
)
def test_exactly_the_budget_is_handed_out(sampler: str, budget: int, at_once: int) -> None:
    spec = study(sampler=sampler, budget={"trials": budget})
    history = played(spec, smooth, at_once=at_once)
    assert [trial.number for trial in history] == list(range(budget))


@pytest.mark.parametrize("state", [TrialState.WAITING, TrialState.RUNNING, TrialState.PAUSED])
def test_it_is_not_done_while_a_trial_is_open(state: TrialState) -> None:
    spec = study(sampler="random", budget={"trials": 2})
    history = History(trials=(record(0, value=1.0), record(1, state=state)))
    reason = "all 2 trials of the budget were suggested"
    assert decide.next_action(history, spec) == decide.Wait(f"{reason}; 1 are still open")
    assert decide.next_action(ended(history, 1, 2.0), spec) == decide.Done(reason)
    assert decide.next_action(ended(history, 1, None, state=TrialState.FAILED), spec) == decide.Done(reason)


def test_an_exhausted_grid_waits_for_its_open_trials_too() -> None:
    spec = study({"a": {"type": "int", "low": 1, "high": 2}}, sampler="grid", budget={})
    history = History()
    while isinstance(decision := decide.next_action(history, spec), decide.Suggest):
        history = begun(history, decision)
    assert decision == decide.Wait("the grid sampler has suggested all its configurations, 2 trials; 2 are still open")


def test_without_a_budget_a_random_search_never_ends() -> None:
    spec = study(sampler="random", budget={})
    history = History(trials=tuple(record(at, value=1.0) for at in range(200)))
    assert isinstance(decide.next_action(history, spec), decide.Suggest)


def test_an_enqueued_configuration_goes_first_and_takes_a_number_of_the_budget() -> None:
    spec = study(sampler="coarse_to_fine", budget={"trials": 3})
    own = {"optimizer.name": "adamw"}
    stalled = History(trials=(record(0, stage=0), record(1, stage=0)))
    assert isinstance(decide.next_action(stalled, spec), decide.Wait)
    decision = decide.next_action(stalled, spec, enqueued=own)
    assert isinstance(decision, decide.Suggest)
    assert (decision.number, decision.suggestion.parameters) == (2, own)
    assert isinstance(decide.next_action(begun(stalled, decision), spec, enqueued=own), decide.Wait)


@pytest.mark.parametrize("sampler", ["auto", "gp", "random", "sobol", "tpe", "optuna:cmaes", "optuna:gp", "optuna:qmc"])
def test_samplers_that_need_nothing_more_pass_the_check(sampler: str) -> None:
    assert check_strategy(study(sampler=sampler, budget={})) == []


def test_the_plan_is_the_smaller_of_budget_and_grid() -> None:
    two_by_two = {name: {"type": "categorical", "choices": [1, 2]} for name in "ab"}
    assert decide.num_planned(study(sampler="random")) == 30
    assert decide.num_planned(study(two_by_two, sampler="grid")) == 4
    assert decide.num_planned(study(two_by_two, sampler="grid", budget={"trials": 3})) == 3
    assert decide.num_planned(study(two_by_two, sampler="grid", budget={})) == 4
    assert decide.num_planned(study(sampler="random", budget={})) is None


EARLY_ENDS: dict[str, tuple[dict[str, Any], BudgetUsage, str]] = {
    "time": ({"hours": 1}, BudgetUsage(seconds=3600), "the budget of 1 h is used up"),
    "devices": ({"device_hours": 1}, BudgetUsage(device_seconds=3600), "the budget of 1 device-hours is used up"),
    "failures": ({"failures": 1}, BudgetUsage(), "the budget of failures is used up: 1 of 4 trials have failed"),
    "target": ({"target": 0.5}, BudgetUsage(), "trial 0 reached 0.5, and the target is 0.5"),
    "progress": ({"no_improvement": 1}, BudgetUsage(), "the last 1 trials gave no better value than trial  0"),
}


@pytest.mark.parametrize(("budget", "used", "reason"), EARLY_ENDS.values(), ids=EARLY_ENDS)
def test_a_budget_that_is_used_up_lets_nothing_begin_and_what_runs_end(
    budget: dict[str, Any], used: BudgetUsage, reason: str
) -> None:
    spec = study(sampler="random", budget={"trials": 30, **budget})
    ends = [record(0, value=0.5), record(1, value=0.5), record(2, state=TrialState.FAILED)]
    history = History(trials=(*ends, record(3)))
    assert decide.next_action(history, spec, used) == decide.Wait(f"{reason}; 1 are still open")
    assert decide.completion_reason(history, spec, used) is None
    over = ended(history, 3, None, state=TrialState.CANCELLED)
    assert decide.next_action(over, spec, used, enqueued=history.trials[0].parameters) == decide.Done(reason)
    assert decide.completion_reason(over, spec, used, has_enqueued=True) == reason
    assert isinstance(decide.next_action(over, study(sampler="random")), decide.Suggest)


def test_suggestions_do_not_depend_on_the_budget_used() -> None:
    spec = study(sampler="random", budget={"hours": 1})
    assert decide.next_action(History(), spec, BudgetUsage(3599, 1e6)) == decide.next_action(History(), spec)
