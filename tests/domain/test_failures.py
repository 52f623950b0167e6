"""What each end of an attempt costs: the attempt's state, the trial's next state, and which budget is charged."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.attempt import FailureClass, MemoryShortage, Outcome
from service.domain.failures import (
    MAX_HOST_FAULTS,
    MAX_LOSSES,
    FailureContext,
    PastAttempt,
    Resolution,
    min_gpu_gib,
    resolve,
    undo_loss,
)
from service.domain.states import ATTEMPT, TRIAL, AttemptEvent, TrialEvent


def resolved(outcome: Outcome, **given: Any) -> Resolution:
    return resolve(outcome, FailureContext(**given))


def failed(failure: str, message: str = "", shortage: MemoryShortage | None = None, **given: Any) -> Resolution:
    outcome = Outcome(result="failed", failure=FailureClass(failure), message=message, shortage=shortage)
    return resolved(outcome, **given)


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
LOSSES = ["worker_lost", "process_killed", "hung"]
FAILURES = ["user_exception", "poison"]
BY_CIRCUMSTANCE = ["out_of_memory", "host_fault"]


def test_every_class_of_failure_is_of_one_kind() -> None:
    assert sorted([*INFEASIBLE, *LOSSES, *FAILURES, *BY_CIRCUMSTANCE, "preempted"]) == sorted(FailureClass)


@pytest.mark.parametrize("failure", INFEASIBLE)
@pytest.mark.parametrize("num_before", [0, 99])
def test_parameters_that_do_not_work_are_infeasible_and_never_retried(failure: str, num_before: int) -> None:
    resolution = failed(failure, num_losses=num_before, num_failures=num_before, retry_failed=5)
    expected = (AttemptEvent.FAILED, TrialEvent.PRUNED, failure, FailureClass(failure))
    assert resolution == Resolution(*expected, infeasible=True)


@pytest.mark.parametrize("num_before", [0, 99])
def test_preemption_is_free(num_before: int) -> None:
    resolution = failed("preempted", num_losses=num_before, num_failures=num_before)
    assert resolution == Resolution(AttemptEvent.RELEASED, TrialEvent.REQUEUED, "preempted", FailureClass("preempted"))


@pytest.mark.parametrize("failure", LOSSES)
def test_a_loss_is_paid_by_the_budget_of_losses_alone(failure: str) -> None:
    end = AttemptEvent.LOST if failure == "worker_lost" else AttemptEvent.FAILED
    for num_losses in range(MAX_LOSSES):
        resolution = failed(failure, num_losses=num_losses, num_failures=99)
        assert resolution == Resolution(end, TrialEvent.REQUEUED, failure, FailureClass(failure), is_loss=True)
    last = failed(failure, "gone", num_losses=MAX_LOSSES)
    reason = "given up after 6 losses; the last: gone"
    assert last == Resolution(end, TrialEvent.FAILED, reason, FailureClass(failure), is_loss=True)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_final_unless_retries_are_asked_for(failure: str) -> None:
    expected = (AttemptEvent.FAILED, TrialEvent.FAILED, failure, FailureClass(failure))
    assert failed(failure) == Resolution(*expected, is_failure=True)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_paid_by_the_retries_alone(failure: str) -> None:
    first = failed(failure, "boom", num_failures=0, num_losses=99, retry_failed=2)
    assert (first.trial, first.reason) == (TrialEvent.REQUEUED, "boom (try 2 of 3 follows)")
    assert (first.is_failure, first.is_loss) == (True, False)
    assert failed(failure, num_failures=1, retry_failed=2).trial is TrialEvent.REQUEUED
    assert failed(failure, num_failures=2, retry_failed=2).trial is TrialEvent.FAILED


@pytest.mark.parametrize("failure", LOSSES)
def test_losses_beyond_their_budget_are_paid_by_the_retries(failure: str) -> None:
    end = AttemptEvent.LOST if failure == "worker_lost" else AttemptEvent.FAILED
    again = failed(failure, "gone", num_losses=MAX_LOSSES, retry_failed=1)
    assert (again.attempt, again.trial) == (end, TrialEvent.REQUEUED)
    assert (again.is_loss, again.is_failure) == (True, True)
    assert again.reason == "given up after 6 losses; the last: gone (try 2 of 2 follows)"
    assert failed(failure, num_losses=MAX_LOSSES + 1, num_failures=1, retry_failed=1).trial is TrialEvent.FAILED


@given(st.sampled_from(LOSSES), st.integers(0, 2 * MAX_LOSSES), st.integers(0, 3))
def test_a_worker_heard_of_after_all_gets_back_what_its_loss_cost(
    failure: str, num_losses: int, num_failures: int
) -> None:
    lost = failed(failure, num_losses=num_losses, num_failures=num_failures, retry_failed=9)
    assert lost.trial is TrialEvent.REQUEUED
    after = (num_losses + lost.is_loss, num_failures + lost.is_failure)
    assert undo_loss(*after) == (num_losses, num_failures)


@pytest.mark.parametrize(
    "shortage", [None, MemoryShortage(place="host", total_gib=64.0), MemoryShortage(place="device")]
)
def test_memory_short_elsewhere_than_on_a_known_gpu_is_retried(shortage: MemoryShortage | None) -> None:
    given = {"past_attempts": after(HOST), "retry_failed": 1}
    again = failed("out_of_memory", "boom", shortage, **given)
    assert (again.trial, again.infeasible, again.is_failure) == (TrialEvent.REQUEUED, False, True)
    last = failed("out_of_memory", "boom", shortage, num_failures=1, **given)
    assert (last.trial, last.infeasible) == (TrialEvent.PRUNED, True)


def test_a_gpu_too_small_is_a_word_on_the_parameters_and_not_retried() -> None:
    last = failed("out_of_memory", "boom", FULL, largest_gib=24.0, retry_failed=9)
    assert (last.trial, last.infeasible) == (TrialEvent.PRUNED, True)


def test_a_failure_of_no_class_counts_as_an_exception_of_the_user() -> None:
    assert resolved(Outcome(result="failed")).failure is FailureClass.USER_EXCEPTION


def test_a_fault_of_the_host_costs_the_trial_nothing_however_often() -> None:
    resolution = failed("host_fault", "no driver", num_losses=99, num_failures=99)
    assert resolution == Resolution(AttemptEvent.FAILED, TrialEvent.REQUEUED, "no driver", FailureClass.HOST_FAULT)


def test_the_sixth_fault_of_one_host_is_charged_to_the_trial() -> None:
    def fault(*hosts: str) -> Resolution:
        earlier = [PastAttempt(FailureClass.HOST_FAULT, host) for host in hosts]
        return failed("host_fault", "no file", host="a", past_attempts=earlier)

    assert MAX_HOST_FAULTS == 5
    for hosts in (["a"] * 4, [*["a"] * 4, *["b"] * 9]):
        assert fault(*hosts) == Resolution(AttemptEvent.FAILED, TrialEvent.REQUEUED, "no file", FailureClass.HOST_FAULT)
    sixth = fault(*["a"] * 3, "b", *["a"] * 2)
    assert (sixth.trial, sixth.failure, sixth.is_failure) == (TrialEvent.FAILED, FailureClass.USER_EXCEPTION, True)
    assert sixth.reason == "no file (given up after 6 faults of the host a)"


def test_a_fault_that_every_host_has_is_an_exception_of_the_user() -> None:
    resolution = failed("host_fault", "no file", all_hosts_fail=True)
    assert (resolution.trial, resolution.failure) == (TrialEvent.FAILED, FailureClass.USER_EXCEPTION)
    assert resolution.is_failure
    assert resolution.reason == "no file (no other host succeeds either)"


def lost_on(*hosts: str, steps: tuple[int | None, ...] | None = None) -> list[PastAttempt]:
    reached = steps or (None,) * len(hosts)
    return [
        PastAttempt(FailureClass.WORKER_LOST, host, (step or 0, 0)) for host, step in zip(hosts, reached, strict=True)
    ]


def test_three_losses_without_progress_on_two_hosts_are_poison() -> None:
    resolution = failed("process_killed", "killed", host="b", past_attempts=lost_on("a", "a"))
    assert (resolution.trial, resolution.failure) == (TrialEvent.FAILED, FailureClass.POISON)
    assert resolution.reason == "poison: lost 3 times without progress, on a, b; the last: killed"
    assert resolution.attempt is AttemptEvent.FAILED


@pytest.mark.parametrize(
    ("host", "reached", "earlier"),
    [
        ("a", (0, 0), lost_on("a", "a")),
        ("b", (0, 0), lost_on("a")),
        ("b", (6, 0), lost_on("a", "a", steps=(5, 5))),
        ("b", (5, 1), lost_on("a", "a", steps=(5, 5))),
        ("b", (5, 0), lost_on("a", "a", steps=(5, 5))),
        ("b", (0, 0), [*lost_on("a"), PastAttempt(FailureClass.OUT_OF_MEMORY, "a"), *lost_on("a")]),
    ],
    ids=["one host", "two losses", "progress", "progress within a step", "the first got somewhere", "not all losses"],
)
def test_fewer_losses_or_hosts_or_some_progress_are_no_poison(
    host: str, reached: tuple[int, int], earlier: list[PastAttempt]
) -> None:
    resolution = failed("hung", host=host, progress=reached, past_attempts=earlier)
    assert (resolution.trial, resolution.is_loss) == (TrialEvent.REQUEUED, True)


def test_dying_at_the_same_step_again_and_again_is_poison() -> None:
    earlier = lost_on("a", "b", "a", steps=(5, 5, 5))
    assert failed("hung", host="b", progress=(5, 0), past_attempts=earlier).failure is FailureClass.POISON


FULL = MemoryShortage(place="device", total_gib=24.0)
CROWDED = MemoryShortage(place="device", total_gib=24.0, others_gib=8.0)
HOST = MemoryShortage(place="host", total_gib=64.0)


def after(*shortages: MemoryShortage) -> list[PastAttempt]:
    return [PastAttempt(FailureClass.OUT_OF_MEMORY, "a", shortage=shortage) for shortage in shortages]


@pytest.mark.parametrize(
    ("shortage", "earlier", "largest_gib", "event", "said"),
    [
        (FULL, (), 25.0, TrialEvent.PRUNED, "no GPU here has more than 24 GiB"),
        (FULL, (), 80.0, TrialEvent.REQUEUED, "waits for a GPU with more than 24 GiB"),
        (CROWDED, (), 24.0, TrialEvent.REQUEUED, "tried once more"),
        (CROWDED, (CROWDED,), 24.0, TrialEvent.PRUNED, "no GPU here has more"),
        (CROWDED, (CROWDED,), 80.0, TrialEvent.REQUEUED, "waits for a GPU"),
        (HOST, (), 80.0, TrialEvent.REQUEUED, "tried once more"),
        (HOST, (HOST,), 80.0, TrialEvent.PRUNED, "boom"),
        (HOST, (CROWDED,), 80.0, TrialEvent.REQUEUED, "tried once more"),
        (None, (), 80.0, TrialEvent.PRUNED, "boom"),
    ],
)
def test_out_of_memory(
    shortage: MemoryShortage | None,
    earlier: tuple[MemoryShortage, ...],
    largest_gib: float,
    event: TrialEvent,
    said: str,
) -> None:
    resolution = failed("out_of_memory", "boom", shortage, past_attempts=after(*earlier), largest_gib=largest_gib)
    assert resolution.trial is event
    assert said in resolution.reason
    assert resolution.infeasible is (event is TrialEvent.PRUNED)
    assert (resolution.is_loss, resolution.is_failure) == (False, False)


@pytest.mark.parametrize(
    ("shortages", "floor"),
    [((), 0.0), ((FULL,), 24.0), ((CROWDED,), 0.0), ((CROWDED, CROWDED), 24.0), ((HOST, HOST), 0.0)],
)
def test_a_trial_needs_more_memory_than_was_too_little(shortages: tuple[MemoryShortage, ...], floor: float) -> None:
    assert min_gpu_gib(after(*shortages)) == floor


@given(
    result=st.sampled_from(["succeeded", "pruned", "paused", "failed", "released"]),
    failure=st.none() | st.sampled_from(FailureClass),
    past=st.fixed_dictionaries(
        {name: st.integers(0, 20) for name in ("num_losses", "num_failures", "retry_failed")}
        | {"all_hosts_fail": st.booleans(), "largest_gib": st.sampled_from([0.0, 24.0, 80.0])}
        | {"past_attempts": st.lists(st.sampled_from([*lost_on("a", "b"), *after(FULL, CROWDED, HOST)]), max_size=6)},
    ),
    shortage=st.none() | st.sampled_from([FULL, CROWDED, HOST]),
)
def test_every_outcome_is_a_move_of_a_running_attempt_and_trial(
    result: Any, failure: FailureClass | None, past: dict[str, Any], shortage: MemoryShortage | None
) -> None:
    resolution = resolved(Outcome(result=result, failure=failure, shortage=shortage), **past)
    assert ATTEMPT.advance(ATTEMPT.initial, resolution.attempt)
    assert TRIAL.advance(TRIAL.transitions[TrialEvent.CLAIMED].target, resolution.trial)
    assert resolution.reason


def test_only_host_faults_count_towards_the_limit_of_host_faults() -> None:
    earlier = [PastAttempt(FailureClass.USER_EXCEPTION, "a")] * MAX_HOST_FAULTS
    assert failed("host_fault", host="a", past_attempts=earlier).trial is TrialEvent.REQUEUED
    earlier = [PastAttempt(FailureClass.HOST_FAULT, "a")] * MAX_HOST_FAULTS
    assert failed("host_fault", host="a", past_attempts=earlier).trial is TrialEvent.FAILED


def test_other_processes_excuse_a_shortage_once_in_a_place() -> None:
    free, crowded = (MemoryShortage(place="device", total_gib=8.0, others_gib=others) for others in (0.0, 4.0))

    def end_after(*earlier: MemoryShortage | None) -> TrialEvent:
        executions = [PastAttempt(FailureClass.OUT_OF_MEMORY, "a", shortage=each) for each in earlier]
        return failed("out_of_memory", shortage=crowded, past_attempts=executions).trial

    assert end_after(None) is TrialEvent.REQUEUED
    assert end_after(free) is TrialEvent.REQUEUED
    assert end_after(MemoryShortage(place="host", total_gib=8.0)) is TrialEvent.REQUEUED
    assert end_after(crowded) is TrialEvent.PRUNED


def test_a_shortage_on_a_device_of_unknown_size_sets_no_floor() -> None:
    shortage = MemoryShortage(place="device", total_gib=None)
    assert min_gpu_gib([PastAttempt(FailureClass.OUT_OF_MEMORY, "a", shortage=shortage)]) == 0.0
