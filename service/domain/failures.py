"""Failure handling: what the outcome of an attempt means for its trial, and which retry budget it uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import assert_never

from service.contract.attempt import FailureClass, MemoryShortage, Outcome
from service.domain.states import AttemptEvent, TrialEvent

MAX_LOSSES = 5
"""Losses (host or process gone) that a trial survives; the next one fails it. A loss is not the trial's fault."""

MAX_HOST_FAULTS = 5
"""Number of faults of one host for which a trial is requeued without charge.

More can happen only on a host that trains other studies well, because any other host is quarantined before that.
"""

POISON_LOSSES, POISON_HOSTS = 3, 2
"""A trial is poison after this many consecutive losses without progress, on this many hosts: it crashes its workers."""

SHARED_GPU_GIB = 1.0
"""GiB of device memory held by other processes from which they may have caused an out-of-memory error.

A CUDA context alone takes less.
"""

GPU_SIZE_TOLERANCE = 1.1
"""Ratio of memory sizes above which a GPU counts as larger.

The driver and CUDA report sizes that differ by a few percent for the same GPU.
"""

LOSSES = frozenset({FailureClass.WORKER_LOST, FailureClass.PROCESS_KILLED, FailureClass.HUNG})
"""Failure classes that count as losses."""


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """A past attempt: how it ended, on which host, how far it got, and which memory was short."""

    failure: FailureClass | None
    host: str
    progress: tuple[int, int] = (0, 0)
    """Progress: the last step, and the number of batches of the next step that a checkpoint holds."""
    shortage: MemoryShortage | None = None


@dataclass(frozen=True, slots=True)
class FailureContext:
    """Context of an outcome: the trial's counts and past attempts, the host, and the GPUs available."""

    num_losses: int = 0
    num_failures: int = 0
    retry_failed: int = 0
    """Number of failures after which the study retries a trial."""
    host: str = ""
    progress: tuple[int, int] = (0, 0)
    """Progress of the attempt, in the form of `PastAttempt.progress`."""
    past_attempts: Sequence[PastAttempt] = ()
    """The trial's earlier attempts, oldest first."""
    largest_gib: float = 0.0
    """Memory in GiB of the largest GPU of all live workers."""
    all_hosts_fail: bool = False
    """No other host does better with this study, so a host fault counts as the study's and not as this host's."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """The consequences of an outcome for its attempt and its trial."""

    attempt: AttemptEvent
    trial: TrialEvent
    reason: str
    failure: FailureClass | None = None
    """Failure class that is stored with the attempt."""
    infeasible: bool = False
    is_loss: bool = False
    is_failure: bool = False


def resolve(outcome: Outcome, context: FailureContext) -> Resolution:
    """Decide what an outcome means: the events of attempt and trial, and whether it counts as a loss or a failure."""
    message = outcome.message
    match outcome.result:
        case "succeeded":
            return Resolution(AttemptEvent.SUCCEEDED, TrialEvent.COMPLETED, message or "trained to the end")
        case "pruned":
            return Resolution(AttemptEvent.PRUNED, TrialEvent.PRUNED, message or "stopped by a verdict")
        case "paused":
            return Resolution(AttemptEvent.PAUSED, TrialEvent.PAUSED, message or "paused at its rung")
        case "released":
            reason = message or "given back by its worker"
            return Resolution(AttemptEvent.RELEASED, TrialEvent.REQUEUED, reason, outcome.failure)
        case "failed":
            return _failed(outcome.failure or FailureClass.USER_EXCEPTION, outcome, context)
        case _:
            assert_never(outcome.result)


def _failed(failure: FailureClass, outcome: Outcome, context: FailureContext) -> Resolution:
    """Resolve a failed outcome by its failure class."""
    reason = outcome.message or failure.value
    match failure:
        case FailureClass.DIVERGED | FailureClass.INFEASIBLE | FailureClass.INVALID:
            # No code or machine failed. The parameters do not work, and samplers should learn that.
            return _infeasible(failure, reason)
        case FailureClass.PREEMPTED:
            return Resolution(AttemptEvent.RELEASED, TrialEvent.REQUEUED, reason, failure)
        case FailureClass.WORKER_LOST | FailureClass.PROCESS_KILLED | FailureClass.HUNG:
            return _lost(failure, reason, context)
        case FailureClass.OUT_OF_MEMORY:
            return _out_of_memory(reason, outcome.shortage, context)
        case FailureClass.HOST_FAULT:
            return _host_fault(reason, context)
        case FailureClass.USER_EXCEPTION | FailureClass.POISON:
            return _charged(failure, reason, context)
        case _:
            assert_never(failure)


def _infeasible(failure: FailureClass, reason: str) -> Resolution:
    return Resolution(AttemptEvent.FAILED, TrialEvent.PRUNED, reason, failure, infeasible=True)


def _uncharged(failure: FailureClass, reason: str) -> Resolution:
    return Resolution(AttemptEvent.FAILED, TrialEvent.REQUEUED, reason, failure)


def _charged(failure: FailureClass, reason: str, context: FailureContext) -> Resolution:
    """Count the outcome as the trial's own failure."""
    final = Resolution(AttemptEvent.FAILED, TrialEvent.FAILED, reason, failure, is_failure=True)
    return _unless_retried(final, context)


