"""What every way of ending costs: the attempt's end, the trial's next state, and which budget pays."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.lease import FailureClass, Outcome
from service.domain.failures import MAX_LOSSES, Resolution, resolve
from service.domain.states import ATTEMPT, TRIAL, AttemptEvent, TrialEvent


def resolved(outcome: Outcome, **past: int) -> Resolution:
    return resolve(outcome, **({"num_losses": 0, "num_failures": 0, "retry_failed": 0} | past))


def failed(failure: str, message: str = "", **past: int) -> Resolution:
    return resolved(Outcome(result="failed", failure=FailureClass(failure), message=message), **past)


@pytest.mark.parametrize(
    ("result", "attempt", "trial", "reason"),
    [
        ("succeeded", AttemptEvent.SUCCEEDED, TrialEvent.COMPLETED, "trained to the end"),
        ("pruned", AttemptEvent.PRUNED, TrialEvent.PRUNED, "stopped by a verdict"),
        ("paused", AttemptEvent.PAUSED, TrialEvent.PAUSED, "paused at its rung"),
        ("released", AttemptEvent.RELEASED, TrialEvent.REQUEUED, "given back by its worker"),
    ],
)
def test_an_end_without_failure_costs_nothing(
    result: Any, attempt: AttemptEvent, trial: TrialEvent, reason: str
) -> None:
    assert resolved(Outcome(result=result)) == Resolution(attempt, trial, reason)
    assert resolved(Outcome(result=result, message="said so")).reason == "said so"


INFEASIBLE = ["diverged", "infeasible", "invalid"]
LOSSES = ["worker_lost", "process_killed", "host_fault", "hung"]
FAILURES = ["user_exception", "out_of_memory", "poison"]


def test_every_class_of_failure_is_of_one_kind() -> None:
    assert sorted([*INFEASIBLE, *LOSSES, *FAILURES, "preempted"]) == sorted(FailureClass)


@pytest.mark.parametrize("failure", INFEASIBLE)
@pytest.mark.parametrize("num_before", [0, 99])
def test_parameters_that_do_not_work_are_infeasible_and_never_retried(failure: str, num_before: int) -> None:
    resolution = failed(failure, num_losses=num_before, num_failures=num_before, retry_failed=5)
    assert resolution == Resolution(AttemptEvent.FAILED, TrialEvent.PRUNED, failure, infeasible=True)


@pytest.mark.parametrize("num_before", [0, 99])
def test_preemption_is_free(num_before: int) -> None:
    resolution = failed("preempted", num_losses=num_before, num_failures=num_before)
    assert resolution == Resolution(AttemptEvent.RELEASED, TrialEvent.REQUEUED, "preempted")


@pytest.mark.parametrize("failure", LOSSES)
def test_a_loss_is_paid_by_the_budget_of_losses_alone(failure: str) -> None:
    end = AttemptEvent.LOST if failure == "worker_lost" else AttemptEvent.FAILED
    for num_losses in range(MAX_LOSSES):
        resolution = failed(failure, num_losses=num_losses, num_failures=99)
        assert resolution == Resolution(end, TrialEvent.REQUEUED, failure, is_loss=True)
    last = failed(failure, "gone", num_losses=MAX_LOSSES, retry_failed=99)
    assert last == Resolution(end, TrialEvent.FAILED, "given up after 6 losses; the last: gone", is_loss=True)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_final_unless_retries_are_asked_for(failure: str) -> None:
    assert failed(failure) == Resolution(AttemptEvent.FAILED, TrialEvent.FAILED, failure, is_failure=True)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_paid_by_the_retries_alone(failure: str) -> None:
    first = failed(failure, "boom", num_failures=0, num_losses=99, retry_failed=2)
    assert first == Resolution(AttemptEvent.FAILED, TrialEvent.REQUEUED, "boom (try 2 of 3 follows)", is_failure=True)
    assert failed(failure, num_failures=1, retry_failed=2).trial is TrialEvent.REQUEUED
    assert failed(failure, num_failures=2, retry_failed=2).trial is TrialEvent.FAILED


def test_a_failure_of_no_class_counts_as_an_exception_of_the_user() -> None:
    assert resolved(Outcome(result="failed")).reason == "user_exception"


@given(
    result=st.sampled_from(["succeeded", "pruned", "paused", "failed", "released"]),
    failure=st.none() | st.sampled_from(FailureClass),
    past=st.fixed_dictionaries(
        {name: st.integers(0, 20) for name in ("num_losses", "num_failures", "retry_failed")},
    ),
)
def test_every_outcome_is_a_move_of_a_running_attempt_and_trial(
    result: Any, failure: FailureClass | None, past: dict[str, int]
) -> None:
    resolution = resolved(Outcome(result=result, failure=failure), **past)
    assert ATTEMPT.advance(ATTEMPT.initial, resolution.attempt)
    assert TRIAL.advance(TRIAL.moves[TrialEvent.CLAIMED].target, resolution.trial)
    assert resolution.reason
    assert not (resolution.is_loss and resolution.is_failure)
