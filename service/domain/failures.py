"""Failure handling: what the outcome of an attempt means for its trial, and which retry budget it uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import assert_never

from service.contract.lease import FailureClass, Outcome, Shortage
from service.domain.states import AttemptEvent, TrialEvent

MAX_LOSSES = 5
"""Losses (host or process gone) that a trial survives; the next one fails it. A loss is not the trial's fault."""

MAX_HOST_FAULTS = 5
"""Number of faults of one host for which a trial is requeued without charge.

More can happen only on a host that trains other studies well, because any other host is quarantined before that.
"""

POISON_LOSSES, POISON_HOSTS = 3, 2
"""A trial is poison after this many consecutive losses without progress, on this many hosts: it crashes its workers."""

CROWDED_GIB = 1.0
"""GiB of device memory held by other processes from which they may have caused an out-of-memory error.

A CUDA context alone takes less.
"""

LARGER = 1.1
"""Ratio of memory sizes above which a GPU counts as larger.

The driver and CUDA report sizes that differ by a few percent for the same GPU.
"""

LOSSES = frozenset({FailureClass.WORKER_LOST, FailureClass.PROCESS_KILLED, FailureClass.HUNG})
"""Failure classes that count as losses."""


@dataclass(frozen=True, slots=True)
class Execution:
    """A past attempt: how it ended, on which host, how far it got, and which memory was short."""

    failure: FailureClass | None
    host: str
    reached: tuple[int, int] = (0, 0)
    """Progress: the last step, and the number of batches of the next step that a checkpoint holds."""
    shortage: Shortage | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Context of an outcome: the trial's counts and past attempts, the host, and the GPUs available."""

    num_losses: int = 0
    num_failures: int = 0
    retry_failed: int = 0
    """Number of failures after which the study retries a trial."""
    host: str = ""
    reached: tuple[int, int] = (0, 0)
    """Progress of the attempt, in the form of `Execution.reached`."""
    earlier: Sequence[Execution] = ()
    """The trial's earlier attempts, oldest first."""
    largest_gib: float = 0.0
    """Memory in GiB of the largest GPU of all live workers."""
    is_everywhere: bool = False
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


def resolve(outcome: Outcome, given: Circumstances) -> Resolution:
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
            return _failed(outcome.failure or FailureClass.USER_EXCEPTION, outcome, given)
        case _:
            assert_never(outcome.result)


def _failed(failure: FailureClass, outcome: Outcome, given: Circumstances) -> Resolution:
    """Resolve a failed outcome by its failure class."""
    reason = outcome.message or failure.value
    match failure:
        case FailureClass.DIVERGED | FailureClass.INFEASIBLE | FailureClass.INVALID:
            # No code or machine failed. The parameters do not work, and samplers should learn that.
            return _infeasible(failure, reason)
        case FailureClass.PREEMPTED:
            return Resolution(AttemptEvent.RELEASED, TrialEvent.REQUEUED, reason, failure)
        case FailureClass.WORKER_LOST | FailureClass.PROCESS_KILLED | FailureClass.HUNG:
            return _lost(failure, reason, given)
        case FailureClass.OUT_OF_MEMORY:
            return _out_of_memory(reason, outcome.shortage, given)
        case FailureClass.HOST_FAULT:
            return _host_fault(reason, given)
        case FailureClass.USER_EXCEPTION | FailureClass.POISON:
            return _charged(failure, reason, given)
        case _:
            assert_never(failure)


def _infeasible(failure: FailureClass, reason: str) -> Resolution:
    return Resolution(AttemptEvent.FAILED, TrialEvent.PRUNED, reason, failure, infeasible=True)


def _uncharged(failure: FailureClass, reason: str) -> Resolution:
    return Resolution(AttemptEvent.FAILED, TrialEvent.REQUEUED, reason, failure)


def _charged(failure: FailureClass, reason: str, given: Circumstances) -> Resolution:
    """Count the outcome as the trial's own failure."""
    final = Resolution(AttemptEvent.FAILED, TrialEvent.FAILED, reason, failure, is_failure=True)
    return _unless_retried(final, given)


