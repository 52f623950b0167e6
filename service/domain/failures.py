"""What each way of ending costs a trial: finished, tried again, or given up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from service.contract.lease import FailureClass, Outcome
from service.domain.states import AttemptEvent, TrialEvent

MAX_LOSSES = 5
"""Attempts that may vanish (host or process gone) before a trial is given up; nothing of this is its fault."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What an outcome makes of its attempt and its trial."""

    attempt: AttemptEvent
    trial: TrialEvent
    reason: str
    infeasible: bool = False
    is_loss: bool = False
    is_failure: bool = False


def resolve(outcome: Outcome, *, num_losses: int, num_failures: int, retry_failed: int) -> Resolution:
    """Say what an outcome means, given how often the trial was lost and failed before.

    Args:
        outcome: what the worker said, or what the reaper found.
        num_losses: earlier attempts of the trial that vanished.
        num_failures: earlier attempts that failed for a reason of their own.
        retry_failed: failures after which the trial is tried again.
    """
    message = outcome.message
    match outcome.result:
        case "succeeded":
            return Resolution(AttemptEvent.SUCCEEDED, TrialEvent.COMPLETED, message or "trained to the end")
        case "pruned":
            return Resolution(AttemptEvent.PRUNED, TrialEvent.PRUNED, message or "stopped by a verdict")
        case "paused":
            return Resolution(AttemptEvent.PAUSED, TrialEvent.PAUSED, message or "paused at its rung")
        case "released":
            return Resolution(AttemptEvent.RELEASED, TrialEvent.REQUEUED, message or "given back by its worker")
        case "failed":
            return _failed(
                outcome.failure or FailureClass.USER_EXCEPTION, message, num_losses, num_failures, retry_failed
            )
        case _:
            assert_never(outcome.result)


def _failed(failure: FailureClass, message: str, num_losses: int, num_failures: int, retry_failed: int) -> Resolution:
    match failure:
        case FailureClass.DIVERGED | FailureClass.INFEASIBLE | FailureClass.INVALID:
            # Not a fault of anything that ran: these parameters do not work, and samplers should know.
            return Resolution(AttemptEvent.FAILED, TrialEvent.PRUNED, message or failure.value, infeasible=True)
        case FailureClass.PREEMPTED:
            return Resolution(AttemptEvent.RELEASED, TrialEvent.REQUEUED, message or "preempted")
        case FailureClass.WORKER_LOST | FailureClass.PROCESS_KILLED | FailureClass.HOST_FAULT | FailureClass.HUNG:
            event = AttemptEvent.LOST if failure is FailureClass.WORKER_LOST else AttemptEvent.FAILED
            if num_losses < MAX_LOSSES:
                return Resolution(event, TrialEvent.REQUEUED, message or failure.value, is_loss=True)
            reason = f"given up after {num_losses + 1} losses; the last: {message or failure.value}"
            return Resolution(event, TrialEvent.FAILED, reason, is_loss=True)
        case FailureClass.USER_EXCEPTION | FailureClass.OUT_OF_MEMORY | FailureClass.POISON:
            if num_failures < retry_failed:
                reason = f"{message or failure.value} (try {num_failures + 2} of {retry_failed + 1} follows)"
                return Resolution(AttemptEvent.FAILED, TrialEvent.REQUEUED, reason, is_failure=True)
            return Resolution(AttemptEvent.FAILED, TrialEvent.FAILED, message or failure.value, is_failure=True)
        case _:
            assert_never(failure)