def _unless_retried(final: Resolution, context: FailureContext) -> Resolution:
    """Return `final`, or a requeued trial if the study has a retry left for it, whatever the failure class."""
    if context.num_failures >= context.retry_failed:
        return final
    reason = f"{final.reason} (try {context.num_failures + 2} of {context.retry_failed + 1} follows)"
    return replace(final, trial=TrialEvent.REQUEUED, reason=reason, infeasible=False, is_failure=True)


def _host_fault(reason: str, context: FailureContext) -> Resolution:
    if context.all_hosts_fail:
        return _charged(FailureClass.USER_EXCEPTION, f"{reason} (no other host succeeds either)", context)
    num_faults = sum(
        each.host == context.host and each.failure is FailureClass.HOST_FAULT for each in context.past_attempts
    )
    if num_faults >= MAX_HOST_FAULTS:
        reason = f"{reason} (given up after {num_faults + 1} faults of the host {context.host})"
        return _charged(FailureClass.USER_EXCEPTION, reason, context)
    return _uncharged(FailureClass.HOST_FAULT, reason)


def _lost(failure: FailureClass, reason: str, context: FailureContext) -> Resolution:
    poison = _poison(failure, reason, context)
    if poison is not None:
        # FAILED instead of LOST: a lost attempt may be re-attached, but this charge is final.
        return _charged(FailureClass.POISON, poison, context)
    event = AttemptEvent.LOST if failure is FailureClass.WORKER_LOST else AttemptEvent.FAILED
    if context.num_losses < MAX_LOSSES:
        return Resolution(event, TrialEvent.REQUEUED, reason, failure, is_loss=True)
    reason = f"given up after {context.num_losses + 1} losses; the last: {reason}"
    return _unless_retried(Resolution(event, TrialEvent.FAILED, reason, failure, is_loss=True), context)


def undo_loss(num_losses: int, num_failures: int) -> tuple[int, int]:
    """Return (num_losses, num_failures) as they were before the last loss, because its worker has reconnected."""
    was_charged = num_losses > MAX_LOSSES
    return num_losses - 1, num_failures - was_charged


def _poison(failure: FailureClass, reason: str, context: FailureContext) -> str | None:
    """Return why the trial counts as poison with this loss, or None if it does not."""
    attempts = [*context.past_attempts, PastAttempt(failure, context.host, context.progress)]
    progress = list(accumulate((each.progress for each in attempts), max, initial=(0, 0)))
    hosts: list[str] = []
    for attempt, before in reversed(list(zip(attempts, progress, strict=False))):
        if attempt.failure not in LOSSES or attempt.progress > before:
            break
        hosts.append(attempt.host)
    if len(hosts) < POISON_LOSSES or len(set(hosts)) < POISON_HOSTS:
        return None
    where = ", ".join(dict.fromkeys(reversed(hosts)))
    return f"poison: lost {len(hosts)} times without progress, on {where}; the last: {reason}"


def _out_of_memory(reason: str, shortage: MemoryShortage | None, context: FailureContext) -> Resolution:
    failure = FailureClass.OUT_OF_MEMORY
    if shortage is not None and _is_excused(shortage, [each.shortage for each in context.past_attempts]):
        return _uncharged(failure, f"{reason}; other processes may have held the memory: tried once more")
    if shortage is not None and shortage.place == "device" and shortage.total_gib is not None:
        if context.largest_gib > shortage.total_gib * GPU_SIZE_TOLERANCE:
            return _uncharged(failure, f"{reason}; waits for a GPU with more than {shortage.total_gib:g} GiB")
        return _infeasible(failure, f"{reason}; no GPU here has more than {shortage.total_gib:g} GiB")
    # Host memory or memory of unknown place was short. This does not yet mean that the parameters are infeasible.
    return _unless_retried(_infeasible(failure, reason), context)


def _is_excused(shortage: MemoryShortage, past_attempts: Sequence[MemoryShortage | None]) -> bool:
    """Return whether this is the first shortage in this place that other processes may have caused.

    In host memory, other processes may always have caused it.
    """
    return _is_shared(shortage) and not any(
        each is not None and each.place == shortage.place and _is_shared(each) for each in past_attempts
    )


def _is_shared(shortage: MemoryShortage) -> bool:
    return shortage.place == "host" or shortage.others_gib >= SHARED_GPU_GIB


def min_gpu_gib(attempts: Sequence[PastAttempt]) -> float:
    """Return the GPU memory in GiB that was too small for a trial, by its past attempts; 0 if any GPU may run it.

    Shortages that other processes may have caused are excused once and do not count.
    """
    shortages = [each.shortage for each in attempts]
    return max(
        (
            shortage.total_gib
            for number, shortage in enumerate(shortages)
            if shortage is not None
            and shortage.place == "device"
            and shortage.total_gib is not None
            and not _is_excused(shortage, shortages[:number])
        ),
        default=0.0,
    )