def _unless_retried(final: Resolution, given: Circumstances) -> Resolution:
    """Return `final`, or a requeued trial if the study has a retry left for it, whatever the failure class."""
    if given.num_failures >= given.retry_failed:
        return final
    reason = f"{final.reason} (try {given.num_failures + 2} of {given.retry_failed + 1} follows)"
    return replace(final, trial=TrialEvent.REQUEUED, reason=reason, infeasible=False, is_failure=True)


def _host_fault(reason: str, given: Circumstances) -> Resolution:
    if given.is_everywhere:
        return _charged(FailureClass.USER_EXCEPTION, f"{reason} (no other host does better)", given)
    num_faults = sum(each.host == given.host and each.failure is FailureClass.HOST_FAULT for each in given.earlier)
    if num_faults >= MAX_HOST_FAULTS:
        reason = f"{reason} (given up after {num_faults + 1} faults of the host {given.host})"
        return _charged(FailureClass.USER_EXCEPTION, reason, given)
    return _uncharged(FailureClass.HOST_FAULT, reason)


def _lost(failure: FailureClass, reason: str, given: Circumstances) -> Resolution:
    poison = _poison(failure, reason, given)
    if poison is not None:
        # FAILED instead of LOST: a lost attempt may be re-attached, but this charge is final.
        return _charged(FailureClass.POISON, poison, given)
    event = AttemptEvent.LOST if failure is FailureClass.WORKER_LOST else AttemptEvent.FAILED
    if given.num_losses < MAX_LOSSES:
        return Resolution(event, TrialEvent.REQUEUED, reason, failure, is_loss=True)
    reason = f"given up after {given.num_losses + 1} losses; the last: {reason}"
    return _unless_retried(Resolution(event, TrialEvent.FAILED, reason, failure, is_loss=True), given)


def before_loss(num_losses: int, num_failures: int) -> tuple[int, int]:
    """Return (num_losses, num_failures) as they were before the last loss, because its worker has reconnected."""
    was_charged = num_losses > MAX_LOSSES
    return num_losses - 1, num_failures - was_charged


def _poison(failure: FailureClass, reason: str, given: Circumstances) -> str | None:
    """Return why the trial counts as poison with this loss, or None if it does not."""
    executions = [*given.earlier, Execution(failure, given.host, given.reached)]
    reached = list(accumulate((each.reached for each in executions), max, initial=(0, 0)))
    hosts: list[str] = []
    for execution, before in reversed(list(zip(executions, reached, strict=False))):
        if execution.failure not in LOSSES or execution.reached > before:
            break
        hosts.append(execution.host)
    if len(hosts) < POISON_LOSSES or len(set(hosts)) < POISON_HOSTS:
        return None
    where = ", ".join(dict.fromkeys(reversed(hosts)))
    return f"poison: lost {len(hosts)} times without progress, on {where}; the last: {reason}"


def _out_of_memory(reason: str, shortage: Shortage | None, given: Circumstances) -> Resolution:
    failure = FailureClass.OUT_OF_MEMORY
    if shortage is not None and _is_excused(shortage, [each.shortage for each in given.earlier]):
        return _uncharged(failure, f"{reason}; other processes may have held the memory: tried once more")
    if shortage is not None and shortage.place == "device" and shortage.total_gib is not None:
        if given.largest_gib > shortage.total_gib * LARGER:
            return _uncharged(failure, f"{reason}; waits for a GPU with more than {shortage.total_gib:g} GiB")
        return _infeasible(failure, f"{reason}; no GPU here has more than {shortage.total_gib:g} GiB")
    # Host memory or memory of unknown place was short. This does not yet mean that the parameters are infeasible.
    return _unless_retried(_infeasible(failure, reason), given)


def _is_excused(shortage: Shortage, earlier: Sequence[Shortage | None]) -> bool:
    """Return whether this is the first shortage in this place that other processes may have caused.

    In host memory, other processes may always have caused it.
    """
    return _is_crowded(shortage) and not any(
        each is not None and each.place == shortage.place and _is_crowded(each) for each in earlier
    )


def _is_crowded(shortage: Shortage) -> bool:
    return shortage.place == "host" or shortage.others_gib >= CROWDED_GIB


def memory_floor(executions: Sequence[Execution]) -> float:
    """Return the GPU memory in GiB that was too small for a trial, by its past attempts; 0 if any GPU may run it.

    Shortages that other processes may have caused are excused once and do not count.
    """
    shortages = [each.shortage for each in executions]
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
